"""The place where an encoder works: its folder, its own Kubo, and a supernode, which is a second real Kubo.

Both nodes run on loopback, see each other and nobody else, and end when this program ends, however it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from examples.nodes import KuboDaemon, kubo_binary

if TYPE_CHECKING:
    from pathlib import Path

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """One folder with everything in it, and two running nodes."""

    folder: Path
    local: KuboDaemon
    supernode: KuboDaemon

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def archive(self) -> Path:
        return self.data / "local-fallback-pins.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "encoder.log"

    def settings(self, *, backoff: str) -> dict[str, str]:
        """The plugin's settings for this place, as an operator would write them into the environment or `.env`."""
        return {
            "DATA_DIR": str(self.data),
            "NODE_NAME": "encoder-node-1",
            "IPFS_API_ADDR": self.local.api_multiaddr,
            "THREESPEAK_IPFS_ENDPOINT": self.supernode.api_url,
            "USE_CLUSTER_FOR_PINS": "false",
            "LAZY_PIN_BACKOFF": backoff,
        }

    def connect(self) -> None:
        """Let the nodes find each other's blocks; needed again whenever one of them was restarted."""
        self.local.connect(self.supernode)


@contextmanager
def open_workplace(folder: Path, *, say: Say) -> Iterator[Workplace]:
    """Start both nodes, and end them with the block. The first time on a machine builds Kubo, which takes minutes."""
    binary = kubo_binary(say=say)
    with ExitStack() as nodes:
        local = nodes.enter_context(KuboDaemon(folder / "nodes" / "encoder", binary))
        supernode = nodes.enter_context(KuboDaemon(folder / "nodes" / "supernode", binary))
        place = Workplace(folder=folder, local=local, supernode=supernode)
        place.connect()
        yield place
