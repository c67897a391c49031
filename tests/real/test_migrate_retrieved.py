"""Migrations that read every byte back: from a Cluster's own Kubo node or its gateway, and behind a pinning service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive.sightings import NAME
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Limits
from encoder_pin_plugin.nodes.gateway import Gateway
from encoder_pin_plugin.nodes.kubo import KuboNode
from examples.nodes import ClusterPeer, KuboDaemon, make_dag
from tests.fakes.npm_service import NoNode, npm_pinning_service
from tests.real.migrating import Encoder
from tests.real.test_migrate_targets import eleven_minutes_pass
from tests.real.test_pinning_service import ask

pytestmark = pytest.mark.real

READ = ("--clean", "--proof", "retrieved")
TOKEN = "a-token-for-the-npm-service"


@pytest.fixture
def encoder(make_kubo: Callable[..., KuboDaemon], tmp_path: Path, cluster_peer: ClusterPeer) -> Encoder:
    return Encoder(tmp_path / "data", make_kubo(), cluster_peer.kubo)


@pytest.mark.parametrize("through", ["peer", "gateway"])
def test_a_cluster_gives_back_what_it_holds(encoder: Encoder, cluster_peer: ClusterPeer, through: str) -> None:
    cids = {encoder.video(number) for number in range(3)}
    to = f"cluster+{cluster_peer.rest_url}?replication-min=1"
    if through == "peer":
        done = encoder.run("migrate", "--to", f"{to}&peer={cluster_peer.peername}@{cluster_peer.kubo.api_url}", *READ)
    else:
        done = encoder.run("migrate", "--to", to, *READ, "--gateway", cluster_peer.kubo.gateway_url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {line["hash"]: line["migration_proof"] for line in encoder.migrated()} == dict.fromkeys(cids, "retrieved")
    assert not cids & encoder.local.pins()


def test_a_pinning_service_gives_back_what_it_holds_at_both_looks(encoder: Encoder, cluster_peer: ClusterPeer) -> None:
    cid = encoder.video(1)
    options = ("--to", f"psa+{cluster_peer.pinsvc_url}", *READ, "--gateway", cluster_peer.kubo.gateway_url)
    first = encoder.run("migrate", *options)
    assert first.returncode == 1, first.stdout + first.stderr
    assert "1 CID waits for a second look" in first.stdout
    eleven_minutes_pass(encoder.data / NAME)
    later = encoder.run("migrate", *options)
    assert later.returncode == 0, later.stdout + later.stderr
    assert [line["migration_proof"] for line in encoder.migrated()] == ["retrieved"]
    assert cid not in encoder.local.pins()


def test_what_does_not_come_back_is_kept_here(
    encoder: Encoder, cluster_peer: ClusterPeer, make_kubo: Callable[..., KuboDaemon]
) -> None:
    """The gateway is of a node that has nothing."""
    cid = encoder.video(1)
    to = f"cluster+{cluster_peer.rest_url}?replication-min=1"
    done = encoder.run("migrate", "--to", to, *READ, "--gateway", make_kubo(offline=True).gateway_url)
    assert done.returncode == 1
    assert "not read back" in done.stdout + done.stderr
    assert (encoder.waiting(), encoder.migrated()) == ([cid], [])
    assert cid in encoder.local.pins()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_encoder_s_own_gateway_proves_nothing(encoder: Encoder, cluster_peer: ClusterPeer, host: str) -> None:
    cid = encoder.video(1)
    own = encoder.local.gateway_url.replace("127.0.0.1", host)
    to = f"cluster+{cluster_peer.rest_url}?replication-min=1"
    done = encoder.run("migrate", "--to", to, *READ, "--gateway", own)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "is the gateway of the encoder's own node" in done.stderr
    assert (encoder.waiting(), cid in encoder.local.pins()) == ([cid], True)


@pytest.mark.parametrize(
    ("to", "options", "words"),
    [
        ("cluster+{cluster}", READ, "or add --gateway URL"),
        ("psa+{service}", READ, "add --gateway URL"),
        ("psa+{service}", ("--gateway", "http://127.0.0.1:1"), "--proof retrieved"),
    ],
)
def test_with_nothing_to_read_from_nothing_begins(
    encoder: Encoder, cluster_peer: ClusterPeer, to: str, options: tuple[str, ...], words: str
) -> None:
    cid = encoder.video(1)
    url = to.format(cluster=cluster_peer.rest_url, service=cluster_peer.pinsvc_url)
    done = encoder.run("migrate", "--to", url, *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert cid not in encoder.target.pins()


def test_kubos_gateway_gives_what_it_has_and_fetches_no_root(local_kubo: KuboDaemon, super_kubo: KuboDaemon) -> None:
    """They are connected: without `only-if-cached` the gateway would get it from the other node."""
    cid, limits = make_dag(local_kubo), Limits(stall=20, total=30)
    assert Gateway(local_kubo.gateway_url).read_back(cid, limits=limits) == 4
    with pytest.raises(NodeError) as caught:
        Gateway(super_kubo.gateway_url).read_back(cid, limits=limits)
    assert caught.value.reason is Reason.CONTENT_MISSING
    assert "HTTP 412" in str(caught.value)


def test_below_a_root_that_is_there_kubos_gateway_fetches_and_keeps(make_kubo: Callable[..., KuboDaemon]) -> None:
    """Why a gateway should be the target's own; `Gateway.NoFetch` keeps it from that."""
    ours, theirs = make_kubo(), make_kubo()
    strict = make_kubo(config={"Gateway": {"NoFetch": True}})
    cid, limits = make_dag(ours), Limits(stall=20, total=30)
    for node in (theirs, strict):
        node.connect(ours)
        node.rpc("block/stat", cid)
        assert not KuboNode(node.api_url).whole([cid])[cid].yes
    assert Gateway(theirs.gateway_url).read_back(cid, limits=limits) == 4
    assert KuboNode(theirs.api_url).whole([cid])[cid].yes
    with pytest.raises(NodeError):
        Gateway(strict.gateway_url).read_back(cid, limits=limits)
    assert not KuboNode(strict.api_url).whole([cid])[cid].yes


def test_npms_pinning_service_is_a_target(encoder: Encoder, tmp_path: Path) -> None:
    """It pins nothing, and says `pinned` of a request whose name begins so."""
    cid = encoder.video(1)
    try:
        with npm_pinning_service(tmp_path, token=TOKEN) as url:
            ask(url, "POST", "/pins", {"cid": cid, "name": "pinned-by-hand"}, token=TOKEN)
            options = ("--to", f"psa+{url}", "--clean")
            first = encoder.run("migrate", *options, MIGRATE_AUTH=f"bearer:{TOKEN}")
            assert "1 CID waits for a second look" in first.stdout, first.stdout + first.stderr
            assert cid in encoder.local.pins()
            eleven_minutes_pass(encoder.data / NAME)
            later = encoder.run("migrate", *options, MIGRATE_AUTH=f"bearer:{TOKEN}")
            assert later.returncode == 0, later.stdout + later.stderr
    except NoNode as error:
        pytest.skip(f"THE SECOND PINNING SERVICE IS NOT TESTED AGAINST: {error}")
    assert [line["migration_proof"] for line in encoder.migrated()] == ["pinned"]
    assert cid not in encoder.local.pins()
