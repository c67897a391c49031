"""Clocks that jump by years, run backwards or stand still; and an outage of an hour with thousands of jobs waiting.

A worker of its own process is given a clock that lies, while its nodes come and go; then it has to end everything. The
outage runs in virtual time: what the supernode is asked to pin in one round when it is back is compared with what it is
asked when all is well.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.clock import SystemClock
from encoder_pin_plugin.lazy import dispatch, worker
from tests.cids import cid_of
from tests.faults.acting import complete
from tests.faults.actors import manager_of, place_at, plugin_at, quicken
from tests.faults.checker import Verdict
from tests.faults.forkserver import ForkServer
from tests.faults.judging import Judged, all_clean, judge, report, try_each
from tests.faults.rig import RigReport, Say, scratch
from tests.faults.scenarios import single_threaded

YEARS = 365 * 86_400_000
JUMPS = 8
"""Jumps of the clock in one case."""

MOST = 200
"""Cases of jumping clocks; the count beyond them is for the outage."""


class Odd(SystemClock):
    """A wall clock that is set to whatever somebody likes."""

    def __init__(self) -> None:
        self.offset, self.frozen = 0, 0

    def wall(self) -> int:
        return self.frozen or max(super().wall() + self.offset, 1)


class Virtual:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = time.time()

    def wall(self) -> int:
        return int(self.now * 1000)

    def steady(self) -> float:
        return self.now

    def boot(self) -> str:
        return "virtual"


def run(seed: int, count: int, say: Say) -> RigReport:
    """Have the clock jump about `count` times, 1,600 at most, then have one outage of `count` jobs."""
    dice, results = random.Random(seed), list[Judged]()
    with (
        scratch("time", memory=True, keep=lambda: not all_clean(results)) as folder,
        ForkServer(folder / "children.log") as server,
    ):
        seeds = [dice.randrange(2**32) for _ in range(min(max(1, count // JUMPS), MOST))]
        jump = lambda number, seed: _case(server, str(folder / str(number)), seed)  # noqa: E731
        results += try_each(seeds, jump, say, what=f"times {JUMPS} jumps", every=20)
        root = str(folder / "outage")
        load = server.run("tests.faults.time_rig:outage", root=root, jobs=count, within=500)
    row = report("clocks that jump and stand still", len(results) * JUMPS, results, folder=folder, seed=seed)
    text = (
        f"outage of an hour, {count} jobs: at most {load['after']} pins in a round when it ends, {load['steady']} else"
    )
    late = not load["after"] or load["after"] > 2 * load["steady"] or load["left"]
    outage_row = RigReport(fault=row.fault, tried=count, lost=int(bool(late)), notes=(text,))
    return row + outage_row


def _case(server: ForkServer, root: str, seed: int) -> Judged:
    place = place_at(root)
    try:
        server.run("tests.faults.time_rig:work_in_odd_times", root=root, seed=seed, within=60)
        return judge(server, place)
    except (RuntimeError, TimeoutError) as error:
        return Verdict(lost=[f"{error} [{root}, seed {seed}]"]), None


def work_in_odd_times(root: str, seed: int) -> None:
    """Report jobs and work while the clock jumps; then end everything, the clock still wrong."""
    quicken()
    dispatch.LEASE = 120_000
    place, dice, clock = place_at(root), random.Random(seed), Odd()
    worker.SystemClock = lambda: clock  # type: ignore[attr-defined,assignment]
    plugin = plugin_at(place)
    working = plugin.service.worker(manager_of(plugin))
    thread = threading.Thread(target=working.run)
    thread.start()
    for number in range(JUMPS):
        complete(place, f"job-{number}")
        (place.supernode / "flaky").write_text(dice.choice(["0", "0.5", "1"]))
        clock.frozen = clock.wall() if dice.random() < 0.2 else 0
        clock.offset = dice.choice([0, 1, -1]) * dice.choice([3_600_000, 86_400_000, dice.randrange(10 * YEARS)])
        time.sleep(dice.uniform(0.02, 0.15))
    clock.frozen = 0
    (place.supernode / "flaky").unlink()
    working.stop(patience=5)
    thread.join(20)
    plugin.service.worker(manager_of(plugin)).run(drain=True)


def outage(root: str, jobs: int) -> dict[str, Any]:
    """An hour without a supernode, in virtual time, while `jobs` wait.

    Returns:
        The most pins asked for in one round when all is well, and after the outage; how many jobs were left at last.
    """
    single_threaded()
    place, clock = place_at(root), Virtual()
    worker.SystemClock = lambda: clock  # type: ignore[attr-defined,assignment,return-value]
    dispatch.LEASE = 120_000
    plugin = plugin_at(place, lazy_pin_backoff="60,300,900", local_fallback_threshold=100, lazy_pin_concurrency=16,
                       hold_local="off", fallback_after=86_400)  # fmt: skip
    supernode: Any = plugin.service.supernode
    asked: list[int] = []
    pin = supernode.pin

    def counting(cid: str, **options: Any) -> None:
        asked[-1] += 1
        pin(cid, **options)

    supernode.pin = counting
    working = plugin.service.worker(manager_of(plugin))
    working._presence.begin()

    def rounds(seconds: int, step: float) -> None:
        until = clock.now + seconds
        while clock.now < until:
            asked.append(0)
            working._turn()
            clock.now += step

    for number in range(max(jobs // 4, 200)):
        plugin.service.spool.record(CompletedJob(cid=cid_of(f"steady-{number}"), job_id=f"steady-{number}"))
    rounds(600, 1)
    steady = max(asked)
    (place.supernode / "down").touch()
    for number in range(jobs):
        plugin.service.spool.record(CompletedJob(cid=cid_of(f"waiting-{number}"), job_id=f"waiting-{number}"))
    rounds(3600, 5)
    (place.supernode / "down").unlink()
    asked.clear()
    rounds(4000, 2)
    after = max(asked)
    left = len(list((place.data / "spool" / "open").iterdir()))
    working._leave()
    return {"steady": steady, "after": after, "left": left if sum(asked) < jobs else 0}
