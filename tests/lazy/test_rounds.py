"""Each open job is in two places, and either one heals the other, while the worker runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.alarms import Alarms
from encoder_pin_plugin.clock import SystemClock
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.rounds import Rounds
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from tests.lazy.conftest import Bench


@pytest.fixture
def waiting(bench: Bench) -> Bench:
    """A bench with three open jobs that are taken in."""
    bench.supernode.down(Reason.REFUSED)
    for name in ("one", "two", "three"):
        bench.complete(name)
    worker = bench.worker()
    worker._presence.begin()
    worker._turn()
    worker._leave()
    return bench


def _walk(bench: Bench) -> int:
    ledger = bench.ledger()
    try:
        return Rounds(bench.spool, Alarms(SystemClock())).walk(ledger)
    finally:
        ledger.close()


def _contents(bench: Bench) -> set[bytes]:
    return {path.read_bytes() for path in bench.spool.opened()}


def test_sound_files_are_left_alone(waiting: Bench, warned: list[str]) -> None:
    assert _walk(waiting) == 0
    assert warned == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:40]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"size", b"sizf")),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
    ],
    ids=["emptied", "truncated", "flipped", "deleted", "a link"],
)
def test_a_damaged_job_file_is_written_again(
    waiting: Bench, warned: list[str], damage: Callable[[Path], object]
) -> None:
    before = _contents(waiting)
    damage(waiting.spool.opened()[0])
    assert _walk(waiting) == 1
    assert _contents(waiting) == before
    assert "written again from the ledger" in warned[0]


def test_a_damaged_copy_in_the_ledger_is_taken_from_the_file_again(waiting: Bench, warned: list[str]) -> None:
    with closing(sqlite3.connect(waiting.settings.data_dir / LEDGER_NAME)) as db, db:
        db.execute("UPDATE submission SET body = x'00'")
    assert _walk(waiting) == 3
    assert "taken from the file again" in warned[0]
    assert _walk(waiting) == 0


def test_two_damaged_copies_are_made_anew_from_the_row(waiting: Bench, warned: list[str]) -> None:
    with closing(sqlite3.connect(waiting.settings.data_dir / LEDGER_NAME)) as db, db:
        db.execute("UPDATE submission SET body = x'00'")
    path = waiting.spool.opened()[0]
    path.write_bytes(b"")
    assert _walk(waiting) == 3
    assert any("both copies" in line for line in warned)
    assert waiting.spool.read(path).name == path.name


@pytest.mark.parametrize(
    "flip",
    [
        "UPDATE job SET closed_at=0",
        "UPDATE job SET state='archived'",
        "UPDATE submission SET closed=1",
        "UPDATE job SET state='pinned', closed_at=1",
    ],
)
def test_a_job_that_is_half_closed_is_opened_again(waiting: Bench, warned: list[str], flip: str) -> None:
    with closing(sqlite3.connect(waiting.settings.data_dir / LEDGER_NAME)) as db, db:
        db.execute(flip)
    waiting.supernode.up()
    assert waiting.drain() == 0
    assert {pin.state for pin in waiting.jobs().values()} == {"pinned"}
    assert len(waiting.supernode.pins) == 3
    assert any("contradicted" in line for line in warned)


@pytest.mark.parametrize(
    "flip",
    [
        "job_id='onf'",
        "error=CAST(x'ff41' AS TEXT)",
        "cid='Qmno'",
        "completed_at=9000000000000000",
        "reason='stallee'",
        "attempts=-7",
    ],
)
def test_a_row_that_cannot_be_what_was_written_has_the_ledger_rebuilt(
    waiting: Bench, warned: list[str], flip: str
) -> None:
    with closing(sqlite3.connect(waiting.settings.data_dir / LEDGER_NAME)) as db, db:
        db.execute(f"UPDATE job SET {flip} WHERE job_id='one'")
    waiting.supernode.up()
    assert waiting.drain() == 0
    assert len(waiting.supernode.pins) == 3
    assert any("set aside" in line for line in warned)


def test_a_damaged_index_is_made_anew(waiting: Bench, warned: list[str]) -> None:
    with closing(sqlite3.connect(waiting.settings.data_dir / LEDGER_NAME)) as db, db:
        db.execute("PRAGMA writable_schema=ON")
        db.execute("UPDATE sqlite_master SET sql=replace(sql, 'next_at', 'tries') WHERE name='job_due'")
    ledger = Ledger(waiting.settings.data_dir / LEDGER_NAME)
    ledger.check(whole=True)
    assert any("made anew" in line for line in warned)
    ledger.close()


@pytest.mark.parametrize("gone", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_ledger_that_is_gone_is_said(waiting: Bench, warned: list[str], gone: Callable[[Path], object]) -> None:
    gone(waiting.settings.data_dir / LEDGER_NAME)
    waiting.supernode.up()
    assert waiting.drain() == 0
    assert any("gone or empty" in line for line in warned)
    assert len(waiting.supernode.pins) == 3


def test_a_first_start_misses_no_ledger(bench: Bench, warned: list[str]) -> None:
    bench.complete("one")
    assert bench.drain() == 0
    assert [line for line in warned if "ledger" in line] == []


def test_a_damaged_ledger_is_said_once(waiting: Bench, warned: list[str]) -> None:
    path = waiting.settings.data_dir / LEDGER_NAME
    path.write_bytes(b"no ledger any more" * 1000)
    waiting.supernode.up()
    assert waiting.drain() == 0
    assert len(waiting.supernode.pins) == 3
    assert ["set aside" in line for line in warned if "the ledger" in line and "damaged" in line] == [True]
    assert not any("gone or empty" in line for line in warned)
