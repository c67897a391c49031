"""The system tools that some rigs need: found, or installed from Debian where we may; else `Missing`, and why."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

from tests.faults.rig import Missing

PACKAGES = {"strace": "strace", "mkfs.ext4": "e2fsprogs", "mkfs.xfs": "xfsprogs", "mkfs.btrfs": "btrfs-progs",
            "mount": "mount", "umount": "mount", "losetup": "mount",
            "cp": "coreutils"}  # fmt: skip

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


@cache
def tool(name: str) -> str:
    """Where a tool is. Raises Missing."""
    found = shutil.which(name, path=_PATH)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _install(PACKAGES[name])
        found = shutil.which(name, path=_PATH)
    if found is None:
        raise Missing(f"{name} is not on this machine: install the package {PACKAGES[name]}")
    return found


def _install(package: str) -> None:
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", package]):
        subprocess.run(command, env=quiet, capture_output=True, check=False, timeout=300)


def run_tool(name: str, *arguments: str) -> str:
    """Run a tool to its end; what it printed. Raises CalledProcessError."""
    done = subprocess.run([tool(name), *arguments], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def need_root(what: str) -> None:
    """Raises Missing where we are not root."""
    if os.geteuid() != 0:
        raise Missing(f"{what} needs root")
