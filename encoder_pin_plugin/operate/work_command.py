"""`work`: the worker in the foreground, for a service manager. Here the process is ours, its signals included."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

from encoder_pin_plugin.operate.context import Operator, pass_operator
from encoder_pin_plugin.operate.output import count, say

if TYPE_CHECKING:
    from types import FrameType

    from encoder_pin_plugin.lazy.worker import Worker
    from encoder_pin_plugin.settings import Settings

PATIENCE = 30.0
"""Seconds for which a stop waits for what is in flight."""


@click.command()
@click.option("--drain", is_flag=True, help="End when nothing is left that a further try could finish soon.")
@click.option(
    "--log-file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), default=Path("logs/encoder.log"),
    metavar="F", show_default=True, help='Append the log to this file too; "-" for stderr alone.',
)  # fmt: skip
@pass_operator
def work(operator: Operator, drain: bool, log_file: Path) -> None:
    """Work on the recorded jobs, in the foreground, until stopped.

    SIGTERM and SIGINT (Ctrl-C) stop it when what is in flight has ended, within 30 s; a second one at once. Either is
    harmless: the next start goes on with the rest.

    With --drain it ends when none remains (exit 0), or when every remaining job has failed its fallback once, may not
    fall back, or, where no supernode is configured, waits for FALLBACK_AFTER for longer than the backoff (exit 1).

    \b
    Example:
      encoder-pin --data-dir /srv/encoder/data work
    """
    from loguru import logger

    from encoder_pin_plugin.operate.logs import log_of_a_service
    from encoder_pin_plugin.operate.no_supernode import what_then

    settings = operator.settings()
    log_of_a_service(operator.verbose, None if str(log_file) == "-" else log_file)
    with _Signals() as signals:
        manager, ours = operator.plugins(settings)
        worker = ours.service.foreground(manager.pluggy)
        manager.on_encoder_start()
        logger.info("works on {}", settings.data_dir)
        if settings.supernode_missing:
            then = what_then(settings.fallback_after, local_fallback=settings.enable_local_fallback)
            logger.warning("no supernode is configured (THREESPEAK_IPFS_ENDPOINT): {}", then)
        left = _run(worker, signals, drain=drain)
        manager.on_encoder_stop(PATIENCE)
    logger.info("stopped, {} open", count(left, "job"))
    if drain:
        _say_what_is_left(settings, left)
        raise click.exceptions.Exit(1 if left else 0)


def _say_what_is_left(settings: Settings, left: int) -> None:
    from encoder_pin_plugin.operate.no_supernode import who_waits

    if not left:
        say("nothing is left to do")
        return
    say(f"{count(left, 'job is', 'jobs are')} left: encoder-pin jobs")
    if text := who_waits(settings):
        say(text)


def _run(worker: Worker, signals: _Signals, *, drain: bool) -> int:
    """Run the worker until it ends by itself or a signal ends it; how many jobs are open then.

    It runs in a thread of its own: a signal interrupts the main thread wherever it is, also within a lock.
    """
    ended: list[int | BaseException] = []

    def run() -> None:
        try:
            ended.append(worker.run(drain=drain))
        except BaseException as error:  # noqa: BLE001 - it is raised again below, in the main thread
            ended.append(error)

    thread = threading.Thread(target=run, name="encoder-pin-worker", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        if signals.name and not signals.told:
            signals.told = True
            _say_stopping(signals.name)
            worker.stop(patience=PATIENCE)
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]


def _say_stopping(name: str) -> None:
    from loguru import logger

    logger.info("{}: stopping when what is in flight has ended; a second one stops at once", name)


class _Signals:
    """SIGTERM and SIGINT from the start to the end of the work: the first is noted, the second ends the process."""

    def __init__(self) -> None:
        self.name = ""
        self.told = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.name:
            import os

            os._exit(128 + number)
        self.name = signal.Signals(number).name
