"""A data folder in which every command has something to do, and most of them with the same lines and CIDs.

old-1        waits in the archive; collected, and on the target already; `rejected` is a job with the same CID
old-2        waits in the archive; `twin` is an open job with the same CID
both         waits, and stands among the migrated: a migration was killed in between
moved        was migrated
target-lost  was migrated, and its target has lost it: safe nowhere until an audit puts it back
ledger-only  its line was moved away; the ledger knows it
waits, twin  are open; `arrived` lies in spool/new; `rejected` was rejected by a person
former-1, -2 stand in the former encoder's files, with `ledger-only` and `waits`
"""

from __future__ import annotations

import json
from pathlib import Path

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.nodes.base import Limits
from tests.faults.acting import fail_once
from tests.faults.actors import Place, cid_of, manager_of, place_at, plugin_at, through_pluggy
from tests.faults.commands import SLOWLY, TO, acknowledge, on_folders, typed
from tests.faults.folder_node import FolderNode

_WAITING = ("old-1", "old-2", "both", "moved", "target-lost", "ledger-only")


def prepare(root: str, *, damaged: bool) -> None:
    """Make such a folder; `damaged` with bad lines, a double, and a torn tail."""
    place = place_at(root)
    on_folders(place)
    (place.supernode / "down").touch()
    _reported(place, *_WAITING)
    _work_off(place)
    _move(place)
    _reported(place, "waits", twin="old-2", rejected="old-1")
    fail_once(place, **SLOWLY | {"local_fallback_threshold": 9, "lazy_pin_backoff": "0.02"})
    assert typed(place, "reject", "rejected")[0] == 0
    _reported(place, "arrived")
    _write_former(place)
    if damaged:
        _damage(place)
    jobs = {"old-1", "old-2", "both", "moved", "waits", "arrived"}
    acknowledge(place, [*((cid_of(job), job) for job in jobs), (cid_of("old-2"), "twin")])


def _reported(place: Place, *job_ids: str, **same: str) -> None:
    """A host reports jobs; those in `same` with the CID of another."""
    for job_id, of in ({job: job for job in job_ids} | same).items():
        job = CompletedJob(cid=cid_of(of), job_id=job_id, size_mb=1.5)
        through_pluggy(plugin_at(place, **SLOWLY))(job)


def _work_off(place: Place) -> None:
    plugin = plugin_at(place, **SLOWLY)
    assert plugin.service.worker(manager_of(plugin)).run(drain=True) == 0


def _move(place: Place) -> None:
    """As migrations, a collector, and a target that loses things have left it."""
    archive, local, target = Archive(place.data), FolderNode(place.local), FolderNode(place.target)
    for job_id in ("moved", "target-lost"):
        archive.compact([(cid_of(job_id), job_id)], [_line(place, job_id, migrated_to=TO)])
        local.unpin(cid_of(job_id))
    archive.compact((), [_line(place, "both", migrated_to=TO)])
    for job_id in ("moved", "both"):
        target.pin(cid_of(job_id), limits=Limits())
    _keep(archive.path, place.root / "collected.jsonl", "old-1")
    assert typed(place, "migrate", str(place.root / "collected.jsonl"), "--to", TO)[0] == 0
    _keep(archive.path, archive.path, "old-1", "old-2", "both")


def _line(place: Place, job_id: str, **more: str) -> bytes:
    lines = (json.loads(line) for line in (place.data / "local-fallback-pins.jsonl").read_bytes().splitlines())
    return next(json.dumps(it | more).encode() + b"\n" for it in lines if it["job_id"] == job_id)


def _keep(source: Path, to: Path, *job_ids: str) -> None:
    lines = source.read_bytes().splitlines(keepends=True)
    to.write_bytes(b"".join(line for line in lines if json.loads(line)["job_id"] in job_ids))


def _write_former(place: Place) -> None:
    """What an encoder of the former kind left: an archive whose content is pinned here, and a queue."""
    folder = place.root / "former" / "data"
    folder.mkdir(parents=True)
    FolderNode(place.local).pin(cid_of("former-1"), limits=Limits())
    line = json.loads(_line(place, "old-1"))
    lines = [line | {"hash": cid_of(job), "job_id": job} for job in ("former-1", "ledger-only")]
    (folder / "local-fallback-pins.jsonl").write_text("".join(json.dumps(it) + "\n" for it in lines))
    queue = [{"hash": cid_of(job), "job_id": job} for job in ("former-2", "waits")]
    (folder / "pending_pins.json").write_text(json.dumps(queue))


def _damage(place: Place) -> None:
    """A bad line in both files; in the archive a double, and half a line that nobody was told of, too."""
    waiting, migrated = place.data / "local-fallback-pins.jsonl", place.data / "migrated-pins.jsonl"
    first, *rest = waiting.read_bytes().splitlines(keepends=True)
    waiting.write_bytes(b"".join([first, b"no line at all\n", first, *rest, b'{"hash":"QmTorn","job_id":"never ackn']))
    migrated.write_bytes(b"no line either\n" + migrated.read_bytes())
