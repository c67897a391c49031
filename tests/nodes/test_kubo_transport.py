"""What goes over the wire: our credentials and nobody else's, to the node alone, on connections that last."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer, Limits
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.settings import Credentials, Secret
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_node import FakeKubo
from tests.fakes.tls_proxy import CERTIFICATE, TlsProxy
from tests.nodes.cid_vectors import V0, V1_TWIN

if TYPE_CHECKING:
    from collections.abc import Iterator

BEARER = Credentials("bearer", "", Secret("t0ken-of-ours"))


@pytest.fixture
def fake() -> Iterator[FakeKubo]:
    with FakeKubo() as node:
        node.content[V0] = Content()
        yield node


def test_a_token_is_sent_and_shown_nowhere(fake: FakeKubo) -> None:
    fake.token = "t0ken-of-ours"
    node = KuboNode(fake.url, auth=BEARER)
    assert node.ping() == "Kubo 0.43.0"
    fake.token = "another"
    with pytest.raises(NodeError, match="credentials") as caught:
        node.pin(V0, limits=Limits())
    assert caught.value.reason is Reason.NOT_ALLOWED
    for shown in (str(caught.value), repr(caught.value.__cause__), repr(node), repr(vars(node))):
        assert "t0ken" not in shown
    node.close()


def test_basic_credentials_are_sent(fake: FakeKubo) -> None:
    node = KuboNode(fake.url, auth=Credentials("basic", "encoder", Secret("päss:word")))
    node.ping()
    assert fake.calls[-1].headers["Authorization"].startswith("Basic ")
    node.close()


def test_a_netrc_does_not_speak_for_us(fake: FakeKubo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for auth, expected in ((None, None), (BEARER, "Bearer t0ken-of-ours")):
        node = KuboNode(fake.url, auth=auth)
        node.ping()
        assert fake.calls[-1].headers.get("Authorization") == expected
        node.close()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_node_on_loopback_is_not_asked_through_a_proxy(
    fake: FakeKubo, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for address in (fake.url, f"/ip4/127.0.0.1/tcp/{fake.port}", f"localhost:{fake.port}"):
        node = KuboNode(address)
        assert node.ping() == "Kubo 0.43.0"
        node.close()


def test_a_node_elsewhere_is_asked_through_the_proxy(fake: FakeKubo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", fake.url)
    monkeypatch.setenv("http_proxy", fake.url)
    for address in ("http://node.invalid:5001", "/dns4/node.invalid/tcp/5001", "/ip4/192.0.2.1/tcp/5001"):
        node = KuboNode(address)
        assert node.ping() == "Kubo 0.43.0"
        node.close()


def test_tls_is_verified(fake: FakeKubo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with TlsProxy(fake.port) as proxy:
        unknown = KuboNode(f"https://localhost:{proxy.port}", auth=BEARER)
        with pytest.raises(NodeError, match="certificate") as caught:
            unknown.ping()
        assert caught.value.reason is Reason.REFUSED
        assert fake.calls == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
        known = KuboNode(f"https://localhost:{proxy.port}", auth=BEARER)
        assert known.ping() == "Kubo 0.43.0"
        known.pin(V0, limits=Limits(stall=10, total=20))
        unknown.close()
        known.close()


@pytest.mark.parametrize("lie", ["silence", "slow_headers", "drip_in_chunk", "stall_in_body", "short_body"])
def test_the_deadline_holds_through_tls(fake: FakeKubo, monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with TlsProxy(fake.port) as proxy:
        node = KuboNode(f"https://localhost:{proxy.port}")
        fake.lie(lie)
        with pytest.raises(NodeError):
            node.pin(V0, limits=Limits(stall=0.5, total=1))
        node.close()


def test_a_missing_certificate_file_is_a_node_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    with pytest.raises(NodeError, match=r"/nowhere/bundle\.pem") as caught:
        KuboNode("https://localhost:1").ping()
    assert caught.value.reason is Reason.REFUSED


def test_a_path_before_the_api_is_kept(fake: FakeKubo) -> None:
    node = KuboNode(f"{fake.url}/ipfs/node1/")
    assert node.ping() == "Kubo 0.43.0"
    assert fake.paths[-1] == "/ipfs/node1/api/v0/version"
    node.close()


def test_a_thread_keeps_its_connection(fake: FakeKubo) -> None:
    node = KuboNode(fake.url)
    for _ in range(5):
        node.ping()
        node.pinned([V0])
        node.pin(V0, limits=Limits())
    assert len({call.peer for call in fake.calls}) == 1
    node.close()


def test_each_thread_has_its_own_connection_and_all_are_closed(fake: FakeKubo) -> None:
    node = KuboNode(fake.url)
    together = threading.Barrier(8)

    def use() -> None:
        node.ping()
        together.wait()
        node.ping()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({call.peer for call in fake.calls}) == 8
    node.close()
    assert node.ping() == "Kubo 0.43.0"  # opens a new one
    node.close()


def test_the_host_s_warnings_and_environment_stay_as_they_are(fake: FakeKubo) -> None:
    before = (list(warnings.filters), dict(os.environ))
    node = KuboNode(fake.url)
    node.ping()
    node.close()
    assert (list(warnings.filters), dict(os.environ)) == before


def test_a_call_while_a_stream_is_open_has_limits_of_its_own(fake: FakeKubo) -> None:
    node = KuboNode(fake.url)
    fake.content[V1_TWIN] = Content(missing=True)
    options = {"progress": "true", "timeout": "60s"}
    items = node.wire.stream(
        "pin/add", lambda kubo: kubo.pin.add(V1_TWIN, opts=options, stream=True), seconds=2, silence=2
    )
    began = time.monotonic()
    with pytest.raises(NodeError) as caught:
        for _ in items:
            assert node.ping() == "Kubo 0.43.0"
    assert caught.value.reason is Reason.TIMEOUT
    assert 1.9 < time.monotonic() - began < 20
    node.close()


def test_no_cookie_is_kept(fake: FakeKubo) -> None:
    node = KuboNode(fake.url)
    fake.cookie = "session=of-somebody"
    node.ping()
    node.ping()
    assert "Cookie" not in fake.calls[-1].headers
    node.close()


FORKING = """
import os, sys
from encoder_pin_plugin.nodes.kubo import KuboNode
node = KuboNode(sys.argv[1])
node.ping()
child = os.fork()
if child == 0:
    node.ping()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
node.ping()
"""


def test_a_forked_child_speaks_on_a_connection_of_its_own(fake: FakeKubo) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", FORKING, fake.url], check=True, timeout=60)
    parent, child, again = (call.peer for call in fake.calls)
    assert parent == again != child


@pytest.mark.parametrize("variable", ["PY_IPFS_HTTP_CLIENT_PATCH_REQUESTS=no", "PY_IPFS_HTTP_CLIENT_PREFER_HTTPX=yes"])
def test_the_library_s_own_switches_change_nothing(fake: FakeKubo, variable: str) -> None:
    name, _, value = variable.partition("=")
    code = "import sys; from encoder_pin_plugin.nodes.kubo import KuboNode; print(KuboNode(sys.argv[1]).ping())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, fake.url],
        env=os.environ | {name: value},
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("Kubo 0.43.0\n", "")


def test_a_short_lived_thread_leaves_no_open_socket(fake: FakeKubo) -> None:
    node = KuboNode(fake.url)

    def use() -> None:
        node.ping()

    gc.disable()  # what is closed is closed at once
    try:
        for _ in range(30):
            thread = threading.Thread(target=use)
            thread.start()
            thread.join()
        assert _open_sockets_to(fake.port) <= 1
        assert len({call.peer for call in fake.calls}) == 30
    finally:
        gc.enable()
    node.close()


def _open_sockets_to(port: int) -> int:
    """Connections from this process to a port, by the system's own table; the fake's ends have it on the other side."""
    ours = {socket.group(1) for fd in Path("/proc/self/fd").iterdir() if (socket := _socket(fd))}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[9] in ours for row in rows)


def _socket(fd: Path) -> re.Match[str] | None:
    try:
        return re.fullmatch(r"socket:\[(\d+)\]", str(fd.readlink()))
    except OSError:
        return None


def test_the_proxy_of_a_cluster_is_no_kubo_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the real one does: its own answers carry its name, what it passes on carries Kubo's."""
    with FakeKubo() as proxy:
        node = KuboNode(proxy.url)
        proxy.content[V0] = Content()
        assert not node.pinned([V0])[V0].yes
        monkeypatch.setattr(BaseHTTPRequestHandler, "version_string", lambda _: "ipfs-cluster/ipfsproxy/1.1.6")
        with pytest.raises(NodeError, match="IPFS Cluster's proxy") as caught:
            node.pin(V0, limits=Limits(stall=5, total=10))
        assert caught.value.reason is Reason.BAD_REPLY
        assert node.pinned([V0])[V0].answer is Answer.UNKNOWN
        node.close()
