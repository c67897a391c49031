"""One local fallback, without a worker: what is asked, what is written down, and that a failed one is kept for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from encoder_hookspecs.events import (
    ArchiveReceipt,
    CompletedJob,
    LazyPinFailure,
    LocalFallback,
    LocalPin,
    Proof,
    Reason,
)
from encoder_pin_plugin.alarms import Alarms
from encoder_pin_plugin.errors import LockBusy, NodeError
from encoder_pin_plugin.lazy.fallback import Fallbacks
from encoder_pin_plugin.lazy.pins import LazyPin, State, Step, to_moment
from encoder_pin_plugin.lazy.ports import Archived, Outcome
from encoder_pin_plugin.nodes.exclusion import Exclusion
from encoder_pin_plugin.settings import load_settings
from tests.cids import cid_of
from tests.lazy.conftest import NOW, StandingClock

JOB = CompletedJob(cid=cid_of("a"), job_id="job-1", size_mb=2.5)
PIN = LazyPin(
    key="k", job=JOB, state=State.FALLING_BACK, waiting_since=0, next_at=0, attempts=3, tries=4, turn_at=NOW,
    first_tried_at=NOW - 5, reason=Reason.TIMEOUT, error="no answer",
)  # fmt: skip


class Site:
    """Pins and archives, or fails as it is told to; and tells whether the CID was locked meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fails: Exception | None = None
        self.asked: list[LazyPinFailure | LocalFallback] = []
        self.pin = LocalPin(cid=JOB.cid, node="kubo", proof=Proof.WHOLE)

    def lazy_pin_failed(self, failure: LazyPinFailure) -> LocalPin:
        self.asked.append(failure)
        with pytest.raises(LockBusy), Exclusion(self.folder).hold([failure.job.cid], timeout=0.01):
            pass
        if self.fails:
            raise self.fails
        return self.pin

    def local_fallback(self, fallback: LocalFallback) -> Archived:
        self.asked.append(fallback)
        return Archived(receipt=ArchiveReceipt(path="the archive", archived_at=to_moment(NOW)), line=b"line\n")


class Try:
    def __init__(self, folder: Path, *, settle: float = 0.0) -> None:
        self.site = Site(folder)
        self.posted: list[Outcome] = []
        self.alarms = Alarms(StandingClock())
        self.fallbacks = Fallbacks(
            load_settings({}, folder, data_dir=folder, lazy_pin_backoff="60,300,900"), self.site, Exclusion(folder),
            alarms=self.alarms, post=self.posted.append, settle=settle,
        )  # fmt: skip

    def run(self, pin: LazyPin = PIN) -> Step:
        self.fallbacks.run(pin)
        outcome = self.posted.pop()
        assert self.posted == []
        assert (outcome.asked, outcome.reason, outcome.before) == (False, None, None)
        return outcome.step


@pytest.fixture
def one(tmp_path: Path) -> Try:
    return Try(tmp_path)


def test_the_content_is_pinned_then_archived_and_the_job_ends(one: Try, log: list[str]) -> None:
    step = one.run()
    failure = LazyPinFailure(
        job=JOB, attempts=3, reason=Reason.TIMEOUT, error="no answer", first_tried_at=to_moment(NOW - 5)
    )
    assert one.site.asked == [failure, LocalFallback(job=JOB, failure=failure, local_pin=one.site.pin)]
    assert step == Step(
        pin=PIN, state=State.ARCHIVED, attempts=3, tries=4, reason=Reason.TIMEOUT, error="no answer", line=b"line\n"
    )
    what = f"job job-1 CID {JOB.cid} attempts 3 size 2.5 MB reason timeout: safe on kubo, archived in the archive"
    assert log == [f"WARNING LAZY PIN FALLBACK {what}\n"]


def test_a_job_that_was_never_tried_falls_back_for_its_age(one: Try, log: list[str]) -> None:
    job = CompletedJob(cid=JOB.cid, job_id="job-1")
    one.run(replace(PIN, job=job, first_tried_at=None, reason=None, error=None, attempts=0))
    failure = one.site.asked[0]
    assert failure == LazyPinFailure(job=job, attempts=0, reason=Reason.TOO_OLD, error="", first_tried_at=None)
    assert "attempts 0 size ? MB reason too_old: safe on" in log[0]


def test_the_size_that_the_node_counts_is_the_one_that_is_told(one: Try, log: list[str]) -> None:
    one.site.pin = replace(one.site.pin, size_mb=0.0)
    one.run()
    assert "size 0.0 MB" in log[0]


@pytest.mark.parametrize(
    ("whole_for", "left"), [(None, 600_000), (0, 600_000), (599_999, 1), (600_000, 0), (700_000, 0), (-50, 600_000)]
)
def test_a_node_elsewhere_is_asked_again_before_the_job_ends(
    tmp_path: Path, log: list[str], whole_for: int | None, left: int
) -> None:
    one = Try(tmp_path, settle=600)
    step = one.run(replace(PIN, whole_at=None if whole_for is None else NOW - whole_for))
    assert (step.state, step.delay) == (State.FALLING_BACK if left else State.ARCHIVED, left)
    assert step.whole_for == (600_000 - left if left else None)
    assert log[0].endswith(f"; asked again in {left / 1000:.0f} s\n" if left else "in the archive\n")


def test_a_node_elsewhere_that_had_to_pin_it_again_has_all_its_time_again(tmp_path: Path) -> None:
    """That machine lost its power, and the pin that was seen ten minutes ago."""
    one = Try(tmp_path, settle=600)
    one.site.pin = replace(one.site.pin, made=True)
    step = one.run(replace(PIN, whole_at=NOW - 700_000))
    assert (step.state, step.delay, step.whole_for) == (State.FALLING_BACK, 600_000, 0)


@pytest.mark.parametrize(("failed", "delay"), [(0, 60), (1, 300), (2, 900), (3, 900), (50, 900)])
def test_a_failed_one_is_kept_with_an_alarm_and_waits_as_attempts_do(
    one: Try, log: list[str], failed: int, delay: int
) -> None:
    one.site.fails = NodeError("the disk is full", Reason.NODE_FULL)
    step = one.run(replace(PIN, fallbacks=failed))
    assert step == Step(
        pin=replace(PIN, fallbacks=failed), state=State.FALLING_BACK, delay=delay * 1000, attempts=3, tries=4,
        reason=Reason.TIMEOUT, error="the disk is full", fallbacks=failed + 1,
    )  # fmt: skip
    assert one.alarms.lasting() == ["local-fallback"]
    what = f"job job-1 CID {JOB.cid} attempts 3 size 2.5 MB reason timeout: the disk is full"
    assert log == [
        f"WARNING LAZY PIN FALLBACK FAILED {what}; kept, next try in {delay} s\n",
        "ERROR local fallbacks fail, first for job job-1: the disk is full\n",
    ]


def test_one_that_works_ends_the_alarm(one: Try, log: list[str]) -> None:
    one.site.fails = NodeError("down", Reason.REFUSED)
    one.run()
    one.site.fails = None
    one.run()
    assert one.alarms.lasting() == []
    assert log[-1] == "INFO local fallbacks work again\n"


def test_whatever_goes_wrong_the_job_is_kept(one: Try, log: list[str]) -> None:
    one.site.fails = ZeroDivisionError("x" * 5000)
    step = one.run(replace(PIN, job=CompletedJob(cid=JOB.cid, job_id="job-1"), reason=None))
    assert (step.state, step.error) == (State.FALLING_BACK, "unexpected ZeroDivisionError")
    assert log[0].startswith("ERROR the local fallback of job job-1 ended unexpectedly")
    assert "size ? MB reason too_old:" in log[1]


def test_an_endless_error_is_cut(one: Try) -> None:
    one.site.fails = NodeError("x" * 5000, Reason.NODE_ERROR)
    assert one.run().error == "x" * 2000


def test_a_cid_that_somebody_is_at_is_tried_again(one: Try, tmp_path: Path, monkeypatch: Any) -> None:
    real = Exclusion.hold
    monkeypatch.setattr(Exclusion, "hold", lambda self, cids, timeout=0.05: real(self, cids, timeout=timeout))
    with Exclusion(tmp_path).hold([JOB.cid]):
        step = one.run()
    assert (step.state, step.fallbacks) == (State.FALLING_BACK, 1)
    assert one.site.asked == []
