"""A large archive is added up on two processors: a child of this process takes the second half of it.

For the command alone, whose process is ours and has one thread: a host's process is never forked.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.reading import find_newline
from encoder_pin_plugin.archive.totals import Total, total_in

if TYPE_CHECKING:
    from typing import NoReturn

LARGE = 16 * 2**20
"""Bytes from which on a child is worth its while: some 60,000 lines, a twentieth of a second."""


def total_in_halves(descriptor: int) -> Total:
    """As `total_in`, of a whole file: two parts of it that meet at the end of a line. Raises OSError."""
    size = os.fstat(descriptor).st_size
    middle = find_newline(descriptor, size // 2) if size >= LARGE and os.cpu_count() != 1 else -1
    if middle > 0:
        with suppress(OSError):  # no process or no pipe is to be had: it goes without
            return _with_a_child(descriptor, middle)
    return total_in(descriptor)


def _with_a_child(descriptor: int, middle: int) -> Total:
    answer, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        _tell(pipe, descriptor, middle)
    os.close(pipe)
    try:
        first = total_in(descriptor, 0, middle)
        return first + (_told(answer) or total_in(descriptor, middle))
    finally:
        os.close(answer)
        with suppress(ChildProcessError):  # where SIGCHLD is ignored, nobody is left to wait for
            os.waitpid(child, 0)


def _tell(pipe: int, descriptor: int, start: int) -> NoReturn:
    """All that the child does. Whatever ends it, its parent reads what it has said: nothing, or a total."""
    try:
        os.write(pipe, json.dumps(asdict(total_in(descriptor, start))).encode())
    finally:
        os._exit(0)


def _told(answer: int) -> Total | None:
    said = os.read(answer, 4096)  # so little goes through a pipe in one piece
    return Total(**json.loads(said)) if said else None
