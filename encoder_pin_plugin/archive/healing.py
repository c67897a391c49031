"""What stands after the last newline of a file is no line: it is completed where it can be, else set aside.

A writer that is killed, or a disk that fills up, leaves a torn tail. The next line would be glued to it and both be
lost, so it is dealt with before every append. Nothing is destroyed: what is no record goes to `quarantine/` first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.archive.record import MAX_LINE, InvalidLine, parse_line
from encoder_pin_plugin.durable import fsync_folder, make_folder, write_all, write_pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Healed:
    """What was done about a torn tail.

    Args:
        what: in words.
        quarantined: where its bytes are now, None where it was a whole record that only lacked its newline.
        size: of the tail, bytes.
    """

    what: str
    quarantined: Path | None
    size: int


def heal(descriptor: int, path: Path, quarantine: Path) -> Healed | None:
    """See to it that the file ends with a newline or is empty; None where it did. The caller holds the lock.
    Raises OSError where the disk says no; the file is then as it was."""
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return None
    start = _end_of_last_line(descriptor, size)
    healed = _complete(descriptor, start, size) or _set_aside(descriptor, start, size, quarantine)
    os.fsync(descriptor)
    logger.warning("{}", f"{path} ended with {healed.size} bytes without a newline, at byte {start}: {healed.what}")
    return healed


def quarantine_file(folder: Path, what: str, pieces: Iterable[bytes]) -> Path:
    """Write `pieces` durably to a new file in `folder`, named for the time and for `what`. Raises OSError."""
    make_folder(folder)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{what}"
    write_pieces(path, pieces)
    fsync_folder(folder)
    return path


def _end_of_last_line(descriptor: int, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - _BLOCK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _complete(descriptor: int, start: int, size: int) -> Healed | None:
    """A record is whole before its newline is: then it only needs that."""
    if size - start >= MAX_LINE:
        return None
    try:
        parse_line(os.pread(descriptor, size - start, start))
    except InvalidLine:
        return None
    write_all(descriptor, b"\n")
    return Healed(what="a whole record, it got its newline", quarantined=None, size=size - start)


def _set_aside(descriptor: int, start: int, size: int, quarantine: Path) -> Healed:
    try:
        kept = quarantine_file(quarantine, f"torn-at-{start}", _pieces(descriptor, start))
    except OSError as error:
        write_all(descriptor, b"\n")
        what = f"no record, and it could not be moved to {quarantine} ({error.strerror}): it is now a line of its own"
        return Healed(what=what, quarantined=None, size=size - start)
    os.ftruncate(descriptor, start)
    return Healed(what=f"no record, moved to {kept}", quarantined=kept, size=size - start)


def _pieces(descriptor: int, start: int) -> Iterator[bytes]:
    """All that stands from `start` on, also what a program that knows no lock has just put there."""
    while piece := os.pread(descriptor, _BLOCK, start):
        yield piece
        start += len(piece)
