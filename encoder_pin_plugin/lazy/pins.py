"""A lazy pin as the ledger knows it: its states, its row, and the step from one state to the next."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason

if TYPE_CHECKING:
    from encoder_hookspecs.events import CompletedJob

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LARGE_MB = 1000.0
"""MB from which a job goes into the lane that leaves room for smaller ones."""


class State(enum.StrEnum):
    """Where a lazy pin is in its life."""

    PENDING = "pending"
    FALLING_BACK = "falling_back"
    PINNED = "pinned"
    ARCHIVED = "archived"
    REJECTED = "rejected"

    @property
    def final(self) -> bool:
        return self in {State.PINNED, State.ARCHIVED, State.REJECTED}


@dataclass(frozen=True, kw_only=True)
class LazyPin:
    """One job's row. Times in milliseconds on the time line of the ledger's rows (see `timeline`), as it was when the
    row was read: they are compared with each other only, never with a clock that is read later.

    Args:
        key: names the job.
        job: what the host reported.
        state: where it is in its life.
        waiting_since: since when it waits: its completion, or when it was taken in where that lies in the future.
        next_at: when its next turn is.
        attempts, tries: failed attempts that count, and all of them.
        first_tried_at: when the first one began.
        reason, error: of the last failure.
        fallbacks: how often the local fallback failed.
        hold: who pinned the CID on the local node: "ours", "theirs", "none", "released", None for not asked yet.
        epoch, owner: the lease.
        whole_at: when every block was first found where it is to be: on the supernode for a release, on a local node of
            another machine for a fallback.
        line: its line in the archive.
        closed_at: when it came to its end.
        turn_at: when its turn began: when it was claimed, later when a thread begins with it.
    """

    key: str
    job: CompletedJob
    state: State
    waiting_since: int
    next_at: int
    attempts: int = 0
    tries: int = 0
    first_tried_at: int | None = None
    reason: Reason | None = None
    error: str | None = None
    fallbacks: int = 0
    hold: str | None = None
    epoch: int = 0
    owner: str | None = None
    whole_at: int | None = None
    line: bytes | None = None
    closed_at: int | None = None
    turn_at: int = 0

    @property
    def large(self) -> bool:
        """Whether it may keep a slot for long: large, or found to be slow."""
        return (self.job.size_mb or 0.0) >= LARGE_MB or self.reason in {Reason.STALLED, Reason.TIMEOUT}


@dataclass(frozen=True, kw_only=True)
class Step:
    """What became of a claimed job: its next state, and what the ledger should know of it. It carries no moments but
    durations, to which the commit adds its own time: the clock may be stepped between the two.

    Args:
        pin: the job, as it was claimed.
        state: its next one.
        attempts, tries, fallbacks, reason, error, line: see `LazyPin`.
        delay: milliseconds from the commit until its next turn.
        took: milliseconds for which it was attempted, None where it was not.
        whole_for: milliseconds since every block was first found where it is to be, where that is to be asked again.
    """

    pin: LazyPin
    state: State
    attempts: int
    tries: int
    delay: int = 0
    fallbacks: int = 0
    took: int | None = None
    reason: Reason | None = None
    error: str | None = None
    line: bytes | None = None
    whole_for: int | None = None


def to_ms(moment: datetime) -> int:
    """Wall-clock milliseconds of a timezone-aware moment."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def to_moment(ms: int) -> datetime:
    """The moment of wall-clock milliseconds."""
    return _EPOCH + timedelta(milliseconds=ms)
