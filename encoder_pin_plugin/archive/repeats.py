"""Lines of one key in one file: what a repair drops, what differs and stays, and what was taken back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.files import reading
from encoder_pin_plugin.archive.index import KeyIndex, prefixes_in
from encoder_pin_plugin.archive.reading import find_newline, read_blocks
from encoder_pin_plugin.archive.record import WITHDRAWN, InvalidLine, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_PIECE = 1 << 20
_MARK = f'"{WITHDRAWN}"'.encode("ascii")


@dataclass(frozen=True, order=True)
class Repeat:
    """A line whose key stood before, and was not withdrawn since.

    Args:
        later, first: offsets of the line, and of the first one with its key.
        exact: whether they are the same, byte for byte.
    """

    later: int
    first: int
    exact: bool


def repeats(descriptor: int) -> Iterator[Repeat]:
    """Every repeat in an open file, in no order. Raises OSError."""
    for first, later in KeyIndex().doubles(descriptor):
        yield Repeat(later, first, exact=_line_at(descriptor, first) == _line_at(descriptor, later))


def exact_doubles(descriptor: int) -> set[int]:
    """The offsets of lines that stand before, byte for byte: what a repair drops. Raises OSError."""
    return {repeat.later for repeat in repeats(descriptor) if repeat.exact}


def line_numbers(descriptor: int, offsets: Iterable[int]) -> dict[int, int]:
    """The numbers, from 1, of the lines that begin at `offsets`. Raises OSError."""
    numbers, number, position = dict[int, int](), 1, 0
    for offset in sorted(offsets):
        while position < offset and (piece := os.pread(descriptor, min(_PIECE, offset - position), position)):
            number += piece.count(b"\n")
            position += len(piece)
        numbers[offset] = number
    return numbers


def not_standing(path: Path) -> int:
    """How many records of `path` do not count, because a later line withdrew them, those lines included; mostly none.
    Raises `StorageError`, `ArchiveError`."""
    with reading(path) as descriptor:
        if descriptor is None:
            return 0
        withdrawn = {prefix for prefix, line in _records(descriptor, _MARK) if _withdraws(line)}
        return _gone(descriptor, withdrawn) if withdrawn else 0


def _gone(descriptor: int, withdrawn: set[bytes]) -> int:
    """Of the records with these keys, those up to the last one that withdraws."""
    gone, since = dict.fromkeys(withdrawn, 0), dict.fromkeys(withdrawn, 0)
    for prefix, line in _records(descriptor):
        if prefix in withdrawn:
            since[prefix] += 1
            if _withdraws(line):
                gone[prefix] += since[prefix]
                since[prefix] = 0
    return sum(gone.values())


def _records(descriptor: int, mark: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """The key, as a prefix, and the bytes of every record with `mark` in it."""
    for block in read_blocks(descriptor):
        if not block.too_long and mark in block.data:
            for prefix, begin, end in prefixes_in(block.data):
                if mark in (line := block.data[begin:end]):
                    yield prefix, line


def _withdraws(line: bytes) -> bool:
    try:
        return _MARK in line and WITHDRAWN in parse_line(line).extra
    except InvalidLine:
        return False


def _line_at(descriptor: int, offset: int) -> bytes:
    return os.pread(descriptor, max(0, find_newline(descriptor, offset) - offset), offset)
