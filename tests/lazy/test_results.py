"""What threads found out, written down: what the ledger takes, what it takes later, and what is learnt from it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from encoder_hookspecs.events import CompletedJob, Reason
from encoder_pin_plugin.alarms import Alarms
from encoder_pin_plugin.errors import LedgerError
from encoder_pin_plugin.lazy.pins import LazyPin, State, Step
from encoder_pin_plugin.lazy.ports import Holds, Note, Outcome, Swept
from encoder_pin_plugin.lazy.results import Results
from encoder_pin_plugin.lazy.retry import Breaker
from encoder_pin_plugin.settings import load_settings
from tests.cids import cid_of
from tests.lazy.conftest import NOW, StandingClock


class Book:
    """A ledger and a dispatch that note what they are told, and fail when they are to."""

    def __init__(self) -> None:
        self.committed: list[tuple[list[Step], int]] = []
        self.overtaken: set[str] = set()
        self.notes: list[Note] = []
        self.told: list[Outcome] = []
        self.over: list[LazyPin] = []
        self.busy = False

    def commit(self, steps: Iterable[Step], now: int) -> list[Step]:
        steps = list(steps)
        if self.busy:
            raise LedgerError("busy")
        self.committed.append((steps, now))
        return [step for step in steps if step.pin.key not in self.overtaken]

    def note(self, ledger: object, note: Note) -> None:
        assert ledger is self
        if self.busy:
            raise LedgerError("busy")
        self.notes.append(note)

    def tell(self, outcome: Outcome) -> None:
        self.told.append(outcome)

    def ended(self, pin: LazyPin) -> None:
        self.over.append(pin)


class Desk:
    """Results, and everything around them."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.book = Book()
        self.breaker = Breaker(Random(1), failures=2)
        self.alarms = Alarms(StandingClock())
        self.woken = 0
        self.results = Results(
            load_settings({}, folder, data_dir=folder, local_fallback_threshold=3, **settings),
            self.breaker, alarms=self.alarms, clock=StandingClock(), wake=self.wake,
        )  # fmt: skip

    def wake(self) -> None:
        self.woken += 1

    def write_down(self, *results: Outcome | Note) -> None:
        for result in results:
            self.results.post(result)
        self.results.write_down(self.book, self.book)  # type: ignore[arg-type]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def outcome(
    name: str = "a", state: State = State.PENDING, *, asked: bool = True, reason: Any = None, **fields: Any
) -> Outcome:
    pin = LazyPin(
        key=name, job=CompletedJob(cid=cid_of(name), job_id=name), state=State.PENDING, waiting_since=0, next_at=0
    )
    step = Step(**({"pin": pin, "state": state, "attempts": 0, "tries": 1, "error": f"error of {name}"} | fields))
    return Outcome(step=step, asked=asked, reason=reason)


def test_all_that_was_posted_is_committed_in_one_go(desk: Desk) -> None:
    first, second = outcome("a"), outcome("b")
    desk.results.post(first)
    assert (desk.results.waiting, desk.woken) == (1, 1)
    desk.write_down(second)
    assert desk.book.committed == [([first.step, second.step], NOW)]
    assert desk.book.over == [first.step.pin, second.step.pin]
    assert (desk.results.waiting, desk.woken) == (0, 2)
    desk.write_down()
    assert len(desk.book.committed) == 1


def test_observers_are_told_before_anything_is_committed(desk: Desk) -> None:
    success = Outcome(step=outcome().step, before=lambda: None)
    desk.write_down(success)
    assert desk.book.told == [success]
    assert desk.book.committed == []
    assert desk.book.over == []


def test_notes_are_written_in_their_order(desk: Desk) -> None:
    notes = [Holds(holds={"a": "ours"}), Swept(nonces=("x",))]
    desk.write_down(notes[0], outcome(), notes[1])
    assert desk.book.notes == notes
    desk.write_down()
    assert desk.book.notes == notes


def test_what_a_busy_ledger_does_not_take_is_kept_for_the_next_time(desk: Desk) -> None:
    one, note = outcome(reason=Reason.REFUSED), Swept(nonces=("x",))
    desk.book.busy = True
    for _ in range(3):
        with pytest.raises(LedgerError):
            desk.results.write_down(desk.book, desk.book) if desk.woken else desk.write_down(one, note)  # type: ignore[arg-type]
    assert not desk.breaker.is_open
    assert desk.book.over == []
    desk.book.busy = False
    desk.write_down()
    assert desk.book.committed == [([one.step], NOW)]
    assert desk.book.notes == [note]


def test_a_note_that_was_not_taken_comes_again_with_those_after_it(desk: Desk) -> None:
    desk.book.busy = True
    with pytest.raises(LedgerError):
        desk.write_down(Swept(nonces=("x",)), Swept(nonces=("y",)))
    desk.book.busy = False
    desk.write_down()
    assert desk.book.notes == [Swept(nonces=("x",)), Swept(nonces=("y",))]


def test_a_result_that_was_overtaken_is_said_to_be_and_the_others_are_not(desk: Desk, log: list[str]) -> None:
    desk.book.overtaken = {"late"}
    desk.write_down(outcome("late"), outcome("b"))
    assert log == ["WARNING the result for job late came too late: another worker has it\n"]
    assert [pin.key for pin in desk.book.over] == ["late", "b"]


def test_an_outage_begins_with_its_failures_and_ends_with_a_success(desk: Desk, log: list[str]) -> None:
    down = outcome(reason=Reason.REFUSED)
    desk.write_down(down)
    assert desk.alarms.lasting() == []
    desk.write_down(down)
    assert (desk.alarms.lasting(), desk.breaker.opens_at()) == (["supernode"], pytest.approx(1030, abs=6))
    (said,) = log
    assert said.startswith("ERROR the supernode is taken to be down (refused): error of a; one job tries it again in ")
    assert 24 <= int(said.split()[-5]) <= 36
    desk.write_down(outcome())
    assert desk.alarms.lasting() == []
    assert log[1] == "INFO the supernode answers again\n"
    assert not desk.breaker.is_open


def test_an_outage_that_is_to_be_probed_already_is_no_time_away(
    desk: Desk, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.breaker, "opens_at", lambda: 1.0)
    desk.write_down(outcome(reason=Reason.REFUSED))
    assert "tries it again in 0 s" in log[0]


def test_what_did_not_ask_the_supernode_teaches_nothing_about_it(desk: Desk) -> None:
    down = outcome(reason=Reason.REFUSED)
    desk.write_down(down, down)
    desk.write_down(outcome(asked=False))
    assert desk.breaker.is_open
    assert desk.alarms.lasting() == ["supernode"]
    desk.write_down(outcome(asked=False, reason=Reason.CONTENT_MISSING))
    assert desk.breaker.is_open


@pytest.mark.parametrize(
    ("enabled", "state", "fields", "exhausted"),
    [
        (True, State.FALLING_BACK, {"fallbacks": 1}, True),
        (True, State.FALLING_BACK, {"fallbacks": 0}, False),
        (True, State.PENDING, {"attempts": 9}, False),
        (False, State.PENDING, {"attempts": 3}, True),
        (False, State.PENDING, {"attempts": 2, "fallbacks": 1}, False),
        (False, State.PINNED, {"attempts": 3}, False),
    ],
)
def test_which_jobs_no_further_try_could_finish_soon(
    tmp_path: Path, enabled: bool, state: State, fields: dict[str, int], exhausted: bool
) -> None:
    desk = Desk(tmp_path, enable_local_fallback=enabled)
    desk.write_down(outcome("a", state, **fields))
    assert desk.results.exhausted == ({"a"} if exhausted else set())
