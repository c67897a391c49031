"""A gateway is not trusted: what it sends counts only where it is the whole DAG, and it neither holds nor leads us."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import InvalidSettings, NodeError
from encoder_pin_plugin.nodes.base import Limits
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.gateway import Gateway
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.pinning_service import PinningService
from encoder_pin_plugin.nodes.retrieving import from_a_peer, reader_of
from tests.fakes.cluster_peer import FakeClusterPeer
from tests.fakes.kubo_node import Talk
from tests.fakes.service import FakeService, Request
from tests.nodes.test_car import GOOD, ONE, ROOT, TWO, car, raw, text

CID = text(ROOT[0])
QUICK = Limits(stall=1, total=3)
CAR = "application/vnd.ipld.car; version=1; order=dfs; dups=n"


class FakeGateway(FakeService):
    """Has one DAG, and says 412 of others, as Kubo's does (tests/real/test_migrate_retrieved.py)."""

    def answer(self, talk: Talk, request: Request) -> None:
        if request.path == f"/ipfs/{CID}":
            talk.send(200, GOOD, CAR)
        else:
            talk.send(412, "not in local datastore")


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as gateway:
        yield gateway


def sends(body: bytes) -> Callable[[Talk], None]:
    return lambda talk: talk.send(200, body, CAR)


def without_end(body: bytes) -> Callable[[Talk], None]:
    def tell(talk: Talk) -> None:
        talk.start(200, CAR, transfer_encoding="chunked")
        talk.chunk(GOOD)
        while not talk.wait(0.001):
            talk.chunk(body)

    return tell


def late(talk: Talk) -> None:
    talk.start(200, CAR, transfer_encoding="chunked", trailer="X-Stream-Error")
    talk.chunk(GOOD)
    talk.end(late_error="block was not found locally")


def failure(gateway: FakeGateway, cid: str = CID) -> NodeError:
    with pytest.raises(NodeError) as caught:
        Gateway(gateway.url).read_back(cid, limits=QUICK)
    return caught.value


def test_a_whole_dag_is_read_and_nobody_is_asked_to_fetch_it(gateway: FakeGateway) -> None:
    assert Gateway(gateway.url).read_back(CID, limits=QUICK) == 3
    (call,) = gateway.calls
    assert (call.query, call.headers["Cache-Control"]) == ({"format": "car"}, "only-if-cached")
    assert call.headers["Accept"].startswith("application/vnd.ipld.car")


def test_what_it_has_not_got_is_missing(gateway: FakeGateway) -> None:
    assert failure(gateway, text(TWO[0])).reason is Reason.CONTENT_MISSING


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (sends(car(ROOT[0], [ROOT, ONE])), "1 blocks are missing"),
        (sends(car(ROOT[0], [ROOT, (ONE[0], b"altered"), TWO])), "does not hash to its name"),
        (sends(car(ONE[0], [ONE])), "does not name this CID"),
        (sends(GOOD[:-3]), "cut short"),
        (sends(b""), "does not name this CID"),
        (sends(b"<html>welcome</html>"), ""),
        (without_end(car(ROOT[0], [raw(b"more")])[-40:]), ""),
        (without_end(b"\x00" * 60000), "a section of 0 bytes"),
    ],
    ids=["short", "altered", "another", "cut", "empty", "html", "endless blocks", "endless zeros"],
)
def test_a_lie_proves_nothing(gateway: FakeGateway, lie: Callable[[Talk], None], words: str) -> None:
    gateway.lie(lie)
    error = failure(gateway)
    assert error.reason is Reason.UNPROVED
    assert words in str(error)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ("drip_in_chunk", None),
        ("silence", Reason.TIMEOUT),
        ("cut_chunk", None),
        ("redirect_elsewhere", Reason.BAD_REPLY),
        ("gzip", Reason.BAD_REPLY),
        ("html_502", Reason.BAD_REPLY),
        ("stall_in_error", Reason.TIMEOUT),
        ("forbidden", Reason.NOT_ALLOWED),
    ],
)
def test_a_broken_server_neither_holds_nor_leads(gateway: FakeGateway, lie: str, reason: Reason | None) -> None:
    gateway.lie(lie)
    began = time.monotonic()
    error = failure(gateway)
    assert time.monotonic() - began < 20
    assert reason is None or error.reason is reason


def test_an_error_after_the_last_block_is_heard(gateway: FakeGateway) -> None:
    gateway.lie(late)
    assert "not found locally" in str(failure(gateway))


@pytest.mark.parametrize("url", ["gateway:8080", "/ip4/127.0.0.1/tcp/8080", "ftp://u:hunter2@x", "http://u:hunter2@x"])
def test_what_is_no_gateway_is_refused_and_no_secret_shown(url: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        Gateway(url)
    assert "hunter2" not in str(caught.value)


def test_where_there_is_nothing_to_read_from_the_words_say_what_to_add() -> None:
    nowhere = "http://127.0.0.1:1"
    with pytest.raises(InvalidSettings, match="add --gateway URL"):
        reader_of(PinningService(nowhere), gateway="", limits=QUICK)
    with pytest.raises(InvalidSettings, match=r"peer=NAME@.* or add --gateway URL"):
        reader_of(ClusterNode(nowhere), gateway="", limits=QUICK)
    with pytest.raises(InvalidSettings, match="leave --gateway out"):
        reader_of(KuboNode(nowhere), gateway=nowhere, limits=QUICK)


class Exporting(FakeService):
    """A peer's Kubo node, which is asked who it is, and for a CAR."""

    def __init__(self, body: bytes, peer: str = "peer-1") -> None:
        super().__init__()
        self.body, self.peer = body, peer

    def answer(self, talk: Talk, request: Request) -> None:
        if request.path == "/api/v0/id":
            talk.json({"ID": f"kubo-of-{self.peer}"})
            return
        assert request.path == "/api/v0/dag/export"
        talk.send(200, self.body, "application/vnd.ipld.car")


ALTERED = car(ROOT[0], [ROOT, (ONE[0], b"altered"), TWO])


@pytest.mark.parametrize(
    ("first", "second", "blocks"),
    [(GOOD, ALTERED, 3), (ALTERED, GOOD, 3), (ALTERED, GOOD[:-3], 0)],
    ids=["the first has it", "the second has it", "both lie"],
)
def test_one_peer_of_a_cluster_has_to_give_it(first: bytes, second: bytes, blocks: int) -> None:
    with FakeClusterPeer(["peer-1", "peer-2"]) as peer, Exporting(first) as one, Exporting(second, "peer-2") as two:
        peer.say(CID, {"peer-1": "pinned", "peer-2": "pinned"})
        cluster = ClusterNode(peer.url, peers={"peer-1": KuboNode(one.url), "peer-2": KuboNode(two.url)})
        if blocks:
            assert from_a_peer(cluster, CID, limits=QUICK) == blocks
            return
        with pytest.raises(NodeError) as caught:
            from_a_peer(cluster, CID, limits=QUICK)
        assert caught.value.reason is Reason.UNPROVED


def test_a_node_that_is_not_the_peer_s_is_not_read_from() -> None:
    with FakeClusterPeer(["peer-1"]) as peer, Exporting(GOOD, "peer-2") as one:
        peer.say(CID, {"peer-1": "pinned"})
        cluster = ClusterNode(peer.url, peers={"peer-1": KuboNode(one.url)})
        with pytest.raises(NodeError, match="is the Kubo node kubo-of-peer-2, and that of peer peer-1 is"):
            from_a_peer(cluster, CID, limits=QUICK)
        assert len(one.calls) == 1


def test_a_peer_that_does_not_say_pinned_is_not_read_from() -> None:
    with FakeClusterPeer(["peer-1", "peer-2"]) as peer, Exporting(GOOD) as one:
        peer.say(CID, {"peer-1": "pinning", "peer-2": "pinned"})
        cluster = ClusterNode(peer.url, peers={"peer-1": KuboNode(one.url)})
        with pytest.raises(NodeError, match="peer=NAME@URL"):
            from_a_peer(cluster, CID, limits=QUICK)
        assert not one.calls
