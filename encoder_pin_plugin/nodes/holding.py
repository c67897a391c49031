"""Asking again, weeks later: does a node still hold what it was proved to hold? In batches, and unknown is no answer.

A node that does not answer is given up after a few batches: a million questions to a dead one would take a week.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from encoder_pin_plugin.nodes.base import PinNode

BATCH = 100
"""CIDs in one question."""

PATIENCE = 3
"""Batches in a row without a single answer after which a node is given up."""


@dataclass(frozen=True, kw_only=True)
class Holding:
    """Whether a node holds one CID.

    Args:
        answer: yes, no, or unknown.
        detail: the node's words where it is not yes.
        pinned: whether its record says so, although blocks are missing.
    """

    answer: Answer
    detail: str = ""
    pinned: bool = False


@dataclass(kw_only=True)
class Tally:
    """What a node answered so far.

    Args:
        asked: CIDs that it was asked about.
        held: those that it holds.
        unknown: those that it gave no answer about: CID -> its words.
        gave_up: why the rest was not asked about; empty where all was.
    """

    asked: int = 0
    held: int = 0
    unknown: dict[str, str] = field(default_factory=dict)
    gave_up: str = ""


def not_held(node: PinNode, cids: Iterable[str], tally: Tally, *, blocks: bool) -> Iterator[tuple[str, Holding]]:
    """The CIDs that the node does not hold, as they are found; the rest is counted in `tally`.

    Args:
        node: which is asked.
        cids: each once.
        tally: filled in on the way.
        blocks: whether every block has to be there; else the node's record is enough.
    """
    source, silent = iter(cids), 0
    while batch := list(islice(source, BATCH)):
        found = holdings(node, batch, blocks=blocks)
        tally.asked += len(batch)
        tally.held += sum(one.answer is Answer.YES for one in found.values())
        unknown = {cid: one.detail for cid, one in found.items() if one.answer is Answer.UNKNOWN}
        tally.unknown |= unknown
        yield from ((cid, one) for cid, one in found.items() if one.answer is Answer.NO)
        silent = silent + 1 if len(unknown) == len(batch) else 0
        if silent == PATIENCE:
            tally.gave_up = f"{node.address} gave no answer {PATIENCE} times in a row"
            return


def holdings(node: PinNode, cids: list[str], *, blocks: bool) -> dict[str, Holding]:
    """For each CID whether the node holds it. Never raises for what a node answers."""
    try:
        told = node.pinned(cids)
        pinned = [cid for cid in cids if told[cid].yes]
        whole = node.whole(pinned) if blocks and pinned else {}
    except NodeError as error:
        return dict.fromkeys(cids, Holding(answer=Answer.UNKNOWN, detail=str(error)))
    return {
        cid: Holding(answer=whole[cid].answer, detail=whole[cid].detail, pinned=True)
        if cid in whole
        else Holding(answer=told[cid].answer, detail=told[cid].detail, pinned=told[cid].yes)
        for cid in cids
    }
