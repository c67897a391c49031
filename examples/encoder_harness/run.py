"""`run`: the nodes and the faults in this process, the encoder in a child, and back to work after a kill -9."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import click

from encoder_pin_plugin.settings import load_settings
from examples.encoder_harness.board import State
from examples.encoder_harness.child import EncoderChild, hear_parent
from examples.encoder_harness.errors import HarnessError
from examples.encoder_harness.faults import supernode_fault
from examples.encoder_harness.host import Encoder
from examples.encoder_harness.jobs import Jobs
from examples.encoder_harness.live import brief, print_news, shown
from examples.encoder_harness.workplace import open_workplace

if TYPE_CHECKING:
    from pathlib import Path

    from examples.encoder_harness.faults import Fault

_GOOD_ENDS = (State.PINNED, State.ARCHIVED)


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
    jobs = Jobs(folder / "jobs")
    for video in (*options.videos, *[None] * options.make):
        jobs.add(video)
    if not jobs.all():
        jobs.add()
    click.echo("starting the encoder's Kubo and the supernode, a second one")
    with open_workplace(folder, say=click.echo) as place:
        settings = place.settings(backoff=options.backoff)
        click.echo("\n".join(f"  {name}={value}" for name, value in settings.items()))
        child = EncoderChild(["encoder", "--folder", str(folder), "--wait", str(options.wait)], settings)
        child.start()
        try:
            with supernode_fault(place, options.supernode, back_after=options.back_after, say=child.say):
                code = _watch(child, options.kill_after)
        finally:
            child.end()
    click.echo(f"data and logs are in {folder}; both nodes are stopped")
    return code


def _watch(child: EncoderChild, kill_after: float | None) -> int:
    if kill_after is not None:
        if child.wait(kill_after) is None:
            pid = child.kill()
            child.say(f"kill -9 {pid}: the encoder is gone in mid flight; starting it again")
            child.start()
        else:
            child.say(f"the encoder was done before {kill_after:g} s had passed: nothing to kill")
    code = child.wait()
    return 1 if code else 0


def encoder_process(folder: Path, *, wait: float) -> int:
    """The child: work on what is not reported yet, then wait for all jobs to settle; 0 when they did."""
    signal.signal(signal.SIGTERM, _interrupt)  # the host owns the signals: end in order
    hear_parent()
    settings = load_settings()
    encoder = Encoder(
        folder,
        api=settings.ipfs_api_addr,
        data=settings.data_dir,
        backoff=settings.lazy_pin_backoff,
        listener=None if sys.stdout.isatty() else print_news,
    )
    with encoder, shown(encoder.board):
        _work(encoder)
        _settle(encoder, wait)
    rows = encoder.board.rows()
    for row in rows:
        if row.state not in _GOOD_ENDS:
            click.echo(f"{row.job_id} is {row.state}, not pinned nor archived: {brief(row) or 'nothing failed yet'}")
    return 0 if all(row.state in _GOOD_ENDS for row in rows) else 1


def _work(encoder: Encoder) -> None:
    for job in encoder.jobs.all():
        if not job.reported:
            try:
                encoder.work(job)
            except HarnessError as error:  # one bad video does not stop the others
                encoder.board.change(job.job_id, state=State.FAILED, error=str(error))


def _settle(encoder: Encoder, wait: float) -> None:
    deadline = time.monotonic() + wait
    names = [row.job_id for row in encoder.board.rows()]
    while time.monotonic() < deadline and not encoder.board.wait(names, [s for s in State if s.settled], seconds=1):
        pass


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
