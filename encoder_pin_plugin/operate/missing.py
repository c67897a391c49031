"""Lines that the ledger remembers, and that stand neither in the archive nor among the migrated.

Somebody moved the file: that is also the normal way to collect it, so this is told and is no alarm.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.files import reading
from encoder_pin_plugin.archive.index import PLAIN_PREFIX, prefix_of
from encoder_pin_plugin.archive.reading import entries_in, read_blocks
from encoder_pin_plugin.archive.record import ArchiveRecord, parse_line, utc_text
from encoder_pin_plugin.errors import ArchiveError
from encoder_pin_plugin.lazy.pins import to_moment
from encoder_pin_plugin.lazy.statements import lazy_pin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.archive.reading import Block
    from encoder_pin_plugin.operate.ledger_view import LedgerView, Row

_KNOWN = "SELECT key, cid, job_id FROM job WHERE state = 'archived' AND line IS NOT NULL"

_PLAIN = re.compile(rb"(?m)^" + PLAIN_PREFIX + rb",")


def missing_lines(ledger: LedgerView, archive: Archive) -> list[str]:
    """The ledger's keys of the jobs whose line stands nowhere. Raises LedgerError, StorageError, ArchiveError."""
    missing = {prefix_of((row["cid"], row["job_id"])): row["key"] for row in ledger.rows(_KNOWN)}
    for path in (archive.path, archive.migrated_path):
        if missing:
            for prefix in _prefixes(path):
                missing.pop(prefix, None)
    return list(missing.values())


def record_of(row: Row) -> ArchiveRecord:
    """The line that the ledger remembers of an archived job; where that is damaged, it is made anew from what the
    ledger knows of the job: one that cannot be read keeps no other from being written again. Raises sqlite3.Error
    where the rest of the row is not what was written either."""
    with suppress(ArchiveError):
        record = parse_line(row["line"])
        if record.key == (row["cid"], row["job_id"]):
            return record
    pin = lazy_pin(row)
    return ArchiveRecord(
        hash=pin.job.cid,
        job_id=pin.job.job_id,
        size_mb=pin.job.size_mb,
        type=pin.job.type,
        failed_lazy_attempts=pin.attempts,
        local_pin_timestamp=utc_text(to_moment(pin.closed_at or pin.waiting_since)),
        node_id=pin.job.node_id or "unknown",
    )


def _prefixes(path: Path) -> Iterator[bytes]:
    """How each line would begin if we had written it: that is its key."""
    with reading(path) as descriptor:
        for block in () if descriptor is None else read_blocks(descriptor):
            yield from _prefixes_in(block)


def _prefixes_in(block: Block) -> Iterable[bytes]:
    if block.too_long:
        return ()
    plain = _PLAIN.findall(block.data)
    if len(plain) == block.data.count(b"\n"):
        return plain
    return (prefix_of(entry.record.key) for entry in entries_in(block, 1) if entry.record is not None)
