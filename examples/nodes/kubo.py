"""A real Kubo daemon on loopback, with a folder and ports of its own, that a test may do anything to.

It is online but alone: no bootstrap, no DHT, no announcements, no telemetry. Two of them see each other once
connected. The ports, once chosen, stay: a node that was stopped or killed comes back on the same address, as
a supernode does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from examples.nodes import kubo_repo
from examples.nodes.binaries import KUBO_VERSION, kubo_binary, tell
from examples.nodes.build import Say
from examples.nodes.kubo_rpc import KuboRpc
from examples.nodes.node import LocalNode
from examples.nodes.ports import LOOPBACK, free_port
from examples.nodes.process import NodeProcess


class KuboDaemon(LocalNode):
    """`with KuboDaemon(folder) as node:` runs a node whose repository and log live in `folder`.

    `config` is laid over the node's configuration, section by section; when it sets `API.Authorizations`,
    our own calls use the first secret in it. `binary` is taken as it is; else that of `version` is found or
    built.
    """

    kind = "Kubo"

    def __init__(
        self,
        folder: Path,
        binary: Path | None = None,
        *,
        version: str = KUBO_VERSION,
        offline: bool = False,
        config: Mapping[str, Any] | None = None,
        say: Say = tell,
    ) -> None:
        super().__init__(folder)
        self.repo = self.folder / "repo"
        self.binary = binary or kubo_binary(version, say=say)
        self._keep_ports_of_last_time()
        self._offline = offline
        self._config = config or {}

    @property
    def api_multiaddr(self) -> str:
        return f"/ip4/{LOOPBACK}/tcp/{self._api_port}"

    @property
    def api_url(self) -> str:
        return f"http://{LOOPBACK}:{self._api_port}"

    @property
    def gateway_url(self) -> str:
        return f"http://{LOOPBACK}:{self._gateway_port}"

    @property
    def peer_id(self) -> str:
        """Known from the first start on, whether it runs or not."""
        return kubo_repo.peer_id(self.repo)

    def swarm_addresses(self) -> list[str]:
        """Where other nodes can connect to it: on loopback, with its peer id."""
        return [f"/ip4/{LOOPBACK}/tcp/{self._swarm_port}/p2p/{self.peer_id}"]

    def rpc(self, command: str, *args: str, timeout: float = 60, **params: object) -> list[Any]:
        """Call the RPC API, as in `rpc("pin/add", cid, progress=True)`; the JSON lines of the answer."""
        return self._rpc.call(command, *args, timeout=timeout, **params)

    def connect(self, other: "KuboDaemon") -> None:
        """Connect the swarms, so that each gets the other's blocks; one direction is enough."""
        self.rpc("swarm/connect", *other.swarm_addresses())

    def add(self, path: Path, *, pin: bool = True, timeout: float = 600) -> str:
        """Add a file or a folder (CIDv1, raw leaves) with the `ipfs` program; works on a stopped node too."""
        options = ["--cid-version=1", "--raw-leaves", f"--pin={str(pin).lower()}", "--recursive", "--quieter"]
        return self.command("add", *options, "--", str(path.absolute()), timeout=timeout).strip()

    def add_files(self, files: Mapping[str, bytes], *, pin: bool = True) -> str:
        """Add a directory made of these names and bytes, without touching the disk; its CID."""
        return self._rpc.add_directory(files, pin=pin)

    def pins(self) -> set[str]:
        """The CIDs that are pinned recursively. A new node has one: an empty directory of Kubo's own."""
        return {entry["Cid"] for entry in self.rpc("pin/ls", type="recursive", stream=True)}

    def remove_block(self, cid: str) -> None:
        """Lose one block, pinned or not: what a bad disk does. Its pin record stays."""
        if self.running and not self.frozen:
            self.rpc("block/rm", cid, force=True)  # for Kubo's cache of what it has; refused if it is pinned
        kubo_repo.remove_block_file(self.binary, self.repo, cid)

    def command(self, name: str, *arguments: str, timeout: float = 60) -> str:
        """Run a command of the `ipfs` program on this node's repository; what it printed."""
        secret = [f"--api-auth={self._rpc.secret}"] if self._rpc.secret else []
        return kubo_repo.run(self.binary, self.repo, name, *secret, *arguments, timeout=timeout)

    @property
    def _rpc(self) -> KuboRpc:
        authorizations = self._config.get("API", {}).get("Authorizations") or {}
        secret = next((str(entry["AuthSecret"]) for entry in authorizations.values()), "")
        return KuboRpc(self.api_url, secret)

    def _take_ports(self) -> None:
        self._api_port, self._gateway_port, self._swarm_port = free_port(), free_port(), free_port()

    def _keep_ports_of_last_time(self) -> None:
        if ports := kubo_repo.ports(self.repo):
            self._api_port, self._gateway_port, self._swarm_port = ports

    def _prepare(self) -> None:
        kubo_repo.create(self.binary, self.repo)
        addresses = {
            "API": self.api_multiaddr,
            "Gateway": f"/ip4/{LOOPBACK}/tcp/{self._gateway_port}",
            "Swarm": [f"/ip4/{LOOPBACK}/tcp/{self._swarm_port}"],
        }
        kubo_repo.configure(self.repo, {"Addresses": addresses}, self._config)

    def _spawn(self) -> NodeProcess:
        command = [str(self.binary), "daemon", *(["--offline"] if self._offline else [])]
        return NodeProcess(command, env=kubo_repo.environment(self.repo), log=self.log_path)

    def _is_ready(self) -> bool:
        # The peer id tells our daemon from another one that got the port: then ours is about to end.
        return self._rpc.answers_as(self.peer_id)
