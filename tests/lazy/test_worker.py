"""A job's life: from complete to pinned, or to the archive, through whatever happens in between."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from encoder_hookspecs.events import GiveUp, LocalPin, Proof, Reason, RetryIn
from encoder_hookspecs.specs import hookimpl
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from encoder_pin_plugin.nodes.base import PIN_NAME
from tests.conftest import until


def test_a_finished_job_is_pinned_on_the_supernode_and_its_file_goes(bench) -> None:
    job = bench.complete("a")
    assert bench.drain() == 0
    assert job.cid in bench.supernode.pins
    assert bench.jobs()["a"].state is State.PINNED
    assert not bench.spool.opened()
    assert not bench.spool.arrivals(10)


def test_three_failed_attempts_lead_to_the_local_fallback(bench) -> None:
    job = bench.complete("a", size_mb=2.0, type="file")
    bench.supernode.down()
    assert bench.drain() == 0
    (entry,) = bench.archive.entries()
    assert (entry.record.hash, entry.record.job_id) == (job.cid, "a")
    assert entry.record.failed_lazy_attempts == 3
    assert entry.record.node_id == "encoder-1"
    assert bench.local.pins[job.cid] == PIN_NAME
    assert bench.jobs()["a"].state is State.ARCHIVED
    assert not bench.spool.opened()


def test_size_and_type_come_from_the_dag_where_the_host_knew_none(bench) -> None:
    bench.complete("a")
    bench.supernode.down()
    bench.drain()
    (entry,) = bench.archive.entries()
    assert (entry.record.size_mb, entry.record.type) == (2.5, "directory")


@pytest.mark.parametrize("threshold", [1, 5])
def test_threshold_is_honoured(make_bench, threshold: int) -> None:
    bench = make_bench(local_fallback_threshold=threshold, lazy_pin_backoff="0.1")
    bench.complete("a")
    bench.supernode.down(Reason.NODE_ERROR)
    bench.drain()
    assert next(iter(bench.archive.entries())).record.failed_lazy_attempts == threshold
    assert bench.supernode.count("pinned") == threshold


def test_a_yes_that_is_taken_back_is_a_failed_attempt(bench) -> None:
    job = bench.complete("a")
    bench.supernode.pin = lambda cid, **_: None
    bench.drain()
    assert bench.jobs()["a"].reason is Reason.UNPROVED
    assert bench.lines() == ["a"]
    assert job.cid in bench.local.pins


def test_a_setting_to_correct_uses_up_no_attempt_but_time_does(make_bench) -> None:
    bench = make_bench(fallback_after=2)
    bench.complete("a")
    bench.supernode.down(Reason.NOT_ALLOWED)
    assert bench.drain() == 0
    assert next(iter(bench.archive.entries())).record.failed_lazy_attempts == 0


def test_without_a_supernode_the_fallback_comes_with_age(make_bench) -> None:
    bench = make_bench(fallback_after=1)
    bench.supernode = None
    bench.complete("a")
    assert bench.drain() == 0
    assert bench.lines() == ["a"]


def test_disabled_fallback_keeps_the_job_for_ever(make_bench) -> None:
    bench = make_bench(enable_local_fallback=False, local_fallback_threshold=2)
    bench.complete("a")
    bench.supernode.down()
    assert bench.drain() == 1
    assert bench.jobs()["a"].state is State.PENDING
    assert len(bench.spool.opened()) == 1
    assert bench.lines() == []
    bench.supernode.up()
    assert bench.drain() == 0


def test_failed_local_pin_keeps_the_job_and_is_tried_again(bench) -> None:
    bench.complete("a")
    bench.supernode.down()
    bench.local.down()
    assert bench.drain() == 1
    job = bench.jobs()["a"]
    assert (job.state, job.fallbacks >= 1) == (State.FALLING_BACK, True)
    assert len(bench.spool.opened()) == 1
    bench.local.up()
    until(lambda: bench.drain() == 0)
    assert bench.lines() == ["a"]


def test_a_pin_without_all_its_blocks_is_no_local_fallback(bench) -> None:
    job = bench.complete("a")
    bench.supernode.down()
    bench.local.blocks = set()
    bench.local.pin = lambda cid, **_: bench.local.pins.__setitem__(cid, PIN_NAME)
    bench.local._whole = lambda cid: __import__("encoder_pin_plugin.nodes.base", fromlist=["x"]).Whole(
        answer=__import__("encoder_pin_plugin.nodes.base", fromlist=["x"]).Answer.NO, detail="a block is missing"
    )
    assert bench.drain() == 1
    assert bench.lines() == []
    assert "not all of its blocks" in bench.jobs()["a"].error
    assert job.cid in bench.local.pins


def test_unwritable_archive_keeps_the_job(bench) -> None:
    bench.complete("a")
    bench.supernode.down()
    bench.archive.path.parent.mkdir(exist_ok=True)
    bench.archive.path.mkdir()
    assert bench.drain() == 1
    assert len(bench.spool.opened()) == 1
    bench.archive.path.rmdir()
    until(lambda: bench.drain() == 0)
    assert bench.lines() == ["a"]


def test_a_job_is_archived_once_however_often_it_is_delivered(bench) -> None:
    for _ in range(20):
        bench.complete("a")
    bench.supernode.down()
    assert bench.drain() == 0
    bench.complete("a")
    assert bench.drain() == 0
    assert bench.lines() == ["a"]
    assert not bench.spool.opened()


def test_two_jobs_with_one_cid_are_both_archived(bench) -> None:
    cid = bench.complete("a").cid
    bench.complete("b", cid=cid)
    bench.supernode.down(Reason.NODE_ERROR)
    assert bench.drain() == 0
    assert sorted(bench.lines()) == ["a", "b"]


def test_attempts_run_at_once_up_to_the_bound(make_bench) -> None:
    bench = make_bench(lazy_pin_concurrency=4)
    bench.supernode.delay = 0.05
    for number in range(40):
        bench.complete(f"job-{number}")
    assert bench.drain() == 0
    assert bench.supernode.most_running == 4


def test_what_the_local_node_has_is_held_and_released_when_the_supernode_is_whole(bench, running, monkeypatch) -> None:
    monkeypatch.setattr("encoder_pin_plugin.lazy.dispatch.RELEASE_GAP", 0)
    monkeypatch.setattr("encoder_pin_plugin.lazy.dispatch.RELEASE_AGAIN", 100)
    bench.supernode.down()
    job = bench.complete("a")
    running(bench.worker())
    until(lambda: job.cid in bench.local.pins)
    bench.supernode.up()
    until(lambda: job.cid not in bench.local.pins)
    assert job.cid in bench.supernode.pins
    until(lambda: bench.jobs()["a"].hold == "released")


def test_a_pin_that_is_not_ours_is_never_released(bench, running, monkeypatch) -> None:
    monkeypatch.setattr("encoder_pin_plugin.lazy.dispatch.RELEASE_GAP", 0)
    monkeypatch.setattr("encoder_pin_plugin.lazy.dispatch.RELEASE_AGAIN", 100)
    job = bench.complete("a")
    bench.local.pins[job.cid] = ""
    running(bench.worker())
    until(lambda: bench.jobs().get("a") and bench.jobs()["a"].hold == "theirs" and bench.jobs()["a"].closed_at)
    time.sleep(1.5)
    assert job.cid in bench.local.pins


def test_holding_never_fetches(bench) -> None:
    bench.local.blocks = set()
    job = bench.complete("a")
    bench.drain()
    assert ("pin", job.cid) not in bench.local.calls


def test_a_site_policy_decides(bench) -> None:
    class Policy:
        @hookimpl
        def on_lazy_pin_attempt_failed(self, attempt):
            return GiveUp() if attempt.number >= 1 else RetryIn(seconds=1)

    bench.manager.register(Policy(), "site")
    bench.complete("a")
    bench.supernode.down()
    bench.drain()
    assert next(iter(bench.archive.entries())).record.failed_lazy_attempts == 1


def test_a_site_pin_that_nobody_sees_is_made_good_by_the_default(bench) -> None:
    class Liar:
        @hookimpl
        def on_lazy_pin_failed(self, failure):
            return LocalPin(cid=failure.job.cid, node="somewhere", proof=Proof.WHOLE)

    bench.manager.register(Liar(), "liar")
    bench.local.blocks = {"only what is pinned"}
    job = bench.complete("a")
    bench.supernode.down()
    assert bench.drain() == 0
    assert job.cid in bench.local.pins


class _Hell:
    """Raises, exits, hangs or returns nonsense in every hook."""

    def __init__(self, kind: str) -> None:
        self.kind, self.over = kind, threading.Event()

    def _do(self) -> object:
        if self.kind == "raises":
            raise RuntimeError("from hell")
        if self.kind == "exits":
            raise SystemExit(3)
        if self.kind == "hangs":
            self.over.wait(3600)
        return "nonsense"

    @hookimpl
    def on_lazy_pin_attempt_failed(self):
        return self._do()

    @hookimpl
    def on_lazy_pin_failed(self):
        return self._do()

    @hookimpl
    def on_local_fallback(self):
        return self._do()

    @hookimpl
    def on_lazy_pin_succeeded(self):
        self._do()


@pytest.mark.parametrize("kind", ["raises", "exits", "hangs", "nonsense"])
def test_a_plugin_from_hell_delays_nothing_and_loses_nothing(make_bench, kind: str) -> None:
    bench = make_bench(plugin_timeout=0.2, local_fallback_threshold=1)
    hell = _Hell(kind)
    bench.manager.register(hell, "hell")
    bench.complete("a")
    bench.supernode.down()
    assert bench.drain() == 0
    assert bench.lines() == ["a"]
    bench.supernode.up()
    bench.complete("b")
    assert bench.drain() == 0
    assert bench.jobs()["b"].state is State.PINNED
    hell.over.set()


def test_a_deleted_ledger_is_rebuilt_from_the_job_files(bench) -> None:
    bench.supernode.down()
    bench.local.down()
    bench.complete("a")
    bench.drain()
    (bench.settings.data_dir / LEDGER_NAME).unlink()
    bench.local.up()
    assert bench.drain() == 0
    assert bench.lines() == ["a"]


def test_a_damaged_ledger_is_set_aside_and_rebuilt(bench) -> None:
    bench.supernode.down()
    bench.local.down()
    bench.complete("a")
    bench.drain()
    ledger: Path = bench.settings.data_dir / LEDGER_NAME
    ledger.write_bytes(b"not a database at all" * 1000)
    bench.local.up()
    assert bench.drain() == 0
    assert bench.lines() == ["a"]
    assert list(bench.settings.data_dir.glob(f"{LEDGER_NAME}.damaged-*"))


def test_a_lost_job_file_is_written_again_from_the_ledger(bench) -> None:
    bench.supernode.down()
    bench.local.down()
    bench.complete("a")
    bench.drain()
    (path,) = bench.spool.opened()
    content = path.read_bytes()
    path.unlink()
    bench.drain()
    assert [it.read_bytes() for it in bench.spool.opened()] == [content]


def test_a_locked_ledger_delays_the_worker_and_not_the_host(bench, running) -> None:
    bench.drain()
    other = sqlite3.connect(bench.settings.data_dir / LEDGER_NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    running(bench.worker())
    started = time.monotonic()
    job = bench.complete("a")
    assert time.monotonic() - started < 5
    other.execute("ROLLBACK")
    other.close()
    until(lambda: job.cid in bench.supernode.pins)


def test_an_outage_opens_the_breaker_and_one_success_ends_it(make_bench, running) -> None:
    bench = make_bench(local_fallback_threshold=1000)
    bench.supernode.down()
    for number in range(50):
        bench.complete(f"job-{number}")
    worker = bench.worker()
    running(worker)
    until(lambda: worker._breaker.is_open)
    asked = bench.supernode.count("pinned")
    time.sleep(2.5)
    assert bench.supernode.count("pinned") - asked <= 32, "held back, but for those in flight"


@pytest.mark.parametrize("workers", [2, 4])
def test_several_workers_on_one_folder_share_the_work(make_bench, running, workers: int) -> None:
    bench = make_bench(local_fallback_threshold=1)
    bench.supernode.down(Reason.NODE_ERROR)
    for _ in range(workers):
        running(bench.worker())
    names = [f"job-{number}" for number in range(60)]
    for name in names:
        bench.complete(name)
    until(lambda: len(bench.lines()) >= len(names), 60)
    assert sorted(bench.lines()) == sorted(names)


def test_a_line_that_is_migrated_already_leaves_the_archive_at_the_next_start(bench) -> None:
    bench.complete("a")
    bench.supernode.down(Reason.NODE_ERROR)
    bench.drain()
    line = bench.archive.path.read_bytes()
    bench.archive.migrated_path.write_bytes(line[:-2] + b',"migrated_to":"elsewhere"}\n')
    assert bench.lines() == ["a"]
    bench.drain()
    assert bench.lines() == []
