"""The rows' time line, call by call: whose mark counts, when anything is written, what two workers see of one step."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from encoder_pin_plugin.clock import EvenClock
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.mark import Mark
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.timeline import TOLERANCE, clamp, mind_the_clock, shift
from tests.lazy.booking import add, claim, column, end
from tests.lazy.conftest import NOW, StandingClock


@pytest.mark.parametrize("row", [None, "another 60000", "damaged", "boot many", ""], ids=str)
def test_a_mark_of_nobody_and_of_another_boot_moves_nothing(ledger: Ledger, row: str | None) -> None:
    add(ledger, "a")
    shift(ledger, 1000, "boot")
    with ledger.transaction() as db:
        db.execute("DELETE FROM meta WHERE name='clock'")
        if row is not None:
            db.execute("INSERT INTO meta VALUES ('clock', ?)", (row,))
    assert claim(ledger)[0].turn_at == NOW


def test_a_mark_that_still_agrees_is_read_and_not_written(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    shift(ledger, 1000, "boot")
    monkeypatch.setattr(ledger, "transaction", lambda: pytest.fail("nothing is to be written"))
    ledger.mark = None
    assert shift(ledger, 1003, "boot") == 0
    assert ledger.mark == Mark("boot", 1000)


def test_a_step_that_another_worker_has_just_followed_is_not_followed_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(ledger, "a")
    shift(ledger, 1000, "boot")
    read: Any = ledger.read

    def stale(*_: object) -> list[sqlite3.Row]:
        monkeypatch.setattr(ledger, "read", read)
        return []

    monkeypatch.setattr(ledger, "read", stale)
    assert shift(ledger, 1003, "boot") == 0
    assert ledger.mark == Mark("boot", 1000)
    assert column(ledger, "a", "next_at") == NOW


@pytest.mark.parametrize("state", [State.PENDING, State.FALLING_BACK])
def test_no_job_waits_since_a_time_to_come(ledger: Ledger, state: State) -> None:
    """A boot with its clock behind, set right later, moves a job's times into the future: it would never grow old."""
    for name, ahead in (("a little", TOLERANCE), ("far", TOLERANCE + 1)):
        add(ledger, name)
        end(ledger, name, state)
        with ledger.transaction() as db:
            db.execute("UPDATE job SET waiting_since=? WHERE job_id=?", (NOW + ahead, name))
    assert clamp(ledger, NOW, 1000) == 1
    assert column(ledger, "a little", "waiting_since") == NOW + TOLERANCE
    assert column(ledger, "far", "waiting_since") == NOW


def test_a_step_is_followed_told_and_what_was_parked_is_made_due(ledger: Ledger, log: list[str]) -> None:
    add(ledger, "soon", "parked")
    end(ledger, "soon", State.PENDING, delay=900)
    end(ledger, "parked", State.PENDING, delay=1001)
    clock = EvenClock(StandingClock())
    mind_the_clock(ledger, clock, 1000)
    assert log == [
        "WARNING times that lay ahead, of a boot with a wrong clock, are put right: those jobs are due now\n"
    ]
    assert [column(ledger, name, "next_at") for name in ("soon", "parked")] == [NOW + 900, NOW]
    log.clear()
    mind_the_clock(ledger, clock, 1000)
    assert log == []


def test_a_stepped_clock_is_told_in_seconds(ledger: Ledger, log: list[str]) -> None:
    class Stepped(StandingClock):
        ahead = 0

        def wall(self) -> int:
            return NOW + self.ahead

    machine = Stepped()
    clock = EvenClock(machine)
    mind_the_clock(ledger, clock, 1000)
    machine.ahead = 61_400
    assert clock.wall() == NOW
    mind_the_clock(ledger, clock, 1000)
    assert clock.wall() == NOW + 61_400
    assert log == ["WARNING the wall clock was stepped by 61 s: due times are moved along\n"]
