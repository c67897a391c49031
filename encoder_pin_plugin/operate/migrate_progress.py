"""Showing a migration while it runs, and stopping it: Ctrl-C ends it in order, a second one at once."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from encoder_pin_plugin.operate.output import count, duration, megabytes, one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from encoder_pin_plugin.archive.tally import Tally

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Progress:
    """A progress bar on a terminal, and nothing where nobody looks."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}", markup=False))
            self._bar = self._stack.enter_context(Bar(*columns, console=Console(stderr=True), transient=True))
            self._task = self._bar.add_task("", total=None, words="")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def told(self, tally: Tally) -> None:
        """Show where a migration stands."""
        if self._bar is not None:
            done = len(tally.proofs.keys() | tally.troubles.keys())
            self._bar.update(self._task, completed=done, total=tally.total, words=in_words(tally))


def in_words(tally: Tally) -> str:
    """Where a migration stands, on one line: MB, rate, time left, failures by reason."""
    left = tally.untried / tally.rate if tally.proofs else 0.0
    parts = [megabytes(tally.proved_mb), f"{tally.rate:.1f}/s"]
    parts += [f"{duration(left)} left"] if left else []
    parts += [f"{number} {reason}" for reason, number in tally.by_reason().most_common()]
    return one_line(", ".join(parts))


class Stopping:
    """SIGINT and SIGTERM: the first asks the migration to stop, the second ends the process."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self.stopped = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.stopped:
            os._exit(128 + number)
        self.stopped = True
        self._stop()
        os.write(2, b"\nstopping when what is in flight has ended; once more stops at once, and is harmless\n")


def summary(tally: Tally, to: str) -> list[str]:
    """What a migration did, in a few lines."""
    how = f"{tally.pinned:,} pinned now, {tally.there:,} there before; {tally.rate:.1f} a second"
    proved = f"{count(len(tally.proofs), 'CID is', 'CIDs are')} on {to} and proved ({megabytes(tally.proved_mb)})"
    lines = [f"{proved}: {how}"]
    if tally.cleaned_lines or tally.released:
        moved = count(tally.cleaned_lines, "line")
        lines.append(f"{moved} moved to migrated-pins.jsonl, {count(tally.released, 'local pin')} removed")
    if tally.kept:
        cid, why = next(iter(tally.kept.items()))
        lines.append(f"{count(len(tally.kept), 'local pin stays', 'local pins stay')}, such as {cid}: {why}")
    return lines
