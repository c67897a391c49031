"""The ledger's SQLite file: how it is opened, what is in it, and what happens when it is damaged.

`journal_mode=TRUNCATE` with `synchronous=EXTRA`: the one mode in which simulated power cuts lost nothing and which is
immune both to SQLite's WAL-reset bug (3.7.0 to 3.51.2) and to a host that opens and closes the file by other means.
Each setting is read back, and we refuse to run on another. The file is never opened with plain file calls.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from filelock import FileLock
from loguru import logger

from encoder_pin_plugin import durable
from encoder_pin_plugin.errors import LedgerError
from encoder_pin_plugin.lazy.jobfile import job_key
from encoder_pin_plugin.sqlite import damage_named

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID = 0x656E6370  # "encp"
VERSION = 1
"""Of the tables: it is raised with each change of them."""

_SETTINGS = (("journal_mode", "TRUNCATE", "truncate"), ("synchronous", "EXTRA", 3), ("foreign_keys", "ON", 1),
             ("trusted_schema", "OFF", 0), ("cell_size_check", "ON", 1), ("mmap_size", "0", None),
             ("temp_store", "MEMORY", 2))  # fmt: skip

_SCHEMA = """
CREATE TABLE job (
    key TEXT PRIMARY KEY,
    cid TEXT NOT NULL,
    job_id TEXT NOT NULL,
    size_mb REAL,
    type TEXT,
    node_id TEXT,
    completed_at INTEGER NOT NULL,
    waiting_since INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'falling_back', 'pinned', 'archived', 'rejected')),
    attempts INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    first_tried_at INTEGER,
    next_at INTEGER NOT NULL,
    reason TEXT,
    error TEXT,
    fallbacks INTEGER NOT NULL DEFAULT 0,
    hold TEXT CHECK (hold IN ('ours', 'theirs', 'none', 'released')),
    release_at INTEGER,
    whole_at INTEGER,
    owner TEXT,
    epoch INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER,
    line BLOB,
    closed_at INTEGER
) STRICT;
CREATE INDEX job_due ON job (state, next_at) WHERE closed_at IS NULL;
CREATE INDEX job_age ON job (state, waiting_since) WHERE closed_at IS NULL;
CREATE INDEX job_leased ON job (cid) WHERE owner IS NOT NULL;
CREATE INDEX job_cid ON job (cid);
CREATE INDEX job_release ON job (release_at) WHERE release_at IS NOT NULL;
CREATE INDEX job_unheld ON job (waiting_since) WHERE closed_at IS NULL AND hold IS NULL;
CREATE INDEX job_state ON job (state, closed_at);
CREATE TABLE submission (
    nonce TEXT PRIMARY KEY,
    key TEXT NOT NULL REFERENCES job (key),
    body BLOB NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX submission_key ON submission (key);
CREATE INDEX submission_closed ON submission (key, nonce) WHERE closed=1;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""

_OURS = {statement for statement in map(str.strip, _SCHEMA.split(";")) if statement.startswith("CREATE TABLE")}

PATIENCE = 30.0
"""Seconds to wait for another worker that sets a damaged ledger aside."""

QUICK_TO_READ = 16 * 2**20
"""Bytes up to which a ledger is read whole at each start: some 20,000 jobs, a quarter of a second."""


def connect(path: Path, *, busy_timeout: float = 5.0) -> tuple[sqlite3.Connection, bool]:
    """Open the ledger at `path`, created where there is none.

    Args:
        path: the database file.
        busy_timeout: seconds to wait for another process's transaction.

    Returns:
        The connection, and whether there was no ledger.

    Raises:
        LedgerError: it cannot be opened, is of a newer version, or is no ledger.
        sqlite3.DatabaseError: it is damaged; see `set_aside`.
    """
    with durable.storage_errors("create the folder", path.parent):
        durable.make_folder(path.parent)
    _create_private(path)
    try:
        connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise LedgerError(f"cannot open the ledger {path}: {error}; check the folder's owner and mode") from error
    try:
        with damage_named():
            _configure(connection, path)
            new = _create(connection, path)
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # "unsupported file format"
            raise sqlite3.DatabaseError(f"it is no ledger any more: {error}") from error
        raise
    except BaseException:
        connection.close()
        raise
    connection.row_factory = sqlite3.Row
    return connection, new


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether `error` says that the file itself is bad, as against busy, full or locked."""
    if str(error).startswith("Could not decode"):
        return True  # what was written was text
    return getattr(error, "sqlite_errorcode", None) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or (
        isinstance(error, sqlite3.DatabaseError)
        and not isinstance(error, sqlite3.OperationalError | sqlite3.IntegrityError | sqlite3.ProgrammingError)
    )


def check(connection: sqlite3.Connection, path: Path, *, whole: bool) -> None:
    """Read the file's structure, and where `whole` also whether each index agrees with its table; one that does not is
    made anew. Raises sqlite3.DatabaseError where it is damaged."""
    if _tables(connection) != _OURS:
        raise sqlite3.DatabaseError("its tables are not what was written")
    if found := _faults(connection, "quick_check"):
        raise sqlite3.DatabaseError(f"quick_check: {found}")
    if not whole or not (found := _faults(connection, "integrity_check")):
        return
    with suppress(sqlite3.Error):
        connection.execute("REINDEX")
    if _faults(connection, "integrity_check") or not _keys_are_right(connection):
        raise sqlite3.DatabaseError(f"integrity_check: {found}")
    logger.error("an index of the ledger {} was damaged ({}): made anew from the rows; look at the disk", path, found)


def _tables(connection: sqlite3.Connection) -> set[str]:
    """What the file says its tables were made by. Raises sqlite3.DatabaseError."""
    with damage_named():
        return {row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE type='table'")}


def _keys_are_right(connection: sqlite3.Connection) -> bool:
    """Whether it was the index that was damaged, not the keys in the rows from which it has just been made anew."""
    try:
        rows = connection.execute("SELECT key, cid, job_id FROM job")
        orphan = connection.execute("PRAGMA foreign_key_check").fetchone()  # a submission of no job
        return orphan is None and all(key == job_key(cid, job_id) for key, cid, job_id in rows)
    except (sqlite3.Error, TypeError):
        return False


def _faults(connection: sqlite3.Connection, pragma: str) -> str:
    found = connection.execute(f"PRAGMA {pragma}(1)").fetchone()
    return "" if found and found[0] == "ok" else str(found[0] if found else "no answer")


File = tuple[int, int]
"""Device and inode: tells a file from the one that has taken its place."""


def file_at(path: Path) -> File | None:
    """The file that stands at `path` now."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def set_aside(path: Path, file: File | None, why: str) -> Path | None:
    """Move a damaged ledger and its journal out of the way, keeping both; the job files rebuild it.

    Args:
        path: of the ledger.
        file: what stood there before it was found to be damaged: one that was rebuilt since is left alone.
        why: for the log.

    Returns:
        Where the damaged file now is, None if another process was quicker.

    Raises:
        StorageError: it stays where it is.
    """
    lock = path.with_name(f"{path.name}.lock")
    with durable.storage_errors("set aside the ledger", path):
        durable.make_file(lock)
        with FileLock(lock, timeout=PATIENCE, fallback_to_soft=False):
            corpse = _moved_aside(path, file)
    if corpse is not None:
        logger.error(
            "the ledger {} is damaged ({}): set aside as {}, and rebuilt from the job files", path, why, corpse
        )
    return corpse


def _moved_aside(path: Path, file: File | None) -> Path | None:
    if file is None or file_at(path) != file:
        return None
    corpse = path.with_name(f"{path.name}.damaged-{time.time_ns() // 10**6}")
    for suffix in ("-journal", "-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(corpse.with_name(corpse.name + suffix))
    durable.fsync_folder(path.parent)
    return corpse


def _create_private(path: Path) -> None:
    """Create the file with our mode before SQLite does: its journal copies the mode."""
    for existing in (path, path.with_name(f"{path.name}-journal")):
        with suppress(OSError):
            _make_usable(existing)
    with durable.storage_errors("create the ledger", path):
        if not os.path.lexists(path):
            durable.make_file(path)
            durable.fsync_folder(path.parent)


def _make_usable(path: Path) -> None:
    """Give a file of ours its mode again where its own owner may not read or write it."""
    status = path.lstat()
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_mode & 0o600 != 0o600:
        path.chmod(durable.FILE_MODE)
        logger.warning("{} could not be read and written by its own owner: it has mode 600 again", path)


def _configure(connection: sqlite3.Connection, path: Path) -> None:
    for name, value, expected in _SETTINGS:
        connection.execute(f"PRAGMA {name}={value}").fetchall()
        if expected is None:
            continue
        got = connection.execute(f"PRAGMA {name}").fetchone()[0]
        if got != expected:
            raise LedgerError(f"the ledger {path} does not take {name}={value} (it says {got}): is it open elsewhere?")


def _create(connection: sqlite3.Connection, path: Path) -> bool:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        if _tables(connection) == _OURS:  # a release that raises the version has other tables
            raise sqlite3.DatabaseError(f"its version reads {version}, and its tables are those of {VERSION}")
        raise LedgerError(f"the ledger {path} is of version {version}, written by a newer release: upgrade this one")
    if version == VERSION:
        return False
    connection.execute("BEGIN IMMEDIATE")  # where this fails, the connection is closed, and nothing of it stays
    new = connection.execute("PRAGMA user_version").fetchone()[0] == 0
    if new:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")
    return bool(new)
