"""Before anything is carried: whether a target is the encoder's own node, and who is to carry."""

from __future__ import annotations

from typing import Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive import carrying
from encoder_pin_plugin.archive.carrying import Transfer
from encoder_pin_plugin.archive.meeting import choose, refuse_itself
from encoder_pin_plugin.errors import InvalidSettings, NodeError
from tests.archive.meeting_nodes import LIMITS, PRIVATE, PUBLIC, Cluster, Node, chosen, local_node, target_node
from tests.archive.targets import Service, node_error


@pytest.fixture
def local() -> Node:
    return local_node()


@pytest.fixture
def target() -> Node:
    return target_node()


# The encoder's own node


@pytest.mark.parametrize("says", [{"ID": ""}, {"ID": None}, {}, [], node_error(Reason.NOT_ALLOWED)])
def test_the_same_address_is_the_same_node_whatever_it_says(local: Node, says: object) -> None:
    local.says = says
    with pytest.raises(InvalidSettings, match="is the encoder's own node"):
        refuse_itself(Node("/ip4/127.0.0.1/tcp/5001", "theirs"), local)


def test_the_same_peer_at_another_address_is_the_same_node(local: Node) -> None:
    target = Node("http://10.0.0.1:5001", "ours")
    with pytest.raises(InvalidSettings, match=r"10\.0\.0\.1:5001 is the encoder's own node .*127\.0\.0\.1:5001"):
        refuse_itself(target, local)
    assert target.asked == local.asked == [("id", local.patience.ask)]


@pytest.mark.parametrize("silent", ["local", "target"])
@pytest.mark.parametrize(
    "says",
    [{"ID": ""}, {"ID": None}, {"ID": 1}, {}, [], node_error(Reason.NOT_ALLOWED), node_error(Reason.BAD_REPLY)],
)
def test_a_node_that_hides_who_it_is_may_be_the_encoder_s_own(
    local: Node, target: Node, silent: str, says: object
) -> None:
    node = local if silent == "local" else target
    node.says = says
    with pytest.raises(InvalidSettings, match=rf"^{node.address} does not say who it is, .*allow the call /api/v0/id"):
        refuse_itself(target, local)


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.TIMEOUT, Reason.NODE_ERROR])
def test_nodes_that_cannot_be_reached_now_are_two(local: Node, target: Node, reason: Reason) -> None:
    local.says = target.says = node_error(reason)
    refuse_itself(target, local)


def test_another_node_is_another_node_and_a_service_is_none(local: Node, target: Node) -> None:
    refuse_itself(target, local)
    refuse_itself(Service(), local)


def test_a_member_of_the_cluster_is_no_place_to_migrate_from(local: Node, target: Node) -> None:
    with pytest.raises(InvalidSettings, match=r"127\.0\.0\.1:5001.* one of the nodes of the cluster http://cluster"):
        refuse_itself(Cluster(target, local), local)
    refuse_itself(Cluster(target), local)
    local.says = node_error(Reason.REFUSED)
    refuse_itself(Cluster(Node("http://x:1", "")), local)


def test_a_cluster_that_does_not_name_its_members_is_not_trusted(local: Node) -> None:
    cluster = Cluster()
    cluster.kubos = error = node_error(Reason.TIMEOUT)
    with pytest.raises(NodeError) as raised:
        refuse_itself(cluster, local)
    assert raised.value is error


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("https://ipfs.example/encoder-1", "https://ipfs.example/permanent"),
        ("/unix/run/encoder.sock", "/unix/run/permanent.sock"),
        ("/unix/run/encoder.sock", "http://localhost:80"),
    ],
)
def test_two_nodes_behind_one_proxy_or_at_two_sockets_are_two(ours: str, theirs: str) -> None:
    local = Node(ours, "ours")
    refuse_itself(Node(theirs, "theirs"), local)
    with pytest.raises(InvalidSettings, match="own node"):
        refuse_itself(Node(theirs, "ours"), local)
    with pytest.raises(InvalidSettings, match="own node"):
        refuse_itself(Node(ours, "not asked"), local)


@pytest.mark.parametrize("transfer", Transfer)
def test_whatever_the_transfer_a_migration_into_itself_is_refused(local: Node, transfer: Transfer) -> None:
    for target in (Node("http://10.0.0.1:5001", "ours"), Cluster(local)):
        with pytest.raises(InvalidSettings):
            choose(target, local, transfer, LIMITS)
    assert local.dialled == []


# Who carries, to a Kubo node


@pytest.mark.parametrize(
    ("transfer", "meets", "way", "switch"),
    [
        (Transfer.AUTO, True, Transfer.PULL, True),
        (Transfer.AUTO, False, Transfer.PUSH, True),
        (Transfer.PULL, True, Transfer.PULL, False),
        (Transfer.PULL, False, Transfer.PULL, False),
    ],
)
def test_where_the_nodes_meet_the_target_fetches(
    local: Node, target: Node, transfer: Transfer, meets: bool, way: Transfer, switch: bool
) -> None:  # fmt: skip
    if not meets:
        local.answers = target.answers = ()
    carrier = chosen(target, local, transfer)
    assert (carrier.transfer, carrier.switch) == (way, switch)
    assert (carrier.meeting is not None) == meets


def test_who_is_to_be_pushed_to_is_not_met(local: Node, target: Node) -> None:
    carrier = chosen(target, local, Transfer.PUSH)
    assert (carrier.transfer, carrier.switch, carrier.meeting) == (Transfer.PUSH, False, None)
    assert target.dialled == local.dialled == []


@pytest.mark.parametrize(
    ("transfer", "way"),
    [(Transfer.AUTO, Transfer.PULL), (Transfer.PULL, Transfer.PULL), (Transfer.PUSH, Transfer.PUSH)],
)
def test_without_a_node_of_ours_there_is_one_way(target: Node, transfer: Transfer, way: Transfer) -> None:
    for to in (target, Cluster(target)):
        carrier = chosen(to, None, transfer)
        assert (carrier.transfer, carrier.switch, carrier.meeting) == (way, False, None)
        assert carrier.origins == ()
    assert target.dialled == []


def test_those_who_met_are_introduced_again(local: Node, target: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "MEET_EVERY", 0.0)
    carrier = chosen(target, local, Transfer.AUTO)
    assert carrier.meeting
    carrier.meeting.again()
    assert target.dialled == [f"{PRIVATE}ours"] * 2


# To a cluster, or a service


@pytest.mark.parametrize(
    ("transfer", "way", "switch"),
    [
        (Transfer.AUTO, Transfer.PULL, True),
        (Transfer.PULL, Transfer.PULL, False),
        (Transfer.PUSH, Transfer.PUSH, False),
    ],
)
def test_a_cluster_fetches_unless_it_is_to_be_pushed_to(
    local: Node, transfer: Transfer, way: Transfer, switch: bool
) -> None:  # fmt: skip
    carrier = chosen(Cluster(), local, transfer)
    assert (carrier.transfer, carrier.switch, carrier.meeting) == (way, switch, None)


@pytest.mark.parametrize("transfer", [Transfer.AUTO, Transfer.PULL])
def test_a_service_fetches_and_nothing_else(local: Node, transfer: Transfer) -> None:
    carrier = chosen(Service(), local, transfer)
    assert (carrier.transfer, carrier.switch, carrier.meeting) == (Transfer.PULL, False, None)


@pytest.mark.parametrize("with_local", [True, False])
def test_a_service_cannot_be_pushed_to(local: Node, with_local: bool) -> None:
    with pytest.raises(InvalidSettings, match="takes no CARs: say --transfer pull"):
        choose(Service(), local if with_local else None, Transfer.PUSH, LIMITS)


@pytest.mark.parametrize("target", [Cluster(), Service()], ids=["cluster", "service"])
def test_who_fetches_is_told_where_from_the_public_places_first(local: Node, target: Any) -> None:
    near = ("/ip4/10.1.1.1/", "/ip4/192.168.1.1/", "/ip4/172.16.1.1/", "/ip4/100.64.1.1/", "/ip6/fd00::1/")
    far = ("/ip4/1.2.3.4/", "/dns4/encoder/", "/ip6/2a00::1/")
    local.says["Addresses"] = ["/ip6/::1/", "/ip4/127.0.0.1/", *near, *far]
    assert chosen(target, local, Transfer.AUTO).origins == (*far, *near, "/ip6/::1/", "/ip4/127.0.0.1/")


@pytest.mark.parametrize("says", [{"ID": "ours"}, {"ID": "ours", "Addresses": 1}, node_error(Reason.TIMEOUT)])
def test_a_node_that_does_not_say_where_it_is_is_no_failure(local: Node, target: Node, says: object) -> None:
    local.says = says
    assert chosen(Service(), local, Transfer.AUTO).origins == ()
    assert chosen(target, local, Transfer.AUTO).transfer is Transfer.PULL
    assert local.dialled == [f"{PUBLIC}theirs"], "the other way round it works"
