"""`on_job_complete`: how long the host waits, with few and with many open jobs, and while everything else is stuck."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from encoder_pin_plugin.lazy.jobfile import new_submission
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from tests.benchmarks.jobs import host, job_of, open_jobs, record_bare, settings_for
from tests.benchmarks.lines import Line, Run
from tests.benchmarks.measure import in_turns, percentile, seconds_of

PROCESSES = 4
LONGEST = 250.0
"""Milliseconds for which the hook may keep a host, whatever happens."""


def intake(run: Run) -> Iterator[Line]:
    """on_job_complete against a bare write+fsync+rename+fsync, at 0, 10,000 and 100,000 open jobs."""
    for count in (0, run.sized(10_000, 1_000), run.sized(100_000, 3_000)):
        folder = run.folder / f"open-{count}"
        run.say(f"opening {count} jobs")
        open_jobs(folder, count)
        yield from _against_bare(folder, count, run.sized(1500, 200))


def _against_bare(folder: Path, open_count: int, times: int) -> Iterator[Line]:
    ours, bare = _contestants(folder)
    names = iter(range(2 * times))
    taken = in_turns(
        {"ours": lambda: 1e3 * seconds_of(lambda: ours(next(names))),
         "bare": lambda: 1e3 * seconds_of(lambda: bare(next(names)))}, times,
    )  # fmt: skip
    for percent, aim in ((50, ""), (99, "<= 3")):
        yield Line(
            name="intake", what=f"on_job_complete at {open_count:,} open jobs, p{percent} of {times}", unit="ms",
            ours=percentile(taken["ours"], percent), peer=percentile(taken["bare"], percent),
            against="write+fsync+rename+fsync", aim=aim,
        )  # fmt: skip


def _contestants(folder: Path) -> tuple[Callable[[int], object], Callable[[int], object]]:
    manager, _plugin = host(settings_for(folder))
    bare = folder / f"bare-{os.getpid()}"
    bare.mkdir()
    content = new_submission(job_of("bare")).body
    jobs = folder.name, os.getpid()
    return (
        lambda number: manager.hook.on_job_complete(job=job_of(f"{jobs} {number}")),
        lambda number: record_bare(bare, f"{number:032x}.{number:016x}", content),
    )


def locked(run: Run) -> Iterator[Line]:
    """on_job_complete in four processes that do nothing else, while another process keeps the ledger locked."""
    folder = run.folder / "data"
    open_jobs(folder, run.sized(10_000, 500))
    ledger = sqlite3.connect(folder / LEDGER_NAME, isolation_level=None)
    ledger.execute("BEGIN EXCLUSIVE")
    seconds = run.sized(10, 1)
    taken = in_turns({"ours": lambda: _saturate(folder, seconds, 0), "bare": lambda: _saturate(folder, seconds, 1)}, 2)
    is_locked = _is_locked(folder)
    ledger.execute("ROLLBACK")
    ledger.close()
    ours, bare = ([value for once in taken[name] for value in once] for name in ("ours", "bare"))
    note = f"p50 {percentile(ours, 50):.2f}, p99 {percentile(ours, 99):.2f}; bare p99 {percentile(bare, 99):.2f} ms"
    what = f"on_job_complete, longest of {len(ours):,} in {PROCESSES} processes, ledger {is_locked}"
    for against, peer, aim in (("the limit", LONGEST, "< 1"), ("the longest bare write", max(bare), "")):
        yield Line(name="locked", what=what, ours=max(ours), peer=peer, unit="ms", against=against, aim=aim, note=note)


def _saturate(folder: Path, seconds: float, which: int) -> list[float]:
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        taken = pool.starmap(_for_a_while, [(folder, seconds, which)] * PROCESSES, chunksize=1)
    return [value for one in taken for value in one]


def _for_a_while(folder: Path, seconds: float, which: int) -> list[float]:
    from loguru import logger

    logger.remove()
    do = _contestants(folder)[which]
    taken: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        taken.append(1e3 * seconds_of(lambda: do(len(taken) + time.time_ns())))
    return taken


def _is_locked(folder: Path) -> str:
    """Seen from outside: a worker could not write now."""
    try:
        Ledger(folder / LEDGER_NAME, busy_timeout=0.1).close()
    except Exception as error:  # noqa: BLE001 - whatever says that it is locked
        return "locked" if "locked" in str(error) else "broken"
    return "free"
