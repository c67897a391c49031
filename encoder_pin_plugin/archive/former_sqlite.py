"""A former encoder's databases: `local-pins.db` in its two forms, and a hot node's `hotnode.db`.

They are never changed: opened for reading only, and where a killed writer left a journal beside one, a copy is opened,
because undoing that transaction writes. What a damaged one still gives is taken row by row, and then CID by CID.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.files import open_to_read
from encoder_pin_plugin.archive.former import Found, Left, Place, former_of
from encoder_pin_plugin.durable import storage_errors
from encoder_pin_plugin.sqlite import ALSO_DAMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES = ("local_pins", "pins")
_SIDE_FILES = ("-journal", "-wal", "-shm")

MOST_ROWS = 5_000_000
LONGEST_VALUE = 1_000_000
"""Bytes; a row with a longer one ends the reading."""

_CHUNK = 1 << 20
_CIDS = re.compile(rb"Qm[1-9A-HJ-NP-Za-km-z]{44}|baf[yk][a-z2-7]{55}")
"""The CIDs of an encoder's videos: in a row one stands right before the next column, so its length is exact."""

_LONGEST_CID = 59


def read_database(path: Path) -> Iterator[Found]:
    """What stands in a former encoder's database. Raises StorageError, ArchiveError for what is no regular file."""
    descriptor = open_to_read(path, follow=True)  # a pipe would keep SQLite waiting for ever
    if descriptor is None:
        return
    os.close(descriptor)
    seen: set[str] = set()
    try:
        with _opened(path) as connection:
            for number, row in enumerate(_rows(connection), start=1):
                found = _of(dict(row), Place(path=path, where=f"row {number}"))
                seen.add(_name_in(dict(row)))
                yield found
            _check(connection)
    except (sqlite3.Error, *ALSO_DAMAGE) as error:
        yield from _salvaged(path, seen, f"it is damaged, or no database ({error})")


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot change `path`. Raises sqlite3.Error."""
    path = path.resolve()  # a journal stands beside the file itself, not beside a link to it
    if not any(path.with_name(path.name + end).exists() for end in _SIDE_FILES):
        with closing(_connect(path, "mode=ro")) as connection:
            yield connection
        return
    with tempfile.TemporaryDirectory(prefix="encoder-pin-import-") as folder:
        copy = Path(folder) / "copy.db"
        with storage_errors("copy", path):
            shutil.copyfile(path, copy)
            for end in _SIDE_FILES[:2]:
                if path.with_name(path.name + end).exists():
                    shutil.copyfile(path.with_name(path.name + end), copy.with_name(copy.name + end))
        with closing(_connect(copy, "mode=rw")) as connection:
            yield connection


def _connect(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.as_uri()}?{how}", uri=True)
    connection.row_factory = sqlite3.Row
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema=OFF").fetchall()
    connection.execute("PRAGMA cell_size_check=ON").fetchall()
    return connection


def _rows(connection: sqlite3.Connection) -> Iterator[sqlite3.Row]:
    for table in TABLES:
        known = "SELECT 1 FROM sqlite_schema WHERE name = ? AND type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
        if connection.execute(known, (table,)).fetchone():
            yield from connection.execute(f"SELECT * FROM {table} LIMIT {MOST_ROWS}")  # noqa: S608 - names of ours
            return
    raise sqlite3.DatabaseError(f"it has none of the tables {', '.join(TABLES)}")


def _check(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError where the file is damaged in a way that reading its rows has not shown: the part
    of a page that is cut off reads as zeros, which `quick_check` takes for text; an index tells that it is not."""
    for (found,) in connection.execute("PRAGMA integrity_check(1)"):
        if found != "ok":
            raise sqlite3.DatabaseError(found)


def _of(row: dict[str, object], place: Place) -> Found:
    if "cid" in row and row.get("unpinned") and not row.get("migrated"):
        what, why = str(row["cid"])[:80], f"the hot node removed it as {row.get('status') or 'not wanted'!s:.40}"
        return Left(place=place, what=what, why=why, fault=False)
    return former_of(row, place, _says(row))


def _name_in(row: dict[str, object]) -> str:
    return str(row.get("hash", row.get("cid")))


def _says(row: dict[str, object]) -> str:
    if "cid" in row:
        return "migrated, unproved" if row.get("migrated") else "on the hot node"
    status = str(row.get("sync_status") or "pending")[:40]
    return "synced, unproved" if status == "synced" else status


def _salvaged(path: Path, seen: set[str], why: str) -> Iterator[Found]:
    """Every CID among the bytes of a damaged database that its rows did not give: deleted rows too, which is
    harmless, for each is asked about before anything is pinned."""
    more = 0
    for cid in _cids_in(path):
        if cid not in seen:
            seen.add(cid)
            more += 1
            place = Place(path=path, where="among its bytes")
            yield former_of({"hash": cid}, place, "found in a damaged database")
    yield Left(
        place=Place(path=path, where="the whole file"), what="",
        why=f"{why}: {more} CIDs were found among its bytes; job ids and sizes beside them are lost",
    )  # fmt: skip


def _cids_in(path: Path) -> Iterator[str]:
    descriptor = open_to_read(path, follow=True)
    if descriptor is None:
        return
    tail = b""
    try:
        with storage_errors("read", path):
            while chunk := os.read(descriptor, _CHUNK):
                for match in _CIDS.finditer(tail + chunk):
                    yield match[0].decode()
                tail = chunk[-_LONGEST_CID:]
    finally:
        os.close(descriptor)
