"""`run`: the nodes and the faults in this process, the encoder in a child, so that it can be killed for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from encoder_pin_plugin.settings import load_settings
from examples.encoder_harness.board import Row, State
from examples.encoder_harness.errors import HarnessError
from examples.encoder_harness.faults import supernode_fault
from examples.encoder_harness.host import STOP_TIMEOUT, Encoder
from examples.encoder_harness.jobs import Jobs
from examples.encoder_harness.live import print_news, shown
from examples.encoder_harness.workplace import open_workplace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from examples.encoder_harness.faults import Fault
    from examples.encoder_harness.workplace import Workplace

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a person asked for; see the command's help."""

    videos: tuple[Path, ...]
    make: int
    supernode: Fault
    back_after: float | None
    kill_after: float | None
    backoff: str
    wait: float


def run_encoder(folder: Path, options: Options) -> int:
    """Run until every job is settled; the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = Jobs(folder / "jobs")
    for video in (*options.videos, *[None] * options.make):
        jobs.add(video)
    say("starting the encoder's Kubo and the supernode, a second one")
    with open_workplace(folder, say=say) as place:
        settings = place.settings(backoff=options.backoff)
        say(" ".join(f"{name}={value}" for name, value in settings.items()))
        with supernode_fault(place, options.supernode, back_after=options.back_after, say=say):
            code = _encode(place, settings, options)
        say(f"data and logs are in {folder}; both nodes are stopped")
    return code


def say(message: str) -> None:
    """A line of ours among those of the encoder."""
    click.echo(f"{datetime.now(UTC):%H:%M:%S}  -- {message}")


def _encode(place: Workplace, settings: Mapping[str, str], options: Options) -> int:
    child = _start(place, settings, options)
    try:
        if options.kill_after is not None and _runs_after(child, options.kill_after):
            _kill(child)
            say(f"kill -9 {child.pid}: the encoder is gone in mid flight; starting it again")
            child = _start(place, settings, options)
        return child.wait()
    finally:
        _end(child)


def _start(place: Workplace, settings: Mapping[str, str], options: Options) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "examples.encoder_harness", "encoder"]
    command += ["--folder", str(place.folder), "--wait", str(options.wait)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    # A session of its own: what the encoder has started, an ffmpeg, can be ended with it.
    return subprocess.Popen(command, env={**os.environ, **settings, "PYTHONPATH": path}, start_new_session=True)


def _runs_after(child: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    say(f"the encoder was done before {seconds:.0f} s had passed: nothing to kill")
    return False


def _kill(child: subprocess.Popen[bytes]) -> None:
    """kill -9, to exactly this process; then its ffmpeg, while the pid is still ours because nobody waited for it."""
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_TIMEOUT + 10)
        except subprocess.TimeoutExpired:
            _kill(child)


def encoder_process(folder: Path, *, wait: float) -> int:
    """The child: work on what is not reported yet, then wait for all jobs to settle; 0 when they did."""
    signal.signal(signal.SIGTERM, _interrupt)  # the host owns the signals: end in order
    settings = load_settings()
    archive = settings.data_dir / "local-fallback-pins.jsonl"
    listener = None if sys.stdout.isatty() else print_news
    encoder = Encoder(
        folder, api=settings.ipfs_api_addr, archive=archive, backoff=settings.lazy_pin_backoff, listener=listener
    )
    with encoder, shown(encoder.board):
        _work(encoder)
        settled = _settle(encoder, wait)
    for row in encoder.board.rows():
        if row.state not in (State.PINNED, State.ARCHIVED):
            click.echo(f"{row.job_id} is still {row.state}: {row.error or 'no attempt has failed yet'}")
    return 0 if settled else 1


def _work(encoder: Encoder) -> None:
    for job in encoder.jobs.all():
        if not job.reported:
            try:
                encoder.work(job)
            except HarnessError as error:  # one bad video does not stop the others
                encoder.board.change(job.job_id, state=State.FAILED, error=str(error))


def _settle(encoder: Encoder, wait: float) -> bool:
    parent, deadline = os.getppid(), time.monotonic() + wait
    names = [row.job_id for row in encoder.board.rows()]
    while time.monotonic() < deadline and os.getppid() == parent:
        if encoder.board.wait(names, (State.PINNED, State.ARCHIVED, State.FAILED), seconds=1):
            break
    return all(_well(row) for row in encoder.board.rows())


def _well(row: Row) -> bool:
    return row.state in (State.PINNED, State.ARCHIVED)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
