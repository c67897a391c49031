"""How what waits gets to a target: in which groups, by which way first, and when by the other."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive import carrying, cluster_group
from encoder_pin_plugin.archive.carrying import (
    CARS,
    STUCK,
    SWITCH_AFTER,
    TOGETHER,
    Carrier,
    Meeting,
    Refusing,
    Transfer,
)
from encoder_pin_plugin.archive.cluster_group import GROUP
from encoder_pin_plugin.archive.waiting import Item
from encoder_pin_plugin.errors import InvalidCid, NodeError
from encoder_pin_plugin.nodes.base import Limits
from tests.archive.targets import Cluster, Kubo, Service, items, node_error
from tests.cids import directory_cid

LIMITS = Limits(stall=100, total=700)
A, B = directory_cid(1), directory_cid(2)
META = {"job_id": "job-1", "node_id": "encoder-1"}


def carrier(target: Any, transfer: Transfer = Transfer.PULL, *, switch: bool = False, **more: Any) -> Carrier:
    return Carrier(target=target, transfer=transfer, switch=switch, limits=LIMITS, **{"local": None, **more})


def taken(carrier: Carrier, waiting: list[Item]) -> list[int]:
    """How many go in each call."""
    queue, groups = deque(waiting), []
    while queue:
        groups.append(carrier.take(queue))
    assert [item for group in groups for item in group] == waiting
    return [len(group) for group in groups]


# In which groups


@pytest.mark.parametrize("transfer", [Transfer.PULL, Transfer.PUSH])
def test_a_cluster_gets_groups_a_few_at_once(transfer: Transfer) -> None:
    to = carrier(Cluster(), transfer)
    assert to.at_once == TOGETHER
    assert taken(to, items(*range(GROUP + 3))) == [GROUP, 3]


@pytest.mark.parametrize(
    ("target", "transfer"), [(Kubo, Transfer.PULL), (Service, Transfer.PULL), (Service, Transfer.PUSH)]
)
def test_who_takes_no_groups_is_asked_for_each_cid_at_once(target: Any, transfer: Transfer) -> None:
    assert carrier(target(), transfer).at_once > 1000
    assert taken(carrier(target(), transfer), items(1, 2, 3)) == [1, 1, 1]


def test_small_cars_go_in_one_request() -> None:
    to = carrier(Kubo(), Transfer.PUSH)
    assert to.at_once == TOGETHER
    assert taken(to, items(*range(CARS + 1))) == [CARS, 1]


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([32.0, 32.0, 0.1], [2, 1]),
        ([60.0, 4.5, 59.5], [1, 2]),
        ([900.0, 1.0], [1, 1]),
        ([None] * 9, [8, 1]),
        ([56.0, None, 0.5], [2, 1]),
        ([0.0] * 3, [3]),
    ],
)
def test_a_request_carries_no_more_than_it_may(sizes: list[float | None], groups: list[int]) -> None:
    waiting = [Item(cid=directory_cid(number), size_mb=mb) for number, mb in enumerate(sizes)]
    assert taken(carrier(Kubo(), Transfer.PUSH), waiting) == groups


# By which way


def test_a_kubo_node_fetches_each() -> None:
    target = Kubo()
    target.errors[A] = node_error(Reason.NODE_ERROR)
    assert carrier(target, local=Kubo()).carry(items(1, 2)) == {A: target.errors[A], B: None}
    assert target.asked == [("pin", A, LIMITS), ("pin", B, LIMITS)]
    assert target.imports == []


def test_a_service_is_told_whose_content_it_is_and_where() -> None:
    target = Service()
    assert carrier(target, origins=("/ip4/1.2.3.4",)).carry(items(1)) == {A: None}
    assert target.asked == [("pin", A, {"limits": LIMITS, "meta": META, "origins": ("/ip4/1.2.3.4",)})]


def test_a_cluster_is_told_whose_content_it_is_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_group, "TOGETHER", 0.0)
    target = Cluster()
    assert carrier(target, origins=("/ip4/1.2.3.4",)).carry(items(1)) == {A: None}
    assert target.asked == [("submit", A, {"meta": META, "origins": ("/ip4/1.2.3.4",)}), ("follow", A, LIMITS)]


def test_what_no_line_names_has_no_job_to_tell() -> None:
    target = Service()
    carrier(target).carry([Item(cid=A, node_id="encoder-1")])
    assert target.asked[0][2]["meta"] == {}


@pytest.mark.parametrize(("stall", "waited"), [(100.0, SWITCH_AFTER), (5.0, 5.0)])
def test_where_there_is_another_way_a_pull_does_not_stall_long(stall: float, waited: float) -> None:
    target = Kubo()
    to = Carrier(
        target=target, local=Kubo(), transfer=Transfer.PULL, switch=True, limits=Limits(stall=stall, total=700)
    )
    to.carry(items(1))
    assert target.asked == [("pin", A, Limits(stall=waited, total=700))]


def test_pushing_sends_and_does_not_ask_to_fetch() -> None:
    target, local = Kubo(), Kubo("http://encoder:5001")
    assert carrier(target, Transfer.PUSH, local=local).carry(items(1, 2)) == {A: None, B: None}
    assert target.imports == [[A, B]]
    assert target.asked == []
    assert target.wire.limits == [("dag/import", 700, 100)]


def test_without_a_node_of_ours_nothing_can_be_pushed() -> None:
    carried = carrier(Kubo(), Transfer.PUSH).carry(items(1, 2))
    assert carried.keys() == {A, B}
    assert getattr(carried[A], "reason", None) is Reason.CONTENT_MISSING
    assert "say --transfer pull" in str(carried[A])


# And by which other


@pytest.mark.parametrize("reason", sorted(STUCK))
def test_a_pull_that_is_stuck_is_pushed(reason: Reason) -> None:
    target = Kubo()
    target.errors[A] = node_error(reason)
    assert carrier(target, switch=True, local=Kubo()).carry(items(1, 2)) == {A: None, B: None}
    assert target.imports == [[A]], "and no other"


def test_a_push_that_is_stuck_is_pulled() -> None:
    target, local = Kubo(), Kubo()
    local.errors[A] = node_error(Reason.CONTENT_MISSING)
    assert carrier(target, Transfer.PUSH, switch=True, local=local).carry(items(1, 2)) == {A: None, B: None}
    assert [(call, cid) for call, cid, _ in target.asked] == [("pin", A)]


@pytest.mark.parametrize("reason", sorted(set(Reason) - STUCK))
def test_another_failure_is_no_better_the_other_way(reason: Reason) -> None:
    target = Kubo()
    target.errors[A] = node_error(reason)
    assert carrier(target, switch=True, local=Kubo()).carry(items(1)) == {A: target.errors[A]}
    assert target.imports == []


def test_what_is_no_nodes_answer_is_no_better_the_other_way() -> None:
    target = Kubo()
    target.errors[A] = InvalidCid("no CID")  # type: ignore[assignment]
    assert carrier(target, switch=True, local=Kubo()).carry(items(1)) == {A: target.errors[A]}
    assert target.imports == []


def test_where_one_way_was_asked_for_the_other_is_not_tried() -> None:
    target = Kubo()
    target.errors[A] = node_error(Reason.STALLED)
    assert carrier(target, local=Kubo()).carry(items(1)) == {A: target.errors[A]}
    assert target.imports == []


@pytest.mark.parametrize(
    ("pulled", "pushed", "told"),
    [
        (Reason.STALLED, Reason.NODE_FULL, Reason.NODE_FULL),
        (Reason.CONTENT_MISSING, Reason.CUT, Reason.CONTENT_MISSING),
        (Reason.STALLED, Reason.CONTENT_MISSING, Reason.CONTENT_MISSING),
    ],
)
def test_where_neither_way_did_it_both_are_told(pulled: Reason, pushed: Reason, told: Reason) -> None:
    target = Kubo()
    target.errors[A] = node_error(pulled, "nobody has it")
    target.refuses[A] = node_error(pushed, "it does not take it")
    error = carrier(target, switch=True, local=Kubo()).carry(items(1))[A]
    assert isinstance(error, NodeError)
    assert error.reason is told
    assert str(error) == "it does not take it; before that: nobody has it"


def test_what_is_no_nodes_answer_is_told_with_the_nodes_reason() -> None:
    target, local = Kubo(), Kubo()
    local.errors[A] = node_error(Reason.CUT)
    target.errors[A] = InvalidCid("no CID")  # type: ignore[assignment]
    error = carrier(target, Transfer.PUSH, switch=True, local=local).carry(items(1))[A]
    assert isinstance(error, NodeError)
    assert error.reason is Reason.CUT
    assert str(error).startswith("no CID; before that: ")


def test_a_report_that_names_what_the_target_lacks_is_not_believed() -> None:
    refusing, waiting = Refusing(Kubo()), deque(items(1, 2))
    group = refusing.take(waiting)
    assert (refusing.at_once, len(group), len(waiting)) == (1, 1, 1)
    carried = refusing.carry(items(1, 2))
    assert carried.keys() == {A, B}
    for error in carried.values():
        assert getattr(error, "reason", None) is Reason.UNPROVED
        assert str(error).startswith(f"{refusing.target.address} does not hold it")


# Meeting


class Introductions:
    """Counts how often two nodes are introduced, and does what it is told meanwhile."""

    def __init__(self) -> None:
        self.made = 0
        self.meanwhile: Any = lambda: None

    def __call__(self) -> bool:
        self.made += 1
        self.meanwhile()
        return True


@pytest.fixture
def introductions() -> Introductions:
    return Introductions()


def test_two_nodes_are_introduced_again_only_after_a_while(
    introductions: Introductions, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(carrying.time, "monotonic", lambda: clock[0])
    meeting = Meeting(introductions)
    for seconds, made in ((29, 0), (2, 1), (29, 1), (2, 2)):
        clock[0] += seconds
        meeting.again()
        assert introductions.made == made


def test_a_pull_introduces_them_and_a_push_does_not(
    introductions: Introductions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "MEET_EVERY", 0.0)
    meeting = Meeting(introductions)
    carrier(Kubo(), Transfer.PUSH, local=Kubo(), meeting=meeting).carry(items(1))
    assert introductions.made == 0
    carrier(Kubo(), meeting=meeting).carry(items(1))
    assert introductions.made == 1


def test_who_comes_while_they_are_introduced_goes_on(
    introductions: Introductions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "MEET_EVERY", 0.0)
    meeting = Meeting(introductions)
    second = threading.Thread(target=meeting.again, daemon=True)
    done: list[bool] = []

    def come() -> None:
        introductions.meanwhile = lambda: None
        second.start()
        second.join(timeout=5)
        done.append(not second.is_alive())

    introductions.meanwhile = come
    meeting.again()
    assert (done, introductions.made) == ([True], 1)
    meeting.again()
    assert introductions.made == 2, "the next one may"


def test_an_introduction_that_fails_does_not_end_all(
    introductions: Introductions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError

    monkeypatch.setattr(carrying, "MEET_EVERY", 0.0)
    meeting, introductions.meanwhile = Meeting(introductions), fail
    for _ in range(2):
        with pytest.raises(RuntimeError):
            meeting.again()
    assert introductions.made == 2
