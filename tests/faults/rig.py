"""What every fault rig says in the end: one row of the table that `python -m tests.faults.prove` prints.

A rig is a module with `run(seed, count, say) -> RigReport`: it breaks something `count` times, drawing what and when
from `seed`, says how far it is through `say`, and counts what was lost, doubled or torn. It never asserts on speed.
"""

from __future__ import annotations

import os
import secrets
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

Say = Callable[[str], None]


class Missing(Exception):
    """What a rig needs (a tool, a privilege) is not to be had here: it is skipped, loudly, and counted."""


@dataclass(frozen=True, kw_only=True)
class RigReport:
    """One row.

    Args:
        fault: what was done to the program.
        tried: how often.
        lost, doubled, torn: jobs acknowledged and gone; lines or keys that stand twice; half-written things seen.
        healed_in: how long recovery took, in words; measured, never judged.
        notes: the rest, a sentence each; what was found wrong first.
    """

    fault: str
    tried: int
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    healed_in: str = "-"
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled or torn."""
        return not (self.lost or self.doubled or self.torn)

    def __add__(self, other: RigReport) -> RigReport:
        return replace(
            self, tried=self.tried + other.tried, lost=self.lost + other.lost, doubled=self.doubled + other.doubled,
            torn=self.torn + other.torn, notes=self.notes + other.notes,
        )  # fmt: skip


def fresh_seed() -> int:
    """A seed for a run; print it, so that the run can be had again."""
    return secrets.randbelow(2**32)


def spread(seconds: Sequence[float]) -> str:
    """Times in words: median and worst."""
    if not seconds:
        return "-"
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {statistics.median(ordered) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, max {ordered[-1] * 1000:.0f} ms"


@contextmanager
def scratch(name: str, *, keep: Callable[[], bool], memory: bool = False) -> Iterator[Path]:
    """A folder for one run, in memory where no disk is needed; it stays where `keep()` says so at the end, or where
    the run itself breaks."""
    shared = "/dev/shm" if memory and os.access("/dev/shm", os.W_OK) else None
    folder = Path(mkdtemp(prefix=f"encoder-pin-{name}-", dir=shared))
    yield folder
    if not keep():
        rmtree(folder, ignore_errors=True)
