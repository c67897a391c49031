"""Which keys stand in a file, without reading a million lines for each append.

Eight bytes a line: 27 bits of the key's hash and 37 bits of the line's offset, in sorted arrays. It knows how far it
has read, reads on from there, and starts afresh where the file is another one, shorter, or changed at that place. A
hit is only a hint: the line itself is read, and its key compared. The hash is Python's own, salted for each process.
"""

from __future__ import annotations

import json
import os
import re
import threading
from array import array
from bisect import bisect_left, insort
from heapq import merge
from itertools import groupby
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.files import Identity, identity
from encoder_pin_plugin.archive.reading import Block, read_blocks
from encoder_pin_plugin.archive.record import MAX_LINE, WITHDRAWN, ArchiveRecord, InvalidLine, Key, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_OFFSET_BITS = 37
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
_TAG_MASK = (1 << (64 - _OFFSET_BITS)) - 1
_RUN = 1 << 17
"""Entries of a sorted array before the next one is begun: inserting into a longer one would be slow."""

_SEAL = 1024
"""Bytes before the place read up to that must be as they were: several lines, for all end alike."""

PLAIN_PREFIX = rb'\{"hash":"[0-9A-Za-z]{40,128}","job_id":"[ !#-\[\]-~]+"'
"""How a line of ours begins when its job id needs no escapes: then these bytes are the key."""

_LINES = re.compile(rb"(" + PLAIN_PREFIX + rb",)?[^\n]*\n")


class KeyIndex:
    """The keys of one file. Safe for several threads; a forked child makes its own."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._start_afresh(None)

    def find(self, descriptor: int, key: Key) -> ArchiveRecord | None:
        """The last complete line with this key. Raises OSError."""
        return self.find_all(descriptor, (key,)).get(key)

    def find_all(self, descriptor: int, keys: Iterable[Key]) -> dict[Key, ArchiveRecord]:
        """The last complete line with each of these keys, where there is one. Raises OSError."""
        with self._mutex:
            self._catch_up(descriptor)
            hints = [(key, sorted(self._candidates(_tag(prefix_of(key))), reverse=True)) for key in keys]
        found: dict[Key, ArchiveRecord] = {}
        for key, offsets in hints:
            for offset in offsets:
                record = record_at(descriptor, offset)
                if record is not None and record.key == key:
                    found[key] = record
                    break
        return found

    def doubles(self, descriptor: int) -> Iterator[tuple[int, int]]:
        """For every line whose key stood before, and was not withdrawn since, the offsets of the first line and of
        this one. Raises OSError."""
        for offsets in _groups(self.entries(descriptor)):
            first: dict[Key, int] = {}
            for offset in offsets:
                record = record_at(descriptor, offset)
                if record is None:
                    continue
                if WITHDRAWN in record.extra:
                    first.pop(record.key, None)
                elif first.setdefault(record.key, offset) != offset:
                    yield first[record.key], offset

    def entries(self, descriptor: int) -> list[array[int]]:
        """Every entry, as sorted arrays, for `common`. Raises OSError."""
        with self._mutex:
            self._catch_up(descriptor)
            return [*self._runs, array("Q", self._open)]

    def _start_afresh(self, file: Identity | None) -> None:
        self._file = file
        self._end = 0
        self._seal = b""
        self._runs: list[array[int]] = []
        self._open: array[int] = array("Q")

    def _catch_up(self, descriptor: int) -> None:
        file = identity(descriptor)
        if file != self._file or not self._still_there(descriptor):
            self._start_afresh(file)
        if os.fstat(descriptor).st_size == self._end:
            return
        found: list[int] = []
        for block in read_blocks(descriptor, self._end):
            found.extend(_index_block(block))
            self._end = block.end
            if len(found) >= _RUN:
                self._runs.append(array("Q", sorted(found)))
                found.clear()
        self._insert(found)
        self._seal = os.pread(descriptor, min(_SEAL, self._end), max(0, self._end - _SEAL))

    def _still_there(self, descriptor: int) -> bool:
        """Whether the file is still what was read: it may have been emptied and have grown again since."""
        return os.pread(descriptor, len(self._seal), self._end - len(self._seal)) == self._seal

    def _insert(self, entries: list[int]) -> None:
        if len(entries) < 8:
            for entry in entries:
                insort(self._open, entry)
        else:
            self._open = array("Q", sorted([*self._open, *entries]))
        if len(self._open) >= _RUN:
            self._runs.append(self._open)
            self._open = array("Q")

    def _candidates(self, tag: int) -> Iterator[int]:
        lowest = tag << _OFFSET_BITS
        for run in (*self._runs, self._open):
            position = bisect_left(run, lowest)
            while position < len(run) and run[position] >> _OFFSET_BITS == tag:
                yield run[position] & _OFFSET_MASK
                position += 1


def prefix_of(key: Key) -> bytes:
    """The bytes with which a line of ours with this key begins, up to the comma after the job id."""
    return f'{{"hash":{json.dumps(key[0])},"job_id":{json.dumps(key[1])},'.encode("ascii")


def record_at(descriptor: int, offset: int) -> ArchiveRecord | None:
    """The record in the line that begins at `offset`, None where there is none. Raises OSError."""
    for size in (1024, MAX_LINE):
        line, newline, _ = os.pread(descriptor, size, offset).partition(b"\n")
        if newline:
            try:
                return parse_line(line + newline)
            except InvalidLine:
                return None
    return None


def common(ours: list[array[int]], theirs: list[array[int]]) -> Iterator[int]:
    """The offsets of those of our lines whose keys may stand in the other file too, given the entries of both."""
    for run in ours:
        for entry in run:
            lowest = entry & ~_OFFSET_MASK
            if any(_has_tag(other, lowest) for other in theirs):
                yield entry & _OFFSET_MASK


def prefixes_in(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The key of every record in some complete lines, as `prefix_of` writes it, with the line's begin and end."""
    for match in _LINES.finditer(data):
        prefix = match[1]
        if prefix is None:
            prefix = _prefix_in(match[0])
        if prefix is not None:
            yield prefix, match.start(), match.end()


def _has_tag(run: array[int], lowest: int) -> bool:
    position = bisect_left(run, lowest)
    return position < len(run) and run[position] & ~_OFFSET_MASK == lowest


def _groups(runs: list[array[int]]) -> Iterator[list[int]]:
    """The offsets of entries with the same tag, ascending, where there are several."""
    for _, entries in groupby(merge(*runs), key=_tag_of):
        offsets = [entry & _OFFSET_MASK for entry in entries]
        if len(offsets) > 1:
            yield offsets


def _tag_of(entry: int) -> int:
    return entry >> _OFFSET_BITS


def _tag(prefix: bytes) -> int:
    return hash(prefix) & _TAG_MASK


def _index_block(block: Block) -> list[int]:
    if block.too_long:
        return []
    base = block.offset
    return [
        ((hash(prefix) & _TAG_MASK) << _OFFSET_BITS) | (base + begin) for prefix, begin, _ in prefixes_in(block.data)
    ]


def _prefix_in(line: bytes) -> bytes | None:
    """The prefix of a line that is not written as we write it, None where it is no record."""
    try:
        return prefix_of(parse_line(line).key)
    except InvalidLine:
        return None
