"""What each job is doing, as far as the outside can know it: from the hooks, and from the archive itself.

`BoardPlugin` is an observer: it answers no question (every hook returns None), so it changes nothing. Hooks tell of a
failed attempt, of a pinned job and of a local fallback that begins; that the fallback is done is read from the archive
itself, because nobody's word counts as long as the line does not stand there.
"""

from __future__ import annotations

import enum
import json
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from encoder_hookspecs import CompletedJob, LazyPinAttempt, LazyPinFailure, LazyPinSuccess, LocalFallback, hookimpl

if TYPE_CHECKING:
    from pathlib import Path


class State(enum.StrEnum):
    """The states of a job that a person distinguishes."""

    ENCODING = "encoding"
    REPORTED = "reported"
    RETRYING = "retrying"
    FALLING_BACK = "falling back"
    PINNED = "pinned"
    ARCHIVED = "archived"
    FAILED = "not encoded"

    @property
    def settled(self) -> bool:
        """Nothing more happens to such a job by itself."""
        return self in (State.PINNED, State.ARCHIVED, State.FAILED)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One job on the board.

    Args:
        done: share of the encoding, from 0 to 1.
        told_ms: how long it took to report the job complete, in milliseconds.
        next_try: when the next attempt is due, roughly, as `time.monotonic()` seconds.
        error: of the last failed attempt.
    """

    job_id: str
    state: State = State.ENCODING
    done: float = 0.0
    cid: str = ""
    told_ms: float | None = None
    attempts: int = 0
    next_try: float | None = None
    error: str = ""


Listener = Callable[[Row, Row], None]
"""Called with a row before and after each change that is worth a line, in the thread that brought the news, while the
board stands still: it must not wait for another thread."""


class Board:
    """The rows, in the order in which the jobs came; every method may be called from any thread.

    Args:
        archive: the file whose lines say that a job is archived.
        backoff: LAZY_PIN_BACKOFF, to estimate when the next attempt is due.
        listener: hears of every change that is worth a line.
    """

    def __init__(self, archive: Path, backoff: Sequence[float] = (), *, listener: Listener | None = None) -> None:
        self._archive = _Tail(archive)
        self._backoff = tuple(backoff)
        self._listener = listener
        self._rows: dict[str, Row] = {}
        self._news = threading.Condition()  # re-entrant

    def rows(self) -> list[Row]:
        self.read_archive()
        with self._news:
            return list(self._rows.values())

    def change(self, job_id: str, **changes: Any) -> Row:
        """Put a job on the board, or change its row."""
        with self._news:
            before = self._rows.get(job_id, Row(job_id=job_id))
            after = self._rows[job_id] = replace(before, **changes)
            if self._listener and _worth_a_line(before, after):
                self._listener(before, after)
            self._news.notify_all()  # after the listener: whoever waits finds the news told
        return after

    def earlier(self, job_id: str, **known: Any) -> None:
        """A job of an earlier run, as it stands now; the listener hears of it with nothing changed."""
        with self._news:
            row = self._rows[job_id] = Row(job_id=job_id, **known)
            if self._listener:
                self._listener(row, row)
            self._news.notify_all()

    def reported(self, job_id: str, *, cid: str, milliseconds: float) -> None:
        """The report was taken; by now the plugins may already have told of what came after it."""
        with self._news:
            known = self._rows.get(job_id, Row(job_id=job_id)).state
            state = State.REPORTED if known is State.ENCODING else known
            self.change(job_id, state=state, cid=cid, told_ms=milliseconds)

    def attempt_failed(self, attempt: LazyPinAttempt) -> None:
        tries = attempt.number
        wait = self._backoff[min(max(tries, 1), len(self._backoff)) - 1] if self._backoff else 0.0
        self.change(
            attempt.job.job_id,
            state=State.RETRYING,
            cid=attempt.job.cid,
            attempts=tries,
            error=attempt.error,
            next_try=time.monotonic() + wait,
        )

    def read_archive(self) -> None:
        """Mark as archived every job on the board whose line stands in the archive by now."""
        for hash_, job_id in self._archive.new_lines():
            row = self._rows.get(job_id)
            if row and row.state is not State.ARCHIVED:
                self.change(job_id, state=State.ARCHIVED, cid=row.cid or hash_, next_try=None)

    def wait(self, job_ids: Collection[str], states: Collection[State], *, seconds: float) -> bool:
        """Whether all these jobs came into one of these states within so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            self.read_archive()
            with self._news:
                if all(name in self._rows and self._rows[name].state in states for name in job_ids):
                    return True
                if (left := deadline - time.monotonic()) <= 0:
                    return False
                self._news.wait(min(left, 0.2))  # the archive rings no bell


def _worth_a_line(before: Row, after: Row) -> bool:
    told = (before.state, before.attempts, before.error, bool(before.cid))
    return told != (after.state, after.attempts, after.error, bool(after.cid))


class BoardPlugin:
    """The observer that a host registers beside the plugins of the `encoder` group."""

    def __init__(self, board: Board) -> None:
        self._board = board

    @hookimpl
    def on_lazy_pin_attempt_failed(self, attempt: LazyPinAttempt) -> None:
        self._board.attempt_failed(attempt)

    @hookimpl
    def on_lazy_pin_failed(self, failure: LazyPinFailure) -> None:
        self._fall_back(failure.job, error=failure.error, attempts=failure.attempts)

    @hookimpl
    def on_local_fallback(self, fallback: LocalFallback) -> None:
        self._fall_back(fallback.job)

    @hookimpl
    def on_lazy_pin_succeeded(self, pin: LazyPinSuccess) -> None:
        self._board.change(
            pin.job.job_id, state=State.PINNED, cid=pin.job.cid, attempts=pin.attempts, next_try=None, error=""
        )

    def _fall_back(self, job: CompletedJob, **more: Any) -> None:
        self._board.change(job.job_id, state=State.FALLING_BACK, cid=job.cid, next_try=None, **more)


class _Tail:
    """The complete lines that came to a file since it was last read; starts over when the file was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file, self._offset = 0, 0
        self._lock = threading.Lock()

    def new_lines(self) -> list[tuple[str, str]]:
        with self._lock:
            lines = self._read()
        return [pair for line in lines if (pair := _pair(line))]

    def _read(self) -> list[bytes]:
        try:
            with self._path.open("rb") as file:
                status = self._path.stat()
                if status.st_ino != self._file or status.st_size < self._offset:
                    self._file, self._offset = status.st_ino, 0
                file.seek(self._offset)
                whole, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return []
        self._offset += len(whole) + len(newline)
        return whole.splitlines()


def _pair(line: bytes) -> tuple[str, str] | None:
    try:
        entry = json.loads(line)
        return str(entry["hash"]), str(entry["job_id"])
    except (ValueError, LookupError, TypeError):
        return None  # whoever reads the archive properly will say what is wrong with it
