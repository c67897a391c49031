"""What stays when the archive is rewritten: without what was migrated, or without what is no line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.healing import quarantine_file
from encoder_pin_plugin.archive.index import prefix_of, prefixes_in
from encoder_pin_plugin.archive.reading import lines_of
from encoder_pin_plugin.archive.record import InvalidLine, parse_line
from encoder_pin_plugin.archive.repeats import exact_doubles
from encoder_pin_plugin.archive.totals import plain_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from encoder_pin_plugin.archive.linefile import LineFile, Version
    from encoder_pin_plugin.archive.reading import Block
    from encoder_pin_plugin.archive.record import Key

_PIECE = 1 << 20


class Leaving:
    """The keys that are to leave the archive, as long as they stand among the migrated: an audit may let a line wait
    again at any moment, and withdraw it there.

    Args:
        migrated: the file.
        keys: they all stood there.
        version: of the file, then.
    """

    def __init__(self, migrated: LineFile, keys: Collection[Key], version: Version) -> None:
        self._migrated = migrated
        self.keys = keys
        self._version = version

    def still(self) -> bool:
        """Whether all still stand there; those that do not are left out from now on. Call it under the lock."""
        version = self._migrated.version()
        if version == self._version:
            return True
        before, self.keys, self._version = self.keys, self._migrated.standing(self.keys), version
        return len(self.keys) == len(before)


class WithoutKeys:
    """Keeps every line but the records with these keys, while `still` holds. `kept` and `removed` count lines."""

    def __init__(self, keys: Collection[Key], still: Callable[[], bool]) -> None:
        self._still = still
        self._keys = {prefix_of(key): key for key in keys}
        self.kept = 0
        self.removed = 0

    def keep(self, block: Block) -> bytes:
        pieces, start = [], 0
        for prefix, begin, end in prefixes_in(block.data):
            key = self._keys.get(prefix)
            if key is not None and _has_key(block.data[begin:end], key):
                pieces.append(block.data[start:begin])
                start = end
        removed, lines = len(pieces), block.data.count(b"\n")
        self.removed += removed
        self.kept += lines - removed
        return b"".join((*pieces, block.data[start:]))

    def keeps_too_long(self, block: Block) -> bool:
        self.kept += 1
        return True

    def removes_anything(self) -> bool:
        return self.removed > 0

    def still_right(self) -> bool:
        return self._still()

    def before_replacing(self, descriptor: int) -> None:
        """What is removed stands among the migrated already."""


class WithoutFaults:
    """Keeps every record, exact `doubles` once where that is wanted, and moves what is no record to a new file in
    `quarantine`.

    `kept`, `doubles`, and `faults` (as many as there were bad lines) count lines; `quarantined` is the new file.
    """

    def __init__(self, descriptor: int, quarantine: Path, *, doubles: bool) -> None:
        self._doubles = exact_doubles(descriptor) if doubles else set()
        self._ranges: list[tuple[int, int]] = []
        self._quarantine = quarantine
        self.kept = 0
        self.doubles = 0
        self.quarantined: Path | None = None

    @property
    def faults(self) -> int:
        return len(self._ranges)

    def keep(self, block: Block) -> bytes:
        if not self._doubles and plain_sizes(block.data) is not None:
            self.kept += block.data.count(b"\n")
            return block.data
        kept = [line for offset, line in lines_of(block) if self._keeps(offset, line)]
        self.kept += len(kept)
        return b"".join(kept)

    def keeps_too_long(self, block: Block) -> bool:
        self._ranges.append((block.offset, block.end))
        return False

    def removes_anything(self) -> bool:
        return bool(self._ranges) or self.doubles > 0

    def still_right(self) -> bool:
        return True

    def before_replacing(self, descriptor: int) -> None:
        if self._ranges:
            pieces = (piece for start, end in self._ranges for piece in _pieces(descriptor, start, end))
            self.quarantined = quarantine_file(self._quarantine, "bad-lines", pieces)

    def _keeps(self, offset: int, line: bytes) -> bool:
        if offset in self._doubles:
            self.doubles += 1
            return False
        if _is_record(line):
            return True
        self._ranges.append((offset, offset + len(line)))
        return False


def _has_key(line: bytes, key: Key) -> bool:
    try:
        return parse_line(line).key == key
    except InvalidLine:
        return False


def _is_record(line: bytes) -> bool:
    try:
        parse_line(line)
    except InvalidLine:
        return False
    return True


def _pieces(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    for position in range(start, end, _PIECE):
        yield os.pread(descriptor, min(_PIECE, end - position), position)
