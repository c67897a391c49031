"""The standard streams as we find them: closed by a service manager or cron, on a full disk, in another encoding.

Where nobody can read what is said, that is no reason to do less: a missing stream and a standard error that cannot be
written take everything and keep nothing. What was asked for and cannot be written to standard output is an error.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

from encoder_pin_plugin.operate.failures import Failure

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class CannotWrite(Failure):
    """What a command says did not reach its reader; what it did is done all the same."""


def make_usable() -> None:
    """Put something in the place of each standard stream that every command can use."""
    # In this order, so that each gets the number that it had, and no file of ours a number that others may write to.
    sys.stdin = sys.stdin or _nowhere("r")
    sys.stdout = _over(_Output, sys.stdout)
    sys.stderr = _over(_Error, sys.stderr)


def _nowhere(mode: str) -> TextIO:
    return cast("TextIO", open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123 - as long as the process


def _over(kind: type[io.FileIO], stream: TextIO | None) -> TextIO:
    """The stream anew, with our own file at its bottom; one that goes nowhere where there is none."""
    if stream is None:
        return _nowhere("w")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",  # a terminal that knows no emoji still shows the job's id
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Output(io.FileIO):
    """Standard output: the first error is told in words, and nothing is written any more."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise  # the reader has had enough: click ends the command without a word
        except OSError as error:
            _silence(self)
            raise CannotWrite(f"cannot write the output: {error.strerror or error}") from error


class _Error(io.FileIO):
    """Standard error: nobody can be told that it cannot be written."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _silence(file: io.FileIO) -> None:
    """Let what is still in the buffer go nowhere: Python writes it at its end, and would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)
