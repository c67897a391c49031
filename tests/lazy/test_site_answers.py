"""What a site's plugin answers is of the right type, and nonsense inside: it costs no line in the archive."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from encoder_hookspecs import hookimpl
from encoder_hookspecs.events import ArchiveReceipt, GiveUp, LocalFallback, LocalPin, Proof, RetryIn
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import from_fallback
from encoder_pin_plugin.lazy.pins import State
from tests.conftest import until


class Site:
    """Answers with what it is told to."""

    def __init__(self, hook: str, answer: Any) -> None:
        self._hook, self._answer = hook, answer

    @hookimpl
    def on_lazy_pin_attempt_failed(self, attempt: Any) -> Any:
        return self._answer if self._hook == "on_lazy_pin_attempt_failed" else None

    @hookimpl
    def on_lazy_pin_failed(self, failure: Any) -> Any:
        if self._hook != "on_lazy_pin_failed":
            return None
        return self._answer(cid=failure.job.cid) if callable(self._answer) else self._answer

    @hookimpl
    def on_local_fallback(self, fallback: Any) -> Any:
        return self._answer if self._hook == "on_local_fallback" else None


class Explosive(LocalPin):
    """Falls over when it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name == "node":
            raise RuntimeError("boom")
        return super().__getattribute__(name)


class ExplosiveReceipt(ArchiveReceipt):
    """Falls over when it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name == "path":
            raise RuntimeError("boom")
        return super().__getattribute__(name)


class ExplosiveRetry(RetryIn):
    """Falls over when it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name == "seconds":
            raise RuntimeError("boom")
        return super().__getattribute__(name)


class ExplosiveNumber(float):
    """Falls over when it is compared."""

    def __gt__(self, other: object) -> bool:
        raise RuntimeError("boom")

    __lt__ = __gt__


ODD: dict[str, dict[str, Any]] = {
    "a size in words": {"size_mb": "25 MB"},
    "no size at all": {"size_mb": float("nan")},
    "an endless size": {"size_mb": float("inf")},
    "a size below nothing": {"size_mb": -1},
    "a list for a type": {"type": ["file"]},
    "a type of its own": {"type": "video"},
    "no moment": {"pinned_at": None},
    "a moment in words": {"pinned_at": "now"},
    "a moment before all others": {"pinned_at": datetime.min},  # noqa: DTZ901 - that is what is odd
    "no proof": {"proof": None},
    "no node": {"node": None},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("trusted", [False, True])
def test_odd_fields_of_a_local_pin_are_left_out(make_bench: Any, odd: dict[str, Any], trusted: bool) -> None:
    bench = make_bench(trust_plugins="site" if trusted else "")
    answer = {"node": "http://10.0.0.7:5001", "proof": Proof.PINNED} | odd
    bench.manager.register(Site("on_lazy_pin_failed", lambda cid: LocalPin(cid=cid, **answer)), "site")
    job = bench.complete("a", size_mb=2.5, type="file")
    bench.local.pins[job.cid] = "theirs"
    bench.supernode.down()
    assert bench.drain() == 0
    (entry,) = bench.archive.entries()
    assert entry.record is not None
    assert (entry.record.size_mb, entry.record.type) == (2.5, "file")
    assert entry.record.flags == ()
    assert bench.jobs()["a"].state is State.ARCHIVED


@pytest.mark.parametrize("hook", ["on_lazy_pin_failed", "on_local_fallback"])
@pytest.mark.parametrize("trusted", [False, True])
def test_an_answer_that_cannot_be_looked_at_is_none(make_bench: Any, hook: str, trusted: bool) -> None:
    bench = make_bench(trust_plugins="site" if trusted else "")
    answer: Any = ExplosiveReceipt(path="x")
    if hook == "on_lazy_pin_failed":

        def answer(cid: str) -> LocalPin:
            return Explosive(cid=cid, node="x", proof=Proof.PINNED)

    bench.manager.register(Site(hook, answer), "site")
    job = bench.complete("a")
    bench.supernode.down()
    assert bench.drain() == 0
    assert (bench.lines(), list(bench.local.pins)) == (["a"], [job.cid])


@pytest.mark.parametrize("path", [None, "", "\0", 7, b"x", "/", "/proc/self/mem", "x" * 5000], ids=repr)
def test_a_receipt_for_no_file_is_none(make_bench: Any, path: Any, tmp_path: Path) -> None:
    bench = make_bench()
    bench.manager.register(Site("on_local_fallback", ArchiveReceipt(path=path)), "site")
    bench.complete("a")
    bench.supernode.down()
    assert bench.drain() == 0
    assert bench.lines() == ["a"]


@pytest.mark.parametrize("trusted", [False, True])
def test_a_receipt_may_name_its_file_by_a_path_object(
    make_bench: Any, trusted: bool, tmp_path: Path, log: list[str]
) -> None:
    bench = make_bench(trust_plugins="site" if trusted else "")
    theirs = Archive(tmp_path / "site")

    class Site:
        @hookimpl
        def on_local_fallback(self, fallback: LocalFallback) -> ArchiveReceipt:
            theirs.append(from_fallback(fallback, "site"))
            return ArchiveReceipt(path=theirs.path)  # type: ignore[arg-type]

    bench.manager.register(Site(), "site")
    bench.complete("a")
    bench.supernode.down()
    assert bench.drain() == 0
    assert bench.lines() == []
    assert any(f"archived in {theirs.path}" in line for line in log)


@pytest.mark.parametrize("seconds", [None, "soon", float("nan"), float("inf"), -1, 10**400, True, [1]], ids=repr)
def test_an_odd_wish_for_a_retry_ends_no_job(make_bench: Any, seconds: Any) -> None:
    bench = make_bench(fallback_after=0.5, lazy_pin_max_backoff=0.2)
    bench.manager.register(Site("on_lazy_pin_attempt_failed", RetryIn(seconds=seconds)), "site")
    bench.complete("a")
    bench.supernode.down()
    assert bench.drain() == 0
    assert bench.lines() == ["a"]


@pytest.mark.parametrize(
    "wish", [ExplosiveRetry(seconds=1), RetryIn(seconds=ExplosiveNumber(1))], ids=["it", "its number"]
)
def test_a_wish_that_cannot_be_looked_at_hangs_no_job(make_bench: Any, running: Any, wish: RetryIn) -> None:
    bench = make_bench(fallback_after=1)
    bench.manager.register(Site("on_lazy_pin_attempt_failed", wish), "site")
    bench.complete("a")
    bench.supernode.down()
    running(bench.worker())
    until(lambda: bench.lines() == ["a"])


def test_a_reason_that_is_none_ends_no_job(make_bench: Any) -> None:
    bench = make_bench()
    bench.manager.register(Site("on_lazy_pin_attempt_failed", GiveUp(why=None)), "site")  # type: ignore[arg-type]
    bench.complete("a")
    bench.supernode.down()
    assert bench.drain() == 0
    assert bench.lines() == ["a"]
