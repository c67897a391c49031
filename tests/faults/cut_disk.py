"""A disk that can lose its power: a file system in a file, mounted through a loop device.

`cut()` has the file system forget what it has not put on the disk: by the shutdown call that its own developers test
with (ext4, XFS), or, where it has none (Btrfs), by going on with a copy of the disk as it was at that moment. Whoever
uses the disk is stopped before, so that no fsync returns while the power goes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.rig import Missing
from tests.faults.tools import need_root, run_tool, tool

_SHUTDOWN = 0x8004587D
_WITHOUT_LOG_FLUSH = 2

LET_GO = 120.0
"""Seconds within which everybody else has to let go of a disk that was unmounted."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file system.

    Args:
        mkfs: the tool that makes it, and its options.
        options: for mounting.
        mb: the disk's size.
        shutdown: whether it can be shut down by a call.
    """

    mkfs: tuple[str, ...]
    options: str = "defaults"
    mb: int = 64
    shutdown: bool = True


KINDS = {
    "ext4": Kind(mkfs=("mkfs.ext4", "-q", "-F")),
    "ext4 data=writeback": Kind(mkfs=("mkfs.ext4", "-q", "-F"), options="data=writeback"),
    "xfs": Kind(mkfs=("mkfs.xfs", "-q", "-f"), mb=320),
    "btrfs": Kind(mkfs=("mkfs.btrfs", "-q", "-f", "-m", "single"), mb=128, shutdown=False),
}


class CutDisk:
    """One disk, mounted at `path`."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.path = folder / "disk"
        self._kind = kind
        self._image = folder / "disk.img"

    def make(self) -> None:
        """Make the file system, and mount it."""
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(self._kind.mb << 20)
        name, *options = self._kind.mkfs
        run_tool(name, *options, str(self._image))
        self._mount()

    def cut(self) -> None:
        """The power goes. The disk is to be used by nobody afterwards, until `restore`."""
        if self._kind.shutdown:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG_FLUSH))
            finally:
                os.close(descriptor)
        else:
            run_tool("cp", "--sparse=always", str(self._image), f"{self._image}.cut")

    def restore(self) -> None:
        """The power is back: everybody is gone, and the file system is mounted again."""
        run_tool("umount", str(self.path))
        self._wait_until_let_go()
        if not self._kind.shutdown:
            shutil.move(f"{self._image}.cut", self._image)
        self._mount()

    def remove(self) -> None:
        """Unmount it, and forget it."""
        with suppress(subprocess.CalledProcessError):
            run_tool("umount", "--lazy", str(self.path))

    def _wait_until_let_go(self) -> None:
        """Whoever took the mounts of this machine into a namespace of its own keeps the file system without power, and
        mounting it again would find that one. Raises TimeoutError."""
        until = time.monotonic() + LET_GO
        while run_tool("losetup", "--associated", str(self._image)):
            if time.monotonic() > until:
                raise TimeoutError(f"another mount namespace holds the disk {self._image}: end what runs in it")
            time.sleep(0.05)

    def _mount(self) -> None:
        try:
            run_tool("mount", "-o", f"loop,{self._kind.options}", str(self._image), str(self.path))
        except subprocess.CalledProcessError as error:
            raise Missing(f"cannot mount {self._kind.mkfs[0][5:]} here: {error.stderr.strip()}") from error


@contextmanager
def cut_disk(kind: Kind, folder: Path) -> Iterator[CutDisk]:
    """A disk while it is needed. Raises Missing where there can be none."""
    need_root("mounting a disk image")
    tool(kind.mkfs[0])
    disk = CutDisk(kind, folder)
    try:
        disk.make()
        yield disk
    finally:
        disk.remove()
