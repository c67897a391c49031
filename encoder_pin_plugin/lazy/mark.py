"""Where the time line of the ledger's rows lies, as the ledger remembers it; see `timeline`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

READ = "SELECT value FROM meta WHERE name='clock'"


@dataclass(frozen=True)
class Mark:
    """The rows' time line is `offset` milliseconds from the clock that only counts up, on one boot."""

    boot: str
    offset: int

    def moved(self, db: sqlite3.Connection) -> int:
        """Milliseconds by which the rows were moved since this mark was read; 0 where they are on another boot's."""
        now = parsed(db.execute(READ).fetchone())
        return now.offset - self.offset if now is not None and now.boot == self.boot else 0


def parsed(row: sqlite3.Row | None) -> Mark | None:
    """The mark in a row of READ; None where there is none, or a damaged one."""
    boot, _, offset = ("" if row is None else str(row["value"])).rpartition(" ")
    try:
        return Mark(boot, int(offset))
    except ValueError:
        return None
