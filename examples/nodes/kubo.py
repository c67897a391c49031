"""A real Kubo daemon on loopback, with a folder and ports of its own, that a test or the demo may do
anything to.

It is online but alone: no bootstrap, no DHT, no announcements, no telemetry. Two of them see each other
once connected. The ports, once chosen, stay: a node that was stopped or killed comes back on the same
address, as a supernode does.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from examples.nodes import kubo_repo
from examples.nodes.binaries import KUBO_VERSION, Say, kubo_binary, tell
from examples.nodes.errors import NodeError
from examples.nodes.kubo_rpc import KuboRpc
from examples.nodes.ports import LOOPBACK, free_port
from examples.nodes.process import NodeProcess, clean_environment, wait_until_ready

START_PATIENCE = 90.0
_START_TRIES = 5


class KuboDaemon:
    """`with KuboDaemon(folder) as node:` runs a node whose repository and log live in `folder`.

    `config` is laid over the node's configuration, section by section; when it sets `API.Authorizations`, our own
    calls use the first secret in it. `binary` is taken as it is; else that of `version` is found or built.
    """

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
        self.folder = folder.absolute()
        self.binary = binary or kubo_binary(version, say=say)
        self.offline = offline
        self.repo = self.folder / "repo"
        self.log_path = self.folder / "daemon.log"
        self._config = config or {}
        self._process: NodeProcess | None = None
        self._ports_proved = False
        self._take_ports()

    # --- life ---

    def start(self) -> Self:
        """Start the daemon and return once it answers. Ports change only while it has never run on them."""
        if self.running:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.repo.exists():
            kubo_repo.create(self.binary, self.repo)
        for remaining in reversed(range(1 if self._ports_proved else _START_TRIES)):
            try:
                self._start_once()
                break
            except NodeError as error:
                if "address already in use" not in str(error) or not remaining:
                    raise
                self._take_ports()
        self._ports_proved = True
        return self

    def stop(self) -> None:
        """End it cleanly; nothing happens if it does not run."""
        self._end(NodeProcess.stop)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(NodeProcess.kill)

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def freeze(self) -> None:
        """From now on connections are accepted and nothing answers, until `thaw`."""
        self._running_process().freeze()

    def thaw(self) -> None:
        self._running_process().thaw()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        return self._running_process().pid

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- addresses ---

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
        return kubo_repo.peer_id(self.repo)

    def swarm_addresses(self) -> list[str]:
        """Where other nodes can connect to it: with its peer id, on loopback."""
        return [f"/ip4/{LOOPBACK}/tcp/{self._swarm_port}/p2p/{self.peer_id}"]

    # --- what tests and the demo do with it ---

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
        """The CIDs that are pinned recursively."""
        return {entry["Cid"] for entry in self.rpc("pin/ls", type="recursive", stream=True)}

    def remove_block(self, cid: str) -> None:
        """Lose one block, pinned or not: what a bad disk does. Its pin record stays."""
        if self.running and not self._running_process().frozen:
            self.rpc(
                "block/rm", cid, force=True
            )  # so that Kubo's cache of what it has knows; refused if pinned
        kubo_repo.remove_block_file(self.binary, self.repo, cid)

    def command(self, *arguments: str, timeout: float = 60) -> str:
        """Run the `ipfs` program on this node's repository; what it printed."""
        secret = ["--api-auth", self._rpc.secret] if self._rpc.secret else []
        return kubo_repo.run(self.binary, self.repo, *secret, *arguments, timeout=timeout)

    # --- inside ---

    @property
    def _rpc(self) -> KuboRpc:
        authorizations = self._config.get("API", {}).get("Authorizations") or {}
        secret = next((str(entry["AuthSecret"]) for entry in authorizations.values()), "")
        return KuboRpc(self.api_url, secret)

    def _take_ports(self) -> None:
        self._api_port, self._gateway_port, self._swarm_port = free_port(), free_port(), free_port()

    def _start_once(self) -> None:
        ports = {
            "API": self.api_multiaddr,
            "Gateway": f"/ip4/{LOOPBACK}/tcp/{self._gateway_port}",
            "Swarm": [f"/ip4/{LOOPBACK}/tcp/{self._swarm_port}"],
        }
        kubo_repo.configure(self.repo, {"Addresses": ports}, self._config)
        options = ["--offline"] if self.offline else []
        environment = clean_environment(
            IPFS_PATH=str(self.repo), IPFS_TELEMETRY="off", GOLOG_LOG_LEVEL="error"
        )
        self._process = NodeProcess(
            [str(self.binary), "daemon", *options], env=environment, log=self.log_path
        )
        try:
            wait_until_ready(
                self._process, self._is_ready, what=f"Kubo in {self.folder}", patience=START_PATIENCE
            )
        except BaseException:
            self.kill()
            raise

    def _is_ready(self) -> bool:
        # The peer id tells our daemon from another one that got the port: then ours is about to end.
        return self._rpc.answers_as(self.peer_id)

    def _running_process(self) -> NodeProcess:
        if self._process is None or not self._process.running:
            raise NodeError(
                f"Kubo in {self.folder} is not running: start it first; its log is {self.log_path}"
            )
        return self._process

    def _end(self, how: Callable[[NodeProcess], None]) -> None:
        if self._process is not None:
            how(self._process)
            self._process = None
