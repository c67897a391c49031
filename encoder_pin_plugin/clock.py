"""The clocks: one that says what time it is, and may jump, and one that only ever counts up.

Durations are measured with the second. The first is used for what must survive a restart and for what people read.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


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
        """The kernel's boot id; "unknown" where it has none."""
        try:
            return _BOOT_ID.read_text("ascii").strip()
        except OSError:
            return "unknown"
