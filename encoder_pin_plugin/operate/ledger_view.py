"""The ledger as a reader sees it: nothing is created, nothing changed, and a busy or damaged file is said in words.

A reader holds back a worker's commit, so each question here is one short query.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from encoder_pin_plugin.durable import advice
from encoder_pin_plugin.errors import LedgerError
from encoder_pin_plugin.lazy import schema
from encoder_pin_plugin.sqlite import damage_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Row = sqlite3.Row
Rows = list[sqlite3.Row]

PATIENCE = 3.0
"""Seconds to wait for a worker that writes."""


class LedgerView:
    """One reading connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, **parameters: object) -> Rows:
        """The rows of one query of ours. Raises sqlite3.Error."""
        with damage_named():
            return self._connection.execute(sql, parameters).fetchall()

    def number(self, sql: str, **parameters: object) -> int:
        """The one number that a query of ours asks for."""
        (row,) = self.rows(sql, **parameters)
        return int(row[0] or 0)


@contextmanager
def view_ledger(path: Path) -> Iterator[LedgerView | None]:
    """Read the ledger at `path`; None where there is none yet.

    Raises:
        LedgerError: busy for longer than `PATIENCE`, damaged, unreadable or of a newer version.
    """
    try:
        connection = _open(path)
        if connection is None:
            yield None
            return
        with closing(connection):
            yield LedgerView(connection)
    except sqlite3.Error as error:
        raise LedgerError(_in_words(error, path)) from error


def _open(path: Path) -> sqlite3.Connection | None:
    """A connection for reading; one that may write where a killed worker left a transaction to be undone."""
    try:
        path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be read: {error.strerror or error}; {advice(error)}") from error
    try:
        connection, version = _connect(path, "ro")
    except sqlite3.OperationalError:
        connection, version = _connect(path, "rw")
    if version == 0:
        connection.close()  # its maker was killed before it was a ledger
        return None
    if version > schema.VERSION:
        connection.close()
        raise LedgerError(f"the ledger {path} is of version {version}, written by a newer release: upgrade this one")
    return connection


def _connect(path: Path, mode: str) -> tuple[sqlite3.Connection, int]:
    """A connection, and the version of what it found there."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=PATIENCE)
    try:
        connection.row_factory = sqlite3.Row
        with damage_named():
            return connection, _version(connection)
    except sqlite3.Error:
        connection.close()
        raise


def _version(connection: sqlite3.Connection) -> int:
    connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()  # is it a database at all?
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


_WORDS: dict[int, Callable[[Path], str]] = {
    sqlite3.SQLITE_BUSY: lambda path: (
        f"the ledger {path} is busy: another process has been writing to it all the time that we waited; try again"
    ),
    sqlite3.SQLITE_CANTOPEN: lambda path: f"the ledger {path} cannot be opened: {_why_not(path)}",
    sqlite3.SQLITE_READONLY: lambda path: (
        f"the ledger {path} was left in mid transaction, and we may not write to it: start the worker, or run this as"
        " the user that runs the encoder"
    ),
}


def _why_not(path: Path) -> str:
    """What keeps us from opening the file: SQLite does not say."""
    try:
        with path.open("rb"):
            return "run this as the user that runs the encoder"
    except OSError as error:
        return f"{error.strerror or error}; {advice(error)}"


def _in_words(error: sqlite3.Error, path: Path) -> str:
    code = getattr(error, "sqlite_errorcode", 0) or 0
    if schema.is_damaged(error):
        return (
            f"the ledger {path} is damaged ({error}): no job is lost, the job files have them all; start or restart the"
            " worker, it sets the damaged file aside and makes a new one"
        )
    words = _WORDS.get(code & 0xFF)
    return words(path) if words else f"the ledger {path} cannot be read: {error}"
