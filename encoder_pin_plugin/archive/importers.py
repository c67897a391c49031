"""What a former encoder, 3Speak's, left behind: found, read, told record by record, and never changed.

    pending_pins.json            its queue of lazy pins
    failed-pins.jsonl            every pin it gave up on: videos that may be lost
    local-pins.jsonl             what it pinned on its own node and then forgot
    local-fallback-pins.jsonl    its archive, in the form that ours has too
    local-pins.db                its database of local pins, in the application's form or the installer's
    hotnode.db                   a hot node's pins

A file is looked for in the encoder's folder and in the subfolder where it usually stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.former import Found, Left, Place
from encoder_pin_plugin.archive.former_json import read_list, read_queue
from encoder_pin_plugin.archive.former_sqlite import read_database
from encoder_pin_plugin.errors import EncoderPinError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file.

    Args:
        name: of the file.
        usual: the subfolder where it stands.
        what: in words.
        read: its records.
    """

    name: str
    usual: str
    what: str
    read: Callable[[Path], Iterator[Found]]


KINDS = (
    Kind(name="local-fallback-pins.jsonl", usual="data", what="archive", read=read_list),
    Kind(name="pending_pins.json", usual="data", what="queue", read=read_queue),
    Kind(name="local-pins.db", usual="data", what="database of local pins", read=read_database),
    Kind(name="hotnode.db", usual="database", what="hot node's database", read=read_database),
    Kind(name="failed-pins.jsonl", usual="logs", what="pins given up on", read=read_list),
    Kind(name="local-pins.jsonl", usual="logs", what="local pins", read=read_list),
)
"""In this order: what says most about a CID comes first."""

LOCK_NAME = "pending_pins.lock"


@dataclass(frozen=True, kw_only=True)
class FormerFile:
    """A file that was found."""

    path: Path
    kind: Kind

    def records(self) -> Iterator[Found]:
        """What stands in it; that it cannot be read is told as something left. Never raises for what is in it."""
        try:
            yield from self.kind.read(self.path)
        except EncoderPinError as error:
            yield Left(place=Place(path=self.path, where="the whole file"), what="", why=str(error))


def former_files(folder: Path) -> list[FormerFile]:
    """The former encoder's files in and below `folder`, each once."""
    found: list[FormerFile] = []
    for kind in KINDS:
        for path in (folder / kind.usual / kind.name, folder / kind.name):
            if path.exists() and not any(path.samefile(one.path) for one in found):
                found.append(FormerFile(path=path, kind=kind))
    return found


def running_encoder(folder: Path) -> str:
    """What the former encoder's lock file says, empty where there is none: it may be running."""
    for path in (folder / "data" / LOCK_NAME, folder / LOCK_NAME):
        try:
            with path.open("rb") as file:
                process = file.read(20).decode("ascii", "replace").strip()
        except OSError:
            continue
        return f"{path} (process {process or 'unknown'})"
    return ""
