"""Cleaning migrated lines out of a large archive, while encoders go on appending."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

from encoder_pin_plugin.archive.jsonl import Archive
from tests.benchmarks.archives import make_archive, record_of
from tests.benchmarks.lines import Line, Run
from tests.benchmarks.measure import percentile, seconds_of

LONGEST = 250.0


def clean(run: Run) -> Iterator[Line]:
    """100,000 of 1,000,000 lines leave the archive while a writer appends, against a plain durable copy of the file."""
    count, leaving = run.sized(1_000_000, 50_000), run.sized(100_000, 5_000)
    run.say(f"writing {count} lines")
    path = make_archive(run.folder / "data", count)
    copying = [seconds_of(lambda: _copy(path))]
    lines = path.read_bytes().splitlines(keepends=True)[: leaving * 10 : 10]
    keys = [(row["hash"], row["job_id"]) for row in map(json.loads, lines)]
    context = multiprocessing.get_context("spawn")
    ready, stop, told = context.Event(), context.Event(), context.SimpleQueue()
    writer = context.Process(target=_append, args=(path.parent, ready, stop, told))
    writer.start()
    ready.wait()
    archive = Archive(path.parent)
    seconds = seconds_of(lambda: archive.compact(keys, lines))
    stop.set()
    appended = told.get()
    writer.join()
    copying.append(seconds_of(lambda: _copy(path)))
    lost = count - leaving + len(appended) - sum(1 for entry in archive.entries() if entry.record)
    note = f"{len(appended)} lines appended meanwhile, p50 {percentile(appended, 50):.2f} ms; {lost} lines lost"
    what = f"{leaving:,} of {count:,} lines leave the archive"
    yield Line(name="clean", what=what, ours=seconds, peer=min(copying), unit="s", against="cp; fsync", note=note)
    yield Line(
        name="clean", what="the longest append meanwhile", ours=max(appended), peer=LONGEST, unit="ms",
        against="a quarter second",
    )  # fmt: skip


def _copy(path: Path) -> None:
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    descriptor = os.open(copy, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    copy.unlink()


def _append(folder: Path, ready: Event, stop: Event, told: multiprocessing.SimpleQueue[list[float]]) -> None:
    from loguru import logger

    logger.remove()
    archive = Archive(folder)
    taken: list[float] = []
    archive.append(record_of(0, "warm"))
    ready.set()
    while not stop.is_set():
        taken.append(1e3 * seconds_of(lambda: archive.append(record_of(len(taken), "meanwhile"))))
        time.sleep(0.002)
    told.put([*taken, taken[0]])  # the first one, before the clock, is a line as well
