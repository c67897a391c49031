"""A data folder that we cannot look into: one diagnosis for every command. One that is not there yet is fine."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from encoder_pin_plugin.durable import advice, innermost


class Closed(NamedTuple):
    """What is in the way, and what to do about it."""

    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.what}: {self.todo}"


def why_closed(folder: Path) -> Closed | None:
    """Why `folder` cannot be looked into, None where it can, or is not there."""
    try:
        os.stat(f"{folder}/.")  # noqa: PTH116 - a Path would drop the dot, which asks for a folder that we may enter
        os.scandir(folder).close()
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        what = f"{innermost(folder)[0]}: a file stands where a folder belongs"
        return Closed(what, "remove it, or set DATA_DIR to another folder")
    except PermissionError:
        return kept_out(folder)
    except OSError as error:
        return Closed(f"{folder}: {error.strerror or error}", advice(error))
    return None


def kept_out(path: str | Path) -> Closed:
    """What keeps us away from `path`: the last thing on the way to it that we can see, and whose that is."""
    found, status = innermost(Path(path))
    us, mode = os.geteuid(), stat.S_IMODE(status.st_mode)
    if status.st_uid == us:
        right = "0700" if stat.S_ISDIR(status.st_mode) else "0600"
        return Closed(f"we may not use {found} (mode {mode:04o})", f"chmod {right} {found}")
    what = f"user {us} may not use {found}, which belongs to user {status.st_uid}"
    return Closed(what, "run this as the user that runs the encoder, or give it to that user (chown)")
