"""Nodes that meet, in memory: they say who and where they are, note whom they dial, and connect to what they are told.

They answer at the wire, so that the code that reads them is the real one; `tests/real/test_migrate_targets.py` has real
daemons meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive.carrying import Carrier, Transfer
from encoder_pin_plugin.archive.meeting import choose
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Limits
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.kubo_errors import OddReply
from tests.archive.targets import node_error

LIMITS = Limits(stall=100, total=700)
LOOPBACK, LOOPBACK_6 = "/ip4/127.0.0.1/tcp/4001/p2p/", "/ip6/::1/tcp/4001/p2p/"
PRIVATE, PUBLIC = "/ip4/10.0.0.1/tcp/4001/p2p/", "/ip4/1.2.3.4/tcp/4001/p2p/"
QUIC, WEB = "/ip4/1.2.3.4/udp/4001/quic-v1/p2p/", "/ip4/1.2.3.4/tcp/4001/ws/p2p/"


class Node(KuboNode):
    """A Kubo node that says who and where it is, and connects to what answers: `answers` beginnings of addresses."""

    def __init__(self, address: str, peer: str, *places: str, answers: Sequence[str] = ("/",)) -> None:
        super().__init__(address)
        self.says: Any = {"ID": peer, "Addresses": [f"{place}{peer}" for place in places]}
        self.answers = tuple(answers)
        self.error = node_error(Reason.REFUSED)
        self.dialled: list[str] = []
        self.takes: Callable[[], object] = lambda: None
        self.asked: list[tuple[str, float]] = []
        self.wire: Any = self
        self._client = SimpleNamespace(request=self._connect)

    def ask(self, what: str, call: Callable[[Any], Any], *, seconds: float) -> Any:
        self.asked.append((what.partition(" ")[0], seconds))
        try:
            return call(self)
        except OddReply as error:
            raise NodeError(str(error), Reason.BAD_REPLY) from error

    def id(self) -> Any:
        if isinstance(self.says, NodeError):
            raise self.says
        return SimpleNamespace(as_json=lambda: self.says)

    def _connect(self, command: str, args: Sequence[str], **_: Any) -> list[Any]:
        assert command == "swarm/connect"
        self.dialled.append(args[0])
        self.takes()
        if not args[0].startswith(self.answers):
            raise self.error
        return [{"Strings": [f"connect {args[0]} success"]}]


class Cluster(ClusterNode):
    """A cluster that names the Kubo nodes of its peers, or fails to."""

    def __init__(self, *kubos: Node, address: str = "http://cluster:9094", knows: Sequence[Node] = ()) -> None:
        super().__init__(address, peers={node.says["ID"]: node for node in knows})
        self.kubos: Any = kubos
        self.wire: Any = SimpleNamespace(http=SimpleNamespace(call=self._call))

    def _call(self, method: str, path: str, **_: Any) -> Any:
        assert (method, path) == ("GET", "/peers")
        if isinstance(self.kubos, NodeError):
            raise self.kubos
        rows = [{"ipfs": {"id": kubo.says["ID"], "addresses": kubo.says["Addresses"]}} for kubo in self.kubos]
        return SimpleNamespace(lines=lambda: rows)


class Clock:
    """Time that passes by dialling alone."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def take(self, seconds: float) -> Callable[[], None]:
        def passing() -> None:
            self.now += seconds

        return passing


def local_node() -> Node:
    return Node("http://127.0.0.1:5001", "ours", LOOPBACK, PRIVATE, PUBLIC)


def target_node() -> Node:
    return Node("http://permanent:5001", "theirs", LOOPBACK, PUBLIC)


def chosen(target: Any, local: Node | None, transfer: Transfer) -> Carrier:
    carrier = choose(target, local, transfer, LIMITS)
    assert (carrier.target, carrier.local, carrier.limits) == (target, local, LIMITS)
    return carrier
