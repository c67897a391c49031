"""The wall clock is stepped in the middle of things: nothing becomes due later or sooner for it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.clock import EvenClock
from encoder_pin_plugin.errors import LedgerError, NodeError
from encoder_pin_plugin.lazy import manual
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import State, to_moment
from encoder_pin_plugin.lazy.timeline import mind_the_clock
from encoder_pin_plugin.lazy.worker import LEDGER_NAME, Worker
from tests.conftest import until
from tests.lazy.conftest import Bench

HOUR = 3_600_000
YEARS = 10 * 365 * 24 * HOUR
STEPS = pytest.mark.parametrize("step", [-YEARS, -HOUR, -HOUR // 2, HOUR // 2, HOUR, YEARS])
SOON = 90_000
"""Milliseconds within which a backoff of a minute ends, jittered."""


class Stepped:
    """A clock that stands still, passes when it is told to, and is stepped when it is told to."""

    def __init__(self) -> None:
        self.passed, self.at = 1_000.0, int(time.time() * 1000)

    def wall(self) -> int:
        return self.at + int(self.passed * 1000)

    def steady(self) -> float:
        return self.passed

    def boot(self) -> str:
        return "one"


class Turns:
    """A worker that is turned by hand."""

    def __init__(self, bench: Bench, clock: Stepped) -> None:
        self.bench, self.clock = bench, clock
        self.worker: Worker = bench.worker(clock=clock)

    def begin(self) -> None:
        """Claim what is due, and have its threads post what came of it; nothing is written down yet."""
        self.worker._turn()
        until(lambda: not self.worker._dispatch.awaits(self.worker._results.waiting))

    def end(self) -> None:
        """Notice the time, and write down what is posted."""
        self.clock.passed += 1.0
        self.worker._turn()

    def due_in(self, name: str = "a") -> int:
        return self.bench.jobs()[name].next_at - self.clock.wall()


@pytest.fixture
def clock() -> Stepped:
    return Stepped()


@pytest.fixture
def failing(make_bench: Callable[..., Bench]) -> Bench:
    """A bench whose supernode fails, so that each job waits for a minute after its attempt."""
    bench = make_bench(hold_local="off", lazy_pin_backoff="60,60,60", local_fallback_threshold=9)
    bench.supernode.down(Reason.NODE_ERROR)
    return bench


@pytest.fixture
def turns(failing: Bench, clock: Stepped) -> Iterator[Turns]:
    failing.complete("a")
    made = Turns(failing, clock)
    yield made
    made.worker._leave()


@STEPS
def test_between_the_end_of_an_attempt_and_its_commit(turns: Turns, step: int) -> None:
    turns.begin()
    turns.clock.at += step
    turns.end()
    assert 0 < turns.due_in() < SOON
    turns.end()
    assert turns.bench.jobs()["a"].tries == 1, "not tried before its time"


@STEPS
def test_between_noticing_the_time_and_the_commit(turns: Turns, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    turns.begin()

    def later(ledger: Ledger) -> None:
        turns.clock.at += step
        monkeypatch.undo()

    monkeypatch.setattr(turns.worker, "_take_in", later)
    turns.end()
    turns.end()
    assert turns.bench.jobs()["a"].tries == 1
    assert 0 < turns.due_in() < SOON


@STEPS
def test_a_step_that_another_worker_has_noticed_first(turns: Turns, step: int) -> None:
    turns.begin()
    turns.clock.at += step
    other = Turns(turns.bench, turns.clock)
    other.worker._turn()
    turns.worker._turn()  # commits, and has not looked at the clock since
    turns.worker._turn()
    other.worker._leave()
    assert turns.bench.jobs()["a"].tries == 1
    assert turns.bench.jobs()["a"].owner is None, "not claimed before its time"
    turns.end()
    assert 0 < turns.due_in() < SOON


@STEPS
def test_an_attempt_began_when_it_began(turns: Turns, step: int) -> None:
    turns.begin()
    turns.clock.at += step
    turns.end()
    began = turns.bench.jobs()["a"].first_tried_at
    assert began is not None
    assert 0 <= turns.clock.wall() - began < 10_000


@pytest.mark.parametrize(("step", "lasts"), [(3 * HOUR, 60), (YEARS, 60), (-3 * HOUR, 10_000), (-YEARS, 10_000)])
def test_during_an_attempt_a_job_becomes_no_older_and_no_younger(
    failing: Bench, turns: Turns, step: int, lasts: int
) -> None:
    begun, go = threading.Event(), threading.Event()

    def fail(call: str, cid: str) -> None:
        begun.set()
        assert go.wait(20)
        raise NodeError("no", Reason.NODE_ERROR)

    failing.supernode.fail = fail
    turns.worker._turn()
    assert begun.wait(10)
    turns.clock.at += step
    turns.end()
    turns.clock.passed += lasts
    go.set()
    until(lambda: turns.worker._results.waiting)
    turns.worker._results.write_down(turns.worker._ledger.get(), turns.worker._dispatch)
    assert failing.settings.fallback_after == 7_200
    assert failing.jobs()["a"].state is (State.PENDING if lasts == 60 else State.FALLING_BACK)


@pytest.mark.parametrize("step", [HOUR, YEARS])
def test_a_local_pin_elsewhere_settles_no_sooner(make_bench: Callable[..., Bench], clock: Stepped, step: int) -> None:
    bench = make_bench(hold_local="off", local_fallback_threshold=1, fallback_after=7_200)
    bench.supernode.down(Reason.NODE_ERROR)
    bench.local.on_this_machine = False
    bench.complete("a")
    turns = Turns(bench, clock)
    turns.begin()
    turns.end()
    until(lambda: not turns.worker._dispatch.awaits(turns.worker._results.waiting))
    turns.end()
    assert bench.jobs()["a"].whole_at
    with closing(bench.ledger()) as ledger:
        assert manual.hurry(ledger, bench.jobs()["a"].key, clock.wall())
    turns.begin()
    clock.at += step
    turns.end()
    turns.worker._leave()
    assert bench.jobs()["a"].state is State.FALLING_BACK
    assert 590_000 < turns.due_in() <= 600_000


@STEPS
def test_a_job_that_was_completed_after_a_step_nobody_has_noticed(failing: Bench, turns: Turns, step: int) -> None:
    turns.begin()
    turns.clock.at += step
    failing.complete("b", completed_at=to_moment(turns.clock.wall()))
    turns.worker._turn()
    turns.end()
    job = failing.jobs()["b"]
    assert 0 <= turns.clock.wall() - job.waiting_since < 10_000


@STEPS
def test_a_person_is_in_a_hurry_before_a_step_is_noticed(failing: Bench, turns: Turns, step: int) -> None:
    turns.begin()
    turns.end()
    turns.clock.at += step
    with closing(Ledger(failing.settings.data_dir / LEDGER_NAME)) as ledger:
        assert manual.hurry(ledger, failing.jobs()["a"].key, turns.clock.wall())
    turns.end()
    until(lambda: turns.worker._results.waiting)
    turns.end()
    assert failing.jobs()["a"].tries == 2


@STEPS
def test_a_ledger_that_is_made_anew_goes_along_as_well(failing: Bench, turns: Turns, step: int) -> None:
    turns.begin()
    turns.end()
    (failing.settings.data_dir / LEDGER_NAME).unlink()
    turns.begin()  # the ledger is made anew from the files
    turns.begin()
    turns.clock.at += step
    turns.end()
    assert 0 < turns.due_in() < SOON


@STEPS
def test_a_job_found_at_the_start_after_a_step_that_nobody_saw(failing: Bench, turns: Turns, step: int) -> None:
    turns.begin()
    turns.end()
    turns.worker._leave()
    with closing(sqlite3.connect(failing.settings.data_dir / LEDGER_NAME)) as db, db:
        db.execute("DELETE FROM job")
        db.execute("DELETE FROM submission")
    turns.clock.at += step
    turns.worker = failing.worker(clock=turns.clock)
    asked = failing.supernode.count("pinned")
    turns.begin()  # the files are compared with the ledger when the first jobs are at work
    turns.begin()
    assert failing.supernode.count("pinned") == asked + 1, "it is due at once"


def test_a_step_that_could_not_be_written_down_is_noticed_again(failing: Bench, turns: Turns) -> None:
    turns.begin()
    turns.end()
    even = EvenClock(turns.clock)
    before = failing.jobs()["a"].next_at
    path = failing.settings.data_dir / LEDGER_NAME
    with closing(Ledger(path, busy_timeout=0.1)) as ledger, closing(Ledger(path)) as other:
        mind_the_clock(ledger, even, HOUR)
        turns.clock.at -= HOUR
        with other.transaction(), pytest.raises(LedgerError):
            mind_the_clock(ledger, even, HOUR)
        assert even.wall() == turns.clock.wall() + HOUR
        mind_the_clock(ledger, even, HOUR)
    assert even.wall() == turns.clock.wall()
    assert failing.jobs()["a"].next_at == before - HOUR


def test_a_clock_that_stands_still_or_drifts_moves_nothing(failing: Bench, turns: Turns) -> None:
    turns.begin()
    turns.end()
    before = failing.jobs()["a"].next_at
    for _ in range(20):
        turns.clock.at -= 200
        turns.end()
    assert failing.jobs()["a"].next_at == before
