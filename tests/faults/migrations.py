"""Kills of a migration: at random instants, and at each system call that changes something; judged from outside.

The nodes are folders, a pin is an entry. After each kill, and all the time beside, every CID has to be pinned on the
encoder's own node or on the target, and what is no longer pinned here has to be pinned there. In the end each line
stands exactly once: among the migrated.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from encoder_pin_plugin.archive import stages
from tests.archive.migrating import Bench
from tests.cids import directory_cid
from tests.faults.folder_node import FolderNode, pins_of
from tests.faults.forkserver import ForkServer
from tests.faults.rig import RigReport, Say, scratch, spread
from tests.faults.stepping import kill_at, points_of

CIDS = 60
FEW = 6
"""CIDs of a migration that is stepped through."""


def run(seed: int, count: int, say: Say) -> RigReport:
    """Kill `count` migrations at random instants, and one at each of its changing system calls."""
    dice, lost, doubled, healed = random.Random(seed), list[str](), list[str](), list[float]()
    with (
        scratch("migrations", memory=True, keep=lambda: bool(lost or doubled)) as folder,
        ForkServer(folder / "children.log") as server,
    ):
        points = _step_through(server, folder, lost, doubled, say)
        kills = _kill_at_random(server, folder, dice, count, lost=lost, doubled=doubled, healed=healed)
    say(f"{kills} random kills, {points} system calls")
    return RigReport(
        fault="SIGKILL of a migration", tried=kills + points, lost=len(lost), doubled=len(doubled),
        healed_in=spread(healed), notes=(*lost[:3], *doubled[:3]),
    )  # fmt: skip


def _kill_at_random(
    server: ForkServer, folder: Path, dice: random.Random, count: int, *, lost: list[str], doubled: list[str],
    healed: list[float],
) -> int:  # fmt: skip
    kills = rounds = 0
    span = 0.6
    while kills < count:
        rounds += 1
        root = folder / f"round-{rounds}"
        server.run("tests.faults.migrations:prepare", root=str(root), cids=CIDS)
        with _watched(root, CIDS, lost):
            for _ in range(10):
                child = server.start("tests.faults.migrations:migrate", root=str(root))
                time.sleep(dice.uniform(0.0, span))
                alive = child.poll() is None
                kills += alive
                child.kill() if alive else child.wait()
                lost += _nowhere(root, CIDS)
                if not alive:  # all is migrated: kill the next ones sooner
                    span = max(0.05, span * 0.8)
                    break
                span = min(0.6, span * 1.05)
            began = time.monotonic()
            server.run("tests.faults.migrations:migrate", root=str(root))
            healed.append(time.monotonic() - began)
        doubled += _not_once(root, CIDS)
        if not (lost or doubled):
            shutil.rmtree(root)
    return kills


def _step_through(server: ForkServer, folder: Path, lost: list[str], doubled: list[str], say: Say) -> int:
    template = folder / "template"
    server.run("tests.faults.migrations:prepare", root=str(template), cids=FEW)
    warm = _copy(template, folder / "warm")
    server.run("tests.faults.migrations:migrate", root=str(warm))
    points = points_of(
        server.start("tests.faults.migrations:stepwise", root=str(_copy(template, folder / "reference"))), folder
    )
    say(f"migration: {len(points)} changing system calls")
    for number, point in enumerate(points):
        root = _copy(template, folder / f"point-{number}")
        kill_at(server.start("tests.faults.migrations:stepwise", root=str(root)), point)
        before = _nowhere(root, FEW)
        server.run("tests.faults.migrations:migrate", root=str(root))
        lost += [f"{problem} [{point}]" for problem in before + _nowhere(root, FEW)]
        doubled += [f"{problem} [{point}]" for problem in _not_once(root, FEW)]
        shutil.rmtree(root)
    return len(points)


def prepare(root: str, cids: int) -> None:
    """An encoder with an archive of so many lines, each pinned on its node."""
    bench = _bench(root)
    for number in range(cids):
        bench.waits(number)


def migrate(root: str) -> int:
    """A migration to its end; how many lines it moved."""
    bench = _bench(root)
    bench.archive.settle()
    return bench.migrate(concurrency=4).cleaned_lines


def stepwise(root: str) -> int:
    """The same in one thread, stopped first until somebody lets it go on."""
    stages.ThreadPoolExecutor = _OnTheSpot  # type: ignore[misc,assignment]
    bench = _bench(root)
    os.kill(os.getpid(), signal.SIGSTOP)
    bench.archive.settle()
    return bench.migrate(concurrency=1).cleaned_lines


class _OnTheSpot:
    def __init__(self, *_: Any) -> None:
        """As an executor."""

    def submit(self, call: Callable[..., None], *arguments: Any) -> Future[None]:
        call(*arguments)
        return Future()

    def shutdown(self, **_: Any) -> None:
        """Nothing runs."""


def _bench(root: str) -> Bench:
    place = Path(root)
    return Bench(place / "data", FolderNode(place / "local"), FolderNode(place / "target"))


def _copy(template: Path, to: Path) -> Path:
    shutil.copytree(template, to, symlinks=True)
    return to


def _nowhere(root: Path, cids: int) -> list[str]:
    """CIDs that are pinned on neither node; ours is asked first, so that what moved meanwhile is seen there."""
    here = pins_of(root / "local")
    there = pins_of(root / "target")
    return [f"{cid} is pinned nowhere" for cid in map(directory_cid, range(cids)) if cid not in here | there]


def _not_once(root: Path, cids: int) -> list[str]:
    """Lines that do not stand exactly once, among the migrated, in the end."""
    moved = (root / "data" / "migrated-pins.jsonl").read_text("ascii").splitlines()
    hashes = sorted(json.loads(line)["hash"] for line in moved)
    problems = [] if hashes == sorted(map(directory_cid, range(cids))) else [f"{len(hashes)} lines moved, of {cids}"]
    if (root / "data" / "local-fallback-pins.jsonl").read_bytes():
        problems.append("lines are left in the archive")
    left = pins_of(root / "local")
    return problems + ([f"{len(left)} local pins are left"] if left else [])


@contextmanager
def _watched(root: Path, cids: int, lost: list[str]) -> Iterator[None]:
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            lost.extend(_nowhere(root, cids))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
