"""Real nodes behind credentials, TLS and a unix socket; and content carried from one to another."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import EMPTY_DIRECTORY, Answer, Limits
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.kubo_transfer import export_car, id_addresses, swarm_connect
from encoder_pin_plugin.settings import Credentials, Secret
from examples.nodes import KUBO_VERSION, OLD_KUBO_VERSION, KuboDaemon
from tests.fakes.tls_proxy import CERTIFICATE, TlsProxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.real

VERSIONS = pytest.mark.parametrize("version", [KUBO_VERSION, OLD_KUBO_VERSION])
LIMITS = Limits(stall=60, total=120)
NOBODY = "12D3KooWGRUfBHPbNkzT1yzRrBrp9PGzcvHBTqYuXJuhTUBXZL7b"
NARROW = ["/api/v0/pin/add", "/api/v0/pin/ls"]


def guarded(secret: str, paths: list[str]) -> dict[str, Any]:
    """A configuration where the tests' own user may do everything, and ours what `paths` says."""
    users = {
        "a-tests": {"AuthSecret": "bearer:of-the-tests", "AllowedPaths": ["/api/v0"]},
        "encoder": {"AuthSecret": secret, "AllowedPaths": paths},
    }
    return {"API": {"Authorizations": users}}


@VERSIONS
@pytest.mark.parametrize("kind", ["bearer", "basic"])
def test_credentials_of_api_authorizations(make_kubo: Callable[..., KuboDaemon], version: str, kind: str) -> None:
    token = "our-token" if kind == "bearer" else "our-tökén"  # Kubo takes the base64 of its UTF-8
    secret = f"bearer:{token}" if kind == "bearer" else f"basic:encoder:{token}"
    daemon = make_kubo(version=version, config=guarded(secret, NARROW))
    cid = daemon.add_files({"a": b"a"}, pin=False)
    user = "" if kind == "bearer" else "encoder"
    node = KuboNode(daemon.api_url, auth=Credentials(kind, user, Secret(token)))  # type: ignore[arg-type]
    assert node.ping() == f"Kubo {version}"
    assert node.pinned([cid])[cid].answer is Answer.NO
    node.pin(cid, limits=LIMITS)
    assert node.pinned([cid])[cid].yes
    whole = node.whole([cid])[cid]  # not allowed: unknown, in words
    assert (whole.answer, whole.reason) == (Answer.UNKNOWN, Reason.NOT_ALLOWED)
    assert "API.Authorizations" in whole.detail
    with pytest.raises(NodeError) as caught:
        node.unpin(cid)
    assert caught.value.reason is Reason.NOT_ALLOWED
    node.close()


@VERSIONS
def test_wrong_or_no_credentials_are_not_allowed(make_kubo: Callable[..., KuboDaemon], version: str) -> None:
    daemon = make_kubo(version=version, config=guarded("bearer:our-token", NARROW))
    for auth in (None, Credentials("bearer", "", Secret("wr0ng")), Credentials("basic", "encoder", Secret("wr0ng"))):
        node = KuboNode(daemon.api_url, auth=auth)
        told = node.pinned([EMPTY_DIRECTORY])[EMPTY_DIRECTORY]
        assert (told.answer, told.reason) == (Answer.UNKNOWN, Reason.NOT_ALLOWED)
        with pytest.raises(NodeError) as caught:
            node.ping()
        assert caught.value.reason is Reason.NOT_ALLOWED
        assert "wr0ng" not in str(caught.value) + told.detail
        node.close()


@VERSIONS
def test_a_node_behind_tls(make_kubo: Callable[..., KuboDaemon], version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = make_kubo(version=version)
    cid = daemon.add_files({"a": os.urandom(50_000)}, pin=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with TlsProxy(int(daemon.api_url.rpartition(":")[2])) as proxy:
        for address in (f"https://localhost:{proxy.port}", f"/ip4/127.0.0.1/tcp/{proxy.port}/https"):
            node = KuboNode(address)
            node.pin(cid, limits=LIMITS)
            assert node.pinned([cid])[cid].yes
            assert node.whole([cid])[cid].yes
            node.unpin(cid)
            node.close()


@VERSIONS
def test_a_node_on_a_unix_socket(make_kubo: Callable[..., KuboDaemon], version: str, tmp_path: Path) -> None:
    socket = tmp_path / "Kubo.sock"  # in both cases: a URL's host would lose its capitals
    daemon = make_kubo(version=version)
    daemon.stop()
    daemon._config = {"Addresses": {"API": [daemon.api_multiaddr, f"/unix{socket}"]}}
    daemon.start()
    node = KuboNode(f"/unix{socket}")
    assert node.on_this_machine
    assert node.ping() == f"Kubo {version}"
    assert node.pinned([EMPTY_DIRECTORY])[EMPTY_DIRECTORY].yes
    node.close()


@VERSIONS
def test_two_nodes_are_made_to_meet(make_kubo: Callable[..., KuboDaemon], version: str) -> None:
    holder, wanter = make_kubo(version=version), make_kubo(version=version)
    cid = holder.add_files({"a": os.urandom(1000)})
    here, there = KuboNode(holder.api_url), KuboNode(wanter.api_url)
    addresses = id_addresses(here)
    assert any("/p2p/" in address for address in addresses)
    swarm_connect(there, next(address for address in addresses if "/127.0.0.1/tcp/" in address))
    there.pin(cid, limits=LIMITS)
    assert there.whole([cid])[cid].yes
    with pytest.raises(NodeError, match="names no peer"):
        swarm_connect(there, "/ip4/127.0.0.1/tcp/1")
    holder.stop()
    with pytest.raises(NodeError, match="failure"):
        swarm_connect(
            there, addresses[0].replace(str(holder.peer_id), "12D3KooWGRUfBHPbNkzT1yzRrBrp9PGzcvHBTqYuXJuhTUBXZL7b")
        )
    here.close()
    there.close()


@VERSIONS
def test_a_car_is_exported_whole_or_with_an_error(make_kubo: Callable[..., KuboDaemon], version: str) -> None:
    daemon = make_kubo(version=version)
    video = os.urandom(3_000_000)
    cid = daemon.add_files({"video": video})
    node = KuboNode(daemon.api_url)
    pieces = list(export_car(node, cid, limits=LIMITS))
    assert max(map(len, pieces)) <= 65536
    car = b"".join(pieces)
    dag = node.whole([cid])[cid].dag
    assert dag is not None
    assert dag.size < len(car) < dag.size + 100 * dag.blocks + 200
    assert hashlib.sha256(video[:262144]).digest() in car
    links = daemon.rpc("dag/get", cid)[0]["Links"]
    block = daemon.rpc("dag/get", links[0]["Hash"]["/"])[0]["Links"][-1]["Hash"]["/"]
    daemon.remove_block(block)
    with pytest.raises(NodeError) as caught:
        list(export_car(node, cid, limits=LIMITS))
    assert caught.value.reason is Reason.CONTENT_MISSING
    node.close()


def test_an_export_that_is_closed_early_hangs_up(make_kubo: Callable[..., KuboDaemon]) -> None:
    daemon = make_kubo()
    cid = daemon.add_files({"video": os.urandom(3_000_000)})
    node = KuboNode(daemon.api_url)
    car = export_car(node, cid, limits=LIMITS)
    next(iter(car))
    car.close()  # type: ignore[attr-defined]
    assert node.ping() == f"Kubo {KUBO_VERSION}"
    node.close()


def test_an_offline_node_has_no_addresses_and_misses_at_once(make_kubo: Callable[..., KuboDaemon]) -> None:
    daemon = make_kubo(offline=True)
    node = KuboNode(daemon.api_url)
    assert id_addresses(node) == ()
    with pytest.raises(NodeError) as caught:
        node.pin("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi", limits=LIMITS)
    assert caught.value.reason is Reason.CONTENT_MISSING
    node.close()
