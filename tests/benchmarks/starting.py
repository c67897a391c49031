"""What the plugin costs a host that does nothing with it: import time; and what a backlog costs a worker: memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from encoder_pin_plugin.nodes.base import Told
from encoder_pin_plugin.nodes.kubo import KuboNode
from tests.benchmarks.jobs import host, open_jobs, settings_for
from tests.benchmarks.lines import Line, Run
from tests.benchmarks.measure import in_turns, median, memory_mb, seconds_of

SOON = 1.0
"""Seconds after its start in which a worker begins with the first job, however many are open."""


def imports(run: Run) -> Iterator[Line]:
    """Importing the plugin, against what any host with plugins imports anyway, and against nothing at all."""
    statements = {"ours": "import encoder_pin_plugin.plugin", "pluggy": "import pluggy", "nothing": "pass"}
    taken = in_turns(
        {name: partial(_milliseconds, text) for name, text in statements.items()},
        run.sized(15, 5),
    )
    middle = {name: median(values) for name, values in taken.items()}
    for name, against in (("pluggy", "python -c 'import pluggy'"), ("nothing", "python -c pass")):
        yield Line(
            name="imports", what="python -c 'import encoder_pin_plugin.plugin'", ours=middle["ours"],
            peer=middle[name], unit="ms", against=against,
        )  # fmt: skip


def _milliseconds(statement: str) -> float:
    return 1e3 * seconds_of(lambda: subprocess.run([sys.executable, "-c", statement], check=True))


def memory(run: Run) -> Iterator[Line]:
    """A worker's resident memory with 100,000 open jobs, and how soon it begins, against a worker with none."""
    count = run.sized(100_000, 5_000)
    run.say(f"opening {count} jobs")
    open_jobs(run.folder / "many", count)
    open_jobs(run.folder / "few", 1)
    seen = in_turns({"many": lambda: _work(run.folder / "many"), "few": lambda: _work(run.folder / "few")}, 1)
    many, few = seen["many"][0], seen["few"][0]
    per_job = (many["peak"] - few["peak"]) / count * 1e3
    yield Line(
        name="memory", what=f"resident memory of a worker, {count:,} open jobs", ours=many["now"], peer=few["now"],
        unit="MB", against="a worker with one job",
        note=f"at its highest {many['peak']:.0f} MB ({per_job:.2f} KB a job); theirs {few['peak']:.0f} MB",
    )  # fmt: skip
    yield Line(
        name="memory", what=f"from start to the first attempt, {count:,} open jobs", ours=many["first"], peer=SOON,
        unit="s", against="the limit", aim="< 1", note=f"with one job {few['first']:.2f} s",
    )  # fmt: skip


def _work(folder: Path) -> dict[str, float]:
    """Run a worker in a process of its own for some seconds."""
    program = f"from tests.benchmarks.starting import watch_worker; watch_worker({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


class _Noticing(KuboNode):
    """A node that is nowhere, and sets an event when it is first asked."""

    def __init__(self, first: threading.Event) -> None:
        super().__init__("http://127.0.0.1:9")
        self._first = first

    def pinned(self, cids: Sequence[str], *, names: bool = False) -> Mapping[str, Told]:
        self._first.set()
        return super().pinned(cids, names=names)


def watch_worker(folder: str) -> None:
    """Work on a folder until a few seconds after the first attempt, and print what was seen."""
    from loguru import logger

    logger.remove()
    manager, plugin = host(settings_for(Path(folder), lazy_pin_backoff="3600"))
    first = threading.Event()
    vars(plugin.service)["supernode"] = _Noticing(first)
    start = time.perf_counter()
    worker = plugin.service.worker(manager)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    first.wait(120)
    began = time.perf_counter() - start
    thread.join(5)
    print(json.dumps({"first": began, "now": memory_mb(), "peak": memory_mb(peak=True)}))
    worker.stop(patience=1)
    thread.join(10)
