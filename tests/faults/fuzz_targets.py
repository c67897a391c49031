"""Every reader of bytes that come from outside, once, for all that throw bytes at them: `fuzz`, `fuzz_guided`, and the
inputs in `fuzz_cases/` that were once too much for one of them.

A target takes bytes and returns; it raises only for a defect: an error that its reader does not name, an answer that
contradicts another one of ours (`Defect`), or more processor time than any input may cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from loguru import logger

CASES = Path(__file__).with_name("fuzz_cases")
"""One folder for each target, one file for each input that was found."""

SLOW = 1.0
"""Seconds of processor time that no input may cost."""


class Defect(Exception):
    """Two answers of ours contradict each other."""


class TooSlow(Exception):
    """An input took a reader longer than any may."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One reader.

    Args:
        read: what is done with the bytes.
        samples: real ones, to begin with.
        refuses: the errors that it may raise; each is one of its reader's documented ones.
    """

    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    refuses: tuple[type[Exception], ...] = ()

    def __call__(self, data: bytes) -> None:
        """Raises for a defect. What is slow is done again: on a busy machine anything is slow once."""
        for _ in range(3):
            began = time.thread_time()
            with suppress(*self.refuses):
                self.read(data)
            taken = time.thread_time() - began
            if taken <= SLOW:
                return
        raise TooSlow(f"{taken:.1f} s of processor time for {len(data)} bytes")


@contextmanager
def open_targets(folder: Path) -> Iterator[dict[str, Target]]:
    """All targets by name; their files are in `folder`, their nodes answer until the end."""
    from tests.faults.fuzz_files import file_targets
    from tests.faults.fuzz_replies import reply_targets
    from tests.faults.fuzz_texts import text_targets

    logger.disable("encoder_pin_plugin")
    try:
        with reply_targets() as replies:
            yield text_targets(folder) | file_targets(folder) | replies
    finally:
        logger.enable("encoder_pin_plugin")


def cases() -> list[tuple[str, Path]]:
    """Every input that was found: the target's name, and its file."""
    return [(path.parent.name, path) for path in sorted(CASES.glob("*/*"))]
