"""Measuring on a machine that is noisy and shared: side by side, in turns, medians."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def in_turns(contestants: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run each contestant once a round, and let another one begin each time: A B, B A, A B."""
    names = list(contestants)
    results: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            results[name].append(contestants[name]())
    return results


def seconds_of(do: Callable[[], object]) -> float:
    """How long `do` takes."""
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


median = statistics.median


def by_round(ours: Sequence[float], peers: Sequence[float]) -> tuple[float, ...]:
    """The ratio of each round."""
    return tuple(one / other for one, other in zip(ours, peers, strict=True))


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int | str = "self", *, peak: bool = False) -> float:
    """The resident memory of a process, now or at its highest, in MB."""
    wanted = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(wanted):
            return int(line.split()[1]) / 1000
    raise ValueError(f"the system does not tell the memory of process {pid}")


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast `count` things were done, and what they cost.

    Args:
        count: how many.
        seconds: wall clock.
        cpu: seconds of our own process.
        nodes_cpu: seconds of the nodes' processes.
    """

    count: int
    seconds: float
    cpu: float
    nodes_cpu: float

    @property
    def rate(self) -> float:
        """Things a second."""
        return self.count / self.seconds

    def cost(self) -> str:
        """The CPU time of one of them, in words."""
        return f"{self.cpu / self.count * 1e3:.2f}+{self.nodes_cpu / self.count * 1e3:.2f}"


def pace(do: Callable[[], object], count: int, nodes: Sequence[int] = ()) -> Pace:
    """Do `count` things, watching our own process and those of the nodes."""
    own, theirs, start = time.process_time(), sum(map(cpu_seconds, nodes)), time.perf_counter()
    do()
    seconds, cpu = time.perf_counter() - start, time.process_time() - own
    return Pace(count=count, seconds=seconds, cpu=cpu, nodes_cpu=sum(map(cpu_seconds, nodes)) - theirs)
