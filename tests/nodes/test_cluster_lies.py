"""Each way to answer wrongly on the wire: the Cluster adapter ends in time and says unknown, never yes."""

import time

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer, Limits
from encoder_pin_plugin.nodes.cluster import ClusterNode
from tests.fakes.cluster_peer import FakeClusterPeer
from tests.fakes.kubo_lies import LIES

CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
WIRE = sorted(name for name, lie in LIES.items() if not lie.only)


@pytest.mark.parametrize("lie", WIRE)
def test_a_lie_is_unknown_and_no_pin(lie: str) -> None:
    with FakeClusterPeer() as peer:
        node = ClusterNode(peer.url, ask_seconds=0.5)
        peer.lie(lie)
        started = time.monotonic()
        assert node.pinned([CID])[CID].answer is Answer.UNKNOWN
        with pytest.raises(NodeError) as caught:
            node.pin(CID, limits=Limits(stall=0.3, total=1.5))
        assert time.monotonic() - started < 20
        assert peer.url in str(caught.value)
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 700
        if LIES[lie].means is Reason.NOT_ALLOWED:
            assert caught.value.reason is Reason.NOT_ALLOWED


@pytest.mark.parametrize("lie", WIRE)
def test_a_lie_about_the_status_alone_is_no_pin_either(lie: str) -> None:
    with FakeClusterPeer() as peer:
        peer.lie(lie, to=f"GET /pins/{CID}")
        with pytest.raises(NodeError):
            ClusterNode(peer.url, ask_seconds=0.5).pin(CID, limits=Limits(stall=0.3, total=1.5))


@pytest.mark.parametrize("lie", WIRE)
def test_a_lie_about_an_upload_is_no_success(lie: str) -> None:
    with FakeClusterPeer() as peer:
        peer.lie(lie, to="POST /add")
        with pytest.raises(NodeError):
            ClusterNode(peer.url, ask_seconds=0.5).push_car(CID, [b"x" * 1000], limits=Limits(stall=0.3, total=1.5))
