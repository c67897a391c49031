"""Whatever bytes come from outside: each reader of them answers or refuses in its own words, soon and in little memory.

Samples of each kind of input are changed, see `fuzz_mutations`, and given to its reader, see `fuzz_targets`.
"""

from __future__ import annotations

import random
import tracemalloc

from tests.faults.fuzz_mutations import mutated
from tests.faults.fuzz_targets import Target, open_targets
from tests.faults.rig import RigReport, Say, scratch

LARGE = 64 << 20
"""Bytes of memory that no input may cost."""


def run(seed: int, count: int, say: Say) -> RigReport:
    """Have `count` inputs read; what crashed, was slow, or large."""
    dice, problems = random.Random(seed), list[str]()
    with scratch("fuzz", keep=lambda: bool(problems), memory=True) as folder, open_targets(folder) as targets:
        tracemalloc.start()
        try:
            for number in range(count):
                name = dice.choice(list(targets))
                data = mutated(dice.choice(targets[name].samples), dice)
                if problem := _problem(targets[name], data):
                    path = folder / f"{name}-{number}"
                    path.write_bytes(data)
                    problems.append(f"{name}: {problem}, for {path}")
                if number % 20_000 == 0:
                    say(f"{number:,} inputs, {len(problems)} problems")
        finally:
            tracemalloc.stop()
    return RigReport(fault="mutated inputs", tried=count, torn=len(problems), notes=(f"seed {seed}", *problems[:8]))


def _problem(target: Target, data: bytes) -> str:
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        target(data)
    except Exception as error:  # noqa: BLE001 - that is the question
        return f"{type(error).__name__}: {str(error)[:300]}"
    peak = tracemalloc.get_traced_memory()[1] - before
    return f"{peak >> 20} MB" if peak > LARGE else ""
