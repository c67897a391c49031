"""Replacing the archive by a part of itself, while other processes go on appending.

The long part, copying what stays, needs no lock: the file only grows. Under the lock only what was appended meanwhile
is copied, and the new file takes the old one's name. A reader sees the old file or the new one; a crash leaves the old
one, or the new one, and at most a temporary file that the next start removes. What we do not understand stays.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from encoder_pin_plugin.archive.files import names, open_to_read
from encoder_pin_plugin.archive.reading import read_blocks
from encoder_pin_plugin.durable import FILE_MODE, move, storage_errors, write_all
from encoder_pin_plugin.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from encoder_pin_plugin.archive.linefile import LineFile
    from encoder_pin_plugin.archive.locking import ArchiveLock
    from encoder_pin_plugin.archive.reading import Block

S = TypeVar("S", bound="Sieve")

_TRIES = 5
_PIECE = 1 << 20
_SEAL = 1024


class Sieve(Protocol):
    """Says which lines stay."""

    def keep(self, block: Block) -> bytes:
        """The lines of a block that stay, byte for byte."""

    def keeps_too_long(self, block: Block) -> bool:
        """Whether an over-long line stays."""

    def removes_anything(self) -> bool:
        """Whether any line asked about so far does not stay."""

    def still_right(self) -> bool:
        """Called under the lock: whether what goes may still go. Where not, all is begun anew, with a new sieve."""

    def before_replacing(self, descriptor: int) -> None:
        """Called once, under the lock, with the old file, when the new one is complete and durable. Raises OSError."""


def rewrite(file: LineFile, lock: ArchiveLock, make_sieve: Callable[[int], S]) -> S | None:
    """Replace `file` by the lines that the sieve keeps; None where there is no file. `make_sieve` is given the open
    file, anew for each try. Raises `LockBusy`, `StorageError`, `ArchiveError`: the file is then as it was."""
    for _ in range(_TRIES):
        descriptor = open_to_read(file.path)
        if descriptor is None:
            return None
        try:
            with storage_errors("rewrite", file.path), _temporary(file.path, descriptor) as (temporary, target):
                sieve = make_sieve(descriptor)
                copy = _Copy(descriptor, target, sieve)
                copy.go_on()
                with lock.held():
                    if names(file.path, descriptor) and copy.still_true() and sieve.still_right():
                        file.heal()
                        copy.go_on()
                        _replace(file.path, temporary, copy)
                        return sieve
        finally:
            os.close(descriptor)
    raise ArchiveError(f"{file.path} was changed {_TRIES} times while we read it: try again when it is left alone")


def sweep(path: Path) -> int:
    """Remove what killed rewrites of `path` left behind, and how many files that were. Raises OSError."""
    return sum(_sweep(temporary) for temporary in path.parent.glob(f".{path.name}.*.tmp"))


def _sweep(temporary: Path) -> bool:
    try:
        descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False  # its rewrite has ended, or another process sweeps
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        temporary.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False  # its rewrite is alive, or another process was quicker
    finally:
        os.close(descriptor)
    return True


class _Copy:
    """A copy in the making: how far the source was read, and what of it was written."""

    def __init__(self, source: int, target: int, sieve: Sieve) -> None:
        self.source = source
        self.target = target
        self.sieve = sieve
        self._end = 0
        self._seal = b""
        self._written = 0

    def go_on(self) -> None:
        """Copy what the source has beyond what was read, and make it durable. Raises OSError."""
        for block in read_blocks(self.source, self._end):
            if block.too_long:
                self._copy_too_long(block)
            else:
                self._write(self.sieve.keep(block))
            self._end = block.end
        self._seal = os.pread(self.source, min(_SEAL, self._end), max(0, self._end - _SEAL))
        os.fsync(self.target)

    def still_true(self) -> bool:
        """Whether the source still holds what was read: a writer may have taken its last lines back."""
        return os.pread(self.source, len(self._seal), self._end - len(self._seal)) == self._seal

    def is_complete(self) -> bool:
        return os.fstat(self.source).st_size == self._end and os.fstat(self.target).st_size == self._written

    def _copy_too_long(self, block: Block) -> None:
        if self.sieve.keeps_too_long(block):
            for start in range(block.offset, block.end, _PIECE):
                self._write(os.pread(self.source, min(_PIECE, block.end - start), start))

    def _write(self, data: bytes) -> None:
        write_all(self.target, data)
        self._written += len(data)


def _replace(path: Path, temporary: Path, copy: _Copy) -> None:
    if not copy.sieve.removes_anything():
        return
    if not copy.is_complete():
        raise ArchiveError(f"the new {path} does not add up to the old one: the old one stays. Is the disk failing?")
    copy.sieve.before_replacing(copy.source)
    move(temporary, path)


@contextmanager
def _temporary(path: Path, model: int) -> Iterator[tuple[Path, int]]:
    """A new file beside `path` with the mode and owner of `model`; gone afterwards unless it was moved. It is locked
    while it is in use, so that `sweep` can tell; one that was swept before that is made once more."""
    for _ in range(_TRIES):
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        try:
            if _locked_in_time(temporary, descriptor):
                _take_after(descriptor, model)
                yield temporary, descriptor
                return
        finally:
            os.close(descriptor)
            with suppress(OSError):
                temporary.unlink()
    raise ArchiveError(f"another process removes our temporary files in {path.parent}: is something tidying there?")


def _locked_in_time(temporary: Path, descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False  # it is being swept
    return names(temporary, descriptor)


def _take_after(descriptor: int, model: int) -> None:
    status, ours = os.fstat(model), os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (ours.st_uid, ours.st_gid):
        with suppress(PermissionError):
            os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, status.st_mode & 0o777)
