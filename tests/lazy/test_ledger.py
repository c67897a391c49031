"""The ledger: leases that fence, due times that no clock can park, files and rows that agree."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder_hookspecs.events import CompletedJob, Reason
from encoder_pin_plugin.errors import LedgerError
from encoder_pin_plugin.lazy import schema
from encoder_pin_plugin.lazy.jobfile import new_submission
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.opening import OpenLedger
from encoder_pin_plugin.lazy.pins import LazyPin, State, Step
from encoder_pin_plugin.lazy.timeline import clamp, shift
from tests.cids import cid_of
from tests.lazy.booking import LEASE, claim
from tests.lazy.conftest import NOW

YEARS = 10 * 365 * 86_400_000
EVENTS = st.sampled_from(["add", "claim", "fail", "done", "steal"])


def add(ledger: Ledger, *names: str, cid: str | None = None, now: int = NOW, **fields: Any) -> None:
    jobs = [CompletedJob(cid=cid or cid_of(name), job_id=name, **fields) for name in names]
    ledger.ingest([new_submission(job) for job in jobs], now)


def step(pin: LazyPin, state: State = State.PENDING, delay: int = 0) -> Step:
    return Step(pin=pin, state=state, delay=delay, attempts=pin.attempts + 1, tries=pin.tries + 1)


def test_settings_are_those_that_survive_a_power_cut(ledger: Ledger) -> None:
    assert ledger.read("PRAGMA journal_mode")[0][0] == "truncate"
    assert ledger.read("PRAGMA synchronous")[0][0] == 3
    assert ledger.path.stat().st_mode & 0o777 == 0o600


def test_a_claimed_job_is_nobody_elses_until_its_lease_ends(ledger: Ledger) -> None:
    add(ledger, "a")
    assert len(claim(ledger)) == 1
    assert claim(ledger, "w2") == []
    assert [pin.owner for pin in claim(ledger, "w2", NOW + LEASE + 1)] == ["w2"]


def test_a_result_after_the_lease_was_taken_over_is_dropped(ledger: Ledger) -> None:
    add(ledger, "a")
    (late,) = claim(ledger, "w1")
    (current,) = claim(ledger, "w2", NOW + LEASE + 1)
    assert ledger.commit([step(late, State.PINNED)], NOW) == []
    assert len(ledger.commit([step(current, State.PINNED)], NOW)) == 1


def test_a_dead_owners_jobs_are_free_at_once(ledger: Ledger) -> None:
    add(ledger, "a", "b")
    claim(ledger, "dead")
    assert ledger.owners() == {"dead"}
    assert ledger.release("dead") == 2
    assert len(claim(ledger, "w2")) == 2


def test_two_jobs_with_one_cid_are_never_in_flight_together(ledger: Ledger) -> None:
    add(ledger, "a", "b", cid=cid_of("one"))
    (first,) = claim(ledger)
    assert claim(ledger, "w2") == []
    ledger.commit([step(first, State.PINNED)], NOW)
    assert len(claim(ledger, "w2")) == 1


def test_the_longest_due_comes_first(ledger: Ledger) -> None:
    add(ledger, "a", "b", "c")
    for pin in claim(ledger):
        ledger.commit([step(pin, delay={"a": 30, "b": 10, "c": 20}[pin.job.job_id])], NOW)
    order = [claim(ledger, now=NOW + 100, limit=1)[0].job.job_id for _ in range(3)]
    assert order == ["b", "c", "a"]


def test_large_jobs_leave_room_for_small_ones(ledger: Ledger) -> None:
    add(ledger, "huge", size_mb=50_000)
    add(ledger, "small", size_mb=5, now=NOW + 1)
    assert [pin.job.job_id for pin in claim(ledger, now=NOW + 2, small_only=True)] == ["small"]


@pytest.mark.parametrize("jump", [-YEARS, YEARS])
def test_a_clock_that_jumps_parks_no_job(ledger: Ledger, jump: int) -> None:
    add(ledger, "a")
    (pin,) = claim(ledger)
    ledger.commit([step(pin, delay=900_000)], NOW)
    shift(ledger, NOW, "boot")
    assert shift(ledger, NOW + jump, "boot") == jump
    assert claim(ledger, now=NOW + jump + 800_000) == []
    assert len(claim(ledger, now=NOW + jump + 900_001)) == 1


def test_only_one_of_several_workers_moves_the_times(ledger: Ledger) -> None:
    shift(ledger, NOW, "boot")
    assert shift(ledger, NOW + YEARS, "boot") == YEARS
    assert shift(ledger, NOW + YEARS, "boot") == 0


def test_a_due_time_from_a_wrong_clock_is_clamped(ledger: Ledger) -> None:
    add(ledger, "a")
    (pin,) = claim(ledger)
    ledger.commit([step(pin, delay=YEARS)], NOW)
    assert clamp(ledger, NOW, 3_600_000) == 1
    assert len(claim(ledger, now=NOW + 1)) == 1


def test_a_lease_from_a_wrong_clock_does_not_hold(ledger: Ledger) -> None:
    add(ledger, "a")
    with ledger.transaction() as db:
        db.execute("UPDATE job SET lease_until=?, owner='w1', next_at=?", (NOW + YEARS, NOW))
    assert len(claim(ledger, "w2", NOW)) == 1


def test_a_finished_job_that_is_submitted_again_is_open_again_with_fresh_counts(ledger: Ledger) -> None:
    add(ledger, "a")
    ledger.commit([step(claim(ledger)[0], State.PINNED)], NOW)
    assert claim(ledger) == []
    add(ledger, "a")
    (again,) = claim(ledger)
    assert (again.attempts, again.tries, again.closed_at) == (0, 0, None)


def test_a_closed_nonce_is_told_and_opens_nothing(ledger: Ledger) -> None:
    submission = new_submission(CompletedJob(cid=cid_of("a"), job_id="a"))
    ledger.ingest([submission], NOW)
    ledger.commit([step(claim(ledger)[0], State.PINNED)], NOW)
    assert ledger.ingest([submission], NOW) == [submission]
    assert claim(ledger) == []


def test_old_jobs_come_whatever_their_due_time(ledger: Ledger) -> None:
    add(ledger, "a")
    ledger.commit([step(claim(ledger)[0], delay=900_000)], NOW)
    assert len(claim(ledger, now=NOW + 10, waited=0)) == 1


def test_a_newer_ledger_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "lazy-pins.db"
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
        db.execute("ALTER TABLE job ADD COLUMN later TEXT")
    db.close()
    with pytest.raises(LedgerError, match="newer release"):
        Ledger(path)


def test_a_ledger_locked_for_long_is_an_error_in_words(ledger: Ledger) -> None:
    other = Ledger(ledger.path, busy_timeout=0.1)
    with ledger.transaction(), pytest.raises(LedgerError, match="cannot be written"):
        add(other, "a")
    other.close()


def test_a_failing_transaction_leaves_nothing_behind(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.transaction() as db:
        db.execute("INSERT INTO meta VALUES ('x', 'y')")
        raise ZeroDivisionError
    assert ledger.read("SELECT * FROM meta WHERE name='x'") == []


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\xff" * 5000, b"garbage" * 999])
def test_whatever_stands_in_the_ledgers_place_is_told_as_damage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lazy-pins.db"
    path.write_bytes(content)
    if not content:
        Ledger(path).close()
        return
    with pytest.raises(sqlite3.DatabaseError) as caught:
        Ledger(path)
    assert schema.is_damaged(caught.value)
    corpse = schema.set_aside(path, schema.file_at(path), "test")
    assert corpse is not None
    assert corpse.read_bytes() == content
    Ledger(path).close()


def test_a_ledger_that_another_worker_has_rebuilt_meanwhile_is_not_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "lazy-pins.db"
    slow = OpenLedger(path, lambda ledger: None)
    path.write_bytes(b"garbage" * 999)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        slow.get()
    schema.set_aside(path, schema.file_at(path), "by the quicker one")
    Ledger(path).close()
    slow.recover(caught.value)
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    slow.get()
    slow.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), EVENTS), max_size=30))
def test_no_order_of_events_finishes_a_job_twice_or_forgets_one(events: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "lazy-pins.db")
        added, finished, held, now = set(), 0, {}, NOW
        for name, event in events:
            now += 1000
            if event == "add" and name not in added:
                add(ledger, name, now=now)
                added.add(name)
            elif event in ("claim", "steal"):
                jump = LEASE + 1 if event == "steal" else 0
                now += jump
                for pin in claim(ledger, name, now):
                    held.setdefault(pin.job.job_id, []).append(pin)
            elif event in ("fail", "done"):
                state = State.PINNED if event == "done" else State.PENDING
                for pin in held.pop(name, []):
                    done = ledger.commit([step(pin, state)], now)
                    finished += len(done) if state.final else 0
        rows = ledger.select()
        assert {pin.job.job_id for pin in rows} == added
        assert sum(pin.closed_at is not None for pin in rows) == finished
        ledger.close()


def test_reasons_survive_as_words(ledger: Ledger) -> None:
    add(ledger, "a")
    (pin,) = claim(ledger)
    failed = Step(pin=pin, state=State.PENDING, attempts=1, tries=1, reason=Reason.STALLED, error="x")
    ledger.commit([failed], NOW)
    assert ledger.select()[0].reason is Reason.STALLED
    assert ledger.select()[0].large
