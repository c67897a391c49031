"""The log of a command: here we are the process, so here, and nowhere else, handlers are set up.

Job ids, nodes' errors and plugins' exceptions are not ours: nothing in a line may act on a terminal.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from loguru import FormatFunction, Record

_LEVELS = ("WARNING", "INFO", "DEBUG")
_TIME = "{time:YYYY-MM-DDTHH:mm:ss.SSS!UTC}Z"
_BRIEF = "<level>{extra[word]}</level>: {message}\n"
_FULL = f"<dim>{_TIME}</dim> <level>{{level: <8}}</level> {{message}}\n"
_FILE = f"{_TIME} | {{level: <8}} | {{message}}\n"
_TRACE = "{extra[trace]}\n"


def log_of_a_command(verbose: int) -> None:
    """What a short command logs: warnings on stderr, more with `-v`; an error is shown by the command itself."""
    _to_stderr(_LEVELS[min(verbose, 2)], _form(_BRIEF, traces=verbose > 0), without="NOT RECORDED")


def log_of_a_service(verbose: int, file: Path | None) -> None:
    """What a worker logs: everything of interest on stderr, and in `file`, which is only ever appended to.

    A file that is moved away (logrotate) is made again. One that cannot be written is said; the worker goes on.
    """
    from loguru import logger

    from encoder_pin_plugin.operate.log_file import LogFile, belongs_there

    level = _LEVELS[min(verbose + 1, 2)]
    _to_stderr(level, _form(_FULL))
    _take_in_logging()
    if file is not None:
        logger.add(LogFile(file), format=_form(_FILE), level=level, colorize=False, filter=belongs_there)


def _to_stderr(level: str, form: FormatFunction, *, without: str | None = None) -> None:
    from loguru import logger

    def wanted(record: Record) -> bool:
        return without is None or not record["message"].startswith(without)

    logger.remove()
    logger.configure(patcher=_make_harmless)
    colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    logger.add(sys.stderr, format=form, level=level, colorize=colours, filter=wanted)


def _take_in_logging() -> None:
    """Let warnings that plugins and libraries write through `logging` reach our log."""
    import logging

    from loguru import logger

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = f"{record.name}: {record.getMessage()}"
            logger.opt(exception=record.exc_info).log(record.levelname, "{}", text)

    logging.basicConfig(handlers=[Handler(logging.WARNING)], level=logging.WARNING, force=True)


def _form(line: str, *, traces: bool = True) -> FormatFunction:
    """The form of a record: our own, so that a traceback goes through our hands; none shows the values in it."""
    return lambda record: line + (_TRACE if traces and record["exception"] else "")


def _make_harmless(record: Record) -> None:
    """One record, one line, before its traceback."""
    from encoder_pin_plugin.operate.output import harmless
    from encoder_pin_plugin.settings.values import plain

    record["message"] = plain(record["message"])
    record["extra"]["word"] = record["level"].name.lower()
    if record["exception"] is not None:
        from traceback import format_exception

        kind, value, trace = record["exception"]
        record["extra"]["trace"] = harmless("".join(format_exception(kind, value, trace)).rstrip())
