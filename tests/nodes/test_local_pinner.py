"""The local pin: made where it is missing, proved whole either way, and honest about which it was."""

from __future__ import annotations

import pytest

from encoder_hookspecs.events import Proof, Reason
from encoder_pin_plugin.durable import SharedSync
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, Limits, Whole
from encoder_pin_plugin.nodes.local import LocalPinner
from tests.cids import cid_of
from tests.fakes.memory_node import MemoryNode

CID = cid_of("a")


@pytest.fixture
def node() -> MemoryNode:
    return MemoryNode()


@pytest.fixture
def pinner(node: MemoryNode) -> LocalPinner:
    return LocalPinner(node=node, limits=Limits(), sync=SharedSync())  # type: ignore[arg-type]


def test_what_is_missing_is_pinned_and_said_to_be_made(node: MemoryNode, pinner: LocalPinner) -> None:
    pin = pinner.pin(CID)
    assert (pin.cid, pin.node, pin.proof, pin.made) == (CID, "memory", Proof.WHOLE, True)
    assert node.pins[CID] == PIN_NAME


def test_what_is_pinned_already_is_proved_and_not_pinned_again(node: MemoryNode, pinner: LocalPinner) -> None:
    node.pins[CID] = "theirs"
    pin = pinner.pin(CID)
    assert (pin.proof, pin.made) == (Proof.WHOLE, False)
    assert (node.count("pin"), node.pins[CID]) == (0, "theirs")


def test_a_pin_without_its_blocks_is_none(node: MemoryNode, pinner: LocalPinner) -> None:
    node.whole = lambda cids: dict.fromkeys(cids, Whole(answer=Answer.NO, detail="a block is missing"))
    with pytest.raises(NodeError, match=r"not all of its blocks \(a block is missing\)") as raised:
        pinner.pin(CID)
    assert raised.value.reason is Reason.CONTENT_MISSING
    assert not pinner.holds(CID)
