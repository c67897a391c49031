"""What we ask of a node that pins, whichever software it runs: the port `PinNode`.

Three answers exist everywhere: yes, no, unknown. A timeout, an HTML page, a 403, an empty 200 is *unknown*: never yes,
never no. Nothing here counts as proof by a status code. An adapter (`kubo.py`, `cluster.py`, `pinning_service.py`)
answers each question for a batch, because asking a hundred at once costs a fortieth of asking one by one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from encoder_hookspecs.events import ContentType, Reason
    from encoder_pin_plugin.settings import Settings

PIN_NAME = "encoder-pin"
"""The name our pins carry on Kubo, so that a pin of ours is told from everybody else's."""

EMPTY_DIRECTORY = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
"""A CID that every node knows: asked about to see which questions a node answers."""


class Answer(enum.Enum):
    """A node's answer to a question of fact."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Told:
    """A node's answer, with the words to show when it is not yes.

    Args:
        answer: yes, no or unknown.
        detail: the node's words, or ours, without secrets; empty for a plain yes.
        name: of the pin, where the node keeps names and was asked for them.
        reason: of an unknown, in one word.
    """

    answer: Answer
    detail: str = ""
    name: str = ""
    reason: Reason | None = None

    @property
    def yes(self) -> bool:
        return self.answer is Answer.YES


@dataclass(frozen=True, kw_only=True)
class DagSize:
    """How large a whole DAG is.

    Args:
        blocks: unique blocks.
        size: bytes of all unique blocks.
    """

    blocks: int
    size: int

    @property
    def mb(self) -> float:
        """Size in MB (10^6 bytes), rounded to the third decimal, as the archive shows it."""
        return round(self.size / 1e6, 3)


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Whether a node holds every block of a DAG, now, without fetching any."""

    answer: Answer
    dag: DagSize | None = None
    detail: str = ""
    reason: Reason | None = None

    @property
    def yes(self) -> bool:
        return self.answer is Answer.YES


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long one pin may take.

    Args:
        stall: seconds without progress.
        total: seconds in all.
    """

    stall: float = 120.0
    total: float = 900.0


def limits_of(settings: Settings) -> Limits:
    """How long one pin may take, as the settings have it."""
    return Limits(stall=settings.lazy_pin_stall_timeout, total=settings.lazy_pin_timeout)


class PinNode(Protocol):
    """A node that pins. Every method may raise `NodeError`, whose reason says what kind of failure it was."""

    @property
    def address(self) -> str:
        """Where the node is, for logs and records, without credentials."""

    @property
    def on_this_machine(self) -> bool:
        """Whether the node's blocks are on this machine's disks (loopback address or unix socket)."""

    def ping(self) -> str:
        """The node's software and version, by a cheap call; raises `NodeError` where it does not answer as one."""

    def pinned(self, cids: Sequence[str], *, names: bool = False) -> Mapping[str, Told]:
        """For each CID whether the node's own record holds a recursive pin of exactly it. Never raises for a CID
        that is not pinned, and answers *unknown* for all where the node does not answer."""

    def pin(
        self, cid: str, *, name: str = PIN_NAME, limits: Limits, progress: Callable[[int], None] | None = None
    ) -> None:
        """Pin `cid` recursively, fetching what is missing. Returns when the node said that it is done; that is a
        claim, to be proved by `pinned`. Ask `pinned` first, too: Kubo drops a pin that it already has before it walks
        the DAG again, and nothing in here asks. `progress` is called with a count that grows (blocks or bytes)."""

    def whole(self, cids: Sequence[str]) -> Mapping[str, Whole]:
        """For each CID whether every block is on the node, now, without fetching; *unknown* where it cannot tell."""

    def unpin(self, cid: str) -> None:
        """Remove our pin of `cid`. A pin that is already gone is no error."""

    def describe(self, cid: str) -> tuple[DagSize | None, ContentType | None]:
        """Size and type of a DAG that is whole on the node; None for what it cannot tell. Never fetches."""
