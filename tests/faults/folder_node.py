"""A node whose pins are the entries of a folder, so that they outlive every kill of the process that asked for them.

A pin is one symbolic link, its target the pin's name: one system call makes it, whole. A file `down` in the folder
makes every call fail, a file `flaky` holds the share of calls that do. The checker lists the folder itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import random

from encoder_hookspecs.events import ContentType, Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, DagSize, Limits, Told, Whole


class FolderNode:
    """Implements the port `PinNode` honestly; it has every block of everything."""

    on_this_machine = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = folder.name
        (folder / "pins").mkdir(parents=True, exist_ok=True)

    def ping(self) -> str:
        self._fail()
        return "folder"

    def pinned(self, cids: Sequence[str], *, names: bool = False) -> Mapping[str, Told]:
        try:
            self._fail()
        except NodeError as error:
            return dict.fromkeys(cids, Told(answer=Answer.UNKNOWN, detail=str(error), reason=error.reason))
        return {cid: self._told(cid) for cid in cids}

    def pin(
        self, cid: str, *, name: str = PIN_NAME, limits: Limits, progress: Callable[[int], None] | None = None
    ) -> None:
        self._fail()
        with suppress(FileExistsError):
            self._pin_path(cid).symlink_to(name)

    def whole(self, cids: Sequence[str]) -> Mapping[str, Whole]:
        try:
            self._fail()
        except NodeError as error:
            return dict.fromkeys(cids, Whole(answer=Answer.UNKNOWN, detail=str(error), reason=error.reason))
        return dict.fromkeys(cids, Whole(answer=Answer.YES, dag=DagSize(blocks=4, size=2_500_000)))

    def unpin(self, cid: str) -> None:
        self._fail()
        with suppress(FileNotFoundError):
            self._pin_path(cid).unlink()

    def describe(self, cid: str) -> tuple[DagSize | None, ContentType | None]:
        return DagSize(blocks=4, size=2_500_000), "directory"

    def _told(self, cid: str) -> Told:
        try:
            return Told(answer=Answer.YES, name=str(self._pin_path(cid).readlink()))
        except FileNotFoundError:
            return Told(answer=Answer.NO)

    def _pin_path(self, cid: str) -> Path:
        return self._folder / "pins" / cid

    def _fail(self) -> None:
        if (self._folder / "down").exists():
            raise NodeError(f"{self.address} refuses the connection", Reason.REFUSED)
        with suppress(FileNotFoundError, ValueError):
            if random() < float((self._folder / "flaky").read_text()):
                raise NodeError(f"{self.address} cut the connection", Reason.CUT)


def pins_of(folder: Path) -> set[str]:
    """What a folder node has pinned, for the checker."""
    return {path.name for path in (folder / "pins").iterdir()} if (folder / "pins").is_dir() else set()
