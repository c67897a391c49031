"""Opening what should be a plain file of ours, when anything may stand in its place."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from encoder_pin_plugin.durable import FILE_MODE, give_to_owner_of, storage_errors
from encoder_pin_plugin.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARCHIVE_NAME = "local-fallback-pins.jsonl"
MIGRATED_NAME = "migrated-pins.jsonl"

Identity = tuple[int, int]
"""(device, inode): which file it is, whatever its name."""

_GUARDED = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Never inherited by a child, never through a link, never waiting for the other end of a pipe."""


def open_to_append(path: Path) -> int:
    """A descriptor for appending to `path` and reading it back; the file is created where there is none.

    It gets mode 0600, and what it is given later stays: who lets a group read the archive does so once, with chmod.
    Raises `ArchiveError` for what is no regular file of ours, `StorageError` where the system refuses.
    """
    with storage_errors("open", path):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _GUARDED, FILE_MODE)
    try:
        status = _regular(descriptor, path)
        if status.st_size == 0:
            give_to_owner_of(path.parent, descriptor)
        _check_owner(path, status.st_uid)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_to_read(path: Path, *, follow: bool = False) -> int | None:
    """A descriptor for reading `path`, None where there is nothing. `follow` goes through a symbolic link: for files
    that a person names, never for our own. Raises as `open_to_append` does."""
    flags = _GUARDED & ~os.O_NOFOLLOW if follow else _GUARDED
    try:
        with storage_errors("open", path):
            descriptor = os.open(path, os.O_RDONLY | flags)
    except Exception as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    try:
        _regular(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def reading(path: Path, *, follow: bool = False) -> Iterator[int | None]:
    """`path`, open for reading while this lasts; None where there is nothing. What the system refuses meanwhile is a
    `StorageError`. Arguments and errors as of `open_to_read`."""
    descriptor = open_to_read(path, follow=follow)
    if descriptor is None:
        yield None
        return
    try:
        with storage_errors("read", path):
            yield descriptor
    finally:
        os.close(descriptor)


def identity(descriptor: int) -> Identity:
    """Which file is open. Raises OSError."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def names(path: Path, descriptor: int) -> bool:
    """Whether `path` still names the open file: false once somebody moved it away. Raises OSError."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == identity(descriptor)


def _check_owner(path: Path, owner: int) -> None:
    if os.geteuid() not in (0, owner):
        raise ArchiveError(
            f"{path} belongs to user {owner}, and we are user {os.geteuid()}: give it to the user that runs the encoder"
            " (chown)"
        )


def _regular(descriptor: int, path: Path) -> os.stat_result:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ArchiveError(f"{path} is no regular file: move away what stands there")
    return status
