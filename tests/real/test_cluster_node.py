"""The Cluster adapter on real Cluster peers with real Kubo nodes, and the fake peer held to what a real one says."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer, Limits
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.kubo_transfer import export_car, peer_id
from encoder_pin_plugin.settings import Credentials, Secret
from examples.nodes import ClusterPeer, KuboDaemon, cluster_of, make_dag
from tests.fakes.cluster_peer import FakeClusterPeer
from tests.real.conftest import strange_cids, until

pytestmark = pytest.mark.real

PATIENT = Limits(stall=60, total=120)
NOBODY_HAS = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


@pytest.fixture
def node(cluster_peer: ClusterPeer) -> ClusterNode:
    kubo = KuboNode(cluster_peer.kubo.api_url)
    return ClusterNode(cluster_peer.rest_url, replication_min=1, peers={cluster_peer.peername: kubo})


class TestOnePeer:
    def test_pins_proves_describes_and_releases(self, cluster_peer: ClusterPeer, node: ClusterNode, cid: str) -> None:
        assert node.ping() == "ipfs-cluster 1.1.6"
        assert node.on_this_machine
        assert node.pinned([cid])[cid].answer is Answer.NO
        seen: list[int] = []
        node.pin(cid, name="job-1", limits=PATIENT, progress=seen.append, meta={"job_id": "1", "node_id": "ä & b=1"})
        assert seen[-1] == 1
        told = node.pinned([cid], names=True)[cid]
        assert (told.answer, told.name) == (Answer.YES, "job-1")
        assert cid in cluster_peer.kubo.pins()
        whole = node.whole([cid])[cid]
        assert whole.yes
        assert whole.dag
        assert node.describe(cid) == (whole.dag, "directory")
        (wanted,) = cluster_peer.rest("GET", f"/allocations/{cid}")
        assert wanted["metadata"] == {"app": "encoder-pin", "job_id": "1", "node_id": "ä & b=1"}
        node.unpin(cid)
        node.unpin(cid)
        assert node.pinned([cid])[cid].answer is Answer.NO
        until(lambda: cid not in cluster_peer.kubo.pins())

    def test_content_that_nobody_has_ends_at_the_limit_and_is_no_pin(self, node: ClusterNode) -> None:
        with pytest.raises(NodeError) as caught:
            node.pin(NOBODY_HAS, limits=Limits(stall=2, total=4))
        assert caught.value.reason is Reason.TIMEOUT
        assert "pinning" in str(caught.value)
        assert node.pinned([NOBODY_HAS])[NOBODY_HAS].answer is Answer.NO
        assert node.whole([NOBODY_HAS])[NOBODY_HAS].answer is Answer.NO
        node.unpin(NOBODY_HAS)

    def test_a_pin_that_is_there_keeps_all_it_has(self, cluster_peer: ClusterPeer, node: ClusterNode, cid: str) -> None:
        origin = cluster_peer.kubo.swarm_addresses()[0]
        node.pin(cid, name="theirs", limits=PATIENT, meta={"job_id": "1"}, origins=[origin, "/ip4/127.0.0.1/tcp/1"])
        (before,) = cluster_peer.rest("GET", f"/allocations/{cid}")
        assert before["origins"] == [origin]
        node.pin(cid, name="ours", limits=PATIENT)
        ClusterNode(cluster_peer.rest_url, replication_min=1).submit(cid)
        assert cluster_peer.rest("GET", f"/allocations/{cid}") == [before]

    def test_a_pin_with_fewer_copies_is_raised_and_keeps_the_rest(
        self, cluster_peer: ClusterPeer, node: ClusterNode, cid: str
    ) -> None:
        node.pin(cid, name="theirs", limits=PATIENT, meta={"job_id": "1"})
        everywhere = ClusterNode(cluster_peer.rest_url, replication_min=-1)
        everywhere.pin(cid, name="ours", limits=PATIENT)
        (after,) = cluster_peer.rest("GET", f"/allocations/{cid}")
        assert (after["name"], after["metadata"]["job_id"]) == ("theirs", "1")
        assert (after["replication_factor_min"], after["replication_factor_max"]) == (-1, -1)

    def test_a_pin_that_would_expire_is_made_to_stay(
        self, cluster_peer: ClusterPeer, node: ClusterNode, cid: str
    ) -> None:
        cluster_peer.rest("POST", f"/pins/{cid}", name="theirs", replication_min=1, replication_max=1, expire_in="24h")
        node.pin(cid, limits=PATIENT)
        (after,) = cluster_peer.rest("GET", f"/allocations/{cid}")
        assert (after["name"], after["expire_at"]) == ("theirs", "0001-01-01T00:00:00Z")

    def test_the_kubo_nodes_that_are_to_hold_a_pin_are_named(
        self, cluster_peer: ClusterPeer, node: ClusterNode, cid: str
    ) -> None:
        node.pin(cid, limits=PATIENT)
        kubo = peer_id(KuboNode(cluster_peer.kubo.api_url))
        missing = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
        assert node.places([cid, missing]) == {cid: {kubo}, missing: {kubo}}, "what nobody pins may yet go anywhere"

    def test_a_pin_of_others_that_is_to_expire_is_none_until_it_is_made_to_stay(
        self, cluster_peer: ClusterPeer, node: ClusterNode, cid: str
    ) -> None:
        cluster_peer.rest("POST", f"/pins/{cid}", name="theirs", replication_min=1, replication_max=1, expire_in="24h")
        until(lambda: "pinned" in cluster_peer.statuses(cid).values())
        told = node.pinned([cid])[cid]
        assert (told.answer, told.detail.startswith("pinned, but only until 20")) == (Answer.NO, True)
        node.pin(cid, limits=PATIENT)
        assert node.pinned([cid])[cid].yes

    def test_its_proxy_does_not_pass_for_a_kubo_node(self, cluster_peer: ClusterPeer, cid: str) -> None:
        """It says "pinned" of what nobody has, as soon as that is wanted."""
        proxy = KuboNode(cluster_peer.proxy_url)
        for wanted in (NOBODY_HAS, cid):
            with pytest.raises(NodeError, match="IPFS Cluster's proxy"):
                proxy.pin(wanted, limits=PATIENT)
            told = proxy.pinned([wanted])[wanted]
            assert (told.answer, "port 9094" in told.detail) == (Answer.UNKNOWN, True)
        ClusterNode(cluster_peer.rest_url).unpin(NOBODY_HAS)

    def test_more_copies_than_peers_are_a_setting_to_correct(self, cluster_peer: ClusterPeer, cid: str) -> None:
        with pytest.raises(NodeError, match="not enough peers") as caught:
            ClusterNode(cluster_peer.rest_url, replication_min=3).pin(cid, limits=PATIENT)
        assert caught.value.reason is Reason.NOT_ALLOWED

    def test_hundreds_of_cids_one_of_them_none(self, node: ClusterNode, cid: str) -> None:
        node.pin(cid, limits=PATIENT)
        strangers = strange_cids(220)
        told = node.pinned([*strangers, "nonsense", cid])
        assert told[cid].yes
        assert told["nonsense"].answer is Answer.UNKNOWN
        assert {told[stranger].answer for stranger in strangers} == {Answer.NO}

    def test_a_question_that_is_too_long_is_halved(self, cluster_peer: ClusterPeer, cid: str) -> None:
        """A peer that takes only short headers: the same calls, more of them."""
        node = ClusterNode(cluster_peer.rest_url, auth=Credentials("bearer", "", Secret("x" * 4000)))
        strangers = strange_cids(100)
        assert {told.answer for told in node.pinned(strangers).values()} == {Answer.NO}

    def test_a_pin_whose_blocks_went_is_pinned_and_not_whole(
        self, cluster_peer: ClusterPeer, node: ClusterNode, cid: str
    ) -> None:
        node.pin(cid, limits=PATIENT)
        leaf = next(ref["Ref"] for ref in cluster_peer.kubo.rpc("refs", cid))
        cluster_peer.kubo.remove_block(leaf)
        assert node.pinned([cid])[cid].yes
        assert node.whole([cid])[cid].answer is Answer.NO

    def test_a_pin_that_kubo_lost_is_no_pin_and_is_recovered(
        self, cluster_peer: ClusterPeer, node: ClusterNode, cid: str
    ) -> None:
        node.pin(cid, limits=PATIENT)
        cluster_peer.kubo.rpc("pin/rm", cid)
        told = node.pinned([cid])[cid]
        assert told.answer is Answer.NO
        assert "unexpectedly_unpinned" in told.detail
        node.pin(cid, limits=PATIENT)
        assert cid in cluster_peer.kubo.pins()


class TestPushing:
    def test_a_car_from_another_node_is_pinned(
        self, node: ClusterNode, cluster_peer: ClusterPeer, local_kubo: KuboDaemon
    ) -> None:
        cid = make_dag(local_kubo, size_kb=3000, files=5)
        car = export_car(KuboNode(local_kubo.api_url), cid, limits=PATIENT)
        node.push_car(cid, car, limits=PATIENT, name="pushed", meta={"job_id": "7"})
        until(lambda: node.pinned([cid])[cid].yes)
        assert node.whole([cid])[cid].yes
        (wanted,) = cluster_peer.rest("GET", f"/allocations/{cid}")
        assert (wanted["name"], wanted["metadata"]["job_id"]) == ("pushed", "7")

    @pytest.mark.parametrize("damage", ["half", "garbage", "empty"])
    def test_a_damaged_car_is_a_failure(self, node: ClusterNode, local_kubo: KuboDaemon, damage: str) -> None:
        cid = make_dag(local_kubo)
        car = b"".join(export_car(KuboNode(local_kubo.api_url), cid, limits=PATIENT))
        sent = {"half": car[: len(car) // 2], "garbage": os.urandom(5000), "empty": b""}[damage]
        with pytest.raises(NodeError) as caught:
            node.push_car(cid, [sent], limits=PATIENT)
        assert "the CAR was not taken: " in str(caught.value)
        assert not node.pinned([cid])[cid].yes

    def test_a_car_of_something_else_is_a_failure(self, node: ClusterNode, local_kubo: KuboDaemon) -> None:
        cid, other = make_dag(local_kubo), make_dag(local_kubo)
        car = export_car(KuboNode(local_kubo.api_url), other, limits=PATIENT)
        with pytest.raises(NodeError, match=other):
            node.push_car(cid, car, limits=PATIENT)


def test_credentials_that_a_real_peer_asks_for(tmp_path: Path, kubo_binary: Path) -> None:
    config = {"api": {"restapi": {"basic_auth_credentials": {"encoder": "s3cr3t-pass"}}}}
    with (
        KuboDaemon(tmp_path / "kubo", kubo_binary) as kubo,
        ClusterPeer(tmp_path / "peer", kubo, config=config) as peer,
    ):
        cid = make_dag(kubo, pin=False)
        right = ClusterNode(peer.rest_url, auth=Credentials("basic", "encoder", Secret("s3cr3t-pass")))
        right.pin(cid, limits=PATIENT)
        assert right.pinned([cid])[cid].yes
        for auth in (
            None,
            Credentials("basic", "encoder", Secret("wrong-pass")),
            Credentials("bearer", "", Secret("x")),
        ):
            wrong = ClusterNode(peer.rest_url, auth=auth)
            with pytest.raises(NodeError) as caught:
                wrong.ping()
            assert caught.value.reason is Reason.NOT_ALLOWED
            assert wrong.pinned([cid])[cid].answer is Answer.UNKNOWN


@pytest.fixture
def impatient_peer(tmp_path: Path, kubo_binary: Path) -> Iterator[ClusterPeer]:
    """It gives up on content after two seconds without a block, not after two minutes, and sees nobody."""
    config = {"ipfs_connector": {"ipfshttp": {"pin_timeout": "2s"}}}
    with (
        KuboDaemon(tmp_path / "kubo", kubo_binary) as kubo,
        ClusterPeer(tmp_path / "peer", kubo, config=config) as peer,
    ):
        yield peer


def test_a_pin_that_failed_is_recovered_when_its_content_can_be_had(
    impatient_peer: ClusterPeer, local_kubo: KuboDaemon
) -> None:
    node = ClusterNode(impatient_peer.rest_url, replication_min=1)
    cid = make_dag(local_kubo)
    with pytest.raises(NodeError) as caught:
        node.pin(cid, name="job-1", limits=Limits(stall=4, total=60))
    assert caught.value.reason is Reason.STALLED
    assert "pin_error" in str(caught.value)
    told = node.pinned([cid])[cid]
    assert told.answer is Answer.NO
    impatient_peer.kubo.connect(local_kubo)
    node.pin(cid, name="job-1", limits=PATIENT)
    assert cid in impatient_peer.kubo.pins()


@pytest.mark.slow
class TestThreePeers:
    @pytest.fixture
    def peers(self, kubo_binary: Path, tmp_path: Path) -> Iterator[list[ClusterPeer]]:
        # A peer that was killed has forgotten its last pins, until the others send theirs again: after a minute or two.
        with cluster_of(3, tmp_path, config={"consensus": {"crdt": {"rebroadcast_interval": "5s"}}}) as peers:
            yield peers

    def test_two_copies_then_one_peer_dies(self, peers: list[ClusterPeer]) -> None:
        first = peers[0]
        kubos = {peer.kubo.peer_id: KuboNode(peer.kubo.api_url) for peer in peers}
        node = ClusterNode(first.rest_url, replication_min=2, peers=kubos)
        everywhere = ClusterNode(first.rest_url)
        cid, spread = make_dag(first.kubo, pin=False), make_dag(first.kubo, pin=False)
        node.pin(cid, limits=PATIENT)
        everywhere.pin(spread, limits=PATIENT)
        says = first.statuses(cid)
        assert sorted(says.values()) == ["pinned", "pinned", "remote"]
        assert node.pinned([cid])[cid].yes
        assert node.whole([cid, spread])[cid].yes
        assert ClusterNode(first.rest_url, replication_min=-1).pinned([cid])[cid].answer is Answer.NO

        dead = next(peer for peer in peers[1:] if says[peer.peername] == "pinned")
        dead.kill()
        told = node.pinned([cid])[cid]
        assert told.answer is Answer.UNKNOWN
        assert f"1 of 2 copies: {dead.peername} cluster_error" in told.detail
        assert node.whole([cid])[cid].answer is Answer.UNKNOWN
        assert ClusterNode(first.rest_url, quorum=2).pinned([spread])[spread].yes
        # A pin wanted everywhere soon forgets the dead: "all peers" is then those that live, and a quorum is not.
        until(lambda: dead.peername not in first.statuses(spread))
        assert everywhere.pinned([spread])[spread].yes
        assert not ClusterNode(first.rest_url, quorum=3).pinned([spread])[spread].yes
        assert node.pinned([cid])[cid].answer is Answer.UNKNOWN

        dead.start()
        until(lambda: node.pinned([cid])[cid].yes, 120)
        until(lambda: ClusterNode(first.rest_url, quorum=3).pinned([spread])[spread].yes)

    def test_a_dead_peer_whose_node_a_restarted_one_does_not_know_is_no_place(self, peers: list[ClusterPeer]) -> None:
        first = peers[0]
        node = ClusterNode(first.rest_url, replication_min=2)
        cid = make_dag(first.kubo, pin=False)
        node.pin(cid, limits=PATIENT)
        dead = next(peer for peer in peers[1:] if first.statuses(cid)[peer.peername] == "pinned")
        others = node.places([cid])[cid] - {dead.kubo.peer_id}
        dead.kill()
        first.kill()
        first.start()

        def forgotten() -> bool:
            said = [(peer.kubo, peer.status) for peer in node.wire.status(cid).peers]
            return ("", "cluster_error") in said and len(said) == len(peers)

        until(forgotten)
        until(lambda: node.places([cid])[cid] == others)


class TestTheFakeSaysWhatARealPeerSays:
    CALLS = (
        ("GET", "/version"),
        ("GET", "/allocations/{here}"),
        ("POST", "/pins/{here}?name=job-1&meta-job_id=1&replication-min=1&replication-max=1"),
        ("GET", "/allocations/{here}"),
        ("GET", "/pins/{here}"),
        ("GET", "/pins/{strange}"),
        ("GET", "/pins?cids={here}"),
        ("GET", "/pins?cids={here},nonsense"),
        ("GET", "/pins?cids=" + ",".join(["{strange}"] * 200)),
        ("POST", "/pins/{here}/recover"),
        ("POST", "/pins/{strange}?replication-min=3&replication-max=3"),
        ("POST", "/pins/nonsense"),
        ("DELETE", "/pins/{here}"),
        ("DELETE", "/pins/{here}"),
        ("GET", "/nothing/of/the/kind"),
    )

    def test_call_by_call(self, cluster_peer: ClusterPeer, cid: str) -> None:
        with FakeClusterPeer([cluster_peer.peername]) as fake:
            for method, path in self.CALLS:
                path = path.format(here=cid, strange=NOBODY_HAS)
                real, faked = ask(cluster_peer.rest_url, method, path), ask(fake.url, method, path)
                assert faked == real, f"{method} {path[:200]}"
                if method == "POST" and "name=" in path:
                    until(lambda: cluster_peer.statuses(cid) == {cluster_peer.peername: "pinned"})


def ask(url: str, method: str, path: str) -> tuple[int, Any]:
    """Status and shape of an answer: names and kinds of its fields, and the words that the adapter reads."""
    request = urllib.request.Request(url + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, [shape(json.loads(line)) for line in reply.read().splitlines()]
    except urllib.error.HTTPError as error:
        body = error.read()
        try:
            return error.code, json.loads(body)
        except ValueError:
            return error.code, body[:35]


def shape(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        if name in ("peer_map", "metadata"):
            return {"*": [shape(item) for item in value.values()]}
        return {key: shape(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return []
    known = (
        "status",
        "name",
        "version",
        "cid",
        "replication_factor_min",
        "replication_factor_max",
        "expire_at",
        "type",
    )
    return value if name in known else type(value).__name__
