"""What is pushed, in how many requests, and that one bad CID costs no other."""

from __future__ import annotations

from typing import Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive import cluster_group
from encoder_pin_plugin.archive.pushing import push
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer, Limits, Whole
from tests.archive.targets import Cluster, Kubo, Service, items, node_error
from tests.cids import directory_cid

LIMITS = Limits(stall=100, total=700)
A, B, C = directory_cid(1), directory_cid(2), directory_cid(3)


@pytest.fixture
def local() -> Kubo:
    return Kubo("http://encoder:5001")


@pytest.fixture
def target() -> Kubo:
    return Kubo()


def refused(error: object) -> NodeError:
    assert isinstance(error, NodeError)
    return error


def test_all_go_in_one_request(target: Kubo, local: Kubo) -> None:
    assert push(target, local, items(1, 2, 3), limits=LIMITS) == {A: None, B: None, C: None}
    assert target.imports == [[A, B, C]]
    assert target.wire.limits == [("dag/import", 700, 100)]
    assert local.wire.limits == [("dag/export", 700, 100)] * 3


@pytest.mark.parametrize(("said", "told"), [(None, Reason.CONTENT_MISSING), (Reason.TIMEOUT, Reason.TIMEOUT)])
def test_what_we_have_not_whole_is_not_sent(
    target: Kubo, local: Kubo, said: Reason | None, told: Reason
) -> None:  # fmt: skip
    local.lacks[B] = Whole(answer=Answer.NO, detail="block was not found", reason=said)
    carried = push(target, local, items(1, 2, 3), limits=LIMITS)
    assert (carried[A], carried[C]) == (None, None)
    assert target.imports == [[A, C]]
    assert refused(carried[B]).reason is told
    assert str(carried[B]).startswith(local.address)
    assert "(block was not found)" in str(carried[B])


@pytest.mark.parametrize("target", [Kubo(), Cluster(), Service()], ids=["kubo", "cluster", "service"])
def test_where_we_have_nothing_whole_nothing_is_sent(target: Any, local: Kubo) -> None:
    local.lacks = {A: Whole(answer=Answer.NO), B: Whole(answer=Answer.UNKNOWN)}
    carried = push(target, local, items(1, 2), limits=LIMITS)
    assert [refused(carried[cid]).reason for cid in (A, B)] == [Reason.CONTENT_MISSING] * 2
    assert target.asked == []
    assert getattr(target, "imports", []) == []


def test_where_a_request_fails_each_goes_in_its_own(target: Kubo, local: Kubo) -> None:
    target.refuses[B] = node_error(Reason.CUT)
    assert push(target, local, items(1, 2, 3), limits=LIMITS) == {A: None, B: target.refuses[B], C: None}
    assert target.imports == [[A, B, C], [A], [B], [C]]
    assert target.wire.limits == [("dag/import", 700, 100)] * 4
    assert ("dag/export", 700, 100) in local.wire.limits


def test_a_car_that_breaks_is_our_nodes_failure_and_costs_no_other(target: Kubo, local: Kubo) -> None:
    local.errors[A] = node_error(Reason.CONTENT_MISSING, "a block is missing")
    assert push(target, local, items(1, 2), limits=LIMITS) == {A: local.errors[A], B: None}
    assert target.imports == [[B]]


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.NOT_ALLOWED])
def test_a_target_that_takes_none_is_not_asked_for_each(target: Kubo, local: Kubo, reason: Reason) -> None:
    target.refuses[A] = node_error(reason)
    assert push(target, local, items(1, 2), limits=LIMITS) == dict.fromkeys([A, B], target.refuses[A])
    assert target.imports == [[A, B]]


def test_taking_the_blocks_is_not_pinning(target: Kubo, local: Kubo) -> None:
    target.says = {A: "the pinner is closed", B: None}
    carried = push(target, local, items(1, 2, 3), limits=LIMITS)
    assert carried[C] is None
    assert refused(carried[A]).reason is refused(carried[B]).reason is Reason.NODE_ERROR
    assert str(carried[A]).startswith(f"{target.address} dag/import of {A}: it took the blocks, but did not pin:")
    assert str(carried[A]).endswith("the pinner is closed")
    assert str(carried[B]).endswith(f"dag/import of {B}: it said nothing about it")


def test_a_cluster_gets_each_in_a_request_and_is_followed(local: Kubo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_group, "TOGETHER", 0.0)
    target = Cluster()
    assert push(target, local, items(1), limits=LIMITS) == {A: None}
    assert target.asked == [("push", A, (f"CAR of {A};".encode(), {"limits": LIMITS})), ("follow", A, LIMITS)]
    assert local.wire.limits == [("dag/export", 700, 100)]


def test_a_pinning_service_takes_nothing(local: Kubo) -> None:
    target = Service()
    carried = push(target, local, items(1, 2), limits=LIMITS)
    assert [refused(carried[cid]).reason for cid in (A, B)] == [Reason.NOT_ALLOWED] * 2
    assert str(carried[A]).startswith(f"nothing can be pushed to {target.address}")
    assert target.asked == []
