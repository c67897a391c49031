"""Which CIDs stand in what was set aside, and in no line that counts: nothing would ever migrate them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.files import reading
from encoder_pin_plugin.archive.former import Former
from encoder_pin_plugin.archive.former_json import read_list
from encoder_pin_plugin.archive.reading import entries_in, read_blocks
from encoder_pin_plugin.archive.record import WITHDRAWN
from encoder_pin_plugin.archive.waiting import CID_WORD
from encoder_pin_plugin.nodes.cid import comparable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from encoder_pin_plugin.archive.record import ArchiveRecord

Stranded = tuple[str, str]
"""A CID in canonical form, and the job that it is said to be of; empty where that cannot be made out."""

NAMED = 20
"""How many of them are named one by one, in the log and for a person."""


def stranded(aside: Iterable[Path], files: Iterable[Path]) -> tuple[Stranded, ...]:
    """What can be made out in the files `aside`, as `encoder-pin import` would, and has no line in any of `files`; in
    order, each once. Raises `StorageError`, `ArchiveError`."""
    return _without_a_line(_made_out(aside), files)


def would_strand(files: Sequence[Path]) -> tuple[Stranded, ...]:
    """Likewise what a repair of `files` would set aside. Raises `StorageError`, `ArchiveError`."""
    return _without_a_line((it for it in _made_out(files) if it.line is None), files)


def _made_out(files: Iterable[Path]) -> Iterator[Former]:
    return (it for path in files for it in read_list(path) if isinstance(it, Former))


def _without_a_line(former: Iterable[Former], files: Iterable[Path]) -> tuple[Stranded, ...]:
    found = dict.fromkeys((it.cid, it.job_id or "") for it in former)
    standing = _standing({cid for cid, _ in found}, files) if found else set()
    return tuple(it for it in found if it[0] not in standing)


def _standing(cids: set[str], files: Iterable[Path]) -> set[str]:
    """Those that some line names that no later one of its file withdraws."""
    standing: set[str] = set()
    for file in files:
        here: set[str] = set()
        for cid, record in _records(file, cids):
            (here.discard if WITHDRAWN in record.extra else here.add)(cid)
        standing |= here
    return standing


def _records(path: Path, cids: set[str]) -> Iterator[tuple[str, ArchiveRecord]]:
    words = {cid.encode() for cid in cids}
    with reading(path) as descriptor:
        for block in () if descriptor is None else read_blocks(descriptor):
            if not words.isdisjoint(CID_WORD.findall(block.data)):
                records = (entry.record for entry in entries_in(block, 1) if entry.record is not None)
                yield from ((cid, record) for record in records if (cid := comparable(record.hash)) in cids)
