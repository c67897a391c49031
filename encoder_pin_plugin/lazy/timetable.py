"""What the worker does now and then: each thing at once, and again when its time has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from encoder_pin_plugin.clock import Clock


class Timetable:
    """When each thing was last done.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._done: dict[str, float] = {}

    def every(self, seconds: float, name: str, do: Callable[[], object]) -> None:
        """Do `do` unless what has this `name` was begun less than `seconds` ago; where it fails, not sooner again."""
        now = self._clock.steady()
        if now - self._done.get(name, now - seconds) >= seconds:
            self._done[name] = now
            do()
