"""The data folder under the doctor's eyes: whose it is, on what disk, and whether writing and locking mean anything."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from encoder_pin_plugin import durable
from encoder_pin_plugin.operate.closed import why_closed
from encoder_pin_plugin.operate.finding import Finding, look_at, ok, wrong
from encoder_pin_plugin.operate.mounts import file_system_of
from encoder_pin_plugin.operate.output import megabytes
from encoder_pin_plugin.operate.recordable import (
    DISK,
    FOLDER,
    is_folder,
    low_space,
    nearest,
    read_only,
    unmakeable,
    what_stands_in_the_way,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCKS = "locks"
AGAIN = "put that right, then run doctor again"

SLOW_WRITE = 1.0
"""Seconds for write, fsync, rename and fsync of one small file, from which a disk is slow."""

_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "virtiofs", "vboxsf")
_MEMORY = ("tmpfs", "ramfs")


def check_folder(folder: Path) -> Iterator[Finding]:
    """Look at the data folder, or at the place where it will be made."""
    if closed := why_closed(folder):
        yield wrong(FOLDER, closed.what, closed.todo)
        yield _not_tried(DISK, "a durable write", f"{folder} is closed to us")
        yield _not_tried(LOCKS, "locking", f"{folder} is closed to us")
        return
    if not is_folder(folder):
        yield from _will_be_made(folder)
        return
    whose = list(_whose(folder))
    yield from whose
    yield from _file_system(folder)
    yield from _space(folder)
    yield from _spool(folder)
    mounted = list(read_only(folder))
    yield from mounted
    if any(it.level == "wrong" for it in whose + mounted):
        yield _not_tried(DISK, "a durable write", f"nothing can be written into {folder}")
        yield _not_tried(LOCKS, "locking", f"nothing can be written into {folder}")
    else:
        yield from _write(folder)


def _not_tried(topic: str, what: str, why: str) -> Finding:
    return look_at(topic, f"{what} was not tried: {why}", AGAIN)


def _will_be_made(folder: Path) -> Iterator[Finding]:
    there = nearest(folder)
    if in_the_way := list(what_stands_in_the_way(folder)):
        yield from in_the_way
        yield look_at(DISK, f"not looked at: there is no folder {folder}", AGAIN)
        yield _not_tried(LOCKS, "locking", f"there is no folder {folder}")
        return
    if mounted := list(read_only(there)):
        yield look_at(FOLDER, f"{folder} is not there yet, and cannot be made", AGAIN)
    else:
        yield from list(unmakeable(folder)) or [ok(FOLDER, f"{folder} is not there yet; the first job makes it")]
    yield from _file_system(there)
    yield from mounted
    yield from _space(there)
    yield ok(LOCKS, f"to be tried, and a durable write as well, once {folder} is there")


def _whose(folder: Path) -> Iterator[Finding]:
    status, us = folder.stat(), os.geteuid()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != us:
        what = f"{folder} belongs to user {status.st_uid}, and this is user {us}"
        if us == 0:
            yield look_at(FOLDER, what, "run encoder-pin as the user that runs the encoder, not as root")
        else:
            yield wrong(
                FOLDER, what, "run encoder-pin as the user that runs the encoder, or give it the folder (chown)"
            )
    elif mode & 0o700 != 0o700:
        yield wrong(FOLDER, f"we may not read and write {folder} (mode {mode:04o})", f"chmod 0700 {folder}")
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield look_at(FOLDER, f"others may write into {folder} (mode {mode:04o})", f"chmod 0700 {folder}")
    else:
        yield ok(FOLDER, f"{folder}, mode {mode:04o}, ours")


def _file_system(folder: Path) -> Iterator[Finding]:
    kind, mounted = file_system_of(folder)
    if kind in _MEMORY:
        yield wrong(
            DISK, f"{folder} is in memory ({kind}): every job is gone with the next boot", "set DATA_DIR to a disk"
        )
    elif kind in _NETWORK or kind.startswith("fuse"):
        yield look_at(DISK, f"{folder} is on {kind} ({mounted}): locks and fsync may mean little there",
                      "set DATA_DIR to a local disk (ext4, xfs, btrfs, zfs)")  # fmt: skip
    elif kind == "overlay":
        yield look_at(DISK, f"{folder} is in a container's own layer: every job is gone with the container",
                      "mount a volume there, or set DATA_DIR to one")  # fmt: skip
    else:
        yield ok(DISK, f"{kind or 'unknown file system'}, mounted at {mounted}")


def _space(folder: Path) -> Iterator[Finding]:
    if low := list(low_space(folder)):
        yield from low
        return
    free = shutil.disk_usage(folder).free / 1e6
    if 0 < free < 1000:
        yield look_at(DISK, f"{megabytes(free)} free", "free some space on that disk")
    else:
        yield ok(DISK, f"{megabytes(free)} free")


def _spool(folder: Path) -> Iterator[Finding]:
    """A rename is only one on one file system, and a folder that is none stops everything."""
    places = [folder / "spool" / name for name in ("tmp", "new", "open", "rejected")]
    yield from what_stands_in_the_way(folder / "spool")
    there = [path for path in places if os.path.lexists(path)]
    for path in there:
        if not path.is_dir() or path.is_symlink():
            yield wrong(FOLDER, f"{path} is no folder of its own", "move it away; the next job makes it again")
        elif not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            yield wrong(
                FOLDER, f"we may not read and write {path}", "give it to the user that runs the encoder (chown)"
            )
    if len({path.stat().st_dev for path in there if path.exists()}) > 1:
        yield wrong(FOLDER, f"the folders below {folder / 'spool'} are on several disks", "let them be on one")


def _write(folder: Path) -> Iterator[Finding]:
    """Do what recording a job does, with a file that no worker looks at."""
    probe = folder / f".doctor.{os.getpid()}.{os.urandom(4).hex()}"
    renamed = probe.with_name(f"{probe.name}.renamed")
    begun = time.monotonic()
    try:
        durable.write_new(probe, b"written by encoder-pin doctor, may be deleted\n")
        durable.move(probe, renamed)
        seconds = time.monotonic() - begun
        locks = list(_lock(renamed))
    except OSError as error:
        yield wrong(DISK, f"cannot write into {folder}: {error.strerror or error}", durable.advice(error))
        yield _not_tried(LOCKS, "locking", f"nothing can be written into {folder}")
        return
    finally:
        for path in (probe, renamed):
            with suppress(OSError):
                path.unlink()
    if seconds > SLOW_WRITE:
        yield look_at(DISK, f"a durable write took {seconds:.1f} s: that long a finished job holds up the encoder",
                      "look at what else keeps the disk busy, or set DATA_DIR to another")  # fmt: skip
    else:
        yield ok(DISK, f"a durable write took {seconds * 1000:.0f} ms")
    yield from locks


def _lock(path: Path) -> Iterator[Finding]:
    """Whether a second holder is kept out, by the system's own word."""
    from filelock import FileLock, __version__

    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=5)
    except (OSError, NotImplementedError) as error:
        yield wrong(LOCKS, f"no file can be locked in {path.parent}: {error}", "set DATA_DIR to a local disk")
        return
    try:
        excluded = _is_excluded(path)
    finally:
        lock.release()
    if excluded:
        yield ok(LOCKS, f"filelock {__version__} keeps a second holder out")
    else:
        yield wrong(LOCKS, f"locks in {path.parent} keep nobody out", "set DATA_DIR to a local disk")


def _is_excluded(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
