"""The clocks: one that says what time it is, and may jump, and one that only ever counts up.

Durations are measured with the second. The first is used for what must survive a restart and for what people read.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE = Path("/proc/self/ns/time")


class Clock(Protocol):
    """What the worker needs to know of time."""

    def wall(self) -> int:
        """Wall-clock milliseconds since 1970; may jump."""

    def steady(self) -> float:
        """Seconds that only count up, through suspends too, the same for all processes of one boot."""

    def boot(self) -> str:
        """Names this boot of the machine."""


class SystemClock:
    """The machine's own clocks."""

    def wall(self) -> int:
        """Wall-clock milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def steady(self) -> float:
        """CLOCK_BOOTTIME where there is one (Linux), else the monotonic clock."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def boot(self) -> str:
        """The kernel's boot id; "unknown" where it has none. A container may have a `steady` of its own: it counts
        as another boot."""
        try:
            boot = _BOOT_ID.read_text("ascii").strip()
        except OSError:
            return "unknown"
        try:
            return f"{boot}/{_TIME_NAMESPACE.readlink()}"
        except OSError:
            return boot


class EvenClock:
    """Another clock's wall time without its steps: it goes on evenly until it is told to follow.

    For what is compared with times that were written down before: whoever has moved those along lets it follow.

    Args:
        clock: the other one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = self.measured()

    def wall(self) -> int:
        """Wall-clock milliseconds, as they are without the steps that nobody has followed yet."""
        return int(self._clock.steady() * 1000) + self._offset

    def steady(self) -> float:
        """The other clock's."""
        return self._clock.steady()

    def boot(self) -> str:
        """The other clock's."""
        return self._clock.boot()

    def stepped(self) -> int:
        """The other clock's wall time, whatever it is."""
        return self._clock.wall()

    def measured(self) -> int:
        """By how many milliseconds the other clock's wall time differs from the one that only counts up."""
        return self._clock.wall() - int(self._clock.steady() * 1000)

    def follow(self, offset: int) -> None:
        """From now on the two differ by `offset` milliseconds."""
        self._offset = offset
