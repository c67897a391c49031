"""What the worker does now and then, and what it says while it cannot go on."""

from __future__ import annotations

import pytest

from encoder_pin_plugin.alarms import Alarms
from encoder_pin_plugin.errors import StorageError
from encoder_pin_plugin.lazy.timetable import Timetable
from encoder_pin_plugin.lazy.trouble import IN_VAIN, Trouble
from tests.lazy.conftest import StandingClock


class Stopwatch(StandingClock):
    """Counts up as it is told to."""

    now = 0.0

    def steady(self) -> float:
        return self.now


def test_each_thing_is_done_at_once_and_again_when_its_time_has_passed() -> None:
    clock = Stopwatch()
    table, done = Timetable(clock), list[tuple[str, float]]()
    for clock.now in (0.0, 1.0, 4.5, 5.0, 9.0, 10.0):
        table.every(5.0, "rounds", lambda: done.append(("rounds", clock.now)))
        table.every(9.0, "check", lambda: done.append(("check", clock.now)))
    assert done == [("rounds", 0.0), ("check", 0.0), ("rounds", 5.0), ("check", 9.0), ("rounds", 10.0)]


def test_what_is_to_be_done_every_time_is_done_every_time() -> None:
    table, done = Timetable(StandingClock()), list[int]()
    for number in range(3):
        table.every(0.0, "reconcile", lambda number=number: done.append(number))
    assert done == [0, 1, 2]


def test_what_fails_is_not_done_sooner_again() -> None:
    table = Timetable(StandingClock())

    def fail() -> None:
        raise StorageError("the disk is full")

    with pytest.raises(StorageError):
        table.every(5.0, "rounds", fail)
    table.every(5.0, "rounds", fail)


@pytest.fixture
def alarms() -> Alarms:
    return Alarms(StandingClock())


def test_what_keeps_the_worker_from_going_on_is_said_once_and_when_it_is_over(alarms: Alarms, log: list[str]) -> None:
    trouble = Trouble(alarms)
    for _ in range(3):
        trouble.met(StorageError("the disk is full"))
    assert alarms.lasting() == ["worker"]
    trouble.over()
    assert alarms.lasting() == []
    assert log == [
        "ERROR the worker cannot go on for now, and tries again: the disk is full\n",
        "INFO the worker goes on\n",
    ]


def test_an_error_that_is_not_ours_is_named_with_its_kind_and_where_it_came_from(
    alarms: Alarms, log: list[str]
) -> None:
    with pytest.raises(KeyError) as bug:
        {}["a bug"]
    Trouble(alarms).met(bug.value)
    assert log[0] == "ERROR the worker cannot go on for now, and tries again: KeyError: 'a bug'\n"
    assert log[1].startswith("DEBUG where that came from\nTraceback")
    assert '{}["a bug"]' in log[1]


def test_a_drain_hears_of_what_stays_after_so_many_rounds_in_a_row(alarms: Alarms) -> None:
    trouble = Trouble(alarms)
    assert IN_VAIN == 10
    trouble.raise_what_stays()
    for _ in range(IN_VAIN - 1):
        trouble.met(StorageError("the disk is full"))
        trouble.raise_what_stays()
    trouble.over()
    for number in range(IN_VAIN):
        trouble.raise_what_stays()
        trouble.met(StorageError(f"round {number}"))
    with pytest.raises(StorageError, match="round 9"):
        trouble.raise_what_stays()
    trouble.over()
    trouble.raise_what_stays()
