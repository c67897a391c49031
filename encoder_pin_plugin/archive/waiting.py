"""What waits to be migrated: the archive's lines by CID, and which lines of a file wait for a CID right now.

Lines of different jobs, and of different encoders, may name the same CID: it is pinned once, proved once, and all of
its lines move together.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.files import Identity, identity, reading
from encoder_pin_plugin.archive.reading import lines_of, read_blocks
from encoder_pin_plugin.archive.record import InvalidLine, parse_line
from encoder_pin_plugin.errors import InvalidCid
from encoder_pin_plugin.nodes.cid import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from encoder_pin_plugin.archive.reading import Block, Entry
    from encoder_pin_plugin.archive.record import ArchiveRecord, Key


@dataclass(kw_only=True, slots=True)
class Item:
    """One CID that waits, with the keys of all of its lines.

    Args:
        cid: in canonical form.
        keys: of its lines.
        size_mb: in MB, None where no line knows it.
        since: the oldest line's timestamp.
        node_id: of the encoder that had it last.
    """

    cid: str
    keys: list[Key] = field(default_factory=list)
    size_mb: float | None = None
    since: str = ""
    node_id: str = ""

    def take(self, record: ArchiveRecord) -> None:
        """One more line names this CID."""
        if record.key not in self.keys:
            self.keys.append(record.key)
        if self.size_mb is None:
            self.size_mb = record.size_mb
        self.since = min(filter(None, (self.since, record.local_pin_timestamp)), default="")
        self.node_id = record.node_id


@dataclass(kw_only=True)
class Waiting:
    """What was read: items by CID in the order of their first lines, and what could not be used.

    Args:
        items: by canonical CID.
        lines: good ones with a usable CID.
        faults: what is wrong with each other line: (file and number, or CID; why).
    """

    items: dict[str, Item] = field(default_factory=dict)
    lines: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)

    def read(self, entries: Iterable[Entry], path: Path) -> None:
        """Take in the lines of one file. Bad ones are noted, and stay where they are."""
        for entry in entries:
            if entry.record is None:
                self.faults.append((f"{path}, line {entry.number}", entry.problem))
                continue
            try:
                cid = canonical(entry.record.hash)
            except InvalidCid as error:
                self.faults.append((f"{path}, line {entry.number}", str(error)))
                continue
            self.lines += 1
            self.items.setdefault(cid, Item(cid=cid)).take(entry.record)

    @property
    def mb(self) -> float:
        return sum(item.size_mb or 0.0 for item in self.items.values())


class WaitingLines:
    """Which lines of the archive wait for some CIDs, looked at again while others append to it or replace it.

    Args:
        path: of the archive.
        items: whose lines are wanted.
    """

    def __init__(self, path: Path, items: Iterable[Item]) -> None:
        self._path = path
        self._wanted = {key[0].encode(): item.cid for item in items for key in item.keys}
        self._keys: dict[str, set[Key]]
        self._file: Identity | None
        self._end: int
        self.forget()

    def keys(self, cid: str) -> set[Key]:
        """The keys of the lines that waited for `cid` at the last look."""
        return self._keys.get(cid, set())

    def forget(self) -> None:
        """The file was replaced: read it from its beginning at the next look."""
        self._file, self._end, self._keys = None, 0, {}

    def refresh(self) -> None:
        """Look again; only at what is new where the file is the same. Raises StorageError, ArchiveError."""
        with reading(self._path) as descriptor:
            if descriptor is None:
                self.forget()
                return
            if identity(descriptor) != self._file or os.fstat(descriptor).st_size < self._end:
                self.forget()
                self._file = identity(descriptor)
            for block in read_blocks(descriptor, self._end):
                self._read(block)
                self._end = block.end

    def _read(self, block: Block) -> None:
        if self._wanted.keys().isdisjoint(CID_WORD.findall(block.data)):
            return
        for _, line in lines_of(block):
            for word in CID_WORD.findall(line):
                if word in self._wanted:
                    self._note(self._wanted[word], line)

    def _note(self, cid: str, line: bytes) -> None:
        try:
            key = parse_line(line).key
        except InvalidLine:
            key = (cid, "")  # nobody understands it: it counts as one that waits
        if key[0].encode() in self._wanted:
            self._keys.setdefault(self._wanted[key[0].encode()], set()).add(key)


CID_WORD = re.compile(rb"[0-9A-Za-z]{40,128}")
"""What may be a CID: to pass over blocks in which none of those that are looked for stands."""
