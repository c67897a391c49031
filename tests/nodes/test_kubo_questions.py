"""Many CIDs cost few calls, and a yes about one is never taken for a yes about another."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.nodes.base import Answer
from encoder_pin_plugin.nodes.kubo import KuboNode
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_node import FakeKubo
from tests.nodes.cid_vectors import SAME_CID, V0, V1_TWIN, in_base

if TYPE_CHECKING:
    from collections.abc import Iterator

CIDS = [in_base("b", b"\x01\x55\x12\x20" + hashlib.sha256(str(number).encode()).digest()) for number in range(100)]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeKubo]:
    with FakeKubo() as node:
        yield node


@pytest.fixture(scope="module")
def node(fake: FakeKubo) -> Iterator[KuboNode]:
    kubo = KuboNode(fake.url)
    yield kubo
    kubo.close()


@pytest.fixture(autouse=True)
def fresh(fake: FakeKubo) -> None:
    fake.pins.clear()
    fake.content.clear()
    fake.calls.clear()
    fake.types.clear()
    fake.poison = ""
    fake.honest()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pinned=st.sets(st.sampled_from(CIDS)), asked=st.lists(st.sampled_from(CIDS), max_size=60))
def test_each_answer_is_that_of_its_own_cid(fake: FakeKubo, node: KuboNode, pinned: set[str], asked: list[str]) -> None:
    fake.pins = dict.fromkeys(pinned, "")
    fake.content = {cid: Content() for cid in pinned}
    answers = {cid: Answer.YES if cid in pinned else Answer.NO for cid in asked}
    assert {cid: told.answer for cid, told in node.pinned(asked).items()} == answers
    assert {cid: whole.answer for cid, whole in node.whole(asked).items()} == answers


def test_all_yes_is_one_call(fake: FakeKubo, node: KuboNode) -> None:
    fake.pins = dict.fromkeys(CIDS, "")
    fake.content = {cid: Content() for cid in CIDS}
    assert all(told.yes for told in node.pinned(CIDS).values())
    assert all(whole.yes for whole in node.whole(CIDS).values())
    assert [call.command for call in fake.calls] == ["pin/ls", "dag/stat"]


def test_all_no_is_one_cheap_call_each(fake: FakeKubo, node: KuboNode) -> None:
    assert {told.answer for told in node.pinned(CIDS).values()} == {Answer.NO}
    assert len(fake.calls) == len(CIDS)
    assert sum(len(call.args) for call in fake.calls) < 2 * len(CIDS)


@pytest.mark.parametrize("place", [0, 1, 50, 99])
def test_one_no_among_many_yes_costs_a_few_calls_more(fake: FakeKubo, node: KuboNode, place: int) -> None:
    fake.pins = dict.fromkeys(CIDS, "")
    del fake.pins[CIDS[place]]
    fake.content = {cid: Content() for cid in fake.pins}
    for told in (node.pinned(CIDS), node.whole(CIDS)):
        assert [cid for cid, answer in told.items() if answer.answer is Answer.NO] == [CIDS[place]]
        assert len(fake.calls) <= 25
        fake.calls.clear()


def test_a_call_never_has_more_than_a_proxy_takes(fake: FakeKubo, node: KuboNode) -> None:
    long = [in_base("f", b"\x01\x55\x12\x20" + hashlib.sha256(cid.encode()).digest()) for cid in CIDS * 3]
    node.whole(CIDS + long)
    assert max(len(call.args) for call in fake.calls) <= 100


def test_no_cids_are_no_call(fake: FakeKubo, node: KuboNode) -> None:
    assert node.pinned([]) == {}
    assert node.whole([]) == {}
    assert fake.calls == []


def test_what_is_no_cid_is_unknown_and_does_not_stop_the_others(fake: FakeKubo, node: KuboNode) -> None:
    fake.pins[V0] = ""
    told = node.pinned(["not a cid", V0, ""])
    assert told["not a cid"].answer is told[""].answer is Answer.UNKNOWN
    assert "is not a CID" in told["not a cid"].detail
    assert told[V0].yes


def test_a_twin_is_not_the_cid(fake: FakeKubo, node: KuboNode) -> None:
    fake.pins[V0] = ""
    told = node.pinned([V0, V1_TWIN])
    assert told[V0].yes
    assert told[V1_TWIN].answer is Answer.NO


def test_an_answer_may_come_in_another_base(fake: FakeKubo, node: KuboNode) -> None:
    fake.pins[V1_TWIN] = ""
    fake.pins[V1_TWIN.upper()] = ""
    assert all(node.pinned([written])[written].yes for written in SAME_CID)


@pytest.mark.parametrize("words", ["recursive", "direct", "indirect through bafyparent", "internal"])
def test_only_a_recursive_pin_is_a_pin(fake: FakeKubo, node: KuboNode, words: str) -> None:
    fake.types[V0] = words
    fake.pins[V0] = ""
    assert node.pinned([V0])[V0].answer is (Answer.YES if words == "recursive" else Answer.NO)


def test_a_poisonous_cid_costs_only_its_own_answer(fake: FakeKubo, node: KuboNode) -> None:
    fake.pins = dict.fromkeys(CIDS, "")
    fake.poison = CIDS[7]
    told = node.pinned(CIDS)
    assert [cid for cid, answer in told.items() if not answer.yes] == [CIDS[7]]
    assert told[CIDS[7]].answer is Answer.UNKNOWN
    assert told[CIDS[7]].reason is Reason.NODE_ERROR


def test_a_node_that_is_gone_in_the_middle_leaves_the_rest_unknown(fake: FakeKubo, node: KuboNode) -> None:
    fake.lie("reset_at_once", only={"pin/ls"})
    told = node.pinned(CIDS)
    assert {answer.answer for answer in told.values()} == {Answer.UNKNOWN}
    assert {answer.reason for answer in told.values()} == {Reason.CUT}
    assert len(fake.calls) == 1


@pytest.mark.parametrize("lie", ["forbidden", "not_found"])
def test_a_node_that_refuses_dag_stat_says_so(fake: FakeKubo, node: KuboNode, lie: str) -> None:
    fake.lie(lie, only={"dag/stat"})
    whole = node.whole(CIDS)
    assert {answer.answer for answer in whole.values()} == {Answer.UNKNOWN}
    assert {answer.reason for answer in whole.values()} == {Reason.NOT_ALLOWED}
    assert "dag/stat" in whole[CIDS[0]].detail
    assert len(fake.calls) == 1


def test_a_node_that_allows_pin_calls_only_is_alive(fake: FakeKubo, node: KuboNode) -> None:
    assert node.ping() == "Kubo 0.43.0"
    fake.lie("forbidden", only={"version"})
    assert node.ping() == "Kubo, which does not show its version"
    assert {call.command for call in fake.calls} == {"version", "pin/ls"}


def test_names_are_told_when_asked_for(fake: FakeKubo, node: KuboNode) -> None:
    fake.pins = {V0: "encoder-pin", V1_TWIN: ""}
    told = node.pinned([V0, V1_TWIN], names=True)
    assert (told[V0].name, told[V1_TWIN].name) == ("encoder-pin", "")
    assert node.pinned([V0])[V0].name == ""
