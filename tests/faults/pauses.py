"""Pauses: a worker is frozen at a system call, another takes its jobs over and ends them, and the first one wakes up.

A process may be stopped for longer than its lease (a debugger, a laptop's lid, a hypervisor). When it goes on it still
believes that the job is its own: what it writes then must have no effect. The supernode is down for the first worker
and up for the second, so that the two come to different ends. Likewise a compaction, while another process appends.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.actors import Place, place_at
from tests.faults.forkserver import ForkServer
from tests.faults.judging import Judged, all_clean, judge, look, raise_nodes, report, try_each
from tests.faults.rig import RigReport, Say, scratch
from tests.faults.stepping import Point, pause_at, points_of

SECONDS: dict[str, tuple[str, dict[str, object]]] = {
    "retry": ("tests.faults.actors:recover", {"watched": True}),
    "fallback": ("tests.faults.actors:recover", {"watched": True}),
    "compaction": ("tests.faults.scenarios:finish", {"name": "append"}),
}
"""What is frozen -> what another process does meanwhile."""

PAUSE = 1.0
"""Seconds: three leases, and time enough for the second worker, unless the first one holds a lock that it needs."""


def run(
    seed: int, count: int, say: Say, *, names: Sequence[str] = tuple(SECONDS), planted: tuple[str, ...] = ()
) -> RigReport:
    """Freeze a worker `count` times, each at another changing system call while there are so many."""
    dice, results = random.Random(seed), list[Judged]()
    with (
        scratch("pauses", memory=True, keep=lambda: not planted and not all_clean(results)) as folder,
        ForkServer(folder / "children.log", planted) as server,
    ):
        work = [(name, point) for name in names for point in _points(server, folder, name)]
        dice.shuffle(work)
        pause = lambda number, frozen: _pause(server, folder, number, *frozen)  # noqa: E731
        results += try_each(work[:count], pause, say, what="pauses", every=50, until_seen=bool(planted))
    return report("pauses beyond the lease", len(results), results, folder=folder, seed=seed)


def _points(server: ForkServer, folder: Path, name: str) -> list[Point]:
    server.run("tests.faults.scenarios:prepare", name=name, root=str(folder / name))
    shutil.copytree(folder / name, folder / f"{name}-reference", symlinks=True)
    child = server.start("tests.faults.scenarios:act", name=name, root=str(folder / f"{name}-reference"))
    return points_of(child, folder)


def _pause(server: ForkServer, folder: Path, number: int, name: str, point: Point) -> Judged:
    root = folder / f"{name}-{number}"
    shutil.copytree(folder / name, root, symlinks=True)
    place = place_at(str(root))
    child = server.start("tests.faults.scenarios:act", name=name, root=str(root))
    second = _Second(server, place, name)
    pause_at(child, point, PAUSE, second.take_over)
    child.result(60)
    second.wait()
    first = look(place, tail_may_be_torn=False, ends_are_final=True)
    verdict, seconds = judge(server, place)
    verdict.add(first)
    verdict.tell_where(f"{name} frozen at {point}; {root}")
    if verdict.clean:
        shutil.rmtree(root)
    return verdict, seconds


class _Second:
    """The process that goes on meanwhile."""

    def __init__(self, server: ForkServer, place: Place, name: str) -> None:
        self._server = server
        self._place = place
        self._call, self._arguments = SECONDS[name]

    def take_over(self) -> None:
        """Start it, and give it time to end."""
        raise_nodes(self._place)
        self._child = self._server.start(self._call, root=str(self._place.root), **self._arguments)
        end = time.monotonic() + 0.8 * PAUSE
        while self._child.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        (self._place.supernode / "down").touch()

    def wait(self) -> None:
        """Let it end; the nodes are up again, in case it was waiting for the frozen one."""
        raise_nodes(self._place)
        self._child.result(60)
