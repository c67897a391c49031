"""Races: a writer of the archive stops before one of its own calls, another goes as far as it can, the first goes on.

The window between two calls is as wide as it needs to be: the first one stops itself, and stays so until the other has
appended its line, or was told that the lock is held. So nothing hangs on how quick anybody is, and each point is met
once. Without the lock, a line is written twice, or is cut off, or stays behind in the file that is replaced.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

from encoder_pin_plugin.errors import LockBusy
from encoder_pin_plugin.nodes.base import Limits
from tests.faults.actors import cid_of, place_at
from tests.faults.folder_node import FolderNode
from tests.faults.forkserver import Child, ForkServer
from tests.faults.judging import Judged, all_clean, judge, look, report, try_each
from tests.faults.rig import RigReport, Say, scratch
from tests.faults.scenarios import SCENARIOS, append_one, single_threaded, take_back
from tests.faults.stopping import WRITING, Stops, until_stopped

_APPENDS = ("appended", "other")
"""The job whose line the other one appends: the same that `append` does, or one that nobody else has."""

MEETINGS: dict[str, tuple[str, ...]] = {
    "append, new archive": _APPENDS,
    "append": _APPENDS,
    "append, torn tail": _APPENDS,
    "compaction": _APPENDS,
    "settling": (*_APPENDS, "taken back"),
    "taking back": (*_APPENDS, "taken back"),
}
"""What is stopped in the middle, and what the other one does then: append, or take back the line that is to leave."""

PATIENCE = 0.1
"""Seconds for which the other waits for the lock of one who is stopped."""


def run(seed: int, count: int, say: Say, *, planted: tuple[str, ...] = ()) -> RigReport:
    """Have two writers meet in every way, or in `count` of them."""
    dice, results = random.Random(seed), list[Judged]()
    with (
        scratch("races", memory=True, keep=lambda: not planted and not all_clean(results)) as folder,
        ForkServer(folder / "children.log", planted) as server,
    ):
        points = [(name, point) for name in MEETINGS for point in range(_calls(server, folder, name))]
        work = [(name, point, second) for name, point in points for second in MEETINGS[name]]
        dice.shuffle(work)
        meet = lambda _, meeting: _meet(server, folder, *meeting)  # noqa: E731
        results += try_each(work[:count], meet, say, what="meetings", every=20, until_seen=bool(planted))
    return report("two writers meet at each call", len(results), results, folder=folder, seed=seed)


def _calls(server: ForkServer, folder: Path, name: str) -> int:
    """Prepare a scenario; how many calls it makes."""
    server.run("tests.faults.scenarios:prepare", name=name, root=str(folder / name))
    shutil.copytree(folder / name, folder / f"{name}-reference", symlinks=True)
    count: int = server.run("tests.faults.races:act", name=name, root=str(folder / f"{name}-reference"), stop_at=None)
    return count


def _meet(server: ForkServer, folder: Path, name: str, point: int, second: str) -> Judged:
    root = folder / f"{name}-{point}-{second}"
    shutil.copytree(folder / name, root, symlinks=True)
    place = place_at(str(root))
    first = server.start("tests.faults.races:act", name=name, root=str(root), stop_at=point)
    stopped = until_stopped(first)
    refused, gave_up = _second(server, root, second, PATIENCE)
    if stopped:
        os.kill(first.pid, signal.SIGCONT)
    gave_up += _gave_up(first)
    if refused:
        gave_up += _second(server, root, second, 30.0)[1]
    between = look(place)
    verdict, seconds = judge(server, place)
    verdict.add(between)
    verdict.lost += gave_up
    verdict.tell_where(f"{name} stopped at its call {point}, then {second}; {root}")
    return verdict, seconds


def _second(server: ForkServer, root: Path, what: str, patience: float) -> tuple[bool, list[str]]:
    """Whether the other one was told that the lock is held, and what else kept it from its work."""
    try:
        return server.run("tests.faults.races:meet", root=str(root), what=what, patience=patience), []
    except RuntimeError as error:
        return False, [f"the second writer gave up: {error}"]


def _gave_up(first: Child) -> list[str]:
    try:
        first.result(60)
    except RuntimeError as error:
        return [f"the first writer gave up: {error}"]
    return []


def act(name: str, root: str, stop_at: int | None) -> int:
    """Play a scenario, stopping before the call with this number; how many calls there were."""
    single_threaded()
    place, stops = place_at(root), Stops(stop_at)
    stops.watch(WRITING)
    SCENARIOS[name].act(place)
    return stops.count


def meet(root: str, what: str, patience: float) -> bool:
    """Append a line, or take one back; whether the lock was held for too long."""
    single_threaded()
    place = place_at(root)
    try:
        if what == "taken back":
            take_back(place, patience=patience)
        else:
            FolderNode(place.local).pin(cid_of(what), limits=Limits())
            append_one(place, what, patience=patience)
    except LockBusy:
        return True
    return False
