"""Many at once: processes with many threads report jobs and append lines, while a reader reads as fast as it can.

Holders of the archive's lock are killed and frozen in between. Each job that was acknowledged is there, each line
stands once, and the reader never sees a complete line that is none.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from typing import Any

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import ArchiveRecord
from encoder_pin_plugin.errors import LockBusy
from encoder_pin_plugin.nodes.base import Limits
from tests.cids import cid_of
from tests.faults.actors import Journal, Place, place_at, plugin_at, quicken, through_pluggy
from tests.faults.folder_node import FolderNode
from tests.faults.forkserver import ForkServer
from tests.faults.judging import Judged, all_clean, look, report
from tests.faults.rig import RigReport, Say, scratch

PROCESSES, WRITERS = 4, 32


def run(seed: int, count: int, say: Say) -> RigReport:
    """Have `count` jobs reported or archived, half of each."""
    dice, results = random.Random(seed), list[Judged]()
    with (
        scratch("many", memory=True, keep=lambda: not all_clean(results)) as folder,
        ForkServer(folder / "children.log") as server,
    ):
        place = place_at(str(folder / "run"))
        reader = server.start("tests.faults.actors:read", root=str(place.root))
        share = max(1, count // (PROCESSES * WRITERS))
        writers = [
            server.start("tests.faults.many:write", root=str(place.root), number=number, jobs=share)
            for number in range(PROCESSES)
        ]
        while any(writer.poll() is None for writer in writers):
            _hold(server, place, dice)
            say(f"{_lines(place)} lines")
        reader.kill()
        failed = [writer.wait() for writer in writers if writer.wait() != 0]
        verdict = look(place)
        verdict.torn += [f"a writer ended with {status}: {server.last_words()}" for status in failed]
        if verdict.acknowledged < share * PROCESSES * WRITERS:
            verdict.lost.append(f"only {verdict.acknowledged} of {share * PROCESSES * WRITERS} were acknowledged")
        results.append((verdict, None))
    return report(
        f"{WRITERS} writers in each of {PROCESSES} processes, lock holders killed and frozen", verdict.acknowledged,
        results, folder=folder, seed=seed,
    )  # fmt: skip


def _hold(server: ForkServer, place: Place, dice: random.Random) -> None:
    """Hold the lock, frozen for a while, then die of it or go on."""
    holder = server.start("tests.faults.many:hold", root=str(place.root), seconds=0.05)
    time.sleep(dice.uniform(0.01, 0.1))
    with suppress(ProcessLookupError):
        os.kill(holder.pid, signal.SIGSTOP)
        time.sleep(dice.uniform(0.0, 0.5))
        os.kill(holder.pid, dice.choice([signal.SIGKILL, signal.SIGCONT]))
    holder.wait()
    time.sleep(0.5)


def _lines(place: Place) -> int:
    path = place.data / "local-fallback-pins.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def hold(root: str, seconds: float) -> None:
    """Hold the archive's lock."""
    from encoder_pin_plugin.archive.locking import ArchiveLock

    path = place_at(root).data / "local-fallback-pins.jsonl.lock"
    if path.parent.exists():
        with suppress(LockBusy), ArchiveLock(path, 1.0).held():
            time.sleep(seconds)


def write(root: str, number: int, jobs: int) -> None:
    """One process: each of its threads reports and archives `jobs` jobs."""
    quicken()
    place = place_at(root)
    complete = through_pluggy(plugin_at(place))
    threads = [
        threading.Thread(target=_write, args=(place, complete, f"{number}-{thread}", jobs)) for thread in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _write(place: Place, complete: Any, name: str, jobs: int) -> None:
    journal, archive, local = Journal(place, "acks"), Archive(place.data), FolderNode(place.local)
    for job in range(jobs):
        job_id = f"job-{name}-{job}"
        cid = cid_of(job_id)
        if job % 2:
            complete(CompletedJob(cid=cid, job_id=job_id, size_mb=1.5))
        else:
            local.pin(cid, limits=Limits())
            _append(archive, cid, job_id)
        journal.write(cid, job_id)


def _append(archive: Archive, cid: str, job_id: str) -> None:
    record = ArchiveRecord(
        hash=cid, job_id=job_id, size_mb=1.5, type="file", failed_lazy_attempts=3,
        local_pin_timestamp="2026-11-24T10:00:00.000Z", source="failed_lazy_pin_fallback", node_id="encoder-1",
    )  # fmt: skip
    while True:
        with suppress(LockBusy):  # held by who is frozen: tried again, as the worker does
            archive.append(record)
            return
