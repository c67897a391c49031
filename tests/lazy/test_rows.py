"""What goes into the ledger's rows comes out of them again, and a row that cannot be what was written is damage."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from encoder_hookspecs.events import CompletedJob, Reason
from encoder_pin_plugin.lazy.jobfile import job_key, new_submission
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import LazyPin, State, Step, to_ms
from tests.cids import cid_of

NOW = 1_800_000_000_000
COMPLETED = datetime(2025, 10, 28, 10, 30, 0, 5000, tzinfo=UTC)
JOB = CompletedJob(
    cid=cid_of("a"), job_id="job-1", size_mb=25.5, type="file", completed_at=COMPLETED, node_id="encoder-1"
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with one job."""
    opened = Ledger(tmp_path / "lazy-pins.db")
    opened.ingest([new_submission(JOB)], NOW)
    yield opened
    opened.close()


def claimed(ledger: Ledger, state: State = State.PENDING) -> LazyPin:
    (pin,) = ledger.claim("w1", state, NOW, limit=9, lease=1000)
    return pin


def test_a_fresh_row_is_the_job_as_it_was_reported(ledger: Ledger) -> None:
    assert ledger.select() == [
        LazyPin(
            key=job_key(JOB.cid, JOB.job_id), job=JOB, state=State.PENDING, waiting_since=to_ms(COMPLETED), next_at=NOW
        )
    ]


def test_a_job_of_the_future_waits_since_it_was_taken_in(ledger: Ledger) -> None:
    ahead = CompletedJob(cid=cid_of("b"), job_id="b", completed_at=datetime(2100, 1, 1, tzinfo=UTC))
    ledger.ingest([new_submission(ahead)], NOW)
    (pin,) = ledger.select("job_id='b'")
    assert pin.waiting_since == NOW


def test_a_submission_is_remembered_with_its_file(ledger: Ledger) -> None:
    again = new_submission(JOB)
    assert ledger.ingest([again], NOW) == []
    assert ledger.body(again.nonce) == (again.key, again.body)
    assert ledger.is_open(again.nonce)


def test_every_part_of_a_step_is_written(ledger: Ledger) -> None:
    pin = claimed(ledger)
    assert (pin.owner, pin.epoch, pin.turn_at) == ("w1", 1, NOW)
    step = Step(
        pin=pin, state=State.FALLING_BACK, delay=1, attempts=2, tries=3, fallbacks=4, took=5,
        reason=Reason.TIMEOUT, error="no answer", line=b"line\n", whole_for=3,
    )  # fmt: skip
    assert ledger.commit([step], NOW) == [step]
    (after,) = ledger.select()
    assert after == LazyPin(
        key=pin.key, job=JOB, state=State.FALLING_BACK, waiting_since=to_ms(COMPLETED), next_at=NOW + 1, attempts=2,
        tries=3, fallbacks=4, first_tried_at=NOW - 5, reason=Reason.TIMEOUT, error="no answer", line=b"line\n",
        whole_at=NOW - 3, epoch=1,
    )  # fmt: skip


@pytest.mark.parametrize("state", State)
def test_a_final_state_closes_a_job_and_no_other_does(ledger: Ledger, state: State) -> None:
    ledger.commit([Step(pin=claimed(ledger), state=state, attempts=0, tries=1)], NOW + 7)
    (after,) = ledger.select()
    assert after.closed_at == (NOW + 7 if state.final else None)
    assert (after.owner, after.reason, after.error) == (None, None, None)
    assert list(ledger.nonces().values()) == [state.final]


def test_the_first_moments_stay(ledger: Ledger) -> None:
    for now in (NOW, NOW + 10):
        (pin,) = ledger.claim("w1", State.PENDING, now, limit=9, lease=1000)
        step = Step(pin=pin, state=State.PENDING, attempts=0, tries=1, took=3, whole_for=now - NOW)
        ledger.commit([step], now)
        after = ledger.select()[0]
        assert (after.first_tried_at, after.whole_at) == (NOW - 3, NOW)
    ledger.commit([Step(pin=claimed_at(ledger, NOW + 20), state=State.PENDING, attempts=0, tries=1)], NOW - 50)
    after = ledger.select()[0]
    assert (after.first_tried_at, after.whole_at) == (NOW - 3, None)


def claimed_at(ledger: Ledger, now: int) -> LazyPin:
    (pin,) = ledger.claim("w1", State.PENDING, now, limit=9, lease=1000)
    return pin


def test_a_line_once_written_stays_known(ledger: Ledger) -> None:
    for line in (b"line\n", None):
        step = Step(pin=claimed(ledger), state=State.PENDING, attempts=0, tries=1, line=line)
        ledger.commit([step], NOW)
    assert ledger.select()[0].line == b"line\n"


def test_who_holds_the_content_is_known(ledger: Ledger) -> None:
    assert ledger.select()[0].hold is None
    ledger.set_hold({job_key(JOB.cid, JOB.job_id): "theirs"}, NOW)
    assert ledger.select()[0].hold == "theirs"


def test_an_error_that_is_no_text_for_a_database_is_written_all_the_same(ledger: Ledger) -> None:
    step = Step(pin=claimed(ledger), state=State.PENDING, attempts=0, tries=1, error="é\udcff🎬")
    ledger.commit([step], NOW)
    assert ledger.select()[0].error == "é?🎬"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("cid", "no CID"), ("state", "lost"), ("reason", "odd"), ("completed_at", 10**18),
        ("attempts", -1), ("tries", -1), ("fallbacks", -1), ("job_id", "another"),
        ("cid", cid_of("another")),
    ],
)  # fmt: skip
def test_a_row_that_nobody_wrote_is_damage_and_names_its_job(ledger: Ledger, column: str, value: Any) -> None:
    key = job_key(JOB.cid, JOB.job_id)
    with ledger.transaction() as db:
        db.execute("PRAGMA ignore_check_constraints=1")
        db.execute(f"UPDATE job SET {column}=?", (value,))
    with pytest.raises(sqlite3.DatabaseError, match=f"the row of job '?{key}'? (cannot be read: .|is not what was w)"):
        ledger.select()


@pytest.mark.parametrize("column", ["attempts", "tries", "fallbacks"])
def test_a_count_may_be_nothing(ledger: Ledger, column: str) -> None:
    with ledger.transaction() as db:
        db.execute(f"UPDATE job SET attempts=1, tries=1, fallbacks=1, {column}=0")
    assert getattr(ledger.select()[0], column) == 0
