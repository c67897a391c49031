"""One file of lines that only grows: the archive, and beside it what has been migrated.

An append returns when the lines are whole, durable, read back, and in the file that the path names. Where the disk
says no, the file is cut back to what it was: nobody ever sees half a line of ours after that.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.files import Identity, identity, names, open_to_append, reading
from encoder_pin_plugin.archive.healing import Healed, heal
from encoder_pin_plugin.archive.index import KeyIndex, common, record_at
from encoder_pin_plugin.archive.record import WITHDRAWN
from encoder_pin_plugin.durable import fsync_folder, storage_errors
from encoder_pin_plugin.errors import ArchiveError

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from encoder_pin_plugin.archive.record import ArchiveRecord, Key

_TRIES = 5

Version = tuple[int, int] | None
"""Inode and size; None where there is no file."""


class LineFile:
    """A file of records. Whoever writes holds the archive's lock; finding needs none.

    Args:
        path: of the file; its folder exists when something is written.
        quarantine: the folder for what is no line.
    """

    def __init__(self, path: Path, quarantine: Path) -> None:
        self.path = path
        self.index = KeyIndex()
        self._quarantine = quarantine
        self._durable_name: Identity | None = None

    def find(self, key: Key) -> ArchiveRecord | None:
        """The line with this key, made durable before it is told: its writer may have been killed before it could.
        The last one decides; where it withdraws the others, the key does not stand here.
        Raises `StorageError`, `ArchiveError`."""
        with reading(self.path) as descriptor:
            record = None if descriptor is None else self.index.find(descriptor, key)
            if descriptor is None or record is None:
                return None
            os.fsync(descriptor)
            self._make_name_durable(descriptor)
            return None if WITHDRAWN in record.extra else record

    def find_all(self, keys: Iterable[Key]) -> dict[Key, ArchiveRecord]:
        """The lines with these keys, where there are any, as `find` does."""
        with reading(self.path) as descriptor:
            if descriptor is None:
                return {}
            found = self.index.find_all(descriptor, keys)
            os.fsync(descriptor)
            self._make_name_durable(descriptor)
            return {key: record for key, record in found.items() if WITHDRAWN not in record.extra}

    def version(self) -> Version:
        """Changes with each line that is added. Raises `StorageError`."""
        with storage_errors("look at", self.path):
            try:
                status = self.path.stat()
            except FileNotFoundError:
                return None
        return status.st_ino, status.st_size

    def standing(self, keys: Iterable[Key]) -> set[Key]:
        """Those of `keys` that stand here. Raises `StorageError`, `ArchiveError`."""
        with reading(self.path) as descriptor:
            found = {} if descriptor is None else self.index.find_all(descriptor, keys)
            return {key for key, record in found.items() if WITHDRAWN not in record.extra}

    def keys_also_in(self, other: LineFile) -> set[Key]:
        """The keys that stand in both files. Raises `StorageError`, `ArchiveError`."""
        theirs = other.entries()
        if not any(theirs):
            return set()
        with reading(self.path) as descriptor:
            if descriptor is None:
                return set()
            offsets = common(self.index.entries(descriptor), theirs)
            records = (record_at(descriptor, offset) for offset in offsets)
            return other.standing([record.key for record in records if record is not None])

    def entries(self) -> list[array[int]]:
        """The index, for `keys_also_in`. Raises `StorageError`, `ArchiveError`."""
        with reading(self.path) as descriptor:
            return [] if descriptor is None else self.index.entries(descriptor)

    def heal(self) -> Healed | None:
        """See to it that the file ends with a newline, see `healing.heal`."""
        with self._opened() as descriptor:
            return heal(descriptor, self.path, self._quarantine)

    def append(self, lines: bytes) -> None:
        """Append whole lines, all or nothing. Raises `StorageError`, `ArchiveError`.

        Where the file is moved away while this happens (`mv` to collect it), the lines are written once more, to the
        file that then has the name: they may stand in both, never in neither.
        """
        for _ in range(_TRIES):
            with self._opened() as descriptor:
                heal(descriptor, self.path, self._quarantine)
                start = _write(descriptor, lines)
                if self._stand(descriptor, start, lines):
                    return
        raise ArchiveError(
            f"{self.path} was moved away or written to by another program {_TRIES} times while we appended to it: find"
            " out by which, and let it take the lock beside the file"
        )

    @contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = open_to_append(self.path)
        try:
            with storage_errors("append to", self.path):
                self._make_name_durable(descriptor)
                yield descriptor
        finally:
            os.close(descriptor)

    def _make_name_durable(self, descriptor: int) -> None:
        """Its creator may have been killed before it could."""
        file = identity(descriptor)
        if file != self._durable_name:
            fsync_folder(self.path.parent)
            self._durable_name = file

    def _stand(self, descriptor: int, start: int, lines: bytes) -> bool:
        """Whether the lines can be read back as lines, from the file that has the name now."""
        before = os.pread(descriptor, 1, start - 1) if start else b"\n"
        read = os.pread(descriptor, len(lines), start)
        return before == b"\n" and read == lines and names(self.path, descriptor)


def _write(descriptor: int, lines: bytes) -> int:
    """Write `lines` with one call and make them durable; their offset. Raises OSError, the file being as it was."""
    written = os.write(descriptor, lines)
    try:
        _check_length(written, lines)
        os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):  # what remains then is a torn tail, and the next append heals it
            _cut_back(descriptor, written)
        raise
    return os.lseek(descriptor, 0, os.SEEK_CUR) - len(lines)


def _check_length(written: int, lines: bytes) -> None:
    if written < len(lines):
        raise OSError(errno.ENOSPC, f"only {written} of {len(lines)} bytes could be written")


def _cut_back(descriptor: int, written: int) -> None:
    """Take back the last `written` bytes, unless somebody else has appended to them."""
    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    if written and os.fstat(descriptor).st_size == end:
        os.ftruncate(descriptor, end - written)
        os.fsync(descriptor)
