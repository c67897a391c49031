"""Workers on nodes in memory, with the real spool, ledger, archive and plugin manager."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from encoder_hookspecs.events import CompletedJob
from encoder_hookspecs.specs import EncoderSpecs
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.asking import Plugins
from encoder_pin_plugin.durable import SharedSync
from encoder_pin_plugin.lazy import schema
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import LazyPin
from encoder_pin_plugin.lazy.ports import Nodes
from encoder_pin_plugin.lazy.spool import Spool
from encoder_pin_plugin.lazy.worker import LEDGER_NAME, Worker
from encoder_pin_plugin.nodes.base import Limits
from encoder_pin_plugin.nodes.local import LocalPinner
from encoder_pin_plugin.plugin import PinPlugin
from encoder_pin_plugin.settings import Settings, load_settings
from tests.cids import cid_of
from tests.fakes.memory_node import MemoryNode

if TYPE_CHECKING:
    from tests.lazy.dispatching import Desk

NOW = 1_800_000_000_000
"""Wall-clock milliseconds of some day."""


class Passing:
    """Time that passes as it is told to, on both clocks."""

    passed = 0.0

    def wall(self) -> int:
        return NOW + int(self.passed * 1000)

    def steady(self) -> float:
        return 1000.0 + self.passed

    def boot(self) -> str:
        return "one"


class StandingClock:
    """A clock that stands still."""

    def wall(self) -> int:
        return NOW

    def steady(self) -> float:
        return 1000.0

    def boot(self) -> str:
        return "one"


@dataclass
class Bench:
    """One data folder with two nodes in memory, and the plugins of one host."""

    settings: Settings
    supernode: MemoryNode = field(default_factory=MemoryNode)
    local: MemoryNode = field(default_factory=MemoryNode)
    manager: pluggy.PluginManager = field(default_factory=lambda: pluggy.PluginManager("encoder"))

    def __post_init__(self) -> None:
        self.manager.add_hookspecs(EncoderSpecs)
        plugin = PinPlugin(self.settings)
        plugin.service.__dict__["local"] = self.local
        self.plugin = plugin
        self.manager.register(plugin, "pin")

    @property
    def spool(self) -> Spool:
        return Spool(self.settings.data_dir)

    @property
    def archive(self) -> Archive:
        return Archive(self.settings.data_dir)

    def complete(self, name: str, **changes: Any) -> CompletedJob:
        """A host reports a finished job."""
        job = CompletedJob(cid=changes.pop("cid", cid_of(name)), job_id=name, **changes)
        self.manager.hook.on_job_complete(job=job)
        return job

    def worker(self, **options: Any) -> Worker:
        limits = Limits(stall=5, total=10)
        pinner = LocalPinner(node=self.local, limits=limits, sync=SharedSync())
        plugins = Plugins(self.manager, self.settings, self.archive, pinner)
        return Worker(self.settings, Nodes(supernode=self.supernode, local=self.local), plugins, **options)

    def drain(self) -> int:
        """Work until nothing more can be done soon."""
        return self.worker().run(drain=True)

    def ledger(self) -> Ledger:
        """One more connection to the ledger."""
        return Ledger(self.settings.data_dir / LEDGER_NAME)

    def jobs(self) -> dict[str, LazyPin]:
        """All jobs of the ledger by job id."""
        with closing(self.ledger()) as ledger:
            return {pin.job.job_id: pin for pin in ledger.select()}

    def lines(self) -> list[str]:
        """The job ids that stand in the archive."""
        return [entry.record.job_id for entry in self.archive.entries() if entry.record]


@pytest.fixture(autouse=True)
def _ends(nothing_goes_on: None) -> None:
    """Workers, their pools and forked hosts end with the test that started them."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger without a worker."""
    opened = Ledger(tmp_path / "lazy-pins.db")
    yield opened
    opened.close()


@pytest.fixture
def make_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    """Makes a bench on one data folder; settings can be given, quick ones stand otherwise."""
    monkeypatch.setattr("encoder_pin_plugin.lazy.retry.MIN_RETRY", 0.05)

    def make(**changes: object) -> Bench:
        options: dict[str, object] = {
            "data_dir": tmp_path / "data", "node_name": "encoder-1", "threespeak_ipfs_endpoint": "http://127.0.0.1:9",
            "lazy_pin_backoff": "0.1,0.1,0.1", "plugin_timeout": 2,
        }  # fmt: skip
        return Bench(settings=load_settings({}, tmp_path, **(options | changes)))

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A bench with quick settings."""
    return make_bench()


@pytest.fixture
def running() -> Iterator[Callable[[Worker], threading.Thread]]:
    """Runs workers in threads, and stops them when the test ends."""
    started: list[tuple[Worker, threading.Thread]] = []

    def run(worker: Worker) -> threading.Thread:
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        started.append((worker, thread))
        return thread

    yield run
    for worker, thread in started:
        worker.stop(patience=5)
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def clock() -> Passing:
    """The time of `worker`."""
    return Passing()


@pytest.fixture
def worker(bench: Bench, clock: Passing) -> Iterator[Worker]:
    """A worker that a test turns by hand."""
    worker = bench.worker(clock=clock)
    yield worker
    worker._leave()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker waits for long."""
    monkeypatch.setattr("encoder_pin_plugin.lazy.worker.POLL", 0.01)
    monkeypatch.setattr("encoder_pin_plugin.lazy.worker.GATHER", 0.01)


@pytest.fixture
def leaving() -> Iterator[Callable[[Worker], Worker]]:
    """Takes workers that are turned by hand, and has them leave when the test ends, however it does."""
    taken: list[Worker] = []
    yield lambda worker: (taken.append(worker), worker)[1]
    for worker in taken:
        worker._leave()


@pytest.fixture
def go() -> Iterator[threading.Event]:
    """What a node waits for: it comes with the end of the test at the latest."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool whose folders are there."""
    spool = Spool(tmp_path / "data")
    spool.create()
    return spool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger that is there and closed."""
    path = tmp_path / "lazy-pins.db"
    schema.connect(path)[0].close()
    return path


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    """The same, open."""
    connection, new = schema.connect(path)
    assert not new
    yield connection
    connection.close()


@pytest.fixture
def make(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Desk]:
    """Makes a dispatch on the ledger; see `dispatching`."""
    from tests.lazy.dispatching import Desk  # which builds on this file

    return lambda **options: Desk(ledger, monkeypatch, **options)


@pytest.fixture
def desk(make: Callable[..., Desk]) -> Desk:
    """A dispatch with a supernode and a local node."""
    return make()
