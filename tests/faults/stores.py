"""The stores that are compared: ours, and four that people would pick. Each as its first example of use has it."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.lazy.spool import Spool
from tests.cids import cid_of

Put = Callable[[str], object]


def _ours(store: Path) -> Put:
    spool = Spool(store)
    cid = cid_of("any")
    return lambda job: spool.record(CompletedJob(cid=cid, job_id=job))


def _read_ours(store: Path) -> list[str]:
    return [json.loads(path.read_bytes())["job_id"] for path in Spool(store).new.iterdir()]


def _append(store: Path) -> Put:
    def put(job: str) -> None:
        with (store / "jobs.jsonl").open("a") as file:
            file.write(json.dumps({"job_id": job}) + "\n")

    return put


def _read_append(store: Path) -> list[str]:
    return [_job(line) for line in (store / "jobs.jsonl").read_text(errors="replace").splitlines()]


def _job(line: str) -> str:
    try:
        return str(json.loads(line)["job_id"])
    except (ValueError, KeyError, TypeError):
        return ""


def _rewrite(store: Path) -> Put:
    """As 3Speak's encoder keeps its queue: read, add, write all of it in place."""
    path = store / "jobs.json"

    def put(job: str) -> None:
        try:
            jobs = json.loads(path.read_text()) if path.exists() else []
        except ValueError:
            jobs = []  # it begins anew where it cannot be read
        path.write_text(json.dumps([*jobs, job], indent=2))

    return put


def _read_rewrite(store: Path) -> list[str]:
    return list(json.loads((store / "jobs.json").read_text()))


def _sqlite(store: Path) -> Put:
    db = sqlite3.connect(store / "jobs.db", timeout=30)
    db.execute("CREATE TABLE IF NOT EXISTS job (id TEXT)")
    db.commit()

    def put(job: str) -> None:
        db.execute("INSERT INTO job VALUES (?)", (job,))
        db.commit()

    return put


def _read_sqlite(store: Path) -> list[str]:
    with closing(sqlite3.connect(store / "jobs.db")) as db:
        return [row[0] for row in db.execute("SELECT id FROM job")]


def _persist_queue(store: Path) -> Put:
    import persistqueue  # type: ignore[import-not-found]  # installed for the comparison alone

    queue = persistqueue.SQLiteQueue(str(store / "queue"), auto_commit=True)
    return lambda job: queue.put(job)


def _read_persist_queue(store: Path) -> list[str]:
    import persistqueue

    queue: Any = persistqueue.SQLiteQueue(str(store / "queue"), auto_commit=True)
    return [queue.get(block=False) for _ in range(queue.size)]


STORES: dict[str, tuple[Callable[[Path], Put], Callable[[Path], list[str]]]] = {
    "ours": (_ours, _read_ours),
    "plain append": (_append, _read_append),
    "JSON file rewritten in place": (_rewrite, _read_rewrite),
    "SQLite with Python's defaults": (_sqlite, _read_sqlite),
    "persist-queue": (_persist_queue, _read_persist_queue),
}


def write(name: str, store: str, acks: str, libraries: str) -> None:
    """Record jobs until killed, each written down once its store has taken it."""
    if libraries:
        sys.path.append(libraries)
    put = STORES[name][0](Path(store))
    journal = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        job = f"job-{os.getpid()}-{time.time_ns()}"
        put(job)
        os.write(journal, f"{job}\n".encode())


def read(name: str, store: str, libraries: str) -> list[str]:
    """The jobs that are there; none where the store cannot be opened any more."""
    if libraries:
        sys.path.append(libraries)
    try:
        return STORES[name][1](Path(store))
    except Exception:  # noqa: BLE001 - whatever its users would see, the jobs are not there
        return []
