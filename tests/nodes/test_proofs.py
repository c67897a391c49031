"""What a target has to prove before anything is deleted on its word, and what each of its answers is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from encoder_hookspecs.events import Proof, Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer, DagSize, Told, Whole
from encoder_pin_plugin.nodes.proofs import APART, Look, Rule, Witness, rule_for
from tests.fakes.memory_node import MemoryNode

YES = Told(answer=Answer.YES)
SIZE = DagSize(blocks=4, size=100)


@pytest.mark.parametrize(
    ("url", "enough", "rule"),
    [
        ("kubo+http://x:5001", False, Rule(whole=True)),
        ("kubo+http://x:5001", True, Rule(whole=False)),
        ("psa+https://x", False, Rule(whole=False, apart=600.0)),
        ("psa+https://x", True, Rule(whole=False, apart=600.0)),
        ("psa+https://x/a+b", False, Rule(whole=False, apart=600.0)),
        ("cluster+http://x", False, Rule(whole=False)),
        ("cluster+http://x?peer=a", False, Rule(whole=True)),
        ("cluster+http://x?min=2&peer=a", False, Rule(whole=True)),
        ("cluster+http://x?peer=a&note=why?", False, Rule(whole=True)),
        ("cluster+http://x?peer=a", True, Rule(whole=False)),
        ("cluster+http://peer=x", False, Rule(whole=False)),
        ("kubo+http://x/a+b", False, Rule(whole=True)),
    ],
)
def test_each_kind_of_target_has_its_rule(url: str, enough: bool, rule: Rule) -> None:
    assert rule_for(url, pinned_is_enough=enough) == rule
    assert APART == 600.0


def test_nothing_weaker_is_enough_unless_somebody_says_so() -> None:
    assert rule_for("kubo+http://x") == Rule(whole=True)


class Node(MemoryNode):
    """A node with one answer to each question."""

    def __init__(self, *, pinned: Told = YES, whole: Whole | None = None, here: bool = False) -> None:
        super().__init__()
        self.says, self.holds, self.on_this_machine = pinned, whole, here
        self.asked: list[tuple[str, list[str]]] = []

    def pinned(self, cids: Sequence[str], *, names: bool = False) -> dict[str, Told]:
        self.asked.append(("pinned", list(cids)))
        return dict.fromkeys([*cids, "another"], self.says)

    def whole(self, cids: Sequence[str]) -> dict[str, Whole]:
        self.asked.append(("whole", list(cids)))
        return dict.fromkeys(cids, self.holds or Whole(answer=Answer.YES, dag=SIZE))


class Sync:
    def __init__(self) -> None:
        self.waits = 0

    def wait(self) -> None:
        self.waits += 1


def witness(node: MemoryNode, *, whole: bool = True, **changes: Any) -> Witness:
    return Witness(**({"node": node, "rule": Rule(whole=whole), "sync": Sync()} | changes))


def no(detail: str, answer: Answer = Answer.UNKNOWN, reason: Reason | None = None) -> Whole:
    return Whole(answer=answer, detail=detail, reason=reason)


def test_what_is_not_pinned_is_asked_nothing_more() -> None:
    for told, look in (
        (Told(answer=Answer.NO), Look(detail="not pinned", reason=Reason.UNPROVED)),
        (Told(answer=Answer.UNKNOWN, detail="down", reason=Reason.REFUSED), Look(detail="down", reason=Reason.REFUSED)),
    ):
        node = Node(pinned=told)
        assert witness(node, retrieve=lambda _: pytest.fail("read back")).look(["a"]) == {"a": look}
        assert node.asked == [("pinned", ["a"])]


def test_every_block_is_enough() -> None:
    node = Node()
    assert witness(node).look(["a", "b"]) == dict.fromkeys("ab", Look(proof=Proof.WHOLE, enough=True))
    assert node.asked == [("pinned", ["a", "b"]), ("whole", ["a", "b"])]


def test_only_what_is_pinned_is_asked_for_its_blocks() -> None:
    node = MemoryNode()
    node.pins["a"] = ""
    looks = witness(node).look(["a", "b"])
    assert (looks["a"].enough, looks["b"].enough) == (True, False)
    assert [cid for call, cid in node.calls if call == "whole"] == ["a"]


def test_a_pin_that_lacks_blocks_is_no_proof_at_all() -> None:
    node = Node(whole=no("block x was not found", Answer.NO))
    detail = "memory has a pin of it but not all of its blocks (block x was not found)"
    for whole in (True, False):
        looks = witness(node, whole=whole, copy=Node()).look(["a"])
        assert looks == {"a": Look(detail=detail, reason=Reason.UNPROVED)}


@pytest.mark.parametrize("whole", [True, False])
def test_a_node_that_cannot_tell_its_blocks_is_believed_as_far_as_the_rule_goes(whole: bool) -> None:
    node = Node(whole=no("refuses dag/stat", reason=Reason.NOT_ALLOWED))
    detail = "whether memory has every block cannot be told: refuses dag/stat"
    look = Look(proof=Proof.PINNED, enough=not whole, detail=detail, reason=Reason.NOT_ALLOWED)
    assert witness(node, whole=whole).look(["a"]) == {"a": look}


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (SIZE, SIZE, ""),
        (SIZE, DagSize(blocks=3, size=100), "memory counts 3 blocks of 100 bytes, our own node 4 blocks of 100 bytes"),
        (SIZE, DagSize(blocks=4, size=99), "memory counts 4 blocks of 99 bytes, our own node 4 blocks of 100 bytes"),
        (SIZE, None, "memory counts nothing, our own node 4 blocks of 100 bytes"),
    ],
)
def test_counts_are_compared_where_we_have_a_copy(ours: DagSize, theirs: DagSize | None, said: str) -> None:
    node, copy = (Node(whole=Whole(answer=Answer.YES, dag=dag)) for dag in (theirs, ours))
    look = Look(detail=said, reason=Reason.UNPROVED) if said else Look(proof=Proof.WHOLE, enough=True)
    assert witness(node, copy=copy).look(["a"]) == {"a": look}
    assert copy.asked == [("whole", ["a"])]


@pytest.mark.parametrize("answer", [Answer.NO, Answer.UNKNOWN])
def test_a_copy_that_is_not_whole_says_nothing(answer: Answer) -> None:
    copy = Node(whole=Whole(answer=answer, dag=DagSize(blocks=1, size=1)))
    assert witness(Node(), copy=copy).look(["a"])["a"].enough


def test_our_copy_is_not_asked_where_the_target_has_nothing_to_compare() -> None:
    copy = Node()
    witness(Node(whole=no("refuses")), copy=copy).look(["a"])
    assert copy.asked == []


@pytest.mark.parametrize(("here", "again", "waits"), [(True, False, 1), (True, True, 0), (False, False, 0)])
def test_a_target_on_this_machine_is_synced_before_it_is_believed_for_the_first_time(
    here: bool, again: bool, waits: int
) -> None:
    sync = Sync()
    node = Node(here=here)
    witness(node, sync=sync).look(["a"], again=again)
    assert sync.waits == waits
    if not again:
        witness(node, sync=sync).look(["a"])
        assert sync.waits == 2 * waits


def test_the_sync_comes_before_the_question() -> None:
    order: list[str] = []
    node = Node(here=True)
    whole: Callable[..., Any] = node.whole
    node.whole = lambda cids: (order.append("whole"), whole(cids))[1]
    sync = Sync()
    sync.wait = lambda: order.append("sync")
    witness(node, sync=sync).look(["a"])
    assert order == ["sync", "whole"]


def test_bytes_that_came_back_are_the_strongest_proof() -> None:
    read: list[str] = []
    looks = witness(Node(), retrieve=read.append).look(["a", "b"])
    assert looks == dict.fromkeys("ab", Look(proof=Proof.RETRIEVED, enough=True))
    assert read == ["a", "b"]


def test_what_could_not_be_read_back_is_not_enough_and_only_that() -> None:
    def read(cid: str) -> None:
        if cid == "a":
            raise NodeError("cut", Reason.CUT)

    looks = witness(Node(), retrieve=read).look(["a", "b"])
    assert looks["a"] == Look(proof=Proof.WHOLE, enough=False, detail="not read back: cut", reason=Reason.CUT)
    assert looks["b"].proof is Proof.RETRIEVED


def test_what_is_not_proved_is_not_read_back() -> None:
    node = MemoryNode()
    node.pins["a"] = ""
    read: list[str] = []
    looks = witness(node, retrieve=read.append).look(["a", "b"])
    assert read == ["a"]
    assert set(looks) == {"a", "b"}
    lacking = Node(whole=no("gone", Answer.NO))
    witness(lacking, retrieve=read.append).look(["b"])
    assert read == ["a"]
