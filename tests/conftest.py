"""What tests of every folder share: the log and what the disk is told, what stays open, waiting, failing.

The log is imported here, where pytest already catches what is written. A conftest of a folder below is read while it
does not: the log would keep the terminal's own stderr, and write over the dots whatever comes between two tests.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from loguru import logger

Said = list[tuple[str, ...]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Said:
    """What the disk is told, in order: `("fsync", file, its size then)`, `("fsync", folder)`, `("rename", from, to)`,
    `("unlink", file)`. Paths are those below `tmp_path`; the calls do what they do."""
    calls: Said = []
    real = {name: getattr(os, name) for name in ("fsync", "rename", "unlink")}

    def note(name: str) -> Callable[..., None]:
        def act(*which: int | str | Path) -> None:
            paths = [Path(f"/proc/self/fd/{it}").readlink() if isinstance(it, int) else Path(it) for it in which]
            size = [str(paths[0].stat().st_size)] if name == "fsync" and paths[0].is_file() else []
            calls.append((name, *(os.path.relpath(path, tmp_path) for path in paths), *size))
            real[name](*which)

        return act

    for name in real:
        monkeypatch.setattr(os, name, note(name))
    return calls


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What is logged, a text for each record."""
    lines: list[str] = []
    sink = logger.add(lines.append, format="{level} {message}")
    yield lines
    logger.remove(sink)


@contextmanager
def messages_from(level: str) -> Iterator[list[str]]:
    """What is logged at this level or above, the message alone of each record."""
    messages: list[str] = []
    sink = logger.add(lambda message: messages.append(message.record["message"]), level=level)
    yield messages
    logger.remove(sink)


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """What is logged as a warning or worse, the message alone of each record."""
    with messages_from("WARNING") as messages:
        yield messages


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's clock shows the time of another place."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def open_files() -> Iterator[None]:
    """No descriptor stays open that was not open before."""
    before = set(_descriptors())
    yield
    assert set(_descriptors()) <= before


@pytest.fixture
def nothing_goes_on() -> Iterator[None]:
    """Every thread and process that a test starts ends with it: what it logs would stand with another test."""
    threads, children = set(threading.enumerate()), _children()
    yield
    deadline = time.monotonic() + 30
    while left := set(threading.enumerate()) - threads | _children() - children:
        assert time.monotonic() < deadline, f"started by this test, and still there: {left}"
        time.sleep(0.01)


def _children() -> set[object]:
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in _read(path).split()}


def _read(path: Path) -> str:
    """What is in the file of a thread, which may have ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _descriptors() -> list[str]:
    return [path.name for path in Path("/proc/self/fd").iterdir()]


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition; fail after a generous time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def failing(
    number: int, *, when: Callable[..., bool] = lambda *_: True, real: Callable[..., None] | None = None
) -> Callable[..., None]:
    """A system call that fails, always or when its arguments say so."""

    def act(*arguments: object) -> None:
        if when(*arguments):
            raise OSError(number, os.strerror(number))
        assert real is not None
        real(*arguments)

    return act


def names_in(folder: Path) -> list[str]:
    """What stands in a folder."""
    return sorted(path.name for path in folder.iterdir())
