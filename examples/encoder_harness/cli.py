"""The command line: `demo` tells the whole story by itself, `run` encodes your videos and breaks what you ask for."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from encoder_hookspecs import JobNotRecorded
from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.settings import load_settings
from examples.encoder_harness.errors import HarnessError
from examples.nodes import NodeError

if TYPE_CHECKING:
    from examples.encoder_harness.faults import Fault

_SECONDS = click.FloatRange(min=0, max=1e6)
_FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Everything goes there: videos, nodes, data and logs.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """A small but real encoder: ffmpeg, HLS, IPFS, and every plugin of the `encoder` group."""
    # Of urllib3, about an argument that ipfshttpclient passes; this program is the host, so it may decide.
    warnings.filterwarnings("ignore", category=FutureWarning, module="urllib3")


@cli.command()
@_FOLDER
def demo(folder: Path | None) -> None:
    """Watch a finished job survive the loss of the supernode. Takes seconds; the first time on a machine, minutes.

    \b
    Example:
      python -m examples.encoder_harness demo --folder /tmp/demo
    """
    from examples.encoder_harness.story import tell_story

    tell_story((folder or Path("demo")).absolute())


@cli.command()
@click.argument("videos", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--make", type=click.IntRange(0, 1000), default=0, help="Make so many test videos as well.")
@_FOLDER
@click.option("--supernode", type=click.Choice(["up", "down", "slow", "flapping"]), default="up", show_default=True)
@click.option("--back-after", type=_SECONDS, metavar="SECONDS", help="The supernode is well again after so long.")
@click.option(
    "--kill-after", type=_SECONDS, metavar="SECONDS", help="kill -9 the encoder after so long; start it again."
)
@click.option("--backoff", default="2,4,8", show_default=True, help="LAZY_PIN_BACKOFF, short enough to watch.")
@click.option("--wait", type=_SECONDS, default=300.0, show_default=True, help="Seconds for all jobs to settle.")
def run(videos: tuple[Path, ...], make: int, folder: Path | None, supernode: Fault, **options: object) -> None:
    """Encode VIDEOS on real nodes, with the faults you want to see, and watch what becomes of each job.

    A folder that was used before is taken up where it was left; with nothing to do, one test video is made.
    Exit 0 when every job is pinned or archived.

    \b
    Examples:
      python -m examples.encoder_harness run --make 3
      python -m examples.encoder_harness run holiday.mp4 --supernode down --back-after 5
      python -m examples.encoder_harness run --make 3 --supernode slow --kill-after 4
    """
    from examples.encoder_harness.run import Options, run_encoder

    if options["back_after"] is not None and supernode == "up":
        supernode = "down"
    for video in videos:
        if not video.is_file():
            raise click.UsageError(f"no video at {video}: check the path")
    try:
        load_settings({**os.environ, "LAZY_PIN_BACKOFF": str(options["backoff"])})
    except InvalidSettings as error:
        raise click.UsageError(str(error)) from error
    chosen = Options(videos=videos, make=make, supernode=supernode, **options)  # type: ignore[arg-type]
    sys.exit(run_encoder((folder or Path("run")).absolute(), chosen))


@cli.command(hidden=True)
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--wait", type=float, required=True)
def encoder(folder: Path, wait: float) -> None:
    """The encoder process of `run`: settings come from the environment, jobs from the folder."""
    from examples.encoder_harness.run import encoder_process

    sys.exit(encoder_process(folder, wait=wait))


def main() -> None:
    """The command line, with every foreseen failure in words: 0 done, 1 not so or not done, 2 wrong usage."""
    try:
        cli(prog_name="python -m examples.encoder_harness")
    except (HarnessError, NodeError, JobNotRecorded, InvalidSettings) as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2 if isinstance(error, InvalidSettings) else 1)
