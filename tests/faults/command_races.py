"""Races of commands: one stops before each of its changing calls, another goes as far as it can, the first goes on.

What is stopped before: whatever another process sees, the taking of each lock, the beginning and the end of each
transaction of the ledger. The other one waits for no lock, because who holds it is stopped; told that it is busy, it is
tried again when the first has ended, and has to do its work then. What a command said it has done, none may undo.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from encoder_pin_plugin.errors import EncoderPinError
from tests.faults.actors import Place, place_at
from tests.faults.commands import COMMANDS, Said, acknowledge, on_folders
from tests.faults.forkserver import Child, ForkServer
from tests.faults.judging import Judged, all_clean, judge, look, report, try_each
from tests.faults.rig import RigReport, Say, scratch
from tests.faults.stopping import SEEN, Stops, impatient, until_stopped

PATIENCE = 0.02
"""Seconds for which the second waits for a lock, or a transaction, of the first, which is stopped."""

REPAIRS = {name for name in COMMANDS if name.startswith("archive repair")}

Meeting = tuple[str, int, str]
"""What is stopped, before which of its calls, and what meets it there."""


PAIRS = [
    (first, second)
    for first, command in COMMANDS.items()
    for second, other in COMMANDS.items()
    if command.stops and command.touches & other.touches
]
"""Who is stopped, and who comes then: all that have something in common. Of the others neither sees what the other
does: a repair of the archive and a rejected job."""


def run(
    seed: int, count: int, say: Say, *, pairs: Sequence[tuple[str, str]] = PAIRS, planted: tuple[str, ...] = ()
) -> RigReport:  # fmt: skip
    """Have two commands meet in every way, or in `count` of them; each pair at least once where there are so many."""
    dice, results = random.Random(seed), list[Judged]()
    with (
        scratch("command-races", memory=True, keep=lambda: not planted and not all_clean(results)) as folder,
        ForkServer(folder / "children.log", planted) as server,
    ):
        work = _each_pair_first(meetings(server, folder, pairs), dice)
        meet = lambda _, meeting: _meet(server, folder, *meeting)  # noqa: E731
        results += try_each(work[:count], meet, say, what="meetings", every=50, until_seen=bool(planted))
    return report("two commands meet at each call", len(results), results, folder=folder, seed=seed)


def meetings(server: ForkServer, folder: Path, pairs: Sequence[tuple[str, str]]) -> list[Meeting]:
    """Prepare the folders, and play each command once to see how many calls it makes: every meeting there can be."""
    for damaged in (False, True):
        server.run("tests.faults.command_place:prepare", root=str(_prepared(folder, damaged)), damaged=damaged)
    plays = {(first, _damaged(first, second)) for first, second in pairs}
    calls = {play: _calls(server, folder, *play) for play in sorted(plays)}
    return [(first, point, second) for first, second in pairs for point in range(calls[first, _damaged(first, second)])]


def _each_pair_first(work: list[Meeting], dice: random.Random) -> list[Meeting]:
    """In random order, but one meeting of each pair before the second of any."""
    dice.shuffle(work)
    turns: Counter[tuple[str, str]] = Counter()
    keyed = []
    for first, point, second in work:
        keyed.append((turns[first, second], (first, point, second)))
        turns[first, second] += 1
    return [meeting for _, meeting in sorted(keyed, key=lambda it: it[0])]


def _damaged(*names: str) -> bool:
    """Bad lines are for those meetings in which somebody repairs them."""
    return bool(REPAIRS & set(names))


def _prepared(folder: Path, damaged: bool) -> Path:
    return folder / ("damaged" if damaged else "sound")


def _calls(server: ForkServer, folder: Path, name: str, damaged: bool) -> int:
    root = folder / f"reference-{name}-{damaged}"
    shutil.copytree(_prepared(folder, damaged), root, symlinks=True)
    said = server.run("tests.faults.command_races:act", name=name, root=str(root), stop_at=None, patient=True)
    if not said["done"]:
        raise RuntimeError(f"{name} alone cannot do its work: {said['why']}")
    calls: int = said["calls"]
    return calls


def _meet(server: ForkServer, folder: Path, first: str, point: int, second: str) -> Judged:
    root = folder / f"{first}-{point}-{second}".replace(" ", "_")
    shutil.copytree(_prepared(folder, _damaged(first, second)), root, symlinks=True)
    place = place_at(str(root))
    child = _start(server, root, first, stop_at=point)
    stopped = until_stopped(child)
    said, problems = _ended(_start(server, root, second, patient=False), second)
    if stopped:
        os.kill(child.pid, signal.SIGCONT)
    problems += _said(child, first)
    if not said.get("done"):
        problems += _said(_start(server, root, second), second)
    verdict, seconds = _judged(server, place)
    verdict.lost += problems
    verdict.tell_where(f"{first} stopped at its call {point}, then {second}; {root}")
    if verdict.clean:
        shutil.rmtree(root)
    return verdict, seconds


def _judged(server: ForkServer, place: Place) -> Judged:
    between = look(place, all_here=True)
    verdict, seconds = judge(server, place)
    verdict.add(between)
    return verdict, seconds


def _start(server: ForkServer, root: Path, name: str, *, stop_at: int | None = None, patient: bool = True) -> Child:
    return server.start("tests.faults.command_races:act", name=name, root=str(root), stop_at=stop_at, patient=patient)


def _said(child: Child, name: str) -> list[str]:
    """What is wrong with how a command ended that nobody kept from its work."""
    said, problems = _ended(child, name)
    if not (problems or said["done"] or COMMANDS[name].may_fail):
        problems.append(f"{name} did not do its work: {said['why'][-600:]}")
    return problems


def _ended(child: Child, name: str) -> tuple[dict[str, Any], list[str]]:
    """What a command said in the end; and where it ended in a way that nobody foresaw, that."""
    try:
        said: dict[str, Any] = child.result(60)
    except (RuntimeError, TimeoutError) as error:
        return {}, [f"{name} broke: {error}"]
    return said, []


def act(name: str, root: str, stop_at: int | None, patient: bool) -> dict[str, Any]:
    """Run a command, stopping before the call with this number; what it said, and how many calls there were."""
    place, stops = place_at(root), Stops(stop_at)
    on_folders(place)
    if not patient:
        impatient(PATIENCE)
    stops.watch(SEEN)
    stops.watch_locks()
    stops.watch_transactions()
    try:
        said = COMMANDS[name].run(place)
    except EncoderPinError as error:  # of the worker alone: a command says it in words
        if patient:
            raise
        said = Said(done=False, why=str(error))
    calls = stops.count
    acknowledge(place, said.promised)
    return asdict(said) | {"calls": calls}
