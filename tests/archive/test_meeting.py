"""How two nodes meet: which of them dials the other, by which addresses, and for how long they try."""

from __future__ import annotations

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive import meeting
from encoder_pin_plugin.archive.carrying import Transfer
from encoder_pin_plugin.archive.meeting import MOST_ADDRESSES, SECONDS, dial_with, introduce
from tests.archive.meeting_nodes import (
    LOOPBACK,
    LOOPBACK_6,
    PRIVATE,
    PUBLIC,
    QUIC,
    WEB,
    Clock,
    Cluster,
    Node,
    chosen,
    local_node,
    target_node,
)
from tests.archive.targets import node_error


@pytest.fixture
def local() -> Node:
    return local_node()


@pytest.fixture
def target() -> Node:
    return target_node()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(meeting, "time", clock)
    return clock


# Introducing two nodes


def test_the_target_dials_first_and_once_is_enough(local: Node, target: Node) -> None:
    assert introduce(target, local) is True
    assert (target.dialled, local.dialled) == ([f"{PRIVATE}ours"], [])


def test_whoever_can_dial_the_other_does(local: Node, target: Node) -> None:
    target.answers = ()
    assert introduce(target, local) is True
    assert target.dialled == [f"{PRIVATE}ours", f"{PUBLIC}ours"]
    assert local.dialled == [f"{PUBLIC}theirs"]


def test_where_neither_can_they_are_not_connected(local: Node, target: Node) -> None:
    local.answers = target.answers = ()
    assert introduce(target, local) is False
    assert (len(target.dialled), len(local.dialled)) == (2, 1)


def test_who_may_not_dial_is_not_asked_for_each_address(local: Node, target: Node) -> None:
    target.answers, target.error = (), node_error(Reason.NOT_ALLOWED)
    assert introduce(target, local) is True
    assert (target.dialled, local.dialled) == ([f"{PRIVATE}ours"], [f"{PUBLIC}theirs"])


@pytest.mark.parametrize(("each", "dialled"), [(SECONDS / 2 + 1, 2), (SECONDS / 2, 3)])
def test_introducing_ends_after_a_while(local: Node, target: Node, clock: Clock, each: float, dialled: int) -> None:
    local.says["Addresses"] = [f"/ip4/1.2.3.4/tcp/{port}/p2p/ours" for port in range(MOST_ADDRESSES)]
    target.answers, target.takes = (), clock.take(each)
    assert introduce(target, local) is False
    assert (len(target.dialled), local.dialled) == (dialled, [])


# By which addresses


def test_plain_tcp_comes_first_and_loopback_of_another_machine_never(local: Node, target: Node) -> None:
    target.answers = ()
    local.says["Addresses"] = [f"{place}ours" for place in (QUIC, WEB, LOOPBACK, LOOPBACK_6, PUBLIC, PRIVATE)]
    introduce(target, local)
    assert target.dialled == [f"{place}ours" for place in (PUBLIC, PRIVATE, QUIC, WEB)]


def test_where_there_is_nothing_but_loopback_it_is_tried(local: Node, target: Node) -> None:
    target.answers = ()
    local.says["Addresses"] = [f"{LOOPBACK}ours"]
    introduce(target, local)
    assert target.dialled == [f"{LOOPBACK}ours"]


def test_no_more_than_a_few_addresses_are_tried(local: Node, target: Node) -> None:
    target.answers = ()
    local.says["Addresses"] = [f"/ip4/1.2.3.4/tcp/{port}/p2p/ours" for port in range(MOST_ADDRESSES + 3)]
    introduce(target, local)
    assert target.dialled == local.says["Addresses"][:MOST_ADDRESSES]


def test_on_one_machine_loopback_comes_first_and_what_a_tunnel_hides_is_tried_too(local: Node) -> None:
    target = Node("http://127.0.0.1:5002", "theirs", LOOPBACK, PUBLIC, answers=())
    local.says["Addresses"] = [f"{place}ours" for place in (QUIC, PUBLIC, LOOPBACK)]
    introduce(target, local)
    assert target.dialled == [f"{place}ours" for place in (LOOPBACK, PUBLIC, QUIC)]


@pytest.mark.parametrize("remote", ["target", "local"])
def test_a_machine_is_one_where_both_nodes_are_on_it(remote: str) -> None:
    places = {"target": "127.0.0.1:5001", "local": "127.0.0.1:5002", remote: "node:5001"}
    target = Node(places["target"], "theirs", answers=())
    introduce(target, Node(places["local"], "ours", LOOPBACK, PUBLIC))
    assert target.dialled == [f"{PUBLIC}ours"]


# The nodes of a cluster


def test_our_node_connects_to_each_of_the_clusters(local: Node) -> None:
    local.answers = (PUBLIC, "/ip6/")
    first = Node("http://a:1", "a", LOOPBACK, PRIVATE, PUBLIC, "/ip6/2a00::1/tcp/1/p2p/")
    chosen(Cluster(first, Node("http://b:1", "b", PUBLIC)), local, Transfer.AUTO)
    assert local.dialled == [f"{PRIVATE}a", f"{PUBLIC}a", f"{PUBLIC}b"]


def test_a_cluster_on_this_machine_is_met_on_loopback(local: Node) -> None:
    peer = Node("http://127.0.0.1:5002", "a", PUBLIC, LOOPBACK)
    for cluster in (Cluster(peer, address="http://127.0.0.1:9094"), Cluster(peer, knows=[peer])):
        local.dialled.clear()
        chosen(cluster, local, Transfer.AUTO)
        assert local.dialled == [f"{LOOPBACK}a"]


def test_a_cluster_that_cannot_be_met_is_no_failure(local: Node) -> None:
    local.answers = ()
    assert chosen(Cluster(Node("http://a:1", "a", PUBLIC)), local, Transfer.AUTO).transfer is Transfer.PULL
    cluster, local.says = Cluster(), node_error(Reason.REFUSED)
    cluster.kubos = node_error(Reason.TIMEOUT)
    assert chosen(cluster, local, Transfer.AUTO).transfer is Transfer.PULL


@pytest.mark.parametrize(("each", "dialled"), [(SECONDS / 2 + 1, 2), (SECONDS / 2, 3)])
def test_meeting_a_cluster_ends_after_a_while(local: Node, clock: Clock, each: float, dialled: int) -> None:
    local.takes = clock.take(each)
    peers = [Node("http://a:1", f"peer-{number}", PUBLIC) for number in range(5)]
    chosen(Cluster(*peers), local, Transfer.AUTO)
    assert local.dialled == [f"{PUBLIC}peer-{number}" for number in range(dialled)]


# The places that a service names


def test_our_node_dials_a_few_of_the_places_that_a_service_names(local: Node) -> None:
    local.answers = ("/ip4/1.",)
    places = [f"/ip4/{number}.2.3.4/tcp/1/p2p/x" for number in range(MOST_ADDRESSES + 2)]
    dial_with(local)(places)
    assert local.dialled == places[:MOST_ADDRESSES], "whether they answer or not"


@pytest.mark.parametrize(("each", "dialled"), [(SECONDS / 2 + 1, 2), (SECONDS / 2, 3)])
def test_dialling_the_places_of_a_service_ends_after_a_while(
    local: Node, clock: Clock, each: float, dialled: int
) -> None:
    local.answers, local.takes = (), clock.take(each)
    dial_with(local)([f"/ip4/{number}.2.3.4/tcp/1/p2p/x" for number in range(MOST_ADDRESSES)])
    assert len(local.dialled) == dialled
