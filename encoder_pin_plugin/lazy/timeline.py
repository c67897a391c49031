"""The time line of the ledger's rows: wall-clock milliseconds that go on evenly, and jump for all rows at once.

Where the wall clock is stepped, by a second or ten years, every time in an open row is moved along in one transaction,
and the ledger remembers by what the wall clock then differed from the clock that only counts up: its mark. A worker
counts on from the mark that it last read, so that its own time never jumps in between; and each of its transactions
makes good what another worker has moved since. So nothing is delayed or hastened by when the step came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.lazy.mark import READ, Mark, parsed
from encoder_pin_plugin.lazy.pins import State

if TYPE_CHECKING:
    import sqlite3

    from encoder_pin_plugin.clock import EvenClock
    from encoder_pin_plugin.lazy.ledger import Ledger

TOLERANCE = 5_000
"""Milliseconds by which the wall clock may drift without being taken for a step."""

_MOVE_OPEN = """
UPDATE job SET next_at=next_at+:step, waiting_since=waiting_since+:step, first_tried_at=first_tried_at+:step,
    lease_until=lease_until+:step, whole_at=whole_at+:step
WHERE closed_at IS NULL
"""

_MOVE_RELEASES = """
UPDATE job SET release_at=release_at+:step, whole_at=whole_at+:step
WHERE closed_at IS NOT NULL AND release_at IS NOT NULL
"""

_CLAMP = "UPDATE job SET next_at=:now WHERE closed_at IS NULL AND state=:state AND next_at > :now + :cap"

_CLAMP_AGE = """
UPDATE job SET waiting_since=:now WHERE closed_at IS NULL AND state=:state AND waiting_since > :now + :tolerance
"""


def mind_the_clock(ledger: Ledger, clock: EvenClock, cap: int) -> None:
    """Notice a step of the wall clock, and go along with it: all rows, then `clock`.

    Args:
        ledger: the rows.
        clock: the worker's.
        cap: milliseconds beyond which no job is parked.

    Raises: LedgerError; the step is then noticed the next time.
    """
    step = shift(ledger, clock.measured(), clock.boot())
    if ledger.mark is not None:
        clock.follow(ledger.mark.offset)
    if step:
        logger.warning("the wall clock was stepped by {:.0f} s: due times are moved along", step / 1000)
    if clamp(ledger, clock.wall(), cap):
        logger.warning("times that lay ahead, of a boot with a wrong clock, are put right: those jobs are due now")


def shift(ledger: Ledger, offset: int, boot: str) -> int:
    """Move all times by as much as the wall clock was stepped since anybody last called this on this boot.

    Args:
        ledger: whose rows they are, and whose mark is brought up to date.
        offset: wall clock minus the clock that only counts up, in milliseconds.
        boot: names this boot of the machine.

    Returns:
        The step in milliseconds, 0 for none. Only one of several workers sees it.
    """
    step, mark = 0, parsed(next(iter(ledger.read(READ)), None))
    if not _agrees(mark, offset, boot):
        with ledger.transaction() as db:
            mark = parsed(db.execute(READ).fetchone())  # another worker may have been quicker
            if not _agrees(mark, offset, boot):
                step = offset - mark.offset if mark is not None and mark.boot == boot else 0
                mark = Mark(boot, offset)
                _move(db, mark, step)
    ledger.mark = mark
    return step


def _move(db: sqlite3.Connection, mark: Mark, step: int) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES ('clock', ?)", (f"{mark.boot} {mark.offset}",))
    if step:
        db.execute(_MOVE_OPEN, {"step": step})
        db.execute(_MOVE_RELEASES, {"step": step})


def clamp(ledger: Ledger, now: int, cap: int) -> int:
    """Make due what a clock that was wrong at another boot has parked further away than `cap` milliseconds, and let no
    job wait since a time to come, or it would never grow old; returns how many."""
    with ledger.at(now) as (db, moment):
        return sum(
            db.execute(statement, {"now": moment, "cap": cap, "tolerance": TOLERANCE, "state": state}).rowcount
            for state in (State.PENDING, State.FALLING_BACK)
            for statement in (_CLAMP, _CLAMP_AGE)
        )


def _agrees(mark: Mark | None, offset: int, boot: str) -> bool:
    return mark is not None and mark.boot == boot and abs(offset - mark.offset) <= TOLERANCE
