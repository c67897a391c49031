"""Which file system a folder is on, by the kernel's own table (Linux; elsewhere it stays unknown)."""

from __future__ import annotations

import os
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")


def file_system_of(folder: Path, table: Path = _TABLE) -> tuple[str, str]:
    """The type of the file system and where it is mounted; two empty texts where nobody knows."""
    try:
        lines = table.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return "", ""
    real = os.path.realpath(folder)
    best = ("", "")
    for line in lines:
        kind, mounted = _parse(line)
        inside = mounted == "/" or real == mounted or real.startswith(f"{mounted}/")
        if inside and len(mounted) >= len(best[1]):  # what is mounted later lies over what was there
            best = (kind, mounted)
    return best


def _parse(line: str) -> tuple[str, str]:
    """Type and mount point of a line such as `36 35 98:0 / /mnt rw,noatime master:1 - ext3 /dev/root rw`
    (proc_pid_mountinfo(5))."""
    before, _, after = line.partition(" - ")
    fields, kind = before.split(" "), after.split(" ")[0]
    if len(fields) < 5:
        return "", "\0"
    mounted = fields[4].encode("latin-1", "replace").decode("unicode_escape") if "\\" in fields[4] else fields[4]
    return kind, mounted
