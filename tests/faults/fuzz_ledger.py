"""The target that reads a ledger: whatever the disk made of it, people are told in words, and the worker can go on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from shutil import copyfile

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.errors import LedgerError
from encoder_pin_plugin.lazy.jobfile import new_submission
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.opening import OpenLedger
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from encoder_pin_plugin.operate.ledger_view import view_ledger
from tests.faults.fuzz_targets import Defect
from tests.faults.fuzz_texts import CID, V1

NOW = 1_800_000_000_000
_PATIENT = ("newer release", "does not take")
"""What a person has to do something about."""


def read_ledger(data: bytes, folder: Path) -> None:
    """The ledger as a reader and as the worker opens it."""
    path = folder / LEDGER_NAME
    path.write_bytes(data)
    with suppress(LedgerError), view_ledger(path) as view:
        if view is not None:
            view.rows("SELECT * FROM job")
            view.number("SELECT count(*) FROM submission")
    for _ in range(3):
        opened = OpenLedger(path, lambda ledger: ledger.check())
        try:
            _work(opened.get())
        except sqlite3.DatabaseError as error:
            opened.recover(error)
        except LedgerError as error:
            if any(words in str(error) for words in _PATIENT):
                return
            raise
        else:
            return
        finally:
            opened.close()
    raise Defect("the worker sets ledger after ledger aside")


def _work(ledger: Ledger) -> None:
    ledger.agree(NOW)
    ledger.ingest([new_submission(CompletedJob(cid=CID, job_id="ours"))], NOW)
    ledger.claim("us", State.PENDING, NOW, limit=100, lease=60_000)
    ledger.check(whole=True)


def ledgers(folder: Path) -> Iterator[bytes]:
    """Real ones, small enough to be changed everywhere."""
    path = folder / "sample-ledger.db"
    with closing(Ledger(path)) as ledger:
        yield _smaller(path)
        ledger.ingest([new_submission(CompletedJob(cid=V1, job_id=f"job-{number}")) for number in range(3)], NOW)
        ledger.claim("other", State.PENDING, NOW, limit=1, lease=60_000)
    yield _smaller(path)


def _smaller(path: Path) -> bytes:
    copy = path.with_name("small.db")
    copyfile(path, copy)
    with closing(sqlite3.connect(copy)) as connection:
        connection.executescript("PRAGMA page_size=512; VACUUM")
    return copy.read_bytes()
