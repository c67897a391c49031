"""Reading the archive as a stream, whatever is in it.

A line ends with a newline: what comes after the last newline is an append under way, or a torn one, and no line. Bad
lines are told, never fatal. Memory is bounded whatever the file's size and the length of its lines.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.files import reading
from encoder_pin_plugin.archive.record import MAX_LINE, ArchiveRecord, InvalidLine, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = 1 << 17
"""Bytes read at once: larger pieces are given back to the system each time, and cost a fifth more."""


@dataclass(frozen=True)
class Entry:
    """What stands in one line.

    Args:
        number: of the line, from 1.
        offset: of its first byte in the file.
        raw: its bytes, newline included; of an over-long line, and of a torn tail, only the first `MAX_LINE`.
        record: what it says, or None.
        problem: why it says nothing, empty for a good line.
        torn: whether it is what follows the last newline.
    """

    number: int
    offset: int
    raw: bytes
    record: ArchiveRecord | None = None
    problem: str = ""
    torn: bool = False


@dataclass(frozen=True)
class Block:
    """Some complete lines of a file, or one over-long line (`too_long`, with only the beginning in `data`).

    Args:
        offset: of the first byte.
        data: the lines.
        length: in the file, bytes.
    """

    offset: int
    data: bytes
    length: int
    too_long: bool = False

    @property
    def end(self) -> int:
        return self.offset + self.length


def read_entries(path: Path, *, follow: bool = False) -> Iterator[Entry]:
    """Every line of `path`, in order; the file is read as it was when reading began, also while it is replaced.

    Raises `StorageError` and `ArchiveError` where it cannot be opened or read; nothing there is no line.
    """
    with reading(path, follow=follow) as descriptor:
        if descriptor is not None:
            yield from _entries(descriptor)


def read_blocks(descriptor: int, start: int = 0, stop: int = sys.maxsize) -> Iterator[Block]:
    """The complete lines from `start` up to `stop`, in blocks of up to 128 KiB. Both must be the beginning of a line.
    Raises OSError."""
    while chunk := os.pread(descriptor, min(_BLOCK, stop - start), start):
        end = start + chunk.rfind(b"\n") + 1
        if end > start:
            yield Block(start, chunk[: end - start], end - start)
        elif len(chunk) < _BLOCK or (end := find_newline(descriptor, start + len(chunk))) < 0:
            return
        else:
            yield Block(start, chunk[:MAX_LINE], end - start, too_long=True)
        start = end


def entries_in(block: Block, number: int) -> Iterator[Entry]:
    """What stands in the lines of a block, the first of which has this number."""
    if block.too_long:
        yield Entry(number, block.offset, block.data, problem=f"it has {block.length} bytes, more than {MAX_LINE}")
        return
    for following, (offset, raw) in enumerate(lines_of(block), start=number):
        try:
            yield Entry(following, offset, raw, record=parse_line(raw))
        except InvalidLine as error:
            yield Entry(following, offset, raw, problem=str(error))


def find_newline(descriptor: int, start: int) -> int:
    """The offset just after the first newline at or after `start`, -1 where there is none. Raises OSError."""
    while chunk := os.pread(descriptor, _BLOCK, start):
        found = chunk.find(b"\n")
        if found >= 0:
            return start + found + 1
        start += len(chunk)
    return -1


def lines_of(block: Block) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of every line of a block that is not too long."""
    offset = block.offset
    for line in _split(block.data):
        yield offset, line
        offset += len(line)


def _split(data: bytes) -> list[bytes]:
    """The lines with their newlines: `splitlines` would also split at a carriage return."""
    return [line + b"\n" for line in data[:-1].split(b"\n")]


def _entries(descriptor: int) -> Iterator[Entry]:
    number, end = 0, 0
    for block in read_blocks(descriptor):
        for entry in entries_in(block, number + 1):
            yield entry
            number = entry.number
        end = block.end
    tail = os.pread(descriptor, MAX_LINE, end)
    if tail and b"\n" not in tail:
        yield Entry(number + 1, end, tail, problem="it is torn: no newline at its end", torn=True)
