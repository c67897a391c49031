"""The worker's ledger: opened when needed, checked, opened again when replaced, set aside when damaged."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.errors import LedgerError, StorageError
from encoder_pin_plugin.lazy import schema
from encoder_pin_plugin.lazy.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class OpenLedger:
    """At most one connection to the ledger at `path`, for one thread.

    Args:
        path: of the file.
        prepare: called with each connection, once its file was found sound and before it is used; where it raises,
            the connection is closed again.
    """

    def __init__(self, path: Path, prepare: Callable[[Ledger], None]) -> None:
        self.path = path
        self.current: Ledger | None = None
        self.set_aside = False
        """Whether one was set aside, by us or by a quicker worker, which said so, and we have prepared none since."""
        self._file: schema.File | None = None
        self._prepare = prepare

    def get(self) -> Ledger:
        """The open ledger. Raises LedgerError, StorageError, sqlite3.DatabaseError."""
        if self.current is not None and self.current.replaced():
            logger.warning("the ledger {} was replaced by another file: opened again", self.path)
            self.close()
        if self.current is None:
            self._file = schema.file_at(self.path)
            ledger = Ledger(self.path)
            try:
                ledger.check()
                self._prepare(ledger)
            except BaseException:
                ledger.close()
                raise
            self.current, self.set_aside = ledger, False
        return self.current

    def close(self) -> None:
        """Close what is open."""
        if self.current is not None:
            with suppress(sqlite3.Error):
                self.current.close()
            self.current = None

    def recover(self, error: sqlite3.DatabaseError) -> None:
        """Close the ledger, and set it aside where it is damaged. Raises LedgerError where that is not what helps."""
        self.close()
        if not schema.is_damaged(error):
            raise LedgerError(f"the ledger {self.path} cannot be used: {error}") from error
        try:
            schema.set_aside(self.path, self._file, str(error))
        except StorageError as refused:
            text = f"the ledger {self.path} is damaged ({error}); {refused}"
            raise LedgerError(text) from refused
        self.set_aside = True
