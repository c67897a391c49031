"""Targets that read what a node sends: a server on loopback answers every call with the input, head, body and trailer,
and hangs up. So all of it is read by what reads real answers, from the socket up.

The first byte of an input says which call is made, the rest is the answer.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Self

from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Limits
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.cluster_peers import kubo_nodes
from encoder_pin_plugin.nodes.gateway import Gateway
from encoder_pin_plugin.nodes.kubo import KuboNode, Patience
from encoder_pin_plugin.nodes.kubo_import import import_cars
from encoder_pin_plugin.nodes.kubo_listing import listed_pins
from encoder_pin_plugin.nodes.kubo_transfer import export_car, fetch_missing, id_addresses, peer_id, swarm_connect
from encoder_pin_plugin.nodes.pinning_service import PinningService
from tests.faults.fuzz_targets import Target
from tests.faults.fuzz_texts import CID, V1

SOON = 0.9
"""Seconds for a question: less than the second that a busy service may have us wait at least."""

LIMITS = Limits(stall=5.0, total=5.0)
_PEER = "/ip4/10.0.0.9/tcp/4001/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5"

Call = Callable[[], object]


@contextlib.contextmanager
def reply_targets() -> Iterator[dict[str, Target]]:
    """By name, while the server runs."""
    with _Server() as server:
        kubo = KuboNode(server.url, patience=Patience(ask=5.0, walk=5.0))
        calls = {
            "kubo-reply": (_kubo(kubo, server.url), _KUBO),
            "cluster-reply": (_cluster(server.url, kubo), _CLUSTER),
            "pinning-service-reply": (_service(server.url), _SERVICE),
        }
        yield {
            name: Target(read=_answered(server, made), samples=tuple(_samples(bodies)), refuses=(NodeError,))
            for name, (made, bodies) in calls.items()
        }
        kubo.close()


def _answered(server: _Server, calls: Sequence[Call]) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        if data:
            server.answer = data[1:]
            calls[data[0] % len(calls)]()

    return read


def _kubo(node: KuboNode, url: str) -> list[Call]:
    gateway = Gateway(url)
    return [
        node.ping,
        lambda: node.pinned([CID, V1], names=True),
        lambda: node.describe(CID),
        lambda: node.pin(CID, limits=LIMITS),
        lambda: node.unpin(CID),
        lambda: listed_pins(node, {CID}),
        lambda: import_cars(node, [(CID, [b"car"])], limits=LIMITS),
        lambda: fetch_missing(node, CID, seconds=5.0),
        lambda: id_addresses(node),
        lambda: peer_id(node),
        lambda: swarm_connect(node, _PEER),
        lambda: list(export_car(node, CID, limits=LIMITS)),
        lambda: gateway.read_back(CID, limits=LIMITS),
    ]


def _cluster(url: str, kubo: KuboNode) -> list[Call]:
    node = ClusterNode(url, replication_min=2, peers={"p": kubo}, ask_seconds=SOON)
    everywhere = ClusterNode(url, replication_min=-1, ask_seconds=SOON)
    return [
        node.ping,
        lambda: node.pinned([CID, V1], names=True),
        lambda: everywhere.pinned([CID]),
        lambda: node.submit(CID),
        lambda: everywhere.submit(CID, origins=[_PEER]),
        lambda: node.whole([CID]),
        lambda: node.describe(CID),
        lambda: node.unpin(CID),
        lambda: kubo_nodes(node),
        lambda: node.push_car(CID, [b"car"], limits=LIMITS),
    ]


def _service(url: str) -> list[Call]:
    node = PinningService(url, ask_seconds=SOON)
    return [
        node.ping,
        lambda: node.pinned([CID, V1], names=True),
        lambda: node.submit(CID, origins=[_PEER], until=time.monotonic() + SOON),
        lambda: node.unpin(CID),
        lambda: node.pin(CID, limits=Limits(stall=0.0, total=0.0)),
    ]


def _samples(bodies: Sequence[tuple[int, str]]) -> Iterator[bytes]:
    for call, body in bodies:
        yield bytes([call]) + b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body.encode()
    call, body = bodies[0]
    chunk = f"{len(body):x}\r\n{body}\r\n0\r\nX-Stream-Error: a late one\r\n\r\n".encode()
    yield bytes([call]) + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Stream-Error\r\n\r\n" + chunk
    yield bytes([call]) + b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 4\r\n\r\nbusy"
    error = b'{"Message":"path \'' + CID.encode() + b'\' is not pinned","Code":0,"Type":"error"}'
    yield bytes([call + 1]) + b"HTTP/1.1 500 Internal Server Error\r\n\r\n" + error


_KUBO = (
    (0, '{"Version":"0.43.0","Commit":"","Repo":"16"}'),
    (1, f'{{"Keys":{{"{CID}":{{"Type":"recursive","Name":"encoder-pin"}},"{V1}":{{"Type":"recursive"}}}}}}'),
    (2, f'{{"UniqueBlocks":3,"TotalSize":9,"DagStats":[{{"Cid":{{"/":"{CID}"}},"NumBlocks":3,"Size":9}}]}}'),
    (3, f'{{"Progress":1}}\n{{"Progress":2,"Bytes":100}}\n{{"Pins":["{CID}"]}}\n'),
    (4, f'{{"Pins":["{CID}"]}}'),
    (5, f'{{"Cid":"{CID}","Type":"recursive"}}\n{{"Cid":"{V1}","Type":"recursive"}}\n'),
    (6, f'{{"Root":{{"Cid":{{"/":"{CID}"}},"PinErrorMsg":""}}}}\n{{"Stats":{{"BlockCount":1}}}}\n'),
    (8, f'{{"ID":"12D3KooW","Addresses":["{_PEER}"]}}'),
    (9, '{"Strings":["connect 12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5 success"]}'),
    (11, "\x3a"),
)
_STATUS = (
    f'{{"cid":"{CID}","name":"encoder-pin","allocations":["p","q"],"peer_map":{{"p":{{"peername":"x","status":"pinned",'
    '"ipfs_peer_id":"k","error":"","attempt_count":0},"q":{"peername":"y","status":"pin_error","error":"no space"}}}'
)
_WANTED = (
    f'{{"cid":"{CID}","name":"n","replication_factor_min":1,"replication_factor_max":1,"metadata":{{"app":"x"}},'
    f'"origins":["{_PEER}"],"user_allocations":null,"expire_at":"0001-01-01T00:00:00Z"}}'
)
_CLUSTER = (
    (0, '{"version":"1.1.6"}'),
    *((call, f"{_STATUS}\n") for call in (1, 2, 5, 6)),
    *((call, _WANTED) for call in (3, 4, 7)),
    (8, f'{{"id":"p","peername":"x","ipfs":{{"id":"k","addresses":["{_PEER}"]}}}}\n'),
    (9, f'{{"name":"x","cid":"{CID}","size":5}}\n'),
)
_REQUEST = (
    f'{{"requestid":"r1","status":"pinned","created":"2026-11-24T10:00:00Z","pin":{{"cid":"{CID}","name":"encoder-pin",'
    f'"meta":{{"app":"encoder-pin"}},"origins":[]}},"delegates":["{_PEER}"],"info":{{"status_details":"x"}}}}'
)
_SERVICE = (
    (0, '{"count":0,"results":[]}'),
    *((call, f'{{"count":1,"results":[{_REQUEST}]}}') for call in (1, 2, 3, 4)),
    (2, _REQUEST),
)


class _Server:
    """Answers every request with the same bytes, whatever they are, and hangs up."""

    def __init__(self) -> None:
        self.answer = b""
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the end
            while True:
                connection, _ = self._listening.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    self._serve_one(connection)

    def _serve_one(self, connection: socket.socket) -> None:
        asked = b""
        while not _whole(asked):
            piece = connection.recv(65536)
            if not piece:
                return
            asked += piece
        connection.sendall(self.answer)
        connection.shutdown(socket.SHUT_WR)


def _whole(asked: bytes) -> bool:
    """Whether a request has come to its end."""
    head, end, body = asked.partition(b"\r\n\r\n")
    if b"chunked" in head:
        return bool(end) and body.endswith(b"0\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0].strip()
    return bool(end) and len(body) >= int(length or 0)
