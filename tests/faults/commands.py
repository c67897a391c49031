"""Whole commands, as an operator types them, on one data folder whose nodes are folders.

A command is run by the real command line in a child of the fork server. What it says that it has done is acknowledged:
`Said.promised` are the jobs that must not be lost from then on, in the same sense as those that a host has reported.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from encoder_hookspecs.manager import EncoderManager
from encoder_pin_plugin import durable
from encoder_pin_plugin.archive import meeting
from encoder_pin_plugin.asking import OURS
from encoder_pin_plugin.nodes.targets import NamedTarget
from encoder_pin_plugin.operate import context, logs
from encoder_pin_plugin.operate.cli import Failure, cli
from encoder_pin_plugin.operate.migrate_words import BAD_LINE
from encoder_pin_plugin.plugin import PinPlugin
from tests.archive.migrating import Carrying
from tests.faults.acting import complete, fail_once
from tests.faults.actors import Journal, NoSync, Place, cid_of, manager_of, plugin_at
from tests.faults.folder_node import FolderNode
from tests.faults.scenarios import single_threaded

TO = "kubo+http://permanent:5001"
SLOWLY: dict[str, Any] = {"fallback_after": 7200, "local_fallback_threshold": 1, "lazy_pin_backoff": "0.02"}
"""One failed attempt, and a job falls back; never because of its age, for that would hang on how quick a test is."""

Job = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command ended.

    Args:
        done: whether it could do its work; where not, it is tried again.
        promised: the jobs (CID, job id) that it says are taken care of.
        why: what it said where it was not done.
    """

    done: bool
    promised: list[Job] = field(default_factory=list)
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Command:
    """Something that an operator, or a service manager, starts.

    Args:
        run: does it.
        touches: what it changes, or reads before it changes something.
        may_fail: whether another one may leave it nothing to do, or more to do when it has just ended.
        stops: whether it is one of those that are stopped; else it only meets them.
    """

    run: Callable[[Place], Said]
    touches: frozenset[str]
    may_fail: bool = False
    stops: bool = True


def on_folders(place: Place) -> None:
    """Have every command of this process find its nodes, and a migration its target, in this place's folders."""
    single_threaded()
    settings = _plugin(place).service.settings

    def plugins(*_: object) -> tuple[EncoderManager, PinPlugin]:
        ours, manager = _plugin(place), EncoderManager(environ={})
        manager.register(ours, OURS)
        return manager, ours

    context.Operator.settings = lambda self: settings  # type: ignore[method-assign]
    context.Operator.plugins = plugins  # type: ignore[method-assign,assignment]
    NamedTarget.open = lambda *_, **__: FolderNode(place.target)  # type: ignore[assignment,method-assign]
    meeting.choose = lambda target, local, transfer, limits: Carrying(target, limits=limits)  # type: ignore[assignment,return-value]
    meeting.refuse_itself = lambda target, local: None
    durable.SharedSync = NoSync  # type: ignore[misc,assignment]
    logs.log_of_a_command = lambda verbose: None


def _plugin(place: Place) -> PinPlugin:
    return plugin_at(place, **SLOWLY)


def typed(place: Place, *words: str) -> tuple[int, str]:
    """Run a command line; its exit code and what it wrote, or said instead of doing anything."""
    written = io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = cli.main(["--data-dir", str(place.data), *words], standalone_mode=False)
        except Failure as failure:
            return failure.exit_code, failure.message
    return int(code or 0), written.getvalue()


def acknowledge(place: Place, jobs: list[Job]) -> None:
    """Write down what was promised."""
    journal = Journal(place, "acks")
    for cid, job_id in jobs:
        journal.write(cid, job_id)


def _repair(place: Place) -> Said:
    """Its exit code is 1 as well where what it set aside needs a person."""
    code, text = typed(place, "archive", "repair")
    return Said(done=code in (0, 1) and ": " in text and "kept" in text, why=text)


def _repair_from_ledger(place: Place) -> Said:
    code, text = typed(place, "archive", "repair", "--from-ledger")
    done = code in (0, 1) and "again that the ledger knows" in text
    return Said(done=done, promised=[(cid_of("ledger-only"), "ledger-only")] if done else [], why=text)


def _migrate(place: Place) -> Said:
    return _migrated(*typed(place, "migrate", "--to", TO, "--clean", "--json"))


def _clean(place: Place) -> Said:
    return _migrated(*typed(place, "clean", str(place.root / "collected.jsonl.migrated.json"), "--json"))


def _migrated(code: int, text: str) -> Said:
    if not text.startswith("{"):
        return Said(done=code == 0, why=text)
    document = json.loads(text)
    failed = [one for one in document["failed"] if one["reason"] != BAD_LINE]
    return Said(done=not (failed or document["gave_up"] or document["not_tried"]), why=text)


def _audit(place: Place) -> Said:
    _, text = typed(place, "audit", "--json")
    if not text.startswith("{"):
        return Said(done=False, why=text)
    nodes = json.loads(text)["nodes"]
    losses = [loss for node in nodes for loss in node["losses"]]
    if alarms := [loss for loss in losses if loss["cid"] != cid_of("target-lost")]:
        raise RuntimeError(f"an alarm about what nobody has lost: {alarms}")
    mended = [(loss["cid"], job_id) for loss in losses if loss["mended"] for job_id in loss["jobs"]]
    unsure = any(node["unknown"] or node["gave_up"] for node in nodes)
    return Said(done=not unsure and all(loss["mended"] for loss in losses), promised=mended, why=text)


def _import(place: Place) -> Said:
    code, text = typed(place, "import", str(place.root / "former"), "--apply", "--json")
    if code or not text.startswith("{"):
        return Said(done=False, why=text)
    taken = [one for one in json.loads(text)["records"] if one["action"] in ("submit", "archive")]
    return Said(done=True, promised=[(one["what"], one["job_id"]) for one in taken])


def _reject(place: Place, job_id: str = "waits") -> Said:
    code, text = typed(place, "reject", job_id, "--why", "a test")
    return Said(done=code == 0, why=text)


def _retry(place: Place, job_id: str = "rejected") -> Said:
    code, text = typed(place, "retry", job_id)
    cid = cid_of("old-1") if job_id == "rejected" else cid_of(job_id)
    return Said(done=code == 0, promised=[] if code else [(cid, job_id)], why=text)


def _work(place: Place) -> Said:
    """What `work --drain` does in the thread that it starts; that thread, and the signals, are all that it adds."""
    plugin = _plugin(place)
    left = plugin.service.worker(manager_of(plugin)).run(drain=True)
    return Said(done=left == 0, why=f"{left} jobs are left")


def _retry_and_take_in(place: Place) -> Said:
    """Of the job that `reject` rejects; the worker takes it in and fails an attempt, so that it stays open."""
    said = _retry(place, "waits")
    _take_in(place)
    return said


def _submit_and_take_in(place: Place) -> Said:
    """The host reports the job once more that `reject` rejects."""
    complete(place, "waits", **SLOWLY)
    _take_in(place)
    return Said(done=True)


def _take_in(place: Place) -> None:
    fail_once(place, **SLOWLY | {"local_fallback_threshold": 9})


ARCHIVE, JOBS = "archive", "jobs"
"""The lines, wherever they stand, with the pins that they speak for; and the job files with the ledger."""

COMMANDS: dict[str, Command] = {
    # of the ledger a repair reads only what is archived, and that neither `reject` nor `retry` touches
    "archive repair": Command(run=_repair, touches=frozenset({ARCHIVE})),
    "archive repair --from-ledger": Command(run=_repair_from_ledger, touches=frozenset({ARCHIVE})),
    # before it unpins, it asks whether an open job needs the CID; `clean` does so by the same code
    "migrate --clean": Command(run=_migrate, touches=frozenset({ARCHIVE, JOBS})),
    "clean": Command(run=_clean, touches=frozenset({ARCHIVE})),
    # of jobs it would only submit again what the supernode has lost, as a host does
    "audit": Command(run=_audit, touches=frozenset({ARCHIVE})),
    "import --apply": Command(run=_import, touches=frozenset({ARCHIVE, JOBS})),
    "work": Command(run=_work, touches=frozenset({ARCHIVE, JOBS}), may_fail=True),
    "reject": Command(run=_reject, touches=frozenset({JOBS}), may_fail=True),
    "retry": Command(run=_retry, touches=frozenset({JOBS}), may_fail=True),
    "retry, taken in": Command(run=_retry_and_take_in, touches=frozenset({JOBS}), may_fail=True, stops=False),
    "submit, taken in": Command(run=_submit_and_take_in, touches=frozenset({JOBS}), stops=False),
}
"""All that change something, but those of which one change is all: `submit` (one file, see `syscalls`), `retry` of an
open job (when it is due), `migrate` without --clean (a pin on the target; for collected files a report)."""
