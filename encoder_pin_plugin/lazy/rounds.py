"""Rounds through the job files: each open job is in its file and in the ledger, and either copy heals the other.

A few hundred files at a time are read and compared with what the ledger remembers of them, so that a damaged file is
found while its twin is still whole. Which of two different copies is right is told by the seal that ours carry; where
neither or both have a sound one, the ledger's is what was once taken in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.errors import InvalidJobFile, StorageError
from encoder_pin_plugin.lazy.jobfile import is_sealed, new_submission

if TYPE_CHECKING:
    from pathlib import Path

    from encoder_pin_plugin.alarms import Alarms
    from encoder_pin_plugin.lazy.ledger import Ledger
    from encoder_pin_plugin.lazy.spool import Spool

AT_ONCE = 500
"""Files looked at in one round: some 20 ms."""


class Rounds:
    """Goes round the files of `open/`, over and over.

    Args:
        spool: the files.
        alarms: for a job of which both copies are damaged.
    """

    def __init__(self, spool: Spool, alarms: Alarms) -> None:
        self._spool = spool
        self._alarms = alarms
        self._last = ""
        self._damaged: dict[str, str] = {}

    def walk(self, ledger: Ledger) -> int:
        """Look at the next files; returns how many copies were healed.

        Raises: StorageError, LedgerError; sqlite3.DatabaseError where the ledger turns out to be damaged.
        """
        self._forget_gone(ledger)
        submissions = ledger.open_submissions(self._last, AT_ONCE)
        self._last = submissions[-1][0] if len(submissions) == AT_ONCE else ""
        return sum(self._look(ledger, nonce, key, body) for nonce, key, body in submissions)

    def _look(self, ledger: Ledger, nonce: str, key: str, body: bytes) -> bool:
        """Compare one file with the ledger; whether a copy had to be healed."""
        name = f"{key}.{nonce}"
        try:
            found, why = self._spool.read(self._spool.open / name).body, ""
        except FileNotFoundError:
            return self._missing(ledger, name, nonce, body)
        except (InvalidJobFile, StorageError) as error:
            found, why = b"", str(error)
        if found == body or not ledger.is_open(nonce):
            return False
        return self._heal(ledger, name, nonce, (found, body), why or "it is not what was taken in")

    def _missing(self, ledger: Ledger, name: str, nonce: str, body: bytes) -> bool:
        if (self._spool.new / name).exists() or not ledger.is_open(nonce):
            return False
        if self._restore(name, body, "it was gone"):
            return True
        if name not in self._damaged:
            ledger.check(whole=True)  # it may be the row's key that is damaged, while the file is in its place
        return self._from_row(ledger, name, nonce, "it is gone")

    def _heal(self, ledger: Ledger, name: str, nonce: str, copies: tuple[bytes, bytes], why: str) -> bool:
        found, body = copies
        if not (is_sealed(found) and not is_sealed(body)) and self._restore(name, body, why):
            return True
        if not found:
            return self._from_row(ledger, name, nonce, why)
        ledger.correct(nonce, found)
        logger.warning("the ledger's copy of the job file {} was damaged: taken from the file again", name)
        return True

    def _restore(self, name: str, body: bytes, why: str) -> bool:
        """Write a file again; False where the ledger's copy is not that job either."""
        try:
            self._spool.restore(name, body)
        except InvalidJobFile:
            return False
        path: Path = self._spool.open / name
        logger.warning("the job file {} was damaged ({}): written again from the ledger; look at the disk", path, why)
        return True

    def _from_row(self, ledger: Ledger, name: str, nonce: str, why: str) -> bool:
        """Make both copies anew from the job's row, the last thing that is left; an alarm where there is none."""
        rows = ledger.select("key=?", (name.partition(".")[0],))
        if not rows:
            text = f"both copies of the job file {name} are damaged ({why}), and the ledger has no row of its job"
            self._damaged[name] = nonce
            self._alarms.begin(f"damaged {name}", text)
            return False
        body = new_submission(rows[0].job).body
        self._spool.restore(name, body)
        ledger.correct(nonce, body)
        text = "both copies of the job file {} were damaged ({}): made anew from the job's row; look at the disk"
        logger.error(text, name, why)
        return True

    def _forget_gone(self, ledger: Ledger) -> None:
        for name in [name for name, nonce in self._damaged.items() if not ledger.is_open(nonce)]:
            del self._damaged[name]
            self._alarms.end(f"damaged {name}", f"the ledger has no open job any more for the damaged file {name}")
