"""A listing of all pins is whole, or it is none."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.kubo_listing import every_pin, listed_pins
from tests.fakes.kubo_node import FakeKubo
from tests.nodes.cid_vectors import in_base

if TYPE_CHECKING:
    from collections.abc import Iterator

CIDS = [in_base("b", b"\x01\x55\x12\x20" + hashlib.sha256(str(number).encode()).digest()) for number in range(20)]


@pytest.fixture
def fake() -> Iterator[FakeKubo]:
    with FakeKubo() as node:
        node.pins = dict.fromkeys(CIDS, "")
        yield node


@pytest.fixture
def node(fake: FakeKubo) -> Iterator[KuboNode]:
    kubo = KuboNode(fake.url)
    yield kubo
    kubo.close()


def every(node: KuboNode, at_most: int = 20, seconds: float = 30) -> set[str] | None:
    return every_pin(node, at_most=at_most, seconds=seconds)


def test_every_recursive_pin_is_listed_by_one_call(fake: FakeKubo, node: KuboNode) -> None:
    fake.types = {CIDS[0]: "direct", CIDS[1]: "indirect"}
    assert every(node) == set(CIDS[2:])
    (call,) = fake.calls
    assert (call.command, call.args, call.options["type"]) == ("pin/ls", (), "recursive")
    assert listed_pins(node, {CIDS[0], CIDS[5], "other"}) == {CIDS[5]}


def test_more_pins_than_wanted_are_none(node: KuboNode) -> None:
    assert every(node, at_most=20) == set(CIDS)
    assert every(node, at_most=19) is None


def test_a_node_that_lists_nothing_is_not_believed(fake: FakeKubo, node: KuboNode) -> None:
    fake.pins = {}
    assert every(node) is None


@pytest.mark.parametrize("lie", ["silence", "drip"])
def test_a_listing_that_takes_too_long_is_none(fake: FakeKubo, node: KuboNode, lie: str) -> None:
    fake.lie(lie, only={"pin/ls"})
    assert every(node, seconds=0.3) is None


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ("html_200", Reason.BAD_REPLY), ("null", Reason.BAD_REPLY), ("cut_json", Reason.BAD_REPLY),
        ("cut_chunk", Reason.CUT), ("forbidden", Reason.NOT_ALLOWED), ("no_keys", Reason.BAD_REPLY),
    ],
)  # fmt: skip
def test_half_a_listing_is_an_error(fake: FakeKubo, node: KuboNode, lie: str, reason: Reason) -> None:
    fake.lie(lie, only={"pin/ls"})
    with pytest.raises(NodeError, match="pin/ls of everything") as caught:
        every(node)
    assert caught.value.reason is reason


@pytest.mark.parametrize("row", ['{"Cid":"bafy"}', '{"Type":"recursive"}', '{"Cid":1,"Type":"recursive"}', "7"])
def test_a_row_that_is_no_pin_is_said_to_be_no_node_s_answer(
    node: KuboNode, monkeypatch: pytest.MonkeyPatch, row: str
) -> None:
    monkeypatch.setattr(node.wire, "stream", lambda *_, **__: (item for item in [json.loads(row)]))
    with pytest.raises(NodeError, match=re.escape(f"{node.address} pin/ls of everything: not a Kubo node's answer")):
        every(node)
