"""How long to wait for a service that pins in its own time: asked again and again, within two limits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason

if TYPE_CHECKING:
    from encoder_pin_plugin.nodes.base import Limits

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds between two questions; content at hand is pinned in half a second, a large video in minutes."""


class PinWait:
    """The waiting for one pin.

    A service that says it is at work is not hurried by the stall limit: it watches its own fetching (Cluster gives
    up after two minutes without a block and says `pin_error`), and tells us nothing of its progress. The total limit
    holds for all.
    """

    def __init__(self, limits: Limits) -> None:
        self.until = time.monotonic() + limits.total
        self._limits = limits
        self._moved = time.monotonic()
        self._seen: object = None
        self._pause = FIRST_PAUSE

    def begin(self) -> None:
        """The stall clock starts here: a busy service may have been waited for until now."""
        self._moved = time.monotonic()

    def saw(self, state: object, *, working: bool) -> bool:
        """Note what the service says now; whether that is news."""
        news = state != self._seen
        if news or working:
            self._moved = time.monotonic()
        self._seen = state
        return news

    def over(self) -> Reason | None:
        """TIMEOUT or STALLED once a limit is passed."""
        now = time.monotonic()
        if now >= self.until:
            return Reason.TIMEOUT
        return Reason.STALLED if now - self._moved >= self._limits.stall else None

    def left(self, most: float) -> float:
        """Seconds that the next question may take: `most`, or what is left in all."""
        return min(most, max(self.until - time.monotonic(), 0.001))

    def pause(self) -> None:
        """Sleep a little, longer each time."""
        time.sleep(self.left(min(self._pause, self._limits.stall / 4)))
        self._pause = min(self._pause * 1.5, LONGEST_PAUSE)
