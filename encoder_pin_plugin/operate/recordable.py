"""Whether jobs can be recorded in a data folder, as far as looking tells: nothing is written, made or locked here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from encoder_pin_plugin.operate.finding import Finding, wrong
from encoder_pin_plugin.operate.mounts import file_system_of
from encoder_pin_plugin.operate.output import count, megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER, DISK = "data folder", "disk"

LITTLE = 100_000_000
"""Bytes of free space below which it is said that soon no job can be recorded."""

FULL = 100_000
"""Bytes below which that is now: job file, ledger and folders need some blocks each."""

FEW_FILES, FULL_OF_FILES = 1000, 2
"""Files that can still be made, below which the same is said."""

SOON = "soon no job can be recorded"


def why_not(folder: Path) -> list[str]:
    """Why jobs cannot be recorded in this data folder, or soon not, and what to do: a sentence each."""
    return [_sentence(it) for it in _obstacles(folder)]


def _sentence(found: Finding) -> str:
    now = "" if SOON in found.text else "jobs cannot be recorded: "
    return f"{now}{found.text}; {found.todo}"


def _obstacles(folder: Path) -> Iterator[Finding]:
    place = folder / "spool" / "new"
    in_the_way = list(what_stands_in_the_way(place))
    if not in_the_way:
        there = nearest(place)
        in_the_way = list(read_only(there)) or list(_may_not_make(folder, there))
    yield from in_the_way or low_space(nearest(place))


def nearest(path: Path) -> Path:
    """`path`, or the nearest above it where something stands, be it a link that leads nowhere."""
    return next(it for it in (path, *path.parents) if os.path.lexists(it))


def is_folder(path: Path) -> bool:
    """Whether a folder is there, as far as we may see."""
    try:
        return path.is_dir()
    except OSError:
        return False


def what_stands_in_the_way(path: Path) -> Iterator[Finding]:
    """Something that is no folder where `path`, or one above it, has to be one."""
    there = nearest(path)
    if is_folder(there):
        return
    if there.is_symlink():
        text = f"{there} is a link to {there.readlink()}, and no folder is there"
        yield wrong(FOLDER, text, "make that folder (is its disk mounted?), or remove the link; or set DATA_DIR")
    else:
        yield wrong(FOLDER, f"{there} is no folder", "move it away; or set DATA_DIR")


def read_only(folder: Path) -> Iterator[Finding]:
    """A file system that takes nothing from anybody."""
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        kind, mounted = file_system_of(folder)
        where = f" ({kind} at {mounted})" if kind else ""
        yield wrong(DISK, f"{folder} is mounted read-only{where}",
                    "remount it writable, and look at the kernel log for why; or set DATA_DIR")  # fmt: skip


def unmakeable(folder: Path) -> Iterator[Finding]:
    """A data folder that is not there, and that this user may not make."""
    parent = nearest(folder)
    if parent != folder and not _may_write(parent):
        yield wrong(FOLDER, f"{folder} is not there, and user {os.geteuid()} may not make it in {parent}",
                    "make it, and give it to the user that runs the encoder (chown); or set DATA_DIR")  # fmt: skip


def low_space(folder: Path) -> Iterator[Finding]:
    """A disk that is full, or nearly so. Some file systems have no size, and say 0 of everything."""
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and free < LITTLE:
        yield wrong(DISK, _how_full(folder, f"{megabytes(free / 1e6)} free", full=free < FULL),
                    "free some space on that disk")  # fmt: skip
    elif disk.f_files and disk.f_favail < FEW_FILES:
        files = count(disk.f_favail, "file can", "files can")
        yield wrong(DISK, _how_full(folder, f"{files} still be made there", full=disk.f_favail < FULL_OF_FILES),
                    "delete files: the disk has no inodes left")  # fmt: skip


def _how_full(folder: Path, left: str, *, full: bool) -> str:
    return f"the disk of {folder} is full: {left}" if full else f"{left}, on the disk of {folder}: {SOON}"


def _may_not_make(folder: Path, there: Path) -> Iterator[Finding]:
    """What keeps us from writing at `there`, the folder that is nearest to where a job's file goes.

    A folder that is somebody else's is theirs to write: who only watches may look, and cannot tell.
    """
    if not is_folder(folder):
        yield from unmakeable(folder)
    elif not _may_write(there) and there.stat().st_uid == os.geteuid():
        yield wrong(FOLDER, f"we may not write into {there}, which is ours", f"chmod 0700 {there}")


def _may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
