"""The pinning service adapter on two implementations that are not ours, Cluster's and npm's; the fake held to both."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer, Limits
from encoder_pin_plugin.nodes.pinning_service import PinningService
from encoder_pin_plugin.settings import Credentials, Secret
from examples.nodes import ClusterPeer, KuboDaemon, make_dag
from tests.fakes.npm_service import NoNode, npm_pinning_service
from tests.fakes.pinning_service import FakePinningService
from tests.real.conftest import strange_cids, until

pytestmark = pytest.mark.real

PATIENT = Limits(stall=60, total=120)
TOKEN = "a-token-for-the-npm-service"


@pytest.fixture(scope="module")
def npm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        with npm_pinning_service(tmp_path_factory.mktemp("npm-service"), token=TOKEN) as url:
            yield url
    except NoNode as error:
        pytest.skip(f"THE SECOND PINNING SERVICE IS NOT TESTED AGAINST: {error}")


@pytest.fixture
def npm(npm_url: str) -> PinningService:
    return PinningService(npm_url, auth=Credentials("bearer", "", Secret(TOKEN)))


@pytest.fixture
def cluster(cluster_peer: ClusterPeer) -> PinningService:
    return PinningService(cluster_peer.pinsvc_url)


class TestClustersOwn:
    def test_pins_asks_and_withdraws(self, cluster_peer: ClusterPeer, cluster: PinningService, cid: str) -> None:
        assert cluster.ping()
        assert cluster.pinned([cid])[cid].answer is Answer.NO
        origin = cluster_peer.kubo.swarm_addresses()[0]
        cluster.pin(cid, name="job-1", limits=PATIENT, meta={"job_id": "1"}, origins=[origin])
        told = cluster.pinned([cid], names=True)[cid]
        assert (told.answer, told.name) == (Answer.YES, "job-1")
        assert cid in cluster_peer.kubo.pins()
        (wanted,) = cluster_peer.rest("GET", f"/allocations/{cid}")
        assert wanted["metadata"] == {"app": "encoder-pin", "job_id": "1"}
        cluster.unpin(cid)
        cluster.unpin(cid)
        assert cluster.pinned([cid])[cid].answer is Answer.NO
        until(lambda: cid not in cluster_peer.kubo.pins())

    def test_a_pin_that_is_there_keeps_all_it_has(
        self, cluster_peer: ClusterPeer, cluster: PinningService, cid: str
    ) -> None:
        cluster_peer.rest("POST", f"/pins/{cid}", name="theirs", meta_job_id="7")
        (before,) = cluster_peer.rest("GET", f"/allocations/{cid}")
        cluster.pin(cid, name="ours", limits=PATIENT)
        assert cluster_peer.rest("GET", f"/allocations/{cid}") == [before]
        cluster.unpin(cid)  # not ours
        assert cluster.pinned([cid])[cid].yes
        cluster.unpin(cid, requestid=cid)
        assert not cluster.pinned([cid])[cid].yes

    def test_one_that_kubo_lost_is_no_pin_and_is_asked_for_anew(
        self, cluster_peer: ClusterPeer, cluster: PinningService, cid: str
    ) -> None:
        """Cluster lists no such request at all: it is a 404, and what it had can't be read from here."""
        cluster.pin(cid, limits=PATIENT)
        cluster_peer.kubo.rpc("pin/rm", cid)
        told = cluster.pinned([cid])[cid]
        assert (told.answer, told.detail) == (Answer.NO, "no request for it")
        assert ask(cluster_peer.pinsvc_url, "GET", f"/pins/{cid}")[0] == 404
        cluster.pin(cid, limits=PATIENT)
        assert cid in cluster_peer.kubo.pins()

    def test_one_that_failed_is_asked_for_again_with_all_it_had(
        self, tmp_path: Path, kubo_binary: Path, local_kubo: KuboDaemon
    ) -> None:
        config = {"ipfs_connector": {"ipfshttp": {"pin_timeout": "2s"}}}
        with (
            KuboDaemon(tmp_path / "kubo", kubo_binary) as kubo,
            ClusterPeer(tmp_path / "peer", kubo, config=config) as peer,
        ):
            cluster, cid = PinningService(peer.pinsvc_url), make_dag(local_kubo)
            with pytest.raises(NodeError) as caught:
                cluster.pin(cid, name="theirs", limits=Limits(stall=4, total=60), meta={"job_id": "7"})
            assert "failed" in str(caught.value)
            kubo.connect(local_kubo)
            cluster.pin(cid, name="ours", limits=PATIENT)
            assert cid in kubo.pins()
            (after,) = peer.rest("GET", f"/allocations/{cid}")
            assert (after["name"], after["metadata"]["job_id"]) == ("theirs", "7")

    def test_content_that_nobody_has_ends_at_the_limit(self, cluster: PinningService) -> None:
        (nobody_has,) = strange_cids(1)
        with pytest.raises(NodeError) as caught:
            cluster.pin(nobody_has, limits=Limits(stall=2, total=4))
        assert caught.value.reason in (Reason.TIMEOUT, Reason.STALLED)
        assert cluster.pinned([nobody_has])[nobody_has].answer is Answer.NO
        cluster.unpin(nobody_has)

    def test_many_at_once(self, cluster_peer: ClusterPeer, cluster: PinningService) -> None:
        cids = [make_dag(cluster_peer.kubo, pin=False, size_kb=4) for _ in range(23)]
        for cid in cids:
            cluster.submit(cid)
        strangers = strange_cids(12)
        until(lambda: all(told.yes for told in cluster.pinned(cids).values()))
        told = cluster.pinned([*cids, *strangers])
        assert {told[stranger].answer for stranger in strangers} == {Answer.NO}


class TestNpms:
    def test_waits_for_a_request_until_it_is_pinned(self, npm: PinningService, npm_url: str) -> None:
        """This service pins nothing: its requests take the status that their name begins with."""
        (cid,) = strange_cids(1)
        dialled: list[str] = []
        service = PinningService(npm_url, auth=Credentials("bearer", "", Secret(TOKEN)), dial=dialled.extend)
        with pytest.raises(NodeError) as caught:
            service.pin(cid, name="job-1", limits=Limits(stall=1, total=10), meta={"job_id": "1"})
        assert caught.value.reason is Reason.STALLED
        assert len(dialled) == 4
        assert npm.pinned([cid])[cid].answer is Answer.NO
        ask(npm_url, "POST", "/pins", {"cid": cid, "name": "pinned-now"})
        npm.pin(cid, limits=PATIENT)
        told = npm.pinned([cid], names=True)[cid]
        assert (told.answer, told.name) == (Answer.YES, "job-1")
        npm.unpin(cid)
        npm.unpin(cid)
        assert npm.pinned([cid])[cid].answer is Answer.NO

    def test_a_failed_request_is_replaced(self, npm: PinningService) -> None:
        (cid,) = strange_cids(1)
        failed = npm.submit(cid, name="failed-job")
        assert failed.status == "failed"
        with pytest.raises(NodeError) as caught:
            npm.pin(cid, name="failed-again", limits=PATIENT)
        assert caught.value.reason is Reason.NODE_ERROR
        npm.pin(cid, name="pinned-job", limits=PATIENT)
        assert npm.pinned([cid])[cid].yes

    def test_two_submits_are_one_request(self, npm: PinningService) -> None:
        (cid,) = strange_cids(1)
        assert npm.submit(cid).requestid == npm.submit(cid).requestid

    def test_many_at_once(self, npm: PinningService) -> None:
        cids = strange_cids(25)
        for cid in cids[:20]:
            npm.submit(cid, name="pinned-x")
        told = npm.pinned(cids)
        assert [told[cid].answer for cid in cids] == [Answer.YES] * 20 + [Answer.NO] * 5

    @pytest.mark.parametrize("auth", [None, Credentials("bearer", "", Secret("another-token"))])
    def test_credentials_that_it_refuses(self, npm_url: str, auth: Credentials | None) -> None:
        stranger = PinningService(npm_url, auth=auth)
        with pytest.raises(NodeError) as caught:
            stranger.ping()
        assert caught.value.reason is Reason.NOT_ALLOWED
        assert stranger.pinned(strange_cids(1)).popitem()[1].answer is Answer.UNKNOWN


class TestTheFakeSaysWhatTheRealOnesSay:
    """Status and shape of each answer; where the two real ones differ, the fake follows the specification (npm's)."""

    def test_call_by_call(self, npm_url: str) -> None:
        (cid,) = strange_cids(1)
        pin = {"cid": cid, "name": "job-1", "meta": {"job_id": "1"}}
        with FakePinningService(becomes=["queued"], token=TOKEN) as fake:
            real_id, fake_id = (ask(url, "POST", "/pins", pin)[1]["requestid"] for url in (npm_url, fake.url))
            calls: list[tuple[str, str, Any]] = [
                ("POST", "/pins/{id}/nothing", None),
                ("GET", "/pins/{id}", None),
                ("GET", f"/pins?cid={cid}&status=queued,pinning,pinned,failed&limit=1000", None),
                ("GET", f"/pins?cid={cid}&status=pinned&limit=1000", None),
                ("GET", f"/pins?cid={cid}&status=queued&before=2020-01-01T00:00:00.000Z", None),
                ("GET", "/pins/req-nope", None),
                ("DELETE", "/pins/{id}", None),
                ("DELETE", "/pins/{id}", None),
                ("GET", "/pins/{id}", None),
            ]
            for method, path, body in calls[1:]:
                real = ask(npm_url, method, path.format(id=real_id), body)
                faked = ask(fake.url, method, path.format(id=fake_id), body)
                assert (faked[0], shape(faked[1])) == (real[0], shape(real[1])), f"{method} {path}"
            assert ask(fake.url, "GET", "/pins", token="")[0] == ask(npm_url, "GET", "/pins", token="")[0] == 401

    def test_clusters_odd_ways_are_the_ones_that_the_fake_can_take(self, cluster_peer: ClusterPeer, cid: str) -> None:
        with FakePinningService(becomes=["queued", "pinned"], accepted=200, delegates=()) as fake:
            fake.add(cid, requestid=cid, name="job-1")
            faked, real = {}, {}
            for url, said in ((fake.url, faked), (cluster_peer.pinsvc_url, real)):
                said["post"] = ask(url, "POST", "/pins", {"cid": cid, "name": "job-1"})
                until(lambda url=url: ask(url, "GET", f"/pins/{cid}")[1]["status"] == "pinned")
                said["get"] = ask(url, "GET", f"/pins/{cid}")
                said["delete"] = ask(url, "DELETE", f"/pins/{cid}")
                said["gone"] = ask(url, "DELETE", f"/pins/{cid}")
            assert real["get"][1]["requestid"] == cid
            for call in ("post", "get", "delete", "gone"):
                assert faked[call][0] == real[call][0], call
                assert set(shape(faked[call][1]) or ()) <= set(shape(real[call][1]) or ()), call


def ask(url: str, method: str, path: str, body: Any = None, *, token: str = TOKEN) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        reply = connection.getresponse()
        content = reply.read()
        return reply.status, json.loads(content) if content else None
    finally:
        connection.close()


def shape(value: Any) -> Any:
    """Names and kinds of fields, and the words that the adapter reads."""
    if isinstance(value, dict):
        known = ("status", "count", "cid", "name")
        return {key: item if key in known else shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__
