"""Site plugins from hell: each does what none should, in each hook, in a host with a worker of its own.

What was recorded is on the disk whatever a plugin does afterwards, a job is archived or pinned no matter what a plugin
answers, and where the process survives the other jobs go on in it.
"""

from __future__ import annotations

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.actors import place_at
from tests.faults.checker import Verdict
from tests.faults.demons import FATAL, HOOKS, KINDS
from tests.faults.forkserver import ForkServer
from tests.faults.judging import Judged, all_clean, judge, report, try_each
from tests.faults.rig import RigReport, Say, scratch

MEANT_FOR_THE_THREAD = {("interrupts", "on_job_complete"), ("raises GeneratorExit", "on_job_complete")}
"""What the contract lets through to the host, in whose thread it happens."""


def run(seed: int, count: int, say: Say) -> RigReport:
    """Let demons act: every kind in every hook, over and over until `count`, or a sample of them."""
    dice, results = random.Random(seed), list[Judged]()
    every = [(kind, hook) for kind in KINDS for hook in HOOKS]
    chosen = dice.sample(every, count) if count < len(every) else (every * -(-count // len(every)))[:count]
    with scratch("hell", memory=True, keep=lambda: not all_clean(results)) as folder, ThreadPoolExecutor(2) as pool:
        for half in pool.map(lambda half: _half(folder / f"half-{half}", chosen[half::2], say), range(2)):
            results += half
    return report("site plugins from hell", len(results), results, folder=folder, seed=seed)


def _half(folder: Path, demons: list[tuple[str, str]], say: Say) -> list[Judged]:
    folder.mkdir()
    with ForkServer(folder / "children.log") as server:
        attempt = lambda number, demon: _try(server, folder / str(number), *demon)  # noqa: E731
        return try_each(demons, attempt, say, what="demons of this half", every=25)


def _try(server: ForkServer, root: Path, kind: str, hook: str) -> Judged:
    place, trouble = place_at(str(root)), ""
    try:
        trouble = _act(server, root, kind, hook)
        verdict, seconds = judge(server, place, tail_may_be_torn=True)
    except (RuntimeError, TimeoutError) as error:
        return Verdict(lost=[f"{error} [{kind} in {hook}; {root}]"]), None
    if trouble:
        verdict.torn.append(trouble)
    verdict.tell_where(f"{kind} in {hook}; {root}")
    if verdict.clean:
        shutil.rmtree(root, ignore_errors=True)
    return verdict, seconds


def _act(server: ForkServer, root: Path, kind: str, hook: str) -> str:
    """Have the demon act in a host; what went wrong in it."""
    child = server.start("tests.faults.demons:host_with_a_demon", root=str(root), kind=kind, hook=hook)
    try:
        told = child.result(60)
    except (RuntimeError, TimeoutError) as error:
        return (
            ""
            if kind in FATAL or (kind, hook) in MEANT_FOR_THE_THREAD
            else f"the host did not live through it: {error}"
        )
    if kind in FATAL:
        return ""
    if not told["acted"]:
        return "the demon was never called"
    shut = [path for path in (root / "data").rglob("*") if path.stat().st_mode & 0o600 != 0o600]
    if shut:
        return f"its own owner may not read {shut[0]}"
    return f"left {told['left']}, escaped {told['escaped']}" if told["left"] or told["escaped"] else ""
