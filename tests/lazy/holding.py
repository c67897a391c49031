"""A holder on nodes in memory, and jobs for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.durable import SharedSync
from encoder_pin_plugin.errors import LockBusy
from encoder_pin_plugin.lazy.hold import Holder, holder_for
from encoder_pin_plugin.lazy.pins import LazyPin, State
from encoder_pin_plugin.lazy.ports import Holds, Nodes, Released
from encoder_pin_plugin.nodes.base import PIN_NAME, Limits, Told
from encoder_pin_plugin.nodes.exclusion import Exclusion
from encoder_pin_plugin.nodes.proofs import Rule, Witness
from encoder_pin_plugin.settings import load_settings
from tests.cids import cid_of
from tests.fakes.memory_node import MemoryNode
from tests.lazy.conftest import NOW


def pin_of(name: str, **fields: Any) -> LazyPin:
    job = CompletedJob(cid=cid_of(name), job_id=name)
    return LazyPin(key=name, job=job, state=State.PENDING, waiting_since=NOW, next_at=NOW, **fields)


A, B, C = (pin_of(name) for name in "abc")
DUE = pin_of("a", whole_at=1)
"""Found whole on the supernode once: to be released when it is found a second time."""


class Local(MemoryNode):
    """Has everything, names pins where names are asked for, and tells with which limits it was asked to pin, and that
    nobody else could get at the CID."""

    def __init__(self, exclusion: Exclusion) -> None:
        super().__init__()
        self.limits: list[Limits] = []
        self._exclusion = exclusion

    def pinned(self, cids: Sequence[str], *, names: bool = False) -> Mapping[str, Told]:
        told = super().pinned(cids)
        return told if names else {cid: replace(it, name="") for cid, it in told.items()}

    def pin(self, cid: str, *, limits: Limits, **options: Any) -> None:
        self.limits.append(limits)
        self._is_locked(cid)
        super().pin(cid, limits=limits, **options)

    def unpin(self, cid: str) -> None:
        self._is_locked(cid)
        super().unpin(cid)

    def _is_locked(self, cid: str) -> None:
        with pytest.raises(LockBusy), self._exclusion.hold([cid], timeout=0.01):
            pass


class Desk:
    """A holder on nodes in memory."""

    def __init__(self, folder: Path) -> None:
        self.exclusion = Exclusion(folder)
        self.local, self.supernode = Local(self.exclusion), MemoryNode()
        self.supernode.on_this_machine = False
        self.needed: list[LazyPin] = []
        self.posted: list[Holds | Released] = []
        self.witness: Witness | None = Witness(node=self.supernode, rule=Rule(whole=True), sync=SharedSync())

    @property
    def holder(self) -> Holder:
        return Holder(
            local=self.local, exclusion=self.exclusion, needed=lambda pin: pin in self.needed,
            post=self.posted.append, witness=self.witness,
        )  # fmt: skip

    def hold(self, *pins: LazyPin) -> tuple[dict[str, str], bool]:
        self.holder.hold(pins)
        (posted,) = self.posted
        assert isinstance(posted, Holds)
        return posted.holds, posted.complete

    def release(self, *pins: LazyPin) -> dict[str, bool | None]:
        self.holder.release(pins)
        (posted,) = self.posted
        assert isinstance(posted, Released)
        return posted.done


def raising(call: str, error: Exception) -> Callable[[str, str], None]:
    """One call to a node fails."""

    def fail(name: str, cid: str) -> None:
        if name == call:
            raise error

    return fail


def held(desk: Desk, *pins: LazyPin) -> None:
    """Pinned on both nodes."""
    for pin in pins:
        desk.local.pins[pin.job.cid] = desk.supernode.pins[pin.job.cid] = PIN_NAME


def made(desk: Desk, **settings: Any) -> Holder:
    """The holder that the settings ask for."""
    nodes = Nodes(supernode=settings.pop("supernode", desk.supernode), local=desk.local)
    holder = holder_for(
        load_settings({}, **settings), nodes, exclusion=desk.exclusion, needed=lambda pin: pin in desk.needed,
        post=desk.posted.append,
    )  # fmt: skip
    assert holder is not None
    return holder
