"""Alarms: one ERROR line when a bad state begins, one an hour while it lasts, one INFO when it ends.

So an operator who greps for ERROR sees each trouble once, and one that goes on is neither forgotten nor a flood.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from encoder_pin_plugin.clock import Clock

REPEAT = 3600.0
"""Seconds after which an alarm that lasts is said again."""


class Alarms:
    """The bad states that last, each under a name of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: dict[str, float] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, text: str) -> None:
        """The state `name` is bad: say `text`, unless it was said within the hour."""
        now = self._clock.steady()
        with self._lock:
            last = self._said.get(name)
            if last is not None and now - last < REPEAT:
                return
            self._said[name] = now
        logger.error("{}{}", "still: " if last is not None else "", text)

    def end(self, name: str, text: str) -> None:
        """The state `name` is good: say `text` if it was bad."""
        with self._lock:
            ended = self._said.pop(name, None) is not None
        if ended:
            logger.info("{}", text)

    def lasting(self) -> list[str]:
        """The names of the states that are bad now."""
        with self._lock:
            return sorted(self._said)
