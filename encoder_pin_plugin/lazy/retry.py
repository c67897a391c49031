"""When the next attempt comes: backoff and threshold for one job, a circuit breaker for the supernode as a whole.

Pure: clock and randomness are given from outside, nothing sleeps. The breaker lives in memory only; it is derived from
what the node does, and nothing is lost with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from encoder_hookspecs.events import GiveUp, LazyPinAttempt, Reason, RetryIn

if TYPE_CHECKING:
    from random import Random

MIN_RETRY = 1.0
"""Seconds: no plugin makes us ask a node more often."""

JITTER = 0.2
"""Part of a delay by which it is spread to both sides."""

_NOT_COUNTED = {Reason.NOT_ALLOWED, Reason.TOO_OLD}

_OF_THE_NODE = {
    Reason.REFUSED,
    Reason.TIMEOUT,
    Reason.CUT,
    Reason.BAD_REPLY,
    Reason.NODE_FULL,
    Reason.NOT_ALLOWED,
}
"""Failures that say something about the node, and not about one CID."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How often and how long a job is tried. Seconds; the settings' values."""

    threshold: int = 3
    backoff: tuple[float, ...] = (60.0, 300.0, 900.0)
    max_backoff: float = 3600.0
    fallback: bool = True


def counts(reason: Reason) -> bool:
    """Whether a failure uses up one of LOCAL_FALLBACK_THRESHOLD: a refused connection does, a wrong setting not."""
    return reason not in _NOT_COUNTED


def decide(attempt: LazyPinAttempt, policy: Policy, random: Random) -> RetryIn | GiveUp:
    """The default decision after a failed attempt."""
    if policy.fallback and attempt.counts and attempt.number >= policy.threshold:
        return GiveUp(why=f"{attempt.number} of {policy.threshold} attempts failed")
    index = min(max(attempt.number, 1), len(policy.backoff)) - 1
    delay = policy.backoff[index] if attempt.counts else policy.backoff[-1]
    return RetryIn(seconds=delay * random.uniform(1 - JITTER, 1 + JITTER))


def clamp(seconds: object, policy: Policy) -> float:
    """A plugin's wish, within bounds; what is no number is the longest."""
    if not isinstance(seconds, int | float) or (isinstance(seconds, float) and math.isnan(seconds)):
        return policy.max_backoff
    return float(min(max(seconds, MIN_RETRY), policy.max_backoff))


@dataclass
class Breaker:
    """Holds attempts back while the supernode as a whole is down, and lets one probe at a time find out.

    Args:
        random: spreads the probes of several workers.
        failures: how many in a row open it.
        first: seconds of the first pause; each further one is twice as long.
        longest: seconds of the longest pause.
    """

    random: Random
    failures: int = 5
    first: float = 30.0
    longest: float = 600.0
    _in_a_row: int = field(default=0, init=False)
    _pause: float = field(default=0.0, init=False)
    _open_until: float | None = field(default=None, init=False)
    _probing: bool = field(default=False, init=False)

    def allows(self, now: float) -> int | None:
        """How many attempts may start at `now` (seconds of a clock that never jumps): None for no limit."""
        if self._open_until is None:
            return None
        return 1 if now >= self._open_until and not self._probing else 0

    @property
    def is_open(self) -> bool:
        """Whether the supernode is taken to be down."""
        return self._open_until is not None

    def opens_at(self) -> float | None:
        """When the next probe may start; None while closed."""
        return self._open_until

    def started(self) -> None:
        """An attempt starts: while open, it is the probe."""
        self._probing = self.is_open

    def succeeded(self) -> bool:
        """The node did what it was asked. Returns whether that ended an outage."""
        ended, self._in_a_row, self._pause = self.is_open, 0, 0.0
        self._open_until = None
        return ended

    def failed(self, reason: Reason, now: float) -> bool:
        """An attempt failed. Returns whether that began an outage."""
        was_open, self._probing = self.is_open, False
        if reason not in _OF_THE_NODE:
            if was_open:
                self.succeeded()  # it answered for one CID, so the node is up
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        if not (was_open or self._in_a_row >= self.failures or reason is Reason.NOT_ALLOWED):
            return False
        if was_open and self._open_until is not None and now < self._open_until:
            return False  # a straggler from before the outage says nothing new
        self._pause = min(self._pause * 2 or self.first, self.longest)
        self._open_until = now + self._pause * self.random.uniform(1 - JITTER, 1 + JITTER)
        return not was_open
