"""What is pinned on the local node at ingest: what it has whole, under our name, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.lazy.ports import Holds
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, Limits, Told, Whole
from tests.lazy.holding import A, B, C, Desk, raising

NO = Whole(answer=Answer.NO)
UNKNOWN = Whole(answer=Answer.UNKNOWN)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_the_node_has_whole_is_pinned_under_our_name(desk: Desk) -> None:
    assert desk.hold(A, B) == ({"a": "ours", "b": "ours"}, True)
    assert desk.local.pins == {A.job.cid: PIN_NAME, B.job.cid: PIN_NAME}
    assert desk.local.limits == [Limits(stall=60.0, total=900.0)] * 2


def test_what_the_node_has_not_is_left_alone_and_not_fetched(desk: Desk) -> None:
    desk.local.blocks = {B.job.cid}
    assert desk.hold(A, B) == ({"a": "none", "b": "ours"}, True)
    assert desk.local.pins == {B.job.cid: PIN_NAME}


def test_a_node_that_cannot_tell_is_asked_again(desk: Desk) -> None:
    desk.local._whole = lambda cid: UNKNOWN if cid == A.job.cid else NO
    assert desk.hold(A, B) == ({"b": "none"}, False)
    assert desk.local.pins == {}


def test_what_is_pinned_already_is_not_walked_nor_pinned_again_and_stays_whose_it_is(desk: Desk) -> None:
    desk.local.pins = {A.job.cid: PIN_NAME, B.job.cid: "their backup", C.job.cid: ""}
    desk.local.whole = lambda cids: pytest.fail("walked")
    assert desk.hold(A, B, C) == ({"a": "ours", "b": "theirs", "c": "theirs"}, True)
    assert desk.local.count("pin") == 0
    assert desk.local.pins[B.job.cid] == "their backup"


def test_only_what_nobody_has_pinned_is_walked(desk: Desk) -> None:
    desk.local.pins = {A.job.cid: "their backup"}
    desk.hold(A, B)
    assert [cid for call, cid in desk.local.calls if call == "whole"] == [B.job.cid]


@pytest.mark.parametrize(("name", "held"), [(PIN_NAME, "ours"), ("their backup", "theirs")])
def test_what_somebody_pins_meanwhile_is_not_pinned_again(desk: Desk, name: str, held: str) -> None:
    whole = desk.local.whole

    def look(cids: Sequence[str]) -> Any:
        desk.local.pins[A.job.cid] = name
        return whole(cids)

    desk.local.whole = look
    assert desk.hold(A) == ({"a": held}, True)
    assert desk.local.count("pin") == 0


def test_a_node_that_falls_silent_before_it_pins_is_asked_again(desk: Desk) -> None:
    whole = desk.local.whole

    def look(cids: Sequence[str]) -> Any:
        told = whole(cids)
        desk.local.down()
        return told

    desk.local.whole = look
    assert desk.hold(A) == ({}, False)
    assert desk.local.count("pin") == 0


def test_a_node_that_does_not_answer_holds_nothing(desk: Desk) -> None:
    desk.local.down()
    assert desk.hold(A, B) == ({}, False)
    assert desk.local.count("whole") == 0


def test_what_one_job_cannot_be_told_about_keeps_no_other_from_being_held(desk: Desk) -> None:
    pinned = desk.local.pinned
    unknown = {A.job.cid: Told(answer=Answer.UNKNOWN)}
    desk.local.pinned = lambda cids, **options: pinned(cids, **options) | (unknown if A.job.cid in cids else {})
    assert desk.hold(A, B) == ({"b": "ours"}, False)


def test_a_pin_that_fails_keeps_no_other_from_being_held(desk: Desk, log: list[str]) -> None:
    def fail(call: str, cid: str) -> None:
        if (call, cid) == ("pin", A.job.cid):
            raise NodeError("no room", Reason.REFUSED)

    desk.local.fail = fail
    assert desk.hold(A, B) == ({"b": "ours"}, False)
    assert any(A.job.cid in line and "no room" in line for line in log)


def test_a_call_that_fails_outright_leaves_what_was_held_before_it(desk: Desk) -> None:
    def fail(cids: Sequence[str]) -> Any:
        raise NodeError("gone", Reason.REFUSED)

    desk.local.whole = fail
    assert desk.hold(A) == ({}, False)


def test_even_what_nobody_foresaw_is_posted(desk: Desk) -> None:
    desk.local.fail = raising("pin", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        desk.holder.hold([A])
    assert desk.posted == [Holds(holds={}, complete=False)]
