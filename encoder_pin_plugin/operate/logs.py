"""The log of a command: here we are the process, so here, and nowhere else, handlers are set up."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from loguru import Record

_LEVELS = ("WARNING", "INFO", "DEBUG")
_FILE = "{time:YYYY-MM-DDTHH:mm:ss.SSS!UTC}Z | {level: <8} | {message}"
_BRIEF = "<level>{level}</level>: {message}"
_FULL = "<dim>{time:YYYY-MM-DDTHH:mm:ss.SSS!UTC}Z</dim> <level>{level: <8}</level> {message}"


def log_of_a_command(verbose: int) -> None:
    """What a short command logs: warnings on stderr, more with `-v`; an error is shown by the command itself."""
    _handlers(_LEVELS[min(verbose, 2)], _BRIEF, without="NOT RECORDED")


def log_of_a_service(verbose: int, file: Path | None) -> None:
    """What a worker logs: everything of interest on stderr, and in `file`, which is only ever appended to.

    A file that is moved away (logrotate) is made again. One that cannot be written is said; the worker goes on.
    """
    from loguru import logger

    level = _LEVELS[min(verbose + 1, 2)]
    _handlers(level, _FULL)
    if file is None:
        return
    try:
        logger.add(file, format=_FILE, level=level, diagnose=False, backtrace=False, encoding="utf-8", watch=True)
    except OSError as error:
        logger.warning("no log in {}: {}; it goes to stderr alone", file, error.strerror or error)


def _handlers(level: str, form: str, *, without: str | None = None) -> None:
    from loguru import logger

    logger.remove()
    logger.configure(patcher=_make_harmless)
    colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    logger.add(
        sys.stderr, format=form, level=level, diagnose=False, backtrace=False, colorize=colours,
        filter=lambda record: without is None or not record["message"].startswith(without),
    )  # fmt: skip


def _make_harmless(record: Record) -> None:
    """One record, one line, and nothing in it that a terminal would act on: job ids and nodes' errors are not ours."""
    from encoder_pin_plugin.settings.values import plain

    record["message"] = plain(record["message"])
