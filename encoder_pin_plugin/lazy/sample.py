"""The daily sample: once a day the supernode is asked again about some of what it has pinned.

A node that was proved to hold a CID may lose it weeks later, and nobody would notice. So the worker walks through the
pinned jobs, some fifty a day, in the order of their keys, which are hashes: each day's are spread over all times. What
is gone becomes an open job again, loudly, through the spool like any other; an answer that is unknown changes nothing.
Where it has got to stands in the ledger: neither a restart nor a second worker asks twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.errors import EncoderPinError
from encoder_pin_plugin.lazy.pins import to_moment
from encoder_pin_plugin.lazy.statements import lazy_pin
from encoder_pin_plugin.nodes.holding import Tally, not_held

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from encoder_pin_plugin.clock import Clock
    from encoder_pin_plugin.lazy.ledger import Ledger
    from encoder_pin_plugin.lazy.pins import LazyPin
    from encoder_pin_plugin.lazy.spool import Spool
    from encoder_pin_plugin.nodes.base import PinNode

EVERY = 24 * 3600 * 1000
"""Milliseconds between two samples."""

SIZE = 50
"""Jobs in one sample."""

_NAME = "sample"
_TAKEN = "SELECT value FROM meta WHERE name=?"
_NEXT = "SELECT * FROM job WHERE key > ? AND +state = 'pinned' ORDER BY key LIMIT ?"

LOOK = 600.0
"""Seconds between two looks at whether a day has passed."""


@dataclass(frozen=True)
class _Last:
    """The last sample: when it was taken, and up to which key."""

    taken_at: int
    cursor: str


class DailySample:
    """Takes the samples of one worker.

    Args:
        node: the supernode.
        spool: where what is lost is submitted again.
        clock: the time.
    """

    def __init__(self, node: PinNode, spool: Spool, clock: Clock) -> None:
        self._node, self._spool, self._clock = node, spool, clock
        self._look_at = 0.0

    def task(self, ledger: Ledger) -> Callable[[], None] | None:
        """What is to be done now, beside the work; mostly nothing. Raises LedgerError."""
        if self._clock.steady() < self._look_at:
            return None
        self._look_at = self._clock.steady() + LOOK
        pins = take_sample(ledger, self._clock.wall())
        return (lambda: self._ask(pins)) if pins else None

    def _ask(self, pins: list[LazyPin]) -> None:
        """In a thread in which nobody hears an error."""
        try:
            ask_again(self._node, self._spool, pins)
        except EncoderPinError as error:
            logger.error("the daily sample ended early, and goes on tomorrow: {}", error)


def take_sample(ledger: Ledger, now: int, *, size: int = SIZE) -> list[LazyPin]:
    """The jobs to ask about now; none before a day has passed since the last sample, or since the first look.

    Args:
        ledger: remembers when the last one was taken, and up to which key.
        now: wall-clock milliseconds.
        size: how many at most.
    """
    if not _is_due(_parsed(ledger.read(_TAKEN, (_NAME,))), now):  # else it is worth a look under the write lock
        return []
    with ledger.transaction() as db:
        last = _parsed(db.execute(_TAKEN, (_NAME,)).fetchall())
        if not _is_due(last, now):  # another worker was quicker
            return []
        rows = db.execute(_NEXT, (last.cursor, size)).fetchall() if last else []
        pins = [lazy_pin(row) for row in rows]
        cursor = pins[-1].key if len(pins) == size else ""  # at the end, the next one begins anew
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_NAME, f"{now} {cursor}"))
    return pins


def ask_again(node: PinNode, spool: Spool, pins: list[LazyPin]) -> list[LazyPin]:
    """Ask about `pins`, and open those again that the node does not hold; returns these. Never raises for what a node
    answers; an error of our own disk is said, and the next round comes to it."""
    by_cid: dict[str, list[LazyPin]] = {}
    for pin in pins:
        by_cid.setdefault(pin.job.cid, []).append(pin)
    tally, lost = Tally(), []
    for cid, _ in not_held(node, by_cid, tally, blocks=False):
        for pin in by_cid[cid]:
            reopen(pin, node, spool)
            lost.append(pin)
    logger.debug("asked {} again about {} CIDs: {} held, {} unknown", node.address, tally.asked, tally.held,
                 len(tally.unknown))  # fmt: skip
    return lost


def reopen(pin: LazyPin, node: PinNode, spool: Spool) -> None:
    """Submit a pinned job again, because the node holds it no more. Raises NotRecorded."""
    when = to_moment(pin.closed_at).strftime("%Y-%m-%d") if pin.closed_at else "an earlier day"
    logger.error(
        "LOST BY THE SUPERNODE: {} does not hold {} of job {} any more, pinned there on {}: it is pinned again",
        node.address, pin.job.cid, pin.job.job_id, when,
    )  # fmt: skip
    spool.record(replace(pin.job, completed_at=datetime.now(UTC)))  # or it would be too old for another attempt


def _is_due(last: _Last | None, now: int) -> bool:
    return last is None or not 0 <= now - last.taken_at < EVERY


def _parsed(rows: list[sqlite3.Row]) -> _Last | None:
    """None where there is none, or a damaged one."""
    taken_at, _, cursor = "".join(str(row["value"]) for row in rows).partition(" ")
    try:
        return _Last(int(taken_at), cursor)
    except ValueError:
        return None
