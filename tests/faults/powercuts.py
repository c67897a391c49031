"""Power cuts: the load runs on a disk of its own, which at a random instant forgets what was not synced.

Hosts report jobs and a worker works on them; all are stopped, the power is cut, they are killed, the disk is mounted
again, recovered, and judged against what had been acknowledged. What the harness and the nodes know is on another disk.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests.faults.actors import Place, place_at
from tests.faults.cut_disk import KINDS, CutDisk, cut_disk
from tests.faults.forkserver import Child, ForkServer
from tests.faults.judging import Judged, all_clean, judge, report
from tests.faults.rig import Missing, RigReport, Say, scratch

CUTS_PER_FOLDER = 10
"""Cuts after which a fresh data folder is begun."""


def run(
    seed: int,
    count: int,
    say: Say,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    planted: tuple[str, ...] = (),
    load: str = "hosts",
) -> RigReport:
    """Cut the power `count` times in all, each kind of file system getting its share. Raises Missing where none
    works."""
    total = RigReport(fault=f"power cuts ({', '.join(kinds)})", tried=0)
    missing = []
    for kind in kinds:
        try:
            row = _run_on(kind, random.Random(f"{seed} {kind}"), -(-count // len(kinds)), say, (planted, load), seed)
        except Missing as error:
            missing.append(f"{kind} was left out: {error}")
            say(missing[-1])
        else:
            total = total + row if total.tried else replace(row, fault=total.fault)
    if len(missing) == len(kinds):
        raise Missing("; ".join(missing))
    return total + RigReport(fault="", tried=0, notes=tuple(missing))


def _run_on(
    kind: str, dice: random.Random, count: int, say: Say, how: tuple[tuple[str, ...], str], seed: int
) -> RigReport:
    results = list[Judged]()
    with (
        scratch("power", memory=True, keep=lambda: not how[0] and not all_clean(results)) as folder,
        ExitStack() as stack,
    ):
        disk = stack.enter_context(cut_disk(KINDS[kind], folder))
        server = stack.enter_context(ForkServer(folder / "children.log", how[0]))
        while len(results) < count and all_clean(results):
            number = len(results) // CUTS_PER_FOLDER
            place = place_at(str(folder / f"run-{number}"), str(disk.path / f"data-{number}"))
            _load_until_cut(server, disk, place, dice, how[1])
            results.append(judge(server, place, tail_may_be_torn=True, ends_are_final=True))
            verdict, _ = results[-1]
            if len(results) % 25 == 0 or not verdict.clean:
                say(f"{kind}: {len(results)} cuts, {verdict.acknowledged} jobs, {len(verdict.problems())} problems")
    return report(f"power cuts on {kind}", len(results), results, folder=folder, seed=seed)


def _load_until_cut(server: ForkServer, disk: CutDisk, place: Place, dice: random.Random, name: str) -> None:
    load = _LOADS[name](server, place, dice)
    time.sleep(dice.uniform(0.03, 0.35))
    if any(child.poll() is not None for child in load):
        raise RuntimeError("a part of the load ended before the power did: its last words stand in the children's log")
    for child in load:
        os.kill(child.pid, signal.SIGSTOP)
    for child in load:
        _wait_until_still(child)
    disk.cut()
    for child in load:
        child.kill()
    disk.restore()


def _hosts(server: ForkServer, place: Place, dice: random.Random) -> list[Child]:
    """Two hosts, and a worker; half of the time the supernode is down."""
    if dice.random() < 0.5:
        (place.supernode / "down").touch()
    hosts = [
        server.start("tests.faults.actors:host", **_folders(place), seed=dice.randrange(2**32), repeats=False, pause=it)
        for it in (0.002, 0.01)
    ]
    return [*hosts, server.start("tests.faults.actors:work", **_folders(place))]


def _ledger(server: ForkServer, place: Place, dice: random.Random) -> list[Child]:
    """The ledger alone: nothing else's fsync covers for one that it forgets."""
    return [server.start("tests.faults.actors:commit", **_folders(place))]


def _archive(server: ForkServer, place: Place, dice: random.Random) -> list[Child]:
    """The archive alone: no sync of the whole disk, as each fallback has one, covers for its own."""
    return [server.start("tests.faults.scenarios:append_on", **_folders(place))]


def _folders(place: Place) -> dict[str, str]:
    return {"root": str(place.root), "data": str(place.data)}


_LOADS = {"hosts": _hosts, "ledger": _ledger, "archive": _archive}


def _wait_until_still(child: Child) -> None:
    """Until each thread has stopped: one that is in the middle of an fsync stops when that has returned."""
    states = {"R"}
    while states - {"T", "Z", "X"}:
        tasks = Path(f"/proc/{child.pid}/task").iterdir()
        states = {(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks}
        time.sleep(0.0005)
