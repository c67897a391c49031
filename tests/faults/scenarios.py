"""What is stepped through one system call at a time: each scenario prepares a folder, then does one thing in it.

Everything happens in one thread, so that the n-th system call is the same one each time: the worker's pools run their
tasks on the spot. `SCENARIOS` names them all; a rig that adds one (migration, cleaning) adds it there.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from encoder_pin_plugin.archive import stages
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import ArchiveRecord, parse_line
from encoder_pin_plugin.lazy import attempt, dispatch
from encoder_pin_plugin.nodes.base import Limits
from tests.faults.acting import complete, fail_once, work_off
from tests.faults.actors import (
    Journal,
    Place,
    cid_of,
    place_at,
    quicken,
    recover,
    watch_commits,
)  # fmt: skip
from tests.faults.folder_node import FolderNode
from tests.faults.moving import migrate_once


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One thing to be interrupted.

    Args:
        prepare: makes the folder in which it happens.
        act: does it.
        torn_tail: whether an unhealed tail may be left until the next append.
        damaged: whether the folder is damaged to begin with, and healed by doing it.
        again: whether it is done again where it was interrupted, before everything else.
    """

    prepare: Callable[[Place], object]
    act: Callable[[Place], object]
    torn_tail: bool = False
    damaged: bool = False
    again: bool = False


class _OnTheSpot:
    """In the place of a pool of threads: runs each task at once, in the caller's thread."""

    def __init__(self, *_: object) -> None:
        """As a pool's."""

    def submit(self, task: Callable[..., None], *arguments: Any) -> None:
        task(*arguments)

    def abandon(self) -> None:
        """Nothing to take the place of."""

    def close(self) -> None:
        """Nothing to close."""

    def shutdown(self, **_: object) -> None:
        """Nothing to shut down."""


def single_threaded() -> None:
    """Have this process do everything in its one thread."""
    quicken()
    dispatch.Pool = _OnTheSpot  # type: ignore[misc,assignment]
    stages.ThreadPoolExecutor = _OnTheSpot  # type: ignore[misc,assignment]
    attempt.Attempts._start_prover = lambda self: False  # type: ignore[method-assign]


def finish(name: str, root: str) -> None:
    """Do it again, to its end, as a person would after a crash."""
    single_threaded()
    SCENARIOS[name].act(place_at(root))


def prepare(name: str, root: str) -> None:
    """Make a scenario's folder, its nodes too: an error while a fake one is made would be the rig's own."""
    single_threaded()
    place = place_at(root)
    for node in (place.local, place.supernode, place.target):
        FolderNode(node)
    SCENARIOS[name].prepare(place)


def act(name: str, root: str) -> None:
    """Do what is to be interrupted, stopped first until somebody lets it go on."""
    single_threaded()
    place = place_at(root)
    os.kill(os.getpid(), signal.SIGSTOP)
    SCENARIOS[name].act(place)


def recover_stepwise(root: str) -> dict[str, float]:
    """The recovery, in one thread and stopped first, so that it can be interrupted itself."""
    single_threaded()
    os.kill(os.getpid(), signal.SIGSTOP)
    return recover(root)


def _one_failed_attempt(place: Place) -> None:
    watch_commits(place)
    fail_once(place, local_fallback_threshold=3, fallback_after=7200)


def _nothing(place: Place) -> None:
    """A folder that does not exist yet."""


def _one_recorded(place: Place) -> None:
    complete(place, "earlier")


def _one_waits(place: Place) -> None:
    work_off(place)
    complete(place, "waits")


def _one_waits_down(place: Place) -> None:
    _one_waits(place)
    (place.supernode / "down").touch()


def _first_ever_down(place: Place) -> None:
    complete(place, "waits")
    (place.supernode / "down").touch()


def _archive_of(*job_ids: str) -> Callable[[Place], None]:
    def prepare(place: Place) -> None:
        for job_id in job_ids:
            complete(place, job_id)
        (place.supernode / "down").touch()
        work_off(place, local_fallback_threshold=1)
        complete(place, "waits")

    return prepare


def _torn_archive(place: Place) -> None:
    _archive_of("old-1")(place)
    with (place.data / "local-fallback-pins.jsonl").open("ab") as file:
        file.write(b'{"hash":"QmTorn","job_id":"never ackn')


def _fall_back(place: Place) -> None:
    work_off(place, local_fallback_threshold=1)


def _lines(place: Place) -> list[ArchiveRecord]:
    content = (place.data / "local-fallback-pins.jsonl").read_bytes()
    return [parse_line(line) for line in content.splitlines(keepends=True)]


def _pinned_locally(prepare: Callable[[Place], None]) -> Callable[[Place], None]:
    def prepare_and_pin(place: Place) -> None:
        prepare(place)
        FolderNode(place.local).pin(cid_of("appended"), limits=Limits())

    return prepare_and_pin


def append_one(place: Place, job_id: str = "appended", *, patience: float = 30.0) -> None:
    """Append a job's line, waiting so many seconds for the lock. Raises LockBusy."""
    record = ArchiveRecord(
        hash=cid_of(job_id), job_id=job_id, size_mb=1.5, type="directory", failed_lazy_attempts=3,
        local_pin_timestamp="2026-01-02T03:04:05.678Z", source="failed_lazy_pin_fallback", node_id="encoder-1",
    )  # fmt: skip
    journal = Journal(place, "acks")
    Archive(place.data, lock_timeout=patience).append(record)
    journal.write(record.hash, record.job_id)


def append_on(root: str, *, data: str | None = None) -> None:
    """The archive alone, as fast as it can: append the lines of jobs that are pinned here."""
    place = place_at(root, data)
    while True:
        job_id = f"job-{os.getpid()}-{time.time_ns()}"
        FolderNode(place.local).pin(cid_of(job_id), limits=Limits())
        append_one(place, job_id)


def _compact(place: Place) -> None:
    moved = [record for record in _lines(place) if record.job_id != "old-2"]
    done = [json.dumps(json.loads(record.line()) | {"target": "t"}).encode() + b"\n" for record in moved]
    Archive(place.data).compact([record.key for record in moved], done)


def _migrated(place: Place) -> None:
    """Three lines wait, and the target has the content of two of them."""
    _archive_of("old-1", "old-2", "old-3")(place)
    for job_id in ("old-1", "old-3"):
        FolderNode(place.target).pin(cid_of(job_id), limits=Limits())


def _in_both(place: Place) -> None:
    """As a migration leaves it that was killed before the line left the archive."""
    _archive_of("old-1", "old-2")(place)
    FolderNode(place.target).pin(cid_of("old-1"), limits=Limits())
    Archive(place.data).compact((), [_line_of(place, "old-1")])


def _line_of(place: Place, job_id: str) -> bytes:
    (line,) = (record.line() for record in _lines(place) if record.job_id == job_id)
    return line


def _migrated_away(place: Place) -> None:
    _in_both(place)
    Archive(place.data).settle()


def take_back(place: Place, job_id: str = "old-1", *, patience: float = 30.0) -> None:
    """As an audit does whose target has lost it. Raises LockBusy."""
    archive = Archive(place.data, lock_timeout=patience)
    record = archive.find(cid_of(job_id), job_id)
    if record is not None:
        archive.take_back(record, "its target has lost it")


def _damaged_archive(place: Place) -> None:
    _archive_of("old-1", "old-2", "old-3")(place)
    path = place.data / "local-fallback-pins.jsonl"
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, b"no line at all\n", first, *rest]))


def _repair(place: Place) -> None:
    Archive(place.data).repair()


SCENARIOS: dict[str, Scenario] = {
    "intake, new folder": Scenario(prepare=_nothing, act=lambda place: complete(place, "first")),
    "intake": Scenario(prepare=_one_recorded, act=lambda place: complete(place, "second")),
    "append, new archive": Scenario(prepare=_pinned_locally(_nothing), act=append_one, again=True),
    "append": Scenario(prepare=_pinned_locally(_archive_of("old-1", "old-2")), act=append_one, again=True),
    "append, torn tail": Scenario(prepare=_pinned_locally(_torn_archive), act=append_one, again=True, torn_tail=True),
    "retry, new ledger": Scenario(prepare=_first_ever_down, act=_one_failed_attempt),
    "retry": Scenario(prepare=_one_waits_down, act=_one_failed_attempt),
    "pinned": Scenario(prepare=_one_waits, act=work_off),
    "fallback, new archive": Scenario(prepare=_one_waits_down, act=_fall_back),
    "fallback": Scenario(prepare=_archive_of("old-1", "old-2"), act=_fall_back),
    "fallback, torn tail": Scenario(prepare=_torn_archive, act=_fall_back, torn_tail=True),
    "compaction": Scenario(prepare=_pinned_locally(_migrated), act=_compact),
    "migration and cleaning": Scenario(prepare=_archive_of("old-1", "old-2"), act=migrate_once, again=True),
    "settling": Scenario(prepare=_in_both, act=lambda place: Archive(place.data).settle()),
    "taking back": Scenario(prepare=_migrated_away, act=take_back, again=True),
    "repair": Scenario(prepare=_damaged_archive, act=_repair, damaged=True, again=True),
}
