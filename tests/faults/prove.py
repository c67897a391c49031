"""`make prove`: break everything that can break, and count what was lost. One table, with the commit, also in a file.

    python -m tests.faults.prove [--size small|full] [--jobs N] [--out FILE] [--only NAME ...] [--seed N]

`RIGS` is the one place where a rig registers: a name, a module with `run(seed, count, say) -> RigReport`, and how often
it breaks something in a small and in a full run. `PROVE_SIZE` gives the size as well. A rig that cannot run here (no
root, no such tool) is listed as left out, with the reason. Exit status 1 where anything was lost, doubled or torn.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import platform
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.rig import ROOT, Missing, RigReport, Say, fresh_seed


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A rig, and how much of it.

    Args:
        module: below `tests.faults`; its `run` is called.
        small, full: the count it is given.
    """

    module: str
    small: int
    full: int


RIGS: dict[str, Rig] = {
    "kills": Rig(module="kills", small=500, full=10_000),
    "syscalls": Rig(module="syscalls", small=300, full=100_000),
    "pauses": Rig(module="pauses", small=50, full=500),
    "races": Rig(module="races", small=100, full=1_000),
    "command races": Rig(module="command_races", small=200, full=10_000),
    "power cuts": Rig(module="powercuts", small=80, full=1_000),
    "migrations": Rig(module="migrations", small=100, full=1_000),
    "system call errors": Rig(module="syscall_errors", small=100, full=1_500),
    "one file gone": Rig(module="one_file_gone", small=120, full=1_000),
    "lies": Rig(module="lies", small=300, full=100_000),
    "many at once": Rig(module="many", small=2_048, full=100_096),
    "time": Rig(module="time_rig", small=160, full=10_000),
    "plugins from hell": Rig(module="hell", small=31, full=155),
    "alternatives": Rig(module="rivals", small=20, full=200),
    "fuzz": Rig(module="fuzz", small=5_000, full=200_000),
    "guided fuzz": Rig(module="fuzz_guided", small=1_000, full=10_000),
    "simulation": Rig(module="simulation", small=3, full=240),
    "planted bugs": Rig(module="self_test", small=100, full=100),
}

OUT = ROOT / "demo" / "proof.md"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One line of the table."""

    row: RigReport
    seconds: float
    left_out: str = ""
    failed: str = ""


def main() -> int:
    """Run the rigs, print the table, write it down."""
    options = _options()
    seed = options.seed if options.seed is not None else fresh_seed()
    print(f"seed {seed}, size {options.size}", flush=True)
    counts = {name: getattr(RIGS[name], options.size) for name in options.only or RIGS}
    outcomes = prove_all(counts, seed, jobs=options.jobs)
    text = table(outcomes, size=options.size, seed=seed)
    print(text)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text)
    return 0 if all(outcome.row.clean and not outcome.failed for outcome in outcomes) else 1


def prove_all(counts: dict[str, int], seed: int, *, jobs: int) -> list[Outcome]:
    """Run rigs, each as often as is said, `jobs` at a time."""
    with ThreadPoolExecutor(jobs) as threads:
        return list(threads.map(_prove_apart, counts, counts.values(), [seed] * len(counts)))


def _prove_apart(name: str, count: int, seed: int) -> Outcome:
    """In a process of its own: no rig sees what another does to its process, or suffers its end."""
    try:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn, initializer=_end_with_the_parent) as process:
            return process.submit(prove, name, count, seed).result()
    except BrokenProcessPool as error:
        return Outcome(row=RigReport(fault=name, tried=0), seconds=0.0, failed=repr(error))


def _end_with_the_parent() -> None:
    """No rig goes on when `make prove` was killed: nobody would hear of it, and it takes both processors."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def prove(name: str, count: int, seed: int) -> Outcome:
    """Run one rig; whatever happens in it, the others have their turn."""
    began = time.monotonic()
    say = _sayer(name)
    try:
        row = importlib.import_module(f"tests.faults.{RIGS[name].module}").run(seed, count, say)
    except Missing as missing:
        say(f"LEFT OUT: {missing}")
        return Outcome(row=RigReport(fault=name, tried=0), seconds=time.monotonic() - began, left_out=str(missing))
    except Exception as error:  # noqa: BLE001 - a broken rig is a line of the table, not the end of it
        failed = f"{type(error).__name__}: {error}"  # as it is: the end of a log may stand in it, of many lines
        say(f"THE RIG FAILED: {failed}")
        return Outcome(row=RigReport(fault=name, tried=0), seconds=time.monotonic() - began, failed=failed)
    return Outcome(row=row, seconds=time.monotonic() - began)


def table(outcomes: list[Outcome], *, size: str, seed: int) -> str:
    """The table in Markdown."""
    lines = [
        f"Commit {_commit()}, {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.system()}",
        f"{platform.release()}: `python -m tests.faults.prove --size {size} --seed {seed}`",
        "",
        "| fault | tried | lost | doubled | torn | healed in | took |",
        "|---|--:|--:|--:|--:|---|--:|",
    ]
    for outcome in outcomes:
        row = outcome.row
        if outcome.left_out or outcome.failed:
            lines.append(f"| {row.fault} | {'left out' if outcome.left_out else 'FAILED'} | | | | | |")
        else:
            lines.append(
                f"| {row.fault} | {row.tried:,} | {row.lost} | {row.doubled} | {row.torn} | {row.healed_in} |"
                f" {outcome.seconds:.0f} s |"
            )
    return "\n".join([*lines, "", *_notes(outcomes), ""])


def _notes(outcomes: list[Outcome]) -> list[str]:
    notes = []
    for outcome in outcomes:
        texts = dict.fromkeys((*outcome.row.notes, *filter(None, (outcome.left_out, outcome.failed))))
        notes += [f"- {outcome.row.fault}: {text}" for text in texts]
    return notes


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.prove", description=__doc__)
    parser.add_argument("--size", choices=["small", "full"], default=os.environ.get("PROVE_SIZE", "full"))
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="rigs at a time")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", nargs="+", choices=list(RIGS), metavar="NAME")
    parser.add_argument("--seed", type=int)
    return parser.parse_args()


def _sayer(name: str) -> Say:
    return lambda text: print(f"{datetime.now(UTC):%H:%M:%S} {name}: {text}", flush=True)


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
