"""One process under strace: which changing system calls it makes, and a SIGKILL in the place of one of them.

A call that is killed at its entry is never executed, so that stepping through all of them, and past the last, visits
every state of the disk that a kill can leave behind.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.forkserver import Child
from tests.faults.rig import Missing
from tests.faults.tools import tool

CHANGING = (
    "write", "writev", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "link", "linkat",
    "unlink", "unlinkat", "rmdir", "ftruncate", "truncate", "fallocate", "openat", "mkdir", "mkdirat", "flock",
    "chmod", "fchmod", "fchmodat", "utimensat", "symlink", "symlinkat",
)  # fmt: skip
"""The calls that change what is on the disk, or who may change it."""

_CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)$")


@dataclass(frozen=True)
class Point:
    """The `count`-th call of `name`; `text` is what it was in the reference run."""

    name: str
    count: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.name} #{self.count} ({self.text[:80]})"


def points_of(child: Child, folder: Path) -> list[Point]:
    """Let a stopped child run to its end, and list every changing call it made."""
    trace = folder / f"trace-{child.pid}"
    # -s: enough of a path to tell what was called
    with _traced(child, "-o", str(trace), "-s", "200", "-e", f"trace={_known()}"):
        pass
    return points_in(trace)


def points_in(trace: Path) -> list[Point]:
    """Every changing call that strace wrote down."""
    counts: Counter[str] = Counter()
    points = []
    for line in trace.read_text(errors="replace").splitlines():
        if match := _CALL.match(line):
            name, arguments = match.groups()
            counts[name] += 1
            if name != "openat" or "O_CREAT" in arguments or "O_TRUNC" in arguments:
                points.append(Point(name, counts[name], arguments))
    return points


def kill_at(child: Child, point: Point) -> bool:
    """Let a stopped child run until it is killed at a point; False where it ended before."""
    inject = f"inject={point.name}:signal=SIGKILL:when={point.count}"
    with _traced(child, "-o", os.devnull, "-e", f"trace={point.name}", "-e", inject):
        pass
    return child.wait() == -signal.SIGKILL


def pause_at(child: Child, point: Point, seconds: float, meanwhile: Callable[[], None]) -> None:
    """Have a stopped child go on, be held up at a point for so long, and go on to its end; `meanwhile` is called when
    it is held up, or has ended."""
    inject = f"inject={point.name}:delay_enter={int(seconds * 1e6)}:when={point.count}"
    with _traced(child, "-o", os.devnull, "-e", f"trace={point.name}", "-e", inject):
        still = 0
        while child.poll() is None and still < 40:
            still = still + 1 if state_of(child.pid) == "t" else 0
            time.sleep(0.001)
        meanwhile()


@contextmanager
def _traced(child: Child, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    _wait_until_stopped(child.pid)
    command = [tool("strace"), "-f", "-p", str(child.pid), *options]
    strace = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        _wait_until_attached(strace)
        os.kill(child.pid, signal.SIGCONT)
        yield strace
        strace.wait(120)
    finally:
        if strace.poll() is None:
            strace.kill()
            strace.wait()
        if strace.stderr:
            strace.stderr.close()


def _known() -> str:
    return ",".join(f"?{name}" for name in CHANGING)


def _wait_until_stopped(pid: int) -> None:
    while state_of(pid) != "T":
        os.sched_yield()


def state_of(pid: int) -> str:
    """The state of a process. T: stopped by a signal; t: by its tracer."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _wait_until_attached(strace: subprocess.Popen[bytes]) -> None:
    said = b""
    assert strace.stderr is not None
    while b"attached" not in said:
        ready, _, _ = select.select([strace.stderr], [], [], 20)
        piece = os.read(strace.stderr.fileno(), 4096) if ready else b""
        if not piece:
            raise Missing(f"strace cannot attach to a process here: {said.decode(errors='replace').strip()}")
        said += piece
