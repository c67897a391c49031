"""The demo: a finished job survives the loss of the supernode, and moves to a permanent server.

Every sentence is checked as it is said. The story is a list of acts over one stage; a further act is one more function
in `ACTS`.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from encoder_pin_plugin.settings import load_settings
from encoder_pin_plugin.settings.table import TABLE
from examples.encoder_harness.board import State
from examples.encoder_harness.encode import RENDITIONS
from examples.encoder_harness.errors import HarnessError
from examples.encoder_harness.ffmpeg import find_ffmpeg
from examples.encoder_harness.host import Encoder
from examples.encoder_harness.ipfs import blocks
from examples.encoder_harness.live import in_words
from examples.encoder_harness.permanent import permanent_server
from examples.encoder_harness.teller import Teller
from examples.encoder_harness.workplace import open_workplace
from examples.nodes import kubo_binary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from examples.encoder_harness.board import Row
    from examples.encoder_harness.host import Finished
    from examples.encoder_harness.workplace import Workplace

BACKOFF = "1,2"
"""LAZY_PIN_BACKOFF in the demo: seconds instead of the default's minutes. All other settings are the default's."""

PATIENCE = 120.0
"""Seconds that a step may take on a slow machine before the demo says that it failed."""

_LEFT = """\
data/migrated-pins.jsonl         what was saved, and where it is now
logs/encoder.log                 what happened, line by line
.env                             the settings: in this folder, `encoder-pin status` and all other commands work"""
_MARK = ".encoder-demo"
_EIGHT_KEYS = ["hash", "job_id", "size_mb", "type", "failed_lazy_attempts", "local_pin_timestamp", "source", "node_id"]


@dataclass(kw_only=True)
class Stage:
    """What the acts share; the curtain closes everything that was opened, in reverse order."""

    folder: Path
    tell: Teller
    curtain: ExitStack
    place: Workplace = field(init=False)
    encoder: Encoder = field(init=False)
    saved: Finished = field(init=False)


def tell_story(folder: Path) -> None:
    """Play all acts in `folder`, emptied first. Raises `HarnessError` or `NodeError` where something is not so."""
    _fresh(folder)
    tell = Teller()
    with ExitStack() as curtain:
        stage = Stage(folder=folder, tell=tell, curtain=curtain)
        for act in ACTS:
            tell.act((act.__doc__ or "").strip().rstrip("."))
            act(stage)
        tell.act("The end")
        tell.say("ending the encoder and its nodes")
    tell.say(f"{tell.checked} claims checked, all of them true. Look around: {folder}")
    tell.show(_LEFT)


def tools_and_nodes(stage: Stage) -> None:
    """Real tools, real nodes."""
    tell = stage.tell
    tell.say(f"ffmpeg is {find_ffmpeg()}")
    tell.say("looking for Kubo; where there is none it is built from its source, once, which takes some minutes")
    tell.say(f"Kubo is {kubo_binary(say=tell.say)}")
    stage.place = place = stage.curtain.enter_context(open_workplace(stage.folder, say=tell.say))
    tell.say(f"the encoder's own node answers at {place.local.api_url}, the supernode at {place.supernode.api_url}")
    version = place.local.rpc("version")[0]["Version"]
    tell.check(f"both are Kubo {version}", place.supernode.rpc("version")[0]["Version"] == version)


def encoder_starts(stage: Stage) -> None:
    """The encoder starts and loads its plugins."""
    tell, place = stage.tell, stage.place
    _write_settings(place)
    tell.say("its settings, in `.env`; all others have their defaults:")
    tell.run("cat .env", folder=stage.folder)
    settings = load_settings()
    encoder = Encoder(
        stage.folder,
        api=settings.ipfs_api_addr,
        data=settings.data_dir,
        backoff=settings.lazy_pin_backoff,
        listener=lambda before, after: _news(stage, before, after),
    )
    stage.encoder = stage.curtain.enter_context(encoder)
    names = [plugin.name for plugin in encoder.manager.plugins() if plugin.status == "active"]
    tell.say(f"plugins of the group `encoder`: {', '.join(names)}")
    tell.check("the default implementations, `pin`, are among them", "pin" in names, otherwise=names)


def happy_job(stage: Stage) -> None:
    """A job while all is well: pinned on the supernode."""
    finished = _finish_a_job(stage)
    cid, job_id = finished.job.cid, finished.job.job_id
    _settles(stage, job_id, State.PINNED)
    answer = stage.place.supernode.rpc("pin/ls", cid, type="recursive")
    stage.tell.check("the supernode itself lists the pin", cid in answer[0]["Keys"], otherwise=answer)
    there, here = blocks(stage.place.supernode, cid), blocks(stage.place.local, cid)
    stage.tell.check(f"and has all {here} blocks of it", there == here > 0, otherwise=f"{there} blocks")
    stage.tell.check("nothing was archived", not stage.place.archive.exists() or not stage.place.archive.read_text())


def supernode_dies(stage: Stage) -> None:
    """The supernode dies."""
    pid = stage.place.supernode.pid
    stage.place.supernode.kill()
    stage.tell.say(f"kill -9 {pid}")
    stage.tell.check(f"nothing answers at {stage.place.supernode.api_url}", not stage.place.supernode.running)


def fallback_job(stage: Stage) -> None:
    """A job without a supernode: three attempts, then safe on the encoder's own node."""
    stage.saved = _finish_a_job(stage)
    job_id, cid = stage.saved.job.job_id, stage.saved.job.cid
    stage.tell.say("behind its back the plugin pins it locally, through ipfshttpclient, and tries the supernode")
    _settles(stage, job_id, State.ARCHIVED)
    row = next(row for row in stage.encoder.board.rows() if row.job_id == job_id)
    stage.tell.check("three lazy attempts failed", row.attempts == load_settings().local_fallback_threshold == 3)
    pins = stage.place.local.rpc("pin/ls", cid, type="recursive", names=True)[0]["Keys"]
    stage.tell.say(f"pin/ls on the encoder's own node says: {json.dumps(pins)}")
    pin = pins.get(cid, {})
    stage.tell.check("pinned there, recursively", pin.get("Type") == "recursive", otherwise=pins)
    stage.tell.check("under our name, `encoder-pin`", pin.get("Name") == "encoder-pin", otherwise=pins)
    count = blocks(stage.place.local, cid)
    stage.tell.check(f"with all {count} blocks of it, found without asking any other node", count > 0)


def operator_looks(stage: Stage) -> None:
    """What an operator finds."""
    tell, archive = stage.tell, stage.place.archive
    lines = archive.read_text(encoding="utf-8").splitlines()
    tell.say(f"{archive.relative_to(stage.folder)} holds:")
    tell.show("\n".join(lines))
    tell.check("exactly one line, for exactly this job", len(lines) == 1, otherwise=f"{len(lines)} lines")
    entry = json.loads(lines[0])
    tell.check("with the eight keys, in their order", list(entry)[:8] == _EIGHT_KEYS, otherwise=list(entry))
    expected = (stage.saved.job.cid, stage.saved.job.job_id, 3, "failed_lazy_pin_fallback")
    found = (entry["hash"], entry["job_id"], entry["failed_lazy_attempts"], entry["source"])
    tell.check("and what the encoder knows of it", found == expected, otherwise=found)
    tell.say("the handbook's commands, as they stand there:")
    log = tell.run('grep "LAZY PIN FALLBACK" logs/encoder.log', folder=stage.folder)
    tell.check("the log names the job", stage.saved.job.job_id in log, otherwise=log)
    count = tell.run("wc -l data/local-fallback-pins.jsonl", folder=stage.folder)
    tell.check("one line waits for migration", count.split()[0] == "1", otherwise=count)
    _total(stage, entry["size_mb"])
    tell.say("and what this plugin adds to them:")
    tell.run("encoder-pin archive check", folder=stage.folder)
    status = tell.run("encoder-pin status", folder=stage.folder, expected=1)
    tell.check("the supernode is down, so it exits with 1", stage.place.supernode.api_url in status, otherwise=status)


ACTS: tuple[Callable[[Stage], None], ...] = (
    tools_and_nodes,
    encoder_starts,
    happy_job,
    supernode_dies,
    fallback_job,
    operator_looks,
    permanent_server,
)
"""In this order; the title of each is its docstring."""


def _write_settings(place: Workplace) -> None:
    """Into a `.env` in the working folder, as on an operator's machine, and nothing of this person's own settings."""
    for name in TABLE:
        os.environ.pop(name, None)
    os.chdir(place.folder)
    lines = [f"{name}={value}\n" for name, value in place.settings(backoff=BACKOFF).items()]
    (place.folder / ".env").write_text("".join(lines), encoding="utf-8")


def _finish_a_job(stage: Stage) -> Finished:
    tell, encoder = stage.tell, stage.encoder
    job = encoder.jobs.add()
    tell.say(f"job {job.job_id}: making a video and encoding it: HLS in {' and '.join(r.name for r in RENDITIONS)}")
    finished = encoder.work(job)
    hls = encoder.jobs.folder_of(job) / "hls"
    tell.say(f"{len(list(hls.rglob('*.ts')))} segments, {len(list(hls.rglob('*.jpg')))} thumbnails: {hls}")
    tell.say(f"added to the encoder's Kubo: {finished.job.cid} ({finished.size_mb} MB)")
    tell.say(f"reported complete after {finished.milliseconds:.1f} ms; the encoder is free for the next job")
    return finished


def _settles(stage: Stage, job_id: str, state: State) -> None:
    """Wait for the job's end, whichever it is, and check that it is the one foretold."""
    stage.encoder.board.wait([job_id], (State.PINNED, State.ARCHIVED), seconds=PATIENCE)
    row = next(row for row in stage.encoder.board.rows() if row.job_id == job_id)
    found = f"{row.state} after {PATIENCE:.0f} s ({row.error or 'no error'}); see {stage.place.log}"
    stage.tell.check(f"job {job_id} is {state}", row.state is state, otherwise=found)


def _news(stage: Stage, before: Row, after: Row) -> None:
    if after.state not in (State.ENCODING, State.REPORTED):
        stage.tell.say(f"job {after.job_id}: {in_words(before, after)}")


def _total(stage: Stage, expected: float) -> None:
    if shutil.which("jq") is None or shutil.which("awk") is None:
        stage.tell.say("(no jq on this machine: the handbook's third command, the total, is left out)")
        return
    total = stage.tell.run(
        "jq '.size_mb' data/local-fallback-pins.jsonl | awk '{sum+=$1} END {print sum \" MB total\"}'",
        folder=stage.folder,
    )
    stage.tell.check("the total is the job's size", abs(float(total.split()[0]) - expected) < 0.01, otherwise=total)


def _fresh(folder: Path) -> None:
    """An empty folder; only what an earlier demo left is removed."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise HarnessError(f"{folder} holds something that no demo left there: choose another with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()
