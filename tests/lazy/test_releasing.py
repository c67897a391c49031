"""What is unpinned on the local node: what the supernode has proved twice, and what is ours and nobody needs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import EncoderPinError, LockBusy, NodeError, StorageError
from encoder_pin_plugin.lazy.hold import holder_for
from encoder_pin_plugin.lazy.ports import Holds, Nodes, Released
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, Whole
from encoder_pin_plugin.settings import load_settings
from tests.lazy.holding import DUE, A, B, Desk, held, made, pin_of, raising

UNKNOWN = Whole(answer=Answer.UNKNOWN)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_first_look_releases_nothing(desk: Desk) -> None:
    held(desk, A, B)
    del desk.supernode.pins[B.job.cid]
    assert desk.release(A, B) == {"a": False, "b": None}
    assert len(desk.local.pins) == 2
    assert desk.local.calls == []


def test_the_second_look_releases(desk: Desk, log: list[str]) -> None:
    held(desk, A)
    assert desk.release(DUE) == {"a": True}
    assert desk.local.pins == {}
    assert any(f"released {A.job.cid}" in line for line in log)


def test_where_nothing_is_to_be_looked_at_a_first_time_nothing_is_asked(desk: Desk) -> None:
    held(desk, A)
    asked, pinned = [], desk.supernode.pinned
    desk.supernode.pinned = lambda cids, **options: (asked.append(list(cids)), pinned(cids, **options))[1]
    desk.release(DUE)
    assert asked == [[A.job.cid]]


def test_each_is_taken_one_step_further(desk: Desk) -> None:
    held(desk, A, B)
    assert desk.release(DUE, B) == {"a": True, "b": False}
    assert list(desk.local.pins) == [B.job.cid]


def test_what_is_not_whole_on_the_supernode_stays(desk: Desk) -> None:
    held(desk, A)
    desk.supernode._whole = lambda cid: UNKNOWN
    assert desk.release(DUE) == {"a": None}
    assert desk.local.pins == {A.job.cid: PIN_NAME}


def test_what_another_job_or_line_needs_stays(desk: Desk) -> None:
    held(desk, A)
    desk.needed = [DUE]
    assert desk.release(DUE) == {"a": None}
    assert desk.local.pins == {A.job.cid: PIN_NAME}


@pytest.mark.parametrize("pins", [{}, {A.job.cid: "their backup"}, {A.job.cid: ""}], ids=repr)
def test_a_pin_that_is_gone_or_anothers_by_now_is_done_with_and_not_touched(desk: Desk, pins: dict[str, str]) -> None:
    desk.local.pins = dict(pins)
    assert desk.release(DUE) == {"a": True}
    assert desk.local.pins == pins
    assert desk.supernode.calls == desk.local.calls[1:] == []


def test_a_local_node_that_does_not_answer_is_asked_again(desk: Desk) -> None:
    held(desk, A)
    desk.local.down()
    assert desk.release(DUE) == {"a": None}
    assert desk.local.count("unpin") == 0


@pytest.mark.parametrize("error", [NodeError("no", Reason.REFUSED), LockBusy("busy"), sqlite3.OperationalError("x")])
def test_a_release_that_fails_keeps_no_other_from_its_own(desk: Desk, error: Exception, log: list[str]) -> None:
    held(desk, A, B)
    desk.local.fail = lambda call, cid: raising("unpin", error)(call, cid) if cid == A.job.cid else None
    assert desk.release(DUE, pin_of("b", whole_at=1)) == {"a": None, "b": True}
    assert any(A.job.cid in line and str(error) in line for line in log)


@pytest.mark.parametrize("error", [NodeError("no", Reason.REFUSED), StorageError("no sync")])
def test_a_supernode_that_cannot_be_asked_proves_nothing(desk: Desk, error: EncoderPinError) -> None:
    def fail(cids: Sequence[str]) -> Any:
        raise error

    held(desk, A, B)
    desk.supernode.whole = fail
    assert desk.release(DUE, B) == {"a": None, "b": None}
    assert len(desk.local.pins) == 2


def test_without_a_supernode_nothing_is_proved(desk: Desk) -> None:
    held(desk, A, B)
    desk.witness = None
    assert desk.release(DUE, B) == {"a": None, "b": None}
    assert len(desk.local.pins) == 2


def test_what_was_done_is_posted_whatever_comes_after(desk: Desk) -> None:
    held(desk, A, B)
    desk.local.fail = raising("unpin", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        desk.holder.release([DUE, B])
    desk.supernode.fail = raising("pinned", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        desk.holder.release([DUE, B])
    assert desk.posted == [Released(done={"b": False}), Released(done={})]


def test_on_this_machine_the_disks_are_flushed_before_the_first_look_and_not_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(os, "sync", lambda: flushed.append("sync"))
    held(desk, A, B)
    holder = made(desk)
    desk.supernode.on_this_machine = True
    holder.release([B])
    assert flushed == ["sync"]
    holder.release([DUE])
    assert flushed == ["sync"]
    assert desk.posted == [Released(done={"b": False}), Released(done={"a": True})]


@pytest.mark.parametrize(("settings", "done"), [({}, None), ({"use_cluster_for_pins": True}, True)], ids=repr)
def test_a_cluster_is_believed_where_it_counts_peers_and_a_kubo_node_must_show_its_blocks(
    desk: Desk, settings: dict[str, object], done: bool | None
) -> None:
    held(desk, A)
    desk.supernode._whole = lambda cid: UNKNOWN
    made(desk, ipfs_cluster_endpoint="http://127.0.0.1:9094", **settings).release([DUE])
    assert desk.posted == [Released(done={"a": done})]


def test_it_holds_on_the_local_node_and_asks_who_needs_what(desk: Desk) -> None:
    made(desk).hold([A])
    desk.needed = [DUE]
    desk.supernode.pins = dict(desk.local.pins)
    made(desk).release([DUE])
    assert desk.posted == [Holds(holds={"a": "ours"}), Released(done={"a": None})]


def test_without_a_supernode_it_holds_and_releases_nothing(desk: Desk) -> None:
    held(desk, A)
    holder = made(desk, supernode=None)
    holder.hold([A])
    holder.release([DUE])
    assert desk.posted == [Holds(holds={"a": "ours"}), Released(done={"a": None})]


def test_without_a_local_node_nobody_holds(desk: Desk) -> None:
    nodes = Nodes(supernode=desk.supernode, local=None)
    assert holder_for(load_settings({}), nodes, exclusion=desk.exclusion, needed=bool, post=print) is None
