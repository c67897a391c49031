"""The processes of the mixed load: hosts that finish jobs, workers, a reader of the archive; and the one that recovers.

Each is the real program with real files on one data folder; what is changed for tests is time (backoffs, leases,
pauses are milliseconds) and the nodes, which are folders. Nothing here is run but in children of the fork server.
"""

from __future__ import annotations

import functools
import json
import os
import random
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy
from loguru import logger

from encoder_hookspecs.events import CompletedJob
from encoder_hookspecs.manager import EncoderManager
from encoder_hookspecs.specs import EncoderSpecs
from encoder_pin_plugin.alarms import Alarms
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.lazy import dispatch, ledger, retry, worker
from encoder_pin_plugin.lazy.jobfile import new_submission
from encoder_pin_plugin.lazy.pins import State, Step
from encoder_pin_plugin.lazy.trouble import Trouble
from encoder_pin_plugin.nodes.base import Limits
from encoder_pin_plugin.nodes.local import LocalPinner
from encoder_pin_plugin.plugin import PinPlugin
from encoder_pin_plugin.settings import load_settings
from tests.cids import cid_of
from tests.faults.checker import read_line
from tests.faults.folder_node import FolderNode

BUGS = (AttributeError, TypeError, NameError, LookupError, AssertionError)


@dataclass(frozen=True)
class Place:
    """The folders of one run: what the program owns, and what outlives it."""

    root: Path
    data: Path

    @property
    def acks(self) -> Path:
        return self.root / "acks"

    @property
    def supernode(self) -> Path:
        return self.root / "supernode"

    @property
    def local(self) -> Path:
        return self.root / "local"

    @property
    def target(self) -> Path:
        """Where migrations go."""
        return self.root / "target"


def place_at(root: str, data: str | None = None) -> Place:
    """A run's folders, made where they are missing; `data` may lie on another disk."""
    place = Place(Path(root), Path(data) if data else Path(root) / "data")
    for folder in (place.acks, place.supernode, place.local, place.target):
        folder.mkdir(parents=True, exist_ok=True)
    return place


class Journal:
    """What the harness knows, in a folder that no fault reaches. One line is one write."""

    def __init__(self, place: Place, kind: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(place.acks / f"{os.getpid()}-{time.time_ns()}.{kind}", flags)

    def write(self, cid: str, job_id: str) -> None:
        os.write(self._file, json.dumps({"cid": cid, "job_id": job_id}).encode() + b"\n")


class NoSync:
    """Stands for `os.sync()`, which would flush every disk of this machine, and hide a forgotten fsync."""

    def wait(self) -> None:
        return


class WatchedTrouble(Trouble):
    """Writes down what can only be a bug, ours or the rig's: a worker would go on, and its rig see less and less."""

    def __init__(self, place: Place, alarms: Alarms) -> None:
        super().__init__(alarms)
        self._place = place

    def met(self, error: Exception) -> None:
        if isinstance(error, BUGS):
            found = self._place.acks / f"{os.getpid()}-{time.time_ns()}.bug"
            found.write_text("".join(traceback.format_exception(error)[-3:]))
        super().met(error)


def quicken() -> None:
    """Make the program's pauses and leases short, in this process."""
    logger.remove()
    retry.MIN_RETRY = 0.01
    worker.Breaker = functools.partial(retry.Breaker, first=0.03, longest=0.2)  # type: ignore[misc,assignment]
    worker.POLL = 0.05
    dispatch.LEASE = 300
    dispatch.RELEASE_GAP = 20
    dispatch.RELEASE_AGAIN = 200
    dispatch.HOLD_AGAIN = 0.1


def plugin_at(place: Place, **changes: Any) -> PinPlugin:
    """The program's plugin on this place."""
    options: dict[str, Any] = {
        "data_dir": place.data, "node_name": "encoder-1", "threespeak_ipfs_endpoint": "http://127.0.0.1:9",
        "lazy_pin_backoff": "0.02,0.02,0.02", "local_fallback_threshold": 2, "plugin_timeout": 5,
        "lazy_pin_concurrency": 4, "fallback_after": 1,
    }  # fmt: skip
    worker.Trouble = functools.partial(WatchedTrouble, place)  # type: ignore[misc,assignment]
    plugin = PinPlugin(load_settings({}, place.root, **(options | changes)))
    local = FolderNode(place.local)
    limits = Limits(stall=5, total=10)
    plugin.service.__dict__.update(
        local=local, supernode=FolderNode(place.supernode),
        pinner=LocalPinner(node=local, limits=limits, sync=NoSync()),  # type: ignore[arg-type]
    )  # fmt: skip
    return plugin


def watch_commits(place: Place) -> None:
    """Write down each job that the ledger has committed as finished, after `commit` returned."""
    journal, commit = Journal(place, "closed"), ledger.Ledger.commit

    def watched(self: ledger.Ledger, steps: Any, now: int) -> Any:
        done = commit(self, steps, now)
        for step in done:
            if step.state.final:
                journal.write(step.pin.job.cid, step.pin.job.job_id)
        return done

    ledger.Ledger.commit = watched  # type: ignore[method-assign]


def host(
    root: str, seed: int, *, data: str | None = None, managed: bool = False, pause: float = 0.01,
    repeats: bool = True,
) -> None:  # fmt: skip
    """Finish jobs until killed: through plain pluggy, or through the manager with a worker in this process."""
    quicken()
    place, dice = place_at(root, data), random.Random(seed)
    plugin, journal = plugin_at(place), Journal(place, "acks")
    complete = through_manager(plugin) if managed else through_pluggy(plugin)
    done: list[CompletedJob] = []
    while True:
        job = _next_job(dice, done if repeats else [])
        complete(job)
        journal.write(job.cid, job.job_id)
        done.append(job)
        time.sleep(dice.uniform(0, 2 * pause))


def through_pluggy(plugin: PinPlugin) -> Any:
    """How a host reports a job through plain pluggy."""
    manager = manager_of(plugin)
    return lambda job: manager.hook.on_job_complete(job=job)


def through_manager(plugin: PinPlugin) -> Any:
    """How a host reports a job through the manager, with a worker in its own process."""
    manager = EncoderManager(environ={})
    manager.register(plugin, "pin")
    manager.on_encoder_start()
    return manager.on_job_complete


def _next_job(dice: random.Random, done: list[CompletedJob]) -> CompletedJob:
    """Mostly a new job; at times one that was reported before, or another job with the same content."""
    job_id = f"job-{os.getpid()}-{time.time_ns()}"
    if done and dice.random() < 0.08:
        return dice.choice(done)
    cid = dice.choice(done).cid if done and dice.random() < 0.08 else cid_of(job_id)
    return CompletedJob(cid=cid, job_id=job_id, size_mb=dice.choice([None, 1.5, 20.0]))


def work(root: str, *, data: str | None = None) -> None:
    """A worker of its own process, until killed."""
    quicken()
    place = place_at(root, data)
    watch_commits(place)
    plugin = plugin_at(place)
    plugin.service.worker(manager_of(plugin)).run()


def manager_of(plugin: PinPlugin) -> pluggy.PluginManager:
    """A plain manager with the plugin alone."""
    manager = pluggy.PluginManager("encoder")
    manager.add_hookspecs(EncoderSpecs)
    manager.register(plugin, "pin")
    return manager


def commit(root: str, *, data: str | None = None) -> None:
    """The ledger alone, as fast as it can: open a job, claim it, end it, and write down that its end was committed."""
    quicken()
    place = place_at(root, data)
    watch_commits(place)
    acks, supernode = Journal(place, "acks"), FolderNode(place.supernode)
    book = ledger.Ledger(place.data / worker.LEDGER_NAME)
    while True:
        job_id = f"job-{os.getpid()}-{time.time_ns()}"
        job = CompletedJob(cid=cid_of(job_id), job_id=job_id)
        supernode.pin(job.cid, limits=Limits())
        now = time.time_ns() // 1_000_000
        book.ingest([new_submission(job)], now)
        acks.write(job.cid, job_id)
        for pin in book.claim("committer", State.PENDING, now, limit=1, lease=60_000):
            book.commit([Step(pin=pin, state=State.PINNED, attempts=1, tries=1)], now)


def read(root: str, *, data: str | None = None) -> None:
    """Read the archive over and over, as an operator's script would; a complete line that is none is written down."""
    place = place_at(root, data)
    path = place.data / "local-fallback-pins.jsonl"
    while True:
        content = path.read_bytes() if path.exists() else b""
        for line in content.split(b"\n")[:-1]:
            if read_line(line) is None:
                (place.acks / f"reader-{time.time_ns()}.torn").write_bytes(line)
        time.sleep(0.002)


def recover(root: str, *, data: str | None = None, watched: bool = False) -> dict[str, float]:
    """What a restart does: settle the archive, take over, work until nothing is left. Seconds until it could work."""
    quicken()
    place = place_at(root, data)
    if watched:
        watch_commits(place)
    plugin = plugin_at(place)
    began = time.perf_counter()
    Archive(place.data).settle()
    recovering = plugin.service.worker(manager_of(plugin))
    recovering._ledger.get()
    healed = time.perf_counter() - began
    left = recovering.run(drain=True)
    return {"healed": healed, "left": left}
