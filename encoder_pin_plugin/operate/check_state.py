"""What is in the data folder under the doctor's eyes, and what it is read with: ledger, archive, clock, versions."""

from __future__ import annotations

import resource
import sqlite3
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from encoder_pin_plugin.errors import EncoderPinError, LockBusy
from encoder_pin_plugin.operate.closed import why_closed
from encoder_pin_plugin.operate.finding import Finding, look_at, ok, wrong
from encoder_pin_plugin.operate.ledger_view import view_ledger
from encoder_pin_plugin.operate.output import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEDGER, ARCHIVE, CLOCK, WORKER, SOFTWARE = "ledger", "archive", "clock", "worker", "software"

OLDEST_SQLITE = (3, 37, 0)
"""The first that knows STRICT tables."""

EARLIEST = 1_750_000_000
"""Seconds since 1970: before this program was written it cannot be."""

_TOLERANCE = 300.0


def check_state(data_dir: Path) -> Iterator[Finding]:
    """Look at the ledger, the archive, the worker, the clock and the software."""
    yield from _software()
    if why_closed(data_dir):
        yield from _closed()
        return
    yield from _ledger(data_dir)
    yield from _archive(data_dir)
    yield from _worker(data_dir)
    yield from _set_aside(data_dir)


def _closed() -> Iterator[Finding]:
    """Why is said of the folder."""
    for topic in (LEDGER, ARCHIVE, WORKER):
        yield look_at(topic, "not looked at: the data folder cannot be used", "put that right, then run doctor again")
    yield from _clock(0)


def _software() -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        yield wrong(SOFTWARE, f"SQLite {sqlite3.sqlite_version} is too old", "use a Python with SQLite 3.37 or newer")
    else:
        yield ok(SOFTWARE, f"Python {python}, SQLite {sqlite3.sqlite_version}")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if 0 <= files < 1024:
        yield look_at(SOFTWARE, f"a process may have {files} files open", "raise it (LimitNOFILE=4096, ulimit -n 4096)")


def _ledger(data_dir: Path) -> Iterator[Finding]:
    from encoder_pin_plugin.lazy.worker import LEDGER_NAME

    path = data_dir / LEDGER_NAME
    try:
        with view_ledger(path) as ledger:
            if ledger is None:
                yield ok(LEDGER, "there is none yet; the worker makes it")
                yield from _clock(0)
                return
            newest = ledger.number("SELECT max(waiting_since) FROM job") / 1000
            found = ledger.rows("PRAGMA quick_check(1)")[0][0]
    except EncoderPinError as error:
        yield wrong(LEDGER, str(error), "see there; no job is lost: the job files have them all")
        yield from _clock(0)
        return
    if found == "ok":
        yield ok(LEDGER, f"{path} can be read, and is in order")
    else:
        yield wrong(LEDGER, f"{path} is damaged: {found}", "restart the worker: it rebuilds it from the job files")
    yield from _clock(newest)


def _clock(newest: float) -> Iterator[Finding]:
    now = time.time()
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    todo = "set the clock, and keep it right with NTP (timedatectl set-ntp true)"
    if now < EARLIEST:
        yield wrong(CLOCK, f"it says {text}, and that cannot be", todo)
    elif newest > now + _TOLERANCE:
        yield look_at(CLOCK, f"it says {text}, {duration(newest - now)} before the newest job came in", todo)
    else:
        yield ok(CLOCK, f"it says {text} (UTC)")


def _archive(data_dir: Path) -> Iterator[Finding]:
    from encoder_pin_plugin.archive.checking import check
    from encoder_pin_plugin.archive.jsonl import Archive

    archive = Archive(data_dir)
    for path in (archive.path, archive.migrated_path):
        try:
            found = check(path)
        except EncoderPinError as error:
            yield wrong(ARCHIVE, str(error), "put that right; until then every fallback waits")
            continue
        if found.good:
            yield ok(ARCHIVE, f"{path}: {count(found.lines, 'line')}, in order")
            continue
        parts = [count(found.invalid, "bad line"), count(found.doubles, "doubled line"), *found.warnings]
        text = f"{path}: {', '.join(part for part in parts if not part.startswith('0 '))}"
        if found.torn:
            text += f" {count(found.torn, 'byte')} after its last newline"
        todo = "encoder-pin archive check shows them, encoder-pin archive repair puts them right"
        yield look_at(ARCHIVE, text, todo if found.repairable else "run the command that it names")
    yield from _archive_lock(data_dir, archive.path.with_name(f"{archive.path.name}.lock"))


def _archive_lock(data_dir: Path, path: Path) -> Iterator[Finding]:
    from encoder_pin_plugin.archive.locking import ArchiveLock

    if not path.exists():
        return
    try:
        with ArchiveLock(path, 2.0).held():
            yield ok(ARCHIVE, "its lock can be had")
    except LockBusy:
        yield look_at(ARCHIVE, f"another process has held {path} for two seconds",
                      f"fuser {path} names it; an append takes a millisecond. Never delete the lock file")  # fmt: skip
    except EncoderPinError as error:
        yield wrong(ARCHIVE, str(error), f"give {data_dir} and all in it to the user that runs the encoder (chown -R)")


def _worker(data_dir: Path) -> Iterator[Finding]:
    from encoder_pin_plugin.lazy.presence import live_workers

    names = live_workers(data_dir)
    if names:
        yield ok(WORKER, f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} alive")
    else:
        yield look_at(
            WORKER, "none is alive: jobs are recorded and wait", 'run "encoder-pin work", or start its service'
        )


def _set_aside(data_dir: Path) -> Iterator[Finding]:
    """What was found damaged and kept: a disk that damages files will do it again."""
    ledgers = [path for path in data_dir.glob("lazy-pins.db.damaged-*") if not path.name.endswith("-journal")]
    pieces = list(data_dir.glob("quarantine/*"))
    if left := _stranded(data_dir, pieces):
        stand, such = ("CID stands", "") if len(left) == 1 else ("CIDs stand", "such as ")
        yield wrong(
            ARCHIVE,
            f"{len(left):,} {stand} in {data_dir / 'quarantine'}, and in no line or job: nothing migrates"
            f" {such}{left[0]}",
            "encoder-pin archive repair --from-ledger writes again what the ledger knows; submit the others"
            " (encoder-pin submit), and delete nothing there before",
        )
    for topic, kept, what in ((LEDGER, ledgers, "damaged ledger"), (ARCHIVE, pieces, "piece that is no line")):
        if kept:
            many = {"piece that is no line": "pieces that are no lines"}.get(what)
            then = (
                "delete what was set aside" if topic == LEDGER or left == [] else "see to what else is wrong here first"
            )
            yield look_at(
                topic,
                f"{count(len(kept), what, many)} set aside, the newest {max(kept)}",
                f"look at the kernel's log for a failing disk; once you know why, {then}",
            )


def _stranded(data_dir: Path, pieces: list[Path]) -> list[str] | None:
    """The CIDs in `pieces` that no line names, and no job that is not archived; None where that cannot be told."""
    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.archive.stranded import stranded
    from encoder_pin_plugin.lazy.worker import LEDGER_NAME

    archive = Archive(data_dir)
    known = "SELECT 1 FROM job WHERE cid = :cid AND (closed_at IS NULL OR state <> 'archived') LIMIT 1"
    with suppress(EncoderPinError), view_ledger(data_dir / LEDGER_NAME) as ledger:
        cids = dict.fromkeys(cid for cid, _ in stranded(pieces, (archive.path, archive.migrated_path)))
        return [cid for cid in cids if ledger is None or not ledger.rows(known, cid=cid)]
    return None
