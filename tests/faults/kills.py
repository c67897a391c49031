"""Kills: a mixed load on one data folder, killed by SIGKILL at random instants, over and over, and judged in between.

Two hosts (one through plain pluggy, one through the manager with a worker of its own), two more workers, a
migration that cleans, and a reader share the folder, while the supernode comes and goes. Whichever process's time is
up is killed, or frozen for a while and then killed or let go; its successor goes on with what is there. Every so often
everything is killed at once, a recovery works off what is left, and the checker judges.
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from typing import Any

from tests.faults.actors import Place, place_at
from tests.faults.forkserver import Child, ForkServer
from tests.faults.judging import Judged, all_clean, judge, report
from tests.faults.rig import RigReport, Say, scratch

ERA = 100
"""Kills between two judgements."""

ERAS_PER_FOLDER = 3
"""Judgements after which a fresh data folder is begun."""


@dataclass
class _Slot:
    """One process of the load, and when its time is up."""

    call: str
    arguments: dict[str, Any]
    child: Child
    until: float
    frozen: bool = False


def run(seed: int, count: int, say: Say, *, planted: tuple[str, ...] = ()) -> RigReport:
    """Kill `count` times."""
    dice, results = random.Random(seed), list[Judged]()
    kills = eras = 0
    with (
        scratch("kills", keep=lambda: not planted and not all_clean(results)) as folder,
        ForkServer(folder / "children.log", planted) as server,
    ):
        while kills < count and all_clean(results):
            place = place_at(str(folder / f"run-{eras // ERAS_PER_FOLDER}"))
            kills += _era(server, place, dice, min(ERA, count - kills))
            results.append(judge(server, place, supernode_down=dice.random() < 0.5))
            verdict, _ = results[-1]
            eras += 1
            say(f"{kills} kills; {verdict.places()}; {len(verdict.problems())} problems")
    return report("SIGKILL at random instants", kills, results, folder=folder, seed=seed)


def _era(server: ForkServer, place: Place, dice: random.Random, count: int) -> int:
    """Let the load run until `count` of its processes were killed."""
    root = str(place.root)
    reader = server.start("tests.faults.actors:read", root=root)
    slots = [
        _begin(server, dice, "tests.faults.moving:migrate", root=root),
        _begin(server, dice, "tests.faults.actors:host", root=root),
        _begin(server, dice, "tests.faults.actors:host", root=root, managed=True),
        _begin(server, dice, "tests.faults.actors:work", root=root),
        _begin(server, dice, "tests.faults.actors:work", root=root),
    ]
    kills = 0
    while kills < count - len(slots):
        slot = min(slots, key=lambda slot: slot.until)
        time.sleep(max(0.0, slot.until - time.monotonic()))
        _flap(place, dice)
        kills += _act(server, dice, slots, slot)
    for slot in slots:
        os.kill(slot.child.pid, signal.SIGKILL)
        kills += 1
    for child in [reader, *(slot.child for slot in slots)]:
        child.kill()
    return kills


def _act(server: ForkServer, dice: random.Random, slots: list[_Slot], slot: _Slot) -> int:
    """A slot's time is up: kill its process, or freeze it for a while; how many kills that was."""
    if slot.frozen and dice.random() < 0.5:
        os.kill(slot.child.pid, signal.SIGCONT)
        slot.frozen, slot.until = False, _until(dice)
        return 0
    if not slot.frozen and dice.random() < 0.1:
        os.kill(slot.child.pid, signal.SIGSTOP)
        slot.frozen, slot.until = True, time.monotonic() + dice.uniform(0.05, 0.4)
        return 0
    if (status := slot.child.kill()) != -signal.SIGKILL:
        who = f"{slot.call}, child {slot.child.pid}"
        raise RuntimeError(f"{who}, ended by itself with {status}: {server.last_words()}")
    slots[slots.index(slot)] = _begin(server, dice, slot.call, **slot.arguments)
    return 1


def _begin(server: ForkServer, dice: random.Random, call: str, **arguments: Any) -> _Slot:
    seed = {"seed": dice.randrange(2**32)} if call.endswith(("host", "migrate")) else {}
    child = server.start(call, **(arguments | seed))
    return _Slot(call, arguments, child, _until(dice))


def _until(dice: random.Random) -> float:
    """Soon, in the middle of a start, or later, in the middle of the work."""
    return time.monotonic() + dice.choice([dice.uniform(0.002, 0.03), dice.uniform(0.03, 0.5)])


def _flap(place: Place, dice: random.Random) -> None:
    for node, share in ((place.supernode, 0.15), (place.local, 0.03)):
        if dice.random() < share:
            down = node / "down"
            if down.exists():
                down.unlink()
            elif node == place.supernode or dice.random() < 0.3:
                down.touch()
    if dice.random() < 0.05:
        (place.supernode / "flaky").write_text(dice.choice(["0", "0.2", "0.6"]))
