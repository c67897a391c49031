"""Where the supernode is the local node under another name, its proof is of the very pin that would be released."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_pin_plugin.lazy.hold import Holder, holder_for
from encoder_pin_plugin.lazy.ports import Holds, Nodes, Released
from encoder_pin_plugin.nodes import apart
from encoder_pin_plugin.nodes.base import PIN_NAME, PinNode
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.exclusion import Exclusion
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.settings import load_settings
from tests.fakes.cluster_peer import FakeClusterPeer
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_node import FakeKubo, Talk
from tests.lazy.holding import DUE, A, B

CID = A.job.cid


@pytest.fixture
def kubo() -> Iterator[FakeKubo]:
    with FakeKubo() as kubo:
        kubo.content[CID] = Content()
        yield kubo


@pytest.fixture
def posted() -> list[object]:
    return []


def _holder(folder: Path, supernode: PinNode, kubo: FakeKubo, posted: list[object]) -> Holder:
    cluster = isinstance(supernode, ClusterNode)
    settings = load_settings({}, use_cluster_for_pins=cluster, ipfs_cluster_endpoint="http://127.0.0.1:9094")
    nodes = Nodes(supernode=supernode, local=KuboNode(f"/ip4/127.0.0.1/tcp/{kubo.port}"))
    holder = holder_for(settings, nodes, exclusion=Exclusion(folder), needed=lambda _: False, post=posted.append)
    assert holder is not None
    return holder


def _holds_and_releases(holder: Holder) -> None:
    holder.hold([A])
    holder.release([A])
    holder.release([DUE])


@pytest.mark.parametrize("address", ["http://localhost:{}", "http://127.0.0.1:{}", "/ip4/127.0.0.1/tcp/{}"])
def test_a_supernode_that_is_the_local_node_releases_nothing(
    tmp_path: Path, kubo: FakeKubo, posted: list[object], address: str, log: list[str]
) -> None:
    _holds_and_releases(_holder(tmp_path, KuboNode(address.format(kubo.port)), kubo, posted))
    assert posted == [Holds(holds={"a": "ours"}), Released(done={"a": None}), Released(done={"a": None})]
    assert kubo.pins == {CID: PIN_NAME}
    (said,) = [line for line in log if "is the supernode" in line]
    assert said.startswith("ERROR")


def test_a_cluster_that_the_local_node_is_one_of_releases_nothing(
    tmp_path: Path, kubo: FakeKubo, posted: list[object]
) -> None:
    with FakeClusterPeer(["peer-1", "peer-2"]) as peer:
        peer.kubos["peer-2"] = f"12D3KooWFake{kubo.port}"
        cluster = ClusterNode(peer.url)
        cluster.submit(CID)
        _holds_and_releases(_holder(tmp_path, cluster, kubo, posted))
        assert posted[1:] == [Released(done={"a": None})] * 2
        assert kubo.pins == {CID: PIN_NAME}


def test_a_cluster_of_other_nodes_releases(tmp_path: Path, kubo: FakeKubo, posted: list[object]) -> None:
    with FakeClusterPeer(["peer-1", "peer-2"]) as peer:
        cluster = ClusterNode(peer.url)
        cluster.submit(CID)
        _holds_and_releases(_holder(tmp_path, cluster, kubo, posted))
        assert posted[1:] == [Released(done={"a": False}), Released(done={"a": True})]
        assert kubo.pins == {}


def test_what_a_cluster_keeps_on_its_other_nodes_is_released(
    tmp_path: Path, kubo: FakeKubo, posted: list[object]
) -> None:
    with FakeClusterPeer(["peer-1", "peer-2"]) as peer:
        peer.kubos["peer-2"] = f"12D3KooWFake{kubo.port}"
        cluster = ClusterNode(peer.url, replication_min=1, replication_max=1)
        cluster.submit(CID)
        _holds_and_releases(_holder(tmp_path, cluster, kubo, posted))
        assert posted[1:] == [Released(done={"a": False}), Released(done={"a": True})]
        assert kubo.pins == {}


def test_a_dead_peer_whose_node_is_forgotten_keeps_nothing_here_for_ever(
    tmp_path: Path, kubo: FakeKubo, posted: list[object]
) -> None:
    with FakeClusterPeer(["peer-1", "peer-2"]) as peer:
        peer.say(CID, {"peer-1": "pinned", "peer-2": {"peername": "", "ipfs_peer_id": "", "status": "cluster_error"}})
        cluster = ClusterNode(peer.url, replication_min=1)
        cluster.submit(CID)
        _holds_and_releases(_holder(tmp_path, cluster, kubo, posted))
        assert posted[1:] == [Released(done={"a": False}), Released(done={"a": True})]
        assert kubo.pins == {}


@pytest.mark.parametrize("status", ["pinned", "pinning", "pin_error", "a new word"])
def test_a_peer_that_answers_and_does_not_name_its_node_may_be_in_front_of_ours(
    tmp_path: Path, kubo: FakeKubo, posted: list[object], status: str
) -> None:
    with FakeClusterPeer(["peer-1", "peer-2"]) as peer:
        peer.say(CID, {"peer-1": "pinned", "peer-2": {"peername": "", "ipfs_peer_id": "", "status": status}})
        cluster = ClusterNode(peer.url, replication_min=1)
        cluster.submit(CID)
        _holds_and_releases(_holder(tmp_path, cluster, kubo, posted))
        assert posted[1:] == [Released(done={"a": None})] * 2
        assert kubo.pins == {CID: PIN_NAME}


class Forgetful(FakeClusterPeer):
    """Leaves a CID out of its answers."""

    forgets = ""

    def _list(self, talk: Talk, cids: list[str]) -> None:
        super()._list(talk, [cid for cid in cids if cid != self.forgets])


def test_one_cid_of_which_a_cluster_says_nothing_keeps_no_other(
    tmp_path: Path, kubo: FakeKubo, posted: list[object], log: list[str]
) -> None:
    with Forgetful(["peer-1", "peer-2"]) as peer:
        cluster, peer.forgets = ClusterNode(peer.url), B.job.cid
        for pin in (A, B):
            cluster.submit(pin.job.cid)
        _holder(tmp_path, cluster, kubo, posted).release([A, B])
        assert posted == [Released(done={"a": False, "b": None})]
        assert not any(line.startswith("ERROR") for line in log)


def test_that_a_node_behind_a_cluster_says_again_who_it_is_ends_the_alarm(
    tmp_path: Path, kubo: FakeKubo, posted: list[object], log: list[str]
) -> None:
    with FakeClusterPeer(["peer-1", "peer-2"]) as peer:
        cluster = ClusterNode(peer.url)
        cluster.submit(CID)
        holder = _holder(tmp_path, cluster, kubo, posted)
        kubo.lie("forbidden", only={"id"})
        _holds_and_releases(holder)
        kubo.honest()
        holder.release([A])
        assert posted[-1] == Released(done={"a": False})
        (said,) = [line for line in log if "until that call is allowed" in line]
        assert said.startswith("ERROR")
        assert holder.apart is not None
        assert holder.apart._alarms.lasting() == []
        assert log[-1].startswith("INFO")


@pytest.mark.parametrize("lie", ["html_502", "empty_200"])
def test_where_a_cluster_does_not_say_who_is_to_hold_it_nothing_is_released(
    tmp_path: Path, kubo: FakeKubo, posted: list[object], lie: str
) -> None:
    with FakeClusterPeer(["peer-1", "peer-2"]) as peer:
        peer.kubos["peer-2"] = ""
        cluster = ClusterNode(peer.url)
        cluster.submit(CID)
        holder = _holder(tmp_path, cluster, kubo, posted)
        _holds_and_releases(holder)
        peer.lie(lie)
        holder.release([A])
        assert posted[1:] == [Released(done={"a": None})] * 3
        assert kubo.pins == {CID: PIN_NAME}


@pytest.mark.parametrize("lie", ["html_200", "forbidden"])
def test_where_a_node_does_not_say_who_it_is_nothing_is_released_and_that_is_said(
    tmp_path: Path, kubo: FakeKubo, posted: list[object], lie: str, log: list[str]
) -> None:
    with FakeKubo() as supernode:
        supernode.content[CID], supernode.pins[CID] = Content(), PIN_NAME
        supernode.lie(lie, only={"id"})
        holder = _holder(tmp_path, KuboNode(supernode.url), kubo, posted)
        _holds_and_releases(holder)
        assert posted[1:] == [Released(done={"a": None})] * 2
        assert len([line for line in log if line.startswith("ERROR") and "until that call is allowed" in line]) == 1
        supernode.honest()
        holder.release([DUE])
        assert posted[-1] == Released(done={"a": True})


def test_that_they_are_two_is_asked_again_after_a_while(
    tmp_path: Path, kubo: FakeKubo, posted: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeKubo() as supernode:
        supernode.content[CID], supernode.pins[CID] = Content(), PIN_NAME
        holder = _holder(tmp_path, KuboNode(supernode.url), kubo, posted)
        holder.release([A])
        holder.release([A])
        assert len(kubo.asked("id")) == 1
        monkeypatch.setattr(apart, "STANDS", 0.0)
        holder.apart._until = 0.0  # type: ignore[union-attr]  # that time has passed
        holder.release([A])
        holder.release([A])
        assert len(kubo.asked("id")) == 3
