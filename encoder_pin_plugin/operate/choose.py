"""Which job is meant: by its job id, its CID, or the beginning of its key. Never a guess."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from encoder_pin_plugin.errors import InvalidCid
from encoder_pin_plugin.lazy.spool import Spool
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from encoder_pin_plugin.nodes.cid import canonical
from encoder_pin_plugin.operate.failures import WRONG_USAGE, Failure
from encoder_pin_plugin.operate.job_commands import lines_of
from encoder_pin_plugin.operate.ledger_view import view_ledger
from encoder_pin_plugin.operate.rows import arrived_jobs, rejected_jobs, row_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from encoder_pin_plugin.operate.rows import JobRow

KEY_LENGTH = 6
"""Characters of a key that are enough to mean it."""

_SHOWN = 20

_LOOK = """
SELECT * FROM job WHERE job_id = :wanted OR cid = :cid OR (length(:wanted) >= :least AND key BETWEEN :wanted AND :upto)
LIMIT 1000
"""


def choose_job(data_dir: Path, wanted: str) -> list[JobRow]:
    """Every place where the one job stands that `wanted` means: its row, its files; all of one key.

    Raises:
        Failure: no job is meant, or more than one: these are listed.
        LedgerError, StorageError: they cannot be looked for.
    """
    files = list(_in_files(Spool(data_dir)))  # first: what a worker takes in meanwhile is then seen twice, not never
    rows = [*_indexed(data_dir, wanted), *files]
    for means in (_by_job_id, _by_cid, _by_key):
        keys = {row.key for row in rows if means(row, wanted)}
        if keys:
            return _only_one([row for row in rows if row.key in keys], wanted)
    raise Failure(f"no job {wanted!r} in {data_dir}: encoder-pin jobs --state all lists them", WRONG_USAGE)


def _only_one(rows: list[JobRow], wanted: str) -> list[JobRow]:
    keys, now = {row.key for row in rows}, time.time() * 1000
    if len(keys) == 1:
        return rows
    shown = [line for row in rows[:_SHOWN] for line in list(lines_of(row, now))[:2]]
    more = [f"… and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []
    head = f"{len(keys)} jobs are meant by {wanted!r}: write one's key, the first word of its line"
    raise Failure("\n".join([head, *shown, *more]), WRONG_USAGE)


def _by_job_id(row: JobRow, wanted: str) -> bool:
    return row.job_id == wanted


def _by_cid(row: JobRow, wanted: str) -> bool:
    return row.cid is not None and row.cid == _canonical(wanted)


def _by_key(row: JobRow, wanted: str) -> bool:
    if row.file and row.file.rpartition("/")[2] == wanted.rpartition("/")[2]:
        return True
    return len(wanted) >= KEY_LENGTH and row.key.startswith(wanted)


def _indexed(data_dir: Path, wanted: str) -> list[JobRow]:
    with view_ledger(data_dir / LEDGER_NAME) as ledger:
        if ledger is None:
            return []
        names = {"wanted": wanted, "cid": _canonical(wanted), "least": KEY_LENGTH, "upto": f"{wanted}g"}
        return [row_of(row) for row in ledger.rows(_LOOK, **names)]


def _in_files(spool: Spool) -> Iterator[JobRow]:
    yield from arrived_jobs(spool)
    yield from rejected_jobs(spool)


def _canonical(wanted: str) -> str | None:
    try:
        return canonical(wanted)
    except InvalidCid:
        return None
