"""A log file that may vanish, fill its disk or refuse us: that is said once, and never stops who logs."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from encoder_pin_plugin.durable import write_all

if TYPE_CHECKING:
    from pathlib import Path

    from loguru import Record

_BESIDE = "beside_the_file"


def belongs_there(record: Record) -> bool:
    """The filter of a `LogFile`: what it says about itself can't go through it."""
    return _BESIDE not in record["extra"]


class LogFile:
    """Where a worker's log is appended to: a sink of loguru, which calls it for one line at a time.

    A file that was moved away (logrotate) is made again. While one cannot be written, each line tries anew; the first
    failure is said, and the first success after it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._fails = False

    def write(self, line: str) -> None:
        """Append a line. Never raises OSError."""
        try:
            self._open()
            write_all(self._descriptor, line.encode("utf-8", "backslashreplace"))
        except OSError as error:
            self._tell_failure(error)
        else:
            self._tell_success()

    def stop(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        if self._descriptor >= 0:
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._descriptor), self._path.stat()):
                    return
            self.stop()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o666)  # the umask says who may read it

    def _tell_failure(self, error: OSError) -> None:
        from loguru import logger

        if not self._fails:
            self._fails = True
            why = error.strerror or error
            logger.bind(**{_BESIDE: True}).warning("no log in {}: {}; it goes to stderr alone", self._path, why)

    def _tell_success(self) -> None:
        from loguru import logger

        if self._fails:
            self._fails = False
            logger.bind(**{_BESIDE: True}).info("the log goes to {} again", self._path)
