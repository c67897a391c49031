"""Many CIDs handed to a cluster one by one, and waited for together: who is asked what, and who is followed alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive import cluster_group
from encoder_pin_plugin.archive.cluster_group import FOLLOWED_AT_ONCE, carry_together, tried
from encoder_pin_plugin.archive.target import Carried
from encoder_pin_plugin.archive.waiting import Item
from encoder_pin_plugin.errors import InvalidCid, NodeError
from encoder_pin_plugin.nodes.base import Answer, Limits, Told
from tests.archive.targets import Cluster, items, node_error
from tests.cids import directory_cid

LIMITS = Limits(stall=100, total=700)
A, B, C = directory_cid(1), directory_cid(2), directory_cid(3)
PAUSE, PATIENCE = 1.0, 10.0


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


class Pinning(Cluster):
    """A cluster that pins each CID at its question: `pins_at` counts them from 1; what is not there it never pins."""

    def __init__(self) -> None:
        super().__init__()
        self.pins_at: dict[str, int] = {}
        self.errors: dict[str, NodeError] = {}
        self.questions: list[list[str]] = []

    def pinned(self, cids: Sequence[str], *, names: bool = False) -> Mapping[str, Told]:
        self.questions.append(list(cids))
        there = {cid for cid in cids if len(self.questions) >= self.pins_at.get(cid, 1 << 30)}
        return {cid: Told(answer=Answer.YES if cid in there else Answer.UNKNOWN) for cid in cids}

    def pin(self, cid: str, *, limits: Limits, **more: Any) -> None:
        super().pin(cid, limits=limits, **more)
        if cid in self.errors:
            raise self.errors[cid]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cluster_group, "time", clock)
    monkeypatch.setattr(cluster_group, "_PAUSE", PAUSE)
    monkeypatch.setattr(cluster_group, "TOGETHER", PATIENCE)
    return clock


@pytest.fixture
def target() -> Pinning:
    return Pinning()


def carry(target: Cluster, *numbers: int, refused: Mapping[str, NodeError] | None = None) -> Carried:
    """Hand items over, all but those that are refused."""

    def hand_over(item: Item) -> None:
        target.asked.append(("handed", item.cid, None))
        if item.cid in (refused or {}):
            raise (refused or {})[item.cid]

    return carry_together(target, items(*numbers), hand_over, limits=LIMITS)


def called(target: Cluster, what: str) -> list[str]:
    return sorted(cid for call, cid, _ in target.asked if call == what)


def test_all_are_handed_over_and_asked_about_together(target: Pinning, clock: Clock) -> None:
    target.pins_at = {A: 1, B: 1, C: 1}
    assert carry(target, 1, 2, 3) == {A: None, B: None, C: None}
    assert [cid for _, cid, _ in target.asked] == [A, B, C]
    assert target.questions == [[A, B, C]]
    assert clock.slept == [PAUSE]


def test_what_is_pinned_is_not_asked_about_again(target: Pinning, clock: Clock) -> None:
    target.pins_at = {A: 3, B: 1, C: 2}
    assert carry(target, 1, 2, 3) == {A: None, B: None, C: None}
    assert target.questions == [[A, B, C], [A, C], [A]]
    assert called(target, "follow") == []
    assert clock.slept == [PAUSE] * 3, "a moment before each question"


def test_what_was_not_accepted_is_not_waited_for(target: Pinning, clock: Clock) -> None:
    target.pins_at = {A: 1, C: 1}
    error = node_error(Reason.NODE_FULL)
    assert carry(target, 1, 2, 3, refused={B: error}) == {A: None, B: error, C: None}
    assert called(target, "handed") == sorted([A, B, C])
    assert target.questions == [[A, C]]
    assert called(target, "follow") == []


def test_where_none_was_accepted_nothing_is_asked(target: Pinning, clock: Clock) -> None:
    error = node_error(Reason.REFUSED)
    assert carry(target, 1, refused={A: error}) == {A: error}
    assert carry(target) == {}
    assert (target.questions, clock.slept) == ([], [])


def test_what_is_left_after_a_while_without_any_is_followed_alone(target: Pinning, clock: Clock) -> None:
    target.pins_at = {B: 1}
    assert carry(target, 1, 2, 3) == {A: None, B: None, C: None}
    assert len(target.questions) == 1 + PATIENCE / PAUSE
    assert sorted(asked for asked in target.asked if asked[0] == "follow") == sorted(
        [("follow", A, LIMITS), ("follow", C, LIMITS)]
    )


def test_each_that_is_pinned_gives_the_others_their_while_again(target: Pinning, clock: Clock) -> None:
    target.pins_at = {A: 9, B: 18, C: 27}
    carry(target, 1, 2, 3)
    assert len(target.questions) == 27
    assert called(target, "follow") == []


def test_what_comes_of_each_that_is_followed_is_its_own(target: Pinning, clock: Clock) -> None:
    target.errors = {A: node_error(Reason.STALLED), C: node_error(Reason.NODE_FULL)}
    assert carry(target, 1, 2, 3) == {A: target.errors[A], B: None, C: target.errors[C]}


def test_some_are_followed_at_the_same_time(target: Pinning, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    meet = threading.Barrier(FOLLOWED_AT_ONCE)
    monkeypatch.setattr(target, "pin", lambda cid, *, limits: meet.wait(timeout=10))
    carried = carry(target, *range(FOLLOWED_AT_ONCE))
    assert list(carried.values()) == [None] * FOLLOWED_AT_ONCE


def test_no_more_are_followed_at_the_same_time(target: Pinning, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, pair, third = threading.Lock(), threading.Barrier(2), threading.Event()
    under_way, most = set(), []

    def pin(cid: str, *, limits: Limits) -> None:
        with lock:
            under_way.add(cid)
            most.append(len(under_way))
            if len(under_way) > 2:
                third.set()
        pair.wait(timeout=10)
        third.wait(timeout=0.1)
        with lock:
            under_way.remove(cid)

    monkeypatch.setattr(cluster_group, "FOLLOWED_AT_ONCE", 2)
    monkeypatch.setattr(target, "pin", pin)
    assert list(carry(target, *range(4)).values()) == [None] * 4
    assert max(most) == 2


def test_what_goes_wrong_with_a_call_is_told_and_what_is_no_failure_of_ours_is_raised() -> None:
    def fail(error: Exception) -> None:
        raise error

    assert tried(lambda: "something") is None
    for error in (node_error(Reason.CUT), InvalidCid("no CID")):
        assert tried(lambda error=error: fail(error)) is error  # type: ignore[misc]
    with pytest.raises(ZeroDivisionError):
        tried(lambda: 1 // 0)
