"""Rounds through the job files: each open job is in its file and in the ledger, and either copy heals the other.

A few hundred files at a time are read and compared with what the ledger remembers of them, so that a damaged file is
found while its twin is still whole. Which of two different copies is right is told by the seal that ours carry; where
neither or both have a sound one, the ledger's is what was once taken in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.errors import InvalidJobFile, StorageError
from encoder_pin_plugin.lazy.jobfile import is_sealed, read_submission

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

    def walk(self, ledger: Ledger) -> int:
        """Look at the next files; returns how many copies were healed. Raises StorageError, LedgerError."""
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
        return self._heal(ledger, name, found, body, why or "it is not what was taken in")

    def _missing(self, ledger: Ledger, name: str, nonce: str, body: bytes) -> bool:
        if (self._spool.new / name).exists() or not ledger.is_open(nonce):
            return False
        self._restore(name, body, "it was gone")
        return True

    def _heal(self, ledger: Ledger, name: str, found: bytes, body: bytes, why: str) -> bool:
        if _is_whole(name, body) and not (is_sealed(found) and not is_sealed(body)):
            self._restore(name, body, why)
        elif found:
            ledger.correct(name.rpartition(".")[2], found)
            logger.warning("the ledger's copy of the job file {} was damaged: taken from the file again", name)
        else:
            text = f"both copies of the job file {name} are damaged ({why}): its row in the ledger is all there is"
            self._alarms.begin(f"damaged {name}", text)
            return False
        return True

    def _restore(self, name: str, body: bytes, why: str) -> None:
        self._spool.restore(name, body)
        path: Path = self._spool.open / name
        logger.warning("the job file {} was damaged ({}): written again from the ledger; look at the disk", path, why)


def _is_whole(name: str, body: bytes) -> bool:
    try:
        read_submission(name, body)
    except InvalidJobFile:
        return False
    return True
