"""Years in minutes: the real worker, ledger, retry and breaker under a virtual clock, with random faults, from a seed.

Everything runs in one thread and in virtual time: outages of the supernode and of the local node, flaky hours, reboots,
kills, steps of the wall clock, jobs that come alone or by the dozen. In the end the nodes are well, and every job has
to come to its end.
"""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.lazy import dispatch, worker
from tests.cids import cid_of
from tests.faults.actors import Journal, Place, manager_of, place_at, plugin_at
from tests.faults.checker import Verdict
from tests.faults.forkserver import ForkServer
from tests.faults.judging import Judged, all_clean, judge, report
from tests.faults.rig import RigReport, Say, scratch
from tests.faults.scenarios import single_threaded
from tests.faults.time_rig import Virtual

MONTH = 30 * 86_400
STEPS = (1.0, 5.0, 60.0, 600.0, 3_600.0, 20_000.0)
"""Seconds of virtual time between two rounds of the worker."""


def run(seed: int, count: int, say: Say) -> RigReport:
    """Simulate `count` months, each with a seed and a folder of its own."""
    dice, results = random.Random(seed), list[Judged]()
    rounds = 0
    with (
        scratch("simulation", memory=True, keep=lambda: not all_clean(results)) as folder,
        ForkServer(folder / "children.log") as server,
    ):
        for number in range(count):
            root, month = folder / str(number), dice.randrange(2**32)
            try:
                rounds += server.run("tests.faults.simulation:simulate", root=str(root), seed=month, within=300)
                results.append(judge(server, place_at(str(root))))
            except (RuntimeError, TimeoutError) as error:
                results.append((Verdict(lost=[str(error)]), None))
            verdict, _ = results[-1]
            verdict.tell_where(f"month {month}; {root}")
            if number % 12 == 0 or not verdict.clean:
                say(f"{number + 1} months, {rounds:,} rounds {'; '.join(verdict.problems()[:2])}")
    row = report("simulated months of faults", count, results, folder=folder, seed=seed)
    return row + RigReport(
        fault=row.fault, tried=0, notes=(f"{rounds:,} rounds of the worker in {count / 12:.1f} years",)
    )


def simulate(root: str, seed: int) -> int:
    """One month; how many rounds the worker made."""
    single_threaded()
    place, dice, clock = place_at(root), random.Random(seed), Virtual()
    worker.SystemClock = lambda: clock  # type: ignore[attr-defined,assignment,return-value]
    dispatch.LEASE = 120_000
    end, rounds, journal = clock.now + MONTH, 0, Journal(place, "acks")
    while clock.now < end:
        plugin = plugin_at(place, lazy_pin_backoff="60,300,900", local_fallback_threshold=3, fallback_after=7_200,
                           lazy_pin_concurrency=16)  # fmt: skip
        working = plugin.service.worker(manager_of(plugin))
        working._presence.begin()
        for _ in range(dice.randrange(5, 80)):  # until the next reboot
            _report(plugin, dice, clock, journal)
            _weather(place, dice)
            working._turn()
            if working._results.waiting:  # what takes no time in truth has its end before much time goes by
                working._turn()
            clock.now += dice.choice(STEPS) * dice.random()
            rounds += 1
        if dice.random() < 0.7:
            working._leave()  # else it was killed: nothing is tidied up
        if dice.random() < 0.1:
            clock.now += dice.choice([-1, 1]) * dice.choice([30.0, 3_600.0, 86_400.0])
    return rounds


def _report(plugin: Any, dice: random.Random, clock: Virtual, journal: Journal) -> None:
    for _ in range(dice.choice([0, 0, 0, 1, 1, 2, 20]) if dice.random() < 0.1 else 0):
        job_id = f"job-{clock.now}-{dice.random()}"
        plugin.service.spool.record(CompletedJob(cid=cid_of(job_id), job_id=job_id))
        journal.write(cid_of(job_id), job_id)


def _weather(place: Place, dice: random.Random) -> None:
    """A node goes down, comes back, or becomes flaky."""
    for node, share in ((place.supernode, 0.05), (place.local, 0.02)):
        if dice.random() < share:
            _toggle(node / "down")
        if dice.random() < share:
            (node / "flaky").write_text(dice.choice(["0", "0.1", "0.7"]))


def _toggle(flag: Path) -> None:
    if flag.exists():
        with suppress(FileNotFoundError):
            flag.unlink()
    else:
        flag.touch()
