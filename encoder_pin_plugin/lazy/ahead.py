"""How many jobs a worker claims at once: those that can be pinned at a time, and some more, so that no slot waits.

A pinned job is still under way until it is proved and written down, and the next is claimed only when that is done. How
many more follows from how fast jobs end: of a supernode that pins two hundred a second a hundred are claimed ahead, of
one that takes ten minutes for each a handful, and the rest is left to other workers.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from encoder_pin_plugin.clock import Clock

SECONDS = 0.5
"""For how long the work that is claimed ahead should last: several rounds of the worker."""

AT_MOST = 16
"""Claimed jobs for each that can be pinned at a time, however fast they end."""


class Ahead:
    """Watches how fast jobs end. Used by the worker's own thread only.

    Args:
        at_once: how many can be pinned at a time.
        clock: the time.
    """

    def __init__(self, at_once: int, clock: Clock) -> None:
        self._clock = clock
        self.asking = max(2, at_once // 2)
        """How many are asked about while others are being pinned."""
        self._least = at_once + 2 * self.asking
        self._ended: deque[float] = deque(maxlen=AT_MOST * at_once - self._least)

    def ended(self) -> None:
        """A job has ended, well or not."""
        self._ended.append(self._clock.steady())

    @property
    def slots(self) -> int:
        """How many jobs may be claimed and not ended."""
        since = self._clock.steady() - SECONDS
        while self._ended and self._ended[0] < since:
            self._ended.popleft()
        return self._least + len(self._ended)
