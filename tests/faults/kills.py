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
from pathlib import Path
from typing import Any

from tests.faults.actors import Place, place_at
from tests.faults.checker import Verdict, check
from tests.faults.folder_node import pins_of
from tests.faults.forkserver import Child, ForkServer
from tests.faults.rig import RigReport, Say, scratch, spread

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
    dice, verdicts, healed = random.Random(seed), list[Verdict](), list[float]()
    kills = eras = 0
    clean = lambda: all(verdict.clean for verdict in verdicts)  # noqa: E731
    with (
        scratch("kills", keep=lambda: not planted and not clean()) as folder,
        ForkServer(folder / "children.log", planted) as server,
    ):
        while kills < count and clean():
            place = place_at(str(folder / f"run-{eras // ERAS_PER_FOLDER}"))
            kills += _era(server, place, dice, min(ERA, count - kills))
            verdict, seconds = judge(server, place, supernode_down=dice.random() < 0.5)
            verdicts.append(verdict)
            healed.append(seconds)
            eras += 1
            say(f"{kills} kills; {verdict.places()}; {len(verdict.problems())} problems")
    return report("SIGKILL at random instants", kills, verdicts, healed=healed, folder=folder, seed=seed)


def judge(
    server: ForkServer, place: Place, *, tail_may_be_torn: bool = False, damaged: bool = False,
    ends_are_final: bool = False, supernode_down: bool = False,
) -> tuple[Verdict, float]:  # fmt: skip
    """Judge what lies there, unless it was damaged before, then work it off, with the supernode or without, and judge
    again; seconds until the recovery could work."""
    before = Verdict() if damaged else look(place, tail_may_be_torn=tail_may_be_torn, ends_are_final=ends_are_final)
    raise_nodes(place)
    if supernode_down:
        (place.supernode / "down").touch()
    told = server.run("tests.faults.actors:recover", root=str(place.root), data=str(place.data))
    after = look(place, drained=True)
    after.add(before)
    return after, told["healed"]


def look(
    place: Place, *, drained: bool = False, tail_may_be_torn: bool = False, ends_are_final: bool = False
) -> Verdict:
    """The checker's verdict on a place as it is."""
    verdict = check(
        place.data, place.acks, supernode=pins_of(place.supernode), local=pins_of(place.local),
        target=pins_of(place.target), drained=drained, tail_may_be_torn=tail_may_be_torn,
        ends_are_final=ends_are_final,
    )  # fmt: skip
    verdict.torn += [f"a reader saw {path.read_bytes()[:200]!r}" for path in place.acks.glob("*.torn")]
    return verdict


def raise_nodes(place: Place) -> None:
    """Have every node answer, always."""
    for node in (place.supernode, place.local):
        for flag in ("down", "flaky"):
            (node / flag).unlink(missing_ok=True)


def report(
    fault: str, tried: int, verdicts: list[Verdict], *, healed: list[float], folder: Path, seed: int
) -> RigReport:
    """The row for some verdicts."""
    problems = [problem for verdict in verdicts for problem in verdict.problems()]
    kept = (f"seed {seed}, kept in {folder}", *problems[:5]) if problems else (f"seed {seed}",)
    return RigReport(
        fault=fault, tried=tried, lost=sum(len(verdict.lost) for verdict in verdicts),
        doubled=sum(len(verdict.doubled) for verdict in verdicts), torn=sum(len(verdict.torn) for verdict in verdicts),
        healed_in=spread(healed), notes=kept,
    )  # fmt: skip


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
    if slot.child.kill() != -signal.SIGKILL:
        raise RuntimeError(f"{slot.call} ended by itself: see {server.log}")
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
