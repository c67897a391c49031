"""A worker's parts work together: what it holds it releases, and what fails to fall back it tries again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from encoder_hookspecs.events import Reason, RetryIn
from encoder_pin_plugin.lazy.pins import State, to_moment
from encoder_pin_plugin.lazy.worker import Worker
from tests.conftest import until
from tests.lazy.conftest import NOW, Bench, Passing

Leaving = Callable[[Worker], Worker]


def _turned(worker: Worker, clock: Passing, done: Callable[[], bool], seconds: float = 0.5) -> None:
    """Turn the worker while time passes, until it is done."""

    def turn() -> bool:
        clock.passed += seconds
        worker._turn()
        return done()

    until(turn)


def test_what_is_held_is_released_when_the_supernode_has_it(
    make_bench: Callable[..., Bench], leaving: Leaving, clock: Passing
) -> None:
    bench = make_bench(local_fallback_threshold=50)
    worker = leaving(bench.worker(clock=clock))
    bench.supernode.down()
    job = bench.complete("a", completed_at=to_moment(NOW))
    _turned(worker, clock, lambda: bench.jobs()["a"].hold == "ours", seconds=0.01)
    assert job.cid in bench.local.pins
    bench.supernode.up()
    _turned(worker, clock, lambda: bench.jobs()["a"].state is State.PINNED, seconds=10.0)
    _turned(worker, clock, lambda: bench.jobs()["a"].hold == "released", seconds=10.0)
    assert job.cid not in bench.local.pins
    assert worker._alarms.lasting() == []


def test_a_fallback_that_fails_is_an_alarm_and_is_tried_again(
    make_bench: Callable[..., Bench], leaving: Leaving, clock: Passing
) -> None:
    bench = make_bench(local_fallback_threshold=1, hold_local="off")
    worker = leaving(bench.worker(clock=clock))
    bench.supernode.down()
    bench.local.down()
    bench.complete("a")
    _turned(worker, clock, lambda: bool(worker._results.exhausted))
    assert worker._alarms.lasting() != []
    assert bench.jobs()["a"].state is State.FALLING_BACK
    bench.local.up()
    _turned(worker, clock, lambda: bench.lines() == ["a"])
    _turned(worker, clock, lambda: bench.jobs()["a"].state is State.ARCHIVED)
    assert worker._alarms.lasting() == []


def test_who_decides_is_asked_after_a_failure_and_told_of_a_success(
    bench: Bench, leaving: Leaving, clock: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = leaving(bench.worker(clock=clock))
    heard: list[str] = []
    monkeypatch.setattr(worker._decisions, "attempt_failed", lambda it: (heard.append("failed"), RetryIn(seconds=1))[1])
    monkeypatch.setattr(worker._decisions, "succeeded", lambda it: heard.append("succeeded"))
    bench.supernode.down(Reason.NODE_ERROR)
    bench.complete("a", completed_at=to_moment(NOW))
    _turned(worker, clock, lambda: bool(heard), seconds=0.01)
    bench.supernode.up()
    _turned(worker, clock, lambda: bench.jobs()["a"].state is State.PINNED)
    assert (heard[0], heard[-1]) == ("failed", "succeeded")
