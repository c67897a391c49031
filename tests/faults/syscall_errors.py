"""Every changing system call of intake, retry, fallback and append fails, once or from then on, with each error it has.

No false success: what was acknowledged is there. No exception but ours leaves the hook or the worker. And when the disk
is well again, everything comes to its end.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.faults.actors import place_at
from tests.faults.checker import Verdict
from tests.faults.forkserver import Child, ForkServer
from tests.faults.judging import Judged, all_clean, judge, report, try_each
from tests.faults.rig import RigReport, Say, scratch
from tests.faults.scenarios import SCENARIOS
from tests.faults.stepping import Point, _known, _traced, _wait_until_stopped, points_in

NAMES = (
    "intake, new folder", "intake", "retry, new ledger", "retry", "pinned",
    "fallback, new archive", "fallback", "fallback, torn tail",
)  # fmt: skip

_FULL = ("ENOSPC", "EDQUOT")
ERRORS: dict[str, tuple[str, ...]] = {
    "write": (*_FULL, "EIO"), "pwrite64": (*_FULL, "EIO"), "fsync": ("EIO", *_FULL), "fdatasync": ("EIO", *_FULL),
    "openat": (*_FULL, "EROFS", "EMFILE", "ENFILE", "EACCES", "EIO"), "rename": ("ENOSPC", "EIO", "EROFS"),
    "mkdir": (*_FULL, "EROFS", "EACCES"), "unlink": ("EIO", "EROFS"), "ftruncate": ("EIO", "EROFS"),
    "flock": ("ENOLCK",), "utimensat": ("EROFS",), "chmod": ("EROFS", "EPERM"), "fchmod": ("EROFS", "EPERM"),
}  # fmt: skip
"""What each call can fail with; EINTR is added to each, once only: for ever it would be a hang of the kernel's."""

SHORT = 12
"""Different lengths at which writes are cut short, in each scenario."""


@dataclass(frozen=True)
class Fault:
    """One error: `lasting` from its point on; or a limit on the length of files."""

    name: str
    point: Point | None = None
    errno: str = ""
    lasting: bool = False
    largest: int | None = None

    def __str__(self) -> str:
        if self.point is None:
            return f"{self.name}: files of at most {self.largest} bytes"
        return f"{self.name}: {self.errno} {'from' if self.lasting else 'at'} {self.point}"


def run(seed: int, count: int, say: Say, *, names: tuple[str, ...] = NAMES) -> RigReport:
    """Try every fault, or a sample where all of them are more than `count`."""
    dice, results = random.Random(seed), list[Judged]()
    with scratch("errors", memory=True, keep=lambda: not all_clean(results)) as folder:
        (folder / "first").mkdir()
        with ForkServer(folder / "first" / "children.log") as server:
            faults = [fault for name in names for fault in _faults(server, folder, name, dice)]
        say(f"{len(faults)} faults in {len(names)} scenarios")
        if len(faults) > count:
            faults = dice.sample(faults, count)
        jobs = list(enumerate(faults))
        with ThreadPoolExecutor(2) as pool:
            for half in pool.map(lambda half: _half(folder, half, jobs[half::2], say), range(2)):
                results += half
    return report("errors of system calls, once and lasting", len(results), results, folder=folder, seed=seed)


def _faults(server: ForkServer, folder: Path, name: str, dice: random.Random) -> Iterator[Fault]:
    template = _template(folder, name)
    server.run("tests.faults.scenarios:prepare", name=name, root=str(template))
    root = shutil.copytree(template, folder / "reference" / template.name, symlinks=True)
    child = server.start("tests.faults.erring:act_among_errors", name=name, root=str(root))
    trace = folder / f"trace-{template.name}"
    _until_acted(child, root / "acted", "-o", str(trace), "-s", "200", "-e", f"trace={_known()}")
    child.wait()
    for point in points_in(trace):
        for errno in ERRORS.get(point.name, ()):
            yield Fault(name, point, errno)
            yield Fault(name, point, errno, lasting=True)
        yield Fault(name, point, "EINTR")
    for _ in range(SHORT):
        yield Fault(name, largest=dice.choice([0, 1, dice.randrange(600), dice.randrange(60_000)]))


def _half(folder: Path, half: int, jobs: list[tuple[int, Fault]], say: Say) -> list[Judged]:
    (folder / f"server-{half}").mkdir()
    with ForkServer(folder / f"server-{half}" / "children.log") as server:
        attempt = lambda _, job: _try(server, folder, *job)  # noqa: E731
        return try_each(jobs, attempt, say, what="faults of this half", every=50)


def _try(server: ForkServer, folder: Path, number: int, fault: Fault) -> Judged:
    scenario = SCENARIOS[fault.name]
    root = shutil.copytree(_template(folder, fault.name), folder / "points" / str(number), symlinks=True)
    place = place_at(str(root))
    try:
        escaped = _act(server, root, fault)
        verdict, seconds = judge(server, place, tail_may_be_torn=True, damaged=scenario.damaged)
    except (RuntimeError, TimeoutError) as error:
        return Verdict(lost=[f"{error} [{fault}; {root}]"]), None
    verdict.torn = [
        text for text in verdict.torn if "never ackn" not in text
    ]  # what no quarantine takes stays a bad line
    if escaped:
        verdict.torn.append(f"escaped: {escaped}")
    verdict.tell_where(f"{fault}; {root}")
    if verdict.clean:
        shutil.rmtree(root)
    return verdict, seconds


def _act(server: ForkServer, root: Path, fault: Fault) -> str:
    child = server.start("tests.faults.erring:act_among_errors", name=fault.name, root=str(root), largest=fault.largest)
    if fault.point is None:
        _wait_until_stopped(child.pid)
        os.kill(child.pid, signal.SIGCONT)
        return str(child.result(30)["escaped"])
    when = f"{fault.point.count}{'+' if fault.lasting else ''}"
    inject = f"inject={fault.point.name}:error={fault.errno}:when={when}"
    _until_acted(child, root / "acted", "-o", os.devnull, "-e", f"trace={fault.point.name}", "-e", inject)
    return str(child.result(30)["escaped"])


def _until_acted(child: Child, sign: Path, *options: str) -> None:
    """Inject until the child has acted, then let it go."""
    with _traced(child, *options) as strace:
        end = time.monotonic() + 60
        while not sign.exists() and child.poll() is None and time.monotonic() < end:
            time.sleep(0.003)
        strace.terminate()


def _template(folder: Path, name: str) -> Path:
    return folder / "templates" / name.replace(" ", "-").replace(",", "")
