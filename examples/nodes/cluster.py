"""A real IPFS Cluster peer on loopback in front of a Kubo daemon, and several of them as one cluster.

A peer serves two of our targets at once: Cluster's own REST API and a Pinning Services API.
"""

import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

from examples.nodes.binaries import cluster_service_binary, tell
from examples.nodes.build import Say
from examples.nodes.calls import json_lines, text
from examples.nodes.errors import NodeError
from examples.nodes.json_files import change_json, read_json
from examples.nodes.kubo import KuboDaemon
from examples.nodes.node import LocalNode
from examples.nodes.ports import LOOPBACK, free_port
from examples.nodes.process import NodeProcess, clean_environment

_MEETING_PATIENCE = 90.0


class ClusterPeer(LocalNode):
    """`with ClusterPeer(folder, kubo) as peer:` runs a peer that pins on `kubo`, which must be running.

    Alone it is a cluster of one; with `bootstrap` it joins that peer's cluster and takes over its secret.
    `config` is laid over its `service.json`, section by section.
    """

    kind = "IPFS Cluster"

    def __init__(
        self,
        folder: Path,
        kubo: KuboDaemon,
        *,
        bootstrap: "ClusterPeer | None" = None,
        peername: str = "peer-1",
        config: Mapping[str, Any] | None = None,
        say: Say = tell,
    ) -> None:
        super().__init__(folder)
        self.kubo = kubo
        self.peername = peername
        # A random secret, so that a peer can never meet one of another test's.
        self.secret: str = bootstrap.secret if bootstrap else secrets.token_hex(32)
        self.members: list[ClusterPeer] = bootstrap.members if bootstrap else []
        self.members.append(self)
        self._binary = cluster_service_binary(say=say)
        self._config = config or {}
        self._home = self.folder / "cluster"

    @property
    def rest_url(self) -> str:
        return f"http://{LOOPBACK}:{self._rest_port}"

    @property
    def pinsvc_url(self) -> str:
        return f"http://{LOOPBACK}:{self._pinsvc_port}"

    @property
    def proxy_url(self) -> str:
        """Where it passes for a Kubo node: what is pinned there is pinned by the cluster."""
        return f"http://{LOOPBACK}:{self._proxy_port}"

    @property
    def peer_id(self) -> str:
        """Known from the first start on, whether it runs or not."""
        return str(read_json(self._home / "identity.json")["id"])

    @property
    def cluster_address(self) -> str:
        """Where other peers join."""
        return f"/ip4/{LOOPBACK}/tcp/{self._cluster_port}/p2p/{self.peer_id}"

    def rest(self, method: str, path: str, *, timeout: float = 60, **params: object) -> list[Any]:
        """Call the REST API, as in `rest("POST", "/pins/CID", name="job-1")`; the JSON lines of the answer."""
        query = [(name.replace("_", "-"), text(value)) for name, value in params.items()]
        return json_lines(method, self.rest_url + path, query=query, timeout=timeout)

    def statuses(self, cid: str) -> dict[str, str]:
        """What each peer, by its name, says of a CID: `pinned`, `pinning`, `remote`, `unpinned`, ..."""
        (status,) = self.rest("GET", f"/pins/{cid}")
        return {entry["peername"]: entry["status"] for entry in status["peer_map"].values()}

    def _take_ports(self) -> None:
        self._rest_port, self._pinsvc_port, self._proxy_port, self._cluster_port = (free_port() for _ in range(4))

    def _prepare(self) -> None:
        if not (self._home / "service.json").exists():
            self._run("init", "--consensus", "crdt")
        change_json(self._home / "service.json", self._own_settings(), self._config)

    def _own_settings(self) -> dict[str, Any]:
        def listen(port: int) -> str:
            return f"/ip4/{LOOPBACK}/tcp/{port}"

        node = self.kubo.api_multiaddr
        return {
            "cluster": {
                "peername": self.peername,
                "secret": self.secret,
                "listen_multiaddress": [listen(self._cluster_port)],
                "mdns_interval": "0s",  # it would look for peers on the whole network
                "monitor_ping_interval": "5s",  # 15 s by default, before peers see each other
            },
            "api": {
                "restapi": {"http_listen_multiaddress": listen(self._rest_port)},
                "pinsvcapi": {"http_listen_multiaddress": listen(self._pinsvc_port)},
                "ipfsproxy": {"listen_multiaddress": listen(self._proxy_port), "node_multiaddress": node},
            },
            "informer": {"disk": {"metric_ttl": "10s"}, "tags": {"metric_ttl": "10s"}},  # likewise, 30 s
            "ipfs_connector": {"ipfshttp": {"node_multiaddress": node}},
            "datastore": {"pebble": {"pebble_options": {"cache_size_bytes": 16 << 20}}},  # 1 GB by default
        }

    def _spawn(self) -> NodeProcess:
        # All of them, not the first alone: peers that learn of each other from a third can't dial on loopback.
        others = [peer.cluster_address for peer in self.members if peer is not self and peer.running]
        join = ["--bootstrap", ",".join(others)] if others else []
        return NodeProcess([str(self._binary), "daemon", *join], env=self._environment(), log=self.log_path)

    def _is_ready(self) -> bool:
        # The REST API answers before the peer is ready; only this line tells. A taken port ends the peer.
        return self._process is not None and "IPFS Cluster is READY" in self._process.output()

    def _run(self, *arguments: str) -> None:
        self._home.mkdir(exist_ok=True)
        with self.log_path.open("ab") as log:
            done = subprocess.run(
                [str(self._binary), *arguments],
                env=self._environment(),
                stdout=log,
                stderr=log,
                timeout=60,
                check=False,
            )
        if done.returncode != 0:
            raise NodeError(f"{self.kind} {arguments[0]} failed in {self.folder}; see {self.log_path}")

    def _environment(self) -> dict[str, str]:
        return clean_environment(IPFS_CLUSTER_PATH=str(self._home), GOLOG_LOG_LEVEL="error")


@contextmanager
def cluster_of(count: int, folder: Path, *, config: Mapping[str, Any] | None = None) -> Iterator[list[ClusterPeer]]:
    """Run `count` peers that know each other, each with a Kubo of its own (`peer.kubo`), all of them connected."""
    with ExitStack() as running:
        kubos = [running.enter_context(KuboDaemon(folder / f"kubo-{n}")) for n in range(1, count + 1)]
        for one, other in combinations(kubos, 2):
            one.connect(other)
        peers: list[ClusterPeer] = []
        for number, kubo in enumerate(kubos, start=1):
            name = f"peer-{number}"
            first = peers[0] if peers else None
            peer = ClusterPeer(folder / name, kubo, bootstrap=first, peername=name, config=config)
            peers.append(running.enter_context(peer))
        _wait_until_met(peers)
        yield peers


def _wait_until_met(peers: list[ClusterPeer]) -> None:
    """Wait until each peer reaches each other one and knows what it needs to give it pins."""
    deadline = time.monotonic() + _MEETING_PATIENCE
    while not all(_knows(peer, len(peers)) for peer in peers):
        if time.monotonic() > deadline:
            logs = ", ".join(str(peer.log_path) for peer in peers)
            raise NodeError(f"the peers of the cluster did not all meet; their logs: {logs}")
        time.sleep(0.2)


def _knows(peer: ClusterPeer, count: int) -> bool:
    reached = [entry for entry in peer.rest("GET", "/peers") if not entry["error"]]
    metrics = [peer.rest("GET", f"/monitor/metrics/{name}")[0] for name in ("freespace", "tag:group")]
    return len(reached) == count and all(len(known) == count for known in metrics)
