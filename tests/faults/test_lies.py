"""A share of the lying nodes: see `tests.faults.lies`; and that each lie is one."""

from __future__ import annotations

import pytest
import requests

from tests.fakes.cluster_lies import CLUSTER_LIES
from tests.fakes.cluster_peer import FakeClusterPeer
from tests.fakes.kubo_lies import LIES
from tests.faults import liars, lies
from tests.faults.conftest import share

pytestmark = [pytest.mark.faults]


def test_no_lie_is_believed() -> None:
    share(lies.run, 120, times=2)


@pytest.mark.parametrize("name", CLUSTER_LIES)
def test_no_lie_of_a_cluster_is_believed(name: str) -> None:
    report = lies.run(0, 2, print, chosen=[lies.Kind(liars.TELLS, name)], times=2)
    assert report.clean, report
    assert report.tried >= 2


@pytest.mark.parametrize("name", CLUSTER_LIES)
def test_a_lie_of_a_cluster_is_not_what_an_honest_peer_says_who_has_it_queued(name: str) -> None:
    lie, cid = CLUSTER_LIES[name], "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
    method, _, path = lie.to.partition(" ")
    address = f"{path}{cid}" if path.endswith("/") else f"{path}?cids={cid}"
    with FakeClusterPeer(lie.peers) as peer:
        requests.post(f"{peer.url}/pins/{cid}", timeout=10)
        peer.say(cid, dict.fromkeys(lie.peers, "pin_queued"))
        honest = requests.request(method, peer.url + address, timeout=10)
        assert honest.status_code == 200
        assert '"pinned"' not in honest.text
        peer.lie(lie.tell, to=lie.to)
        try:
            lied = requests.request(method, peer.url + address, timeout=10)
        except requests.RequestException:  # a stream without an end
            return
        assert (lied.status_code, lied.content) != (honest.status_code, honest.content) or "trailer" in name


def test_there_are_more_kinds_than_promised() -> None:
    assert len({kind.lie for kind in lies.kinds()}) >= 110


@pytest.mark.parametrize("name", sorted(LIES))
def test_a_lie_is_not_what_an_honest_node_says(name: str) -> None:
    command = next(iter(LIES[name].only), "pin/ls")
    honest, lied = liars.answers(name, command)
    assert honest.startswith(b"HTTP/1.1 200")
    if name in ("empty_yes", "slow_yes"):  # the word of a yes: the lie is that nothing is pinned
        return
    assert lied != honest
