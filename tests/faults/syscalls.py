"""One kill at each changing system call of intake, retry, fallback, append, compaction and repair; then of recovery.

A reference run under strace lists the calls of a scenario. Then it is run once for each: on a fresh copy of its folder,
killed where that call would begin, recovered, and judged. For a share of the points the recovery is killed as well, at
a point of its own, and recovered again.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from tests.faults.actors import place_at
from tests.faults.checker import Verdict
from tests.faults.forkserver import ForkServer
from tests.faults.judging import Judged, all_clean, judge, look, raise_nodes, report
from tests.faults.rig import RigReport, Say, scratch
from tests.faults.scenarios import SCENARIOS
from tests.faults.stepping import Point, kill_at, points_of

NESTED = 0.25
"""Share of the points at which the recovery is killed too."""

DEPTH = 3
"""How often a recovery is killed before one is let through."""


def run(
    seed: int, count: int, say: Say, *, names: Sequence[str] = tuple(SCENARIOS), planted: tuple[str, ...] = (),
    nested: float = NESTED,
) -> RigReport:  # fmt: skip
    """Step through scenarios: every point of each, or a sample where all of them are more than `count`."""
    dice, results = random.Random(seed), list[Judged]()
    with (
        scratch("syscalls", memory=True, keep=lambda: not planted and not all_clean(results)) as folder,
        _Stepper(folder, planted) as stepper,
    ):
        work = [(name, point) for name in names for point in stepper.points(name, say)]
        if len(work) > count:
            work = dice.sample(work, count)
        jobs = [(name, point, dice.randrange(2**32), dice.random() < nested) for name, point in work]
        results += stepper.step_all(jobs, say)
    return report("SIGKILL at each system call", len(results), results, folder=folder, seed=seed)


class _Stepper:
    """Two fork servers, each stepping through its half of the points."""

    def __init__(self, folder: Path, planted: tuple[str, ...]) -> None:
        self._folder = folder
        self._servers = []
        for number in range(2):
            (folder / f"server-{number}").mkdir()
            self._servers.append(ForkServer(folder / f"server-{number}" / "children.log", planted))
        self._recovery_points: dict[str, list[Point]] = {}

    def __enter__(self) -> Self:
        for server in self._servers:
            server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for server in self._servers:
            server.__exit__(*error)

    def points(self, name: str, say: Say) -> list[Point]:
        """Prepare a scenario, and list its points, taken from a second run, when every module is loaded."""
        server, template = self._servers[0], self._template(name)
        server.run("tests.faults.scenarios:prepare", name=name, root=str(template))
        root = self._copy(name, "reference")
        points = points_of(server.start("tests.faults.scenarios:act", name=name, root=str(root)), self._folder)
        say(f"{name}: {len(points)} changing system calls")
        root = self._copy(name, "recovery")
        raise_nodes(place_at(str(root)))
        recovery = server.start("tests.faults.scenarios:recover_stepwise", root=str(root))
        self._recovery_points[name] = points_of(recovery, self._folder)
        return points

    def step_all(self, jobs: list[tuple[str, Point, int, bool]], say: Say) -> list[Judged]:
        """Step through all, two at a time."""
        self._say = say
        halves = [[(number, *job) for number, job in enumerate(jobs)][half::2] for half in range(2)]
        with ThreadPoolExecutor(2) as pool:
            steps = lambda pair: [self._step(pair[0], *job) for job in pair[1]]  # noqa: E731
            results = pool.map(steps, zip(self._servers, halves, strict=True))
            return [result for half in results for result in half]

    def _step(self, server: ForkServer, number: int, name: str, point: Point, seed: int, nested: bool) -> Judged:
        scenario, root = SCENARIOS[name], self._copy(name, str(number))
        place = place_at(str(root))
        trail = [f"{name} killed at {point}"]
        kill_at(server.start("tests.faults.scenarios:act", name=name, root=str(root)), point)
        first = Verdict() if scenario.damaged else look(place, tail_may_be_torn=scenario.torn_tail)
        if scenario.again:
            server.run("tests.faults.scenarios:finish", name=name, root=str(root))
        if nested:
            trail += self._kill_recoveries(server, name, root, random.Random(seed))
        verdict, seconds = judge(server, place, tail_may_be_torn=scenario.torn_tail, damaged=scenario.damaged)
        verdict.add(first)
        verdict.tell_where(f"{', then '.join(trail)}; {root}")
        if verdict.clean:
            shutil.rmtree(root)
        if number % 100 == 99 or not verdict.clean:
            self._say(f"{number + 1} points {' '.join(verdict.problems()[:1])[:300]}")
        return verdict, seconds

    def _kill_recoveries(self, server: ForkServer, name: str, root: Path, dice: random.Random) -> list[str]:
        """Kill one recovery after another, each at a random point of its own."""
        trail = []
        raise_nodes(place_at(str(root)))
        for _ in range(DEPTH):
            point = dice.choice(self._recovery_points[name])
            killed = kill_at(server.start("tests.faults.scenarios:recover_stepwise", root=str(root)), point)
            trail.append(f"recovery {'killed at' if killed else 'ended before'} {point}")
        return trail

    def _template(self, name: str) -> Path:
        return self._folder / "templates" / name.replace(" ", "-").replace(",", "")

    def _copy(self, name: str, number: str) -> Path:
        root = self._folder / "points" / f"{self._template(name).name}-{number}"
        shutil.copytree(self._template(name), root, symlinks=True)
        return root
