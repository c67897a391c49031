"""The archive at a million lines: appending to it, and adding it up."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from encoder_pin_plugin.archive.files import ARCHIVE_NAME
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import ArchiveRecord
from tests.benchmarks.lines import Line, Run
from tests.benchmarks.measure import by_round, in_turns, median, percentile, seconds_of
from tests.benchmarks.videos import run_shell, tool
from tests.cids import directory_cid

APPEND_LIMIT = 5.0
"""Milliseconds that 99 of 100 appends stay below, however long the archive is."""


def record_of(number: int, name: str = "line") -> ArchiveRecord:
    """A line as a local fallback writes it."""
    return ArchiveRecord(
        hash=directory_cid(f"{name} {number}"), job_id=f"{name}-{number}", size_mb=round(random.uniform(1, 900), 3),
        type="directory", failed_lazy_attempts=3, local_pin_timestamp="2025-10-28T10:30:00.000Z",
        source="failed_lazy_pin_fallback", node_id="encoder-1", extra={},
    )  # fmt: skip


def make_archive(folder: Path, lines: int) -> Path:
    """An archive of so many lines."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ARCHIVE_NAME
    with path.open("wb", buffering=1 << 20) as file:
        file.writelines(record_of(number).line() for number in range(lines))
        file.flush()
        os.fsync(file.fileno())
    return path


def append(run: Run) -> Iterator[Line]:
    """One durable line more in an archive of 1,000,000, against a bare write+fsync in a file of that size."""
    count, times = run.sized(1_000_000, 50_000), run.sized(1000, 100)
    run.say(f"writing {count} lines")
    path = make_archive(run.folder / "data", count)
    archive, small = Archive(path.parent), Archive(run.folder / "small")
    first = seconds_of(lambda: archive.append(record_of(0, "first")))
    small.append(record_of(0, "first"))
    numbers = iter(range(3 * times))
    bare = os.open(path.with_suffix(".bare"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.truncate(bare, path.stat().st_size)
    taken = in_turns(
        {"ours": lambda: 1e3 * seconds_of(lambda: archive.append(record_of(next(numbers), "more"))),
         "small": lambda: 1e3 * seconds_of(lambda: small.append(record_of(next(numbers), "more"))),
         "bare": lambda: 1e3 * seconds_of(lambda: _append_bare(bare, record_of(next(numbers), "more").line()))},
        times,
    )  # fmt: skip
    os.close(bare)
    yield from _append_lines(taken, count, f"the first append of a process reads the file: {first:.2f} s, once")


def _append_bare(descriptor: int, line: bytes) -> None:
    os.write(descriptor, line)
    os.fsync(descriptor)


def _append_lines(taken: dict[str, list[float]], count: int, note: str) -> Iterator[Line]:
    times = len(taken["ours"])
    p50 = {name: percentile(values, 50) for name, values in taken.items()}
    for what, peer, against, aim in (
        (f"append to {count:,} lines, p50 of {times}", p50["bare"], "write+fsync", ""),
        (f"append to {count:,} lines, p50 of {times}", p50["small"], "append to an empty archive", "<= 1.5"),
    ):
        yield Line(
            name="append", what=what, ours=p50["ours"], peer=peer, unit="ms", against=against, aim=aim, note=note
        )
    yield Line(
        name="append", what=f"append to {count:,} lines, p99 of {times}", ours=percentile(taken["ours"], 99),
        peer=APPEND_LIMIT, unit="ms", against="the limit", aim="< 1",
        note=f"write+fsync p99 {percentile(taken['bare'], 99):.2f} ms",
    )  # fmt: skip


def total(run: Run) -> Iterator[Line]:
    """Count and total of 1,000,000 lines by `encoder-pin archive total`, against the handbook's commands."""
    count = run.sized(1_000_000, 50_000)
    run.say(f"writing {count} lines")
    path = make_archive(run.folder / "data", count)
    if tool("jq"):
        peer, script = "wc -l; jq | awk", f"wc -l {path}; jq '.size_mb' {path} | awk '{{sum+=$1}} END {{print sum}}'"
    else:
        program = """'{sub(/.*"size_mb":/, ""); sum += $1} END {print NR, sum}'"""
        peer, script = "awk alone: there is no jq here", f"awk {program} {path}"
    ours = [sys.executable, "-m", "encoder_pin_plugin", "archive", "total", str(path)]
    taken = in_turns(
        {"ours": lambda: seconds_of(lambda: subprocess.run(ours, check=True, capture_output=True)),
         "peer": lambda: seconds_of(lambda: run_shell(script))}, run.sized(3, 2),
    )  # fmt: skip
    yield Line(
        name="total", what=f"count and MB of {count:,} lines", ours=count / median(taken["ours"]) / 1e6,
        peer=count / median(taken["peer"]) / 1e6, unit="M lines/s", against=peer, aim=">= 4",
        ratios=by_round(taken["peer"], taken["ours"]),
        note=f"{median(taken['ours']):.2f} s, the interpreter's start included; theirs {median(taken['peer']):.2f} s",
    )  # fmt: skip
