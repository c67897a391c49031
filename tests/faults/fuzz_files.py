"""Targets that read files: the archive and what was migrated, the receipts of a migration, and what a former encoder
left behind, down to the import of it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

from encoder_pin_plugin.archive.audit import lines_by_cid, migrated_by_target
from encoder_pin_plugin.archive.importers import KINDS, former_files
from encoder_pin_plugin.archive.jsonl import ARCHIVE_NAME, MIGRATED_NAME, Archive
from encoder_pin_plugin.archive.migration_lock import HOLDER_NAME, _holder
from encoder_pin_plugin.archive.migration_report import (
    MigrationReport,
    ReportLine,
    _checksum,
    merged,
    read_report,
    write_report,
)
from encoder_pin_plugin.archive.record import WITHDRAWN, Key, parse_line
from encoder_pin_plugin.archive.sightings import NAME as LOOKS_NAME
from encoder_pin_plugin.archive.sightings import Sightings
from encoder_pin_plugin.errors import ArchiveError
from encoder_pin_plugin.operate.import_command import _take_over
from encoder_pin_plugin.operate.import_plan import Action, Planned, plan
from encoder_pin_plugin.operate.migrate_plan import RATE_NAME, remembered_rate
from tests.archive import former_files as former
from tests.faults.fuzz_ledger import ledgers, read_ledger
from tests.faults.fuzz_targets import Defect, Target
from tests.faults.fuzz_texts import CID, LINE, V1

BETWEEN = b"--\n"
"""Between the archive and what was migrated, in the input of one target."""

TO = "kubo+http://10.0.0.1:5001"
BOOT = "one"


def file_targets(folder: Path) -> dict[str, Target]:
    """By name; `folder` is where the files are written."""
    lists = _imported("failed-pins.jsonl", "local-fallback-pins.jsonl")
    with TemporaryDirectory() as name:
        readers: dict[str, tuple[Callable[[bytes, Path], None], list[bytes]]] = {
            "archive-file": (_archive, list(_archives())),
            "receipts": (_receipts, list(_receipt_samples(Path(name)))),
            "former-lists": (lists, list(_lists())),
            "former-queue": (_imported("pending_pins.json"), list(_queues())),
            "former-database": (_imported("local-pins.db"), list(_databases(Path(name)))),
            "ledger": (read_ledger, list(ledgers(Path(name)))),
        }
    return {name: Target(read=_in(folder, read), samples=tuple(samples)) for name, (read, samples) in readers.items()}


def _in(folder: Path, read: Callable[[bytes, Path], None]) -> Callable[[bytes], None]:
    """`read` with an empty folder for each input."""

    def with_folder(data: bytes) -> None:
        inner = folder / "input"
        rmtree(inner, ignore_errors=True)
        inner.mkdir()
        read(data, inner)

    return with_folder


def _archive(data: bytes, folder: Path) -> None:
    """Whatever is in the two files: they are read, healed, tidied and added to, and no line of theirs is lost."""
    waiting, _, gone = data.partition(BETWEEN)
    (folder / ARCHIVE_NAME).write_bytes(waiting)
    (folder / MIGRATED_NAME).write_bytes(gone)
    archive, keys = Archive(folder, lock_timeout=5), _keys(waiting)
    good = [entry for entry in archive.entries() if entry.record is not None and not entry.torn]
    if archive.total().records != len(good):
        raise Defect("the total counts other lines than those that are read")
    migrated_by_target(archive.migrated())
    lines_by_cid(archive.entries())
    archive.check()
    archive.settle()
    archive.repair()
    if archive.check().invalid:
        raise Defect("a repaired archive has invalid lines")
    ours = archive.append(parse_line(LINE.encode()))
    for key in [*keys[:20], ours.key]:
        if archive.find(*key) is None:
            raise Defect(f"the line {key!r} is lost")


def _keys(waiting: bytes) -> list[Key]:
    """Of the lines that wait, in another way than the archive reads them; not of those that no line of ours is."""
    keys: dict[Key, None] = {}
    for line in waiting.split(b"\n")[:-1]:
        with contextlib.suppress(ArchiveError):
            record = parse_line(line)
            keys[record.key] = None
            if WITHDRAWN in record.extra:
                return []
    return list(keys)


def _receipts(data: bytes, folder: Path) -> None:
    """All the small files that a migration reads back, and a report also with a checksum that fits."""
    for name in (LOOKS_NAME, HOLDER_NAME, RATE_NAME):
        (folder / name).write_bytes(data)
    remembered_rate(folder, TO)
    _holder(folder)
    looks = Sightings(folder, TO, BOOT)
    patience = looks.patience([CID], apart=600.0, now=1e9)[CID]
    if not 0 <= patience <= 600:
        raise Defect(f"the second look is {patience} s away")
    looks.forget([CID])
    for number, content in enumerate((data, *_with_checksum(data))):
        _report(content, folder / f"{number}.migrated.json")


def _report(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with contextlib.suppress(ArchiveError):
        report = read_report(path)
        if not all(isinstance(cid, str) for cid in report.migrated):
            raise Defect("a CID that is no text is taken for migrated")
        merged(report, report)
        write_report(path, report)
        if read_report(path) != report:
            raise Defect("a report is not read back as it was written")


def _with_checksum(data: bytes) -> Iterator[bytes]:
    try:
        content = json.loads(data)
        content.pop("checksum", None)
        yield json.dumps(content | {"checksum": _checksum(content)}).encode()
    except (ValueError, RecursionError, AttributeError, TypeError):
        return


def _imported(*names: str) -> Callable[[bytes, Path], None]:
    """The input under each name; everything is taken over that can be, at once, and nothing of it a second time."""
    assert {kind.name for kind in KINDS} > set(names)

    def read(data: bytes, folder: Path) -> None:
        for name in names:
            (folder / name).write_bytes(data)
        ours = folder / "ours"
        planned = _plan(folder, ours)
        _take_over(planned, ours, Archive(ours))
        again = [one for one in _plan(folder, ours) if one.action in (Action.SUBMIT, Action.ARCHIVE)]
        if again:
            raise Defect(f"{len(again)} records are taken over twice, such as {again[0]}")

    return read


def _plan(folder: Path, ours: Path) -> list[Planned]:
    records = (found for file in former_files(folder) for found in file.records())
    return list(plan(records, ours, Archive(ours)))


def _archives() -> Iterator[bytes]:
    line = LINE.encode()
    other = line.replace(b'"job"', b'"other"')
    moved = other[:-2] + b',"migrated_to":"kubo","proof":"whole","migrated_at":"2026-11-24T10:00:00.000Z"}\n'
    back = other[:-2] + b',"withdrawn_at":"2026-11-24T11:00:00.000Z","why":"it was lost"}\n'
    yield line + other
    yield line + other + BETWEEN + moved + back
    yield line + other + line[:100] + BETWEEN + moved + moved[:60]
    yield b"\n\0\0\n{}\n" + line + BETWEEN + line


def _receipt_samples(folder: Path) -> Iterator[bytes]:
    yield json.dumps({TO: {CID: 1e9 - 100}}).encode()
    yield json.dumps({"target": TO, "cids_per_second": 12.5}).encode()
    yield json.dumps({"pid": 1, "since": "2026-11-24T10:00:00.000Z", "doing": "migrating"}).encode()
    lines = (
        ReportLine(hash=CID, job_id="a", node_id="e", status="migrated", target=TO, proof="whole", at="2026-11-24"),
        ReportLine(hash=V1, job_id="b", node_id="e", status="failed", reason="timeout", detail="too slow"),
        ReportLine(hash=V1, job_id="c", node_id="e", status="not tried"),
    )
    path = folder / "sample.migrated.json"
    write_report(path, MigrationReport(target=TO, made_at="2026-11-24", made_on="e", lines=lines, faults=(("1", "x"),)))
    yield path.read_bytes()


def _lists() -> Iterator[bytes]:
    yield former.lines(former.given_up(1), former.local(2), former.archived(3))
    yield former.lines(former.archived(1), former.archived(1), former.given_up(1))[:-40]
    yield former.lines(former.given_up(1))[:-1] + former.lines(former.local(2))
    yield LINE.encode()


def _queues() -> Iterator[bytes]:
    whole = former.queue([former.pending(1), former.pending(2, size_mb=0, type="file", added_at=1730000000000)])
    yield whole
    yield whole[:-120]


def _databases(folder: Path) -> Iterator[bytes]:
    row = {"hash": former.cid(1), "job_id": "direct-1", "content_type": "directory", "size_bytes": 1000}
    hot = {"cid": former.cid(2), "added_at": 1730000000, "size_bytes": 5, "status": "expired", "unpinned": 1}
    schemas: list[tuple[str, list[dict[str, Any]]]] = [
        (former.APPLICATION, [row]),
        (former.INSTALLER, []),
        (former.HOT, [hot]),
    ]
    for number, (schema, rows) in enumerate(schemas):
        path = former.database(folder / f"sample-{number}.db", schema, *rows)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript("PRAGMA page_size=512; VACUUM")  # small enough to be changed everywhere
        yield path.read_bytes()
