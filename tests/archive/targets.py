"""Nodes that are carried to, in memory: what they are asked for is noted, and they fail as they are told to.

Kubo's own answers to an export and an import are told at the wire, so that the code that reads them is the real one;
`tests/real/test_migrate_targets.py` carries between real daemons.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive.waiting import Item
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer, Limits, Told, Whole
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.pinning_service import PinningService
from tests.cids import directory_cid

Asked = tuple[str, str, Any]
"""What was called, for which CID, and with what."""


class Kubo(KuboNode):
    """A Kubo node: what it lacks, what it pins badly, and what it says to what is pushed."""

    def __init__(self, address: str = "http://permanent:5001") -> None:
        super().__init__(address)
        self.asked: list[Asked] = []
        self.errors: dict[str, NodeError] = {}
        self.lacks: dict[str, Whole] = {}
        self.says: dict[str, str | None] = {}
        self.imports: list[list[str]] = []
        self.refuses: dict[str, NodeError] = {}
        self.wire: Any = Wire(self)

    def pin(self, cid: str, *, limits: Limits, **_: Any) -> None:
        self.asked.append(("pin", cid, limits))
        if cid in self.errors:
            raise self.errors[cid]

    def whole(self, cids: Sequence[str]) -> Mapping[str, Whole]:
        return {cid: self.lacks.get(cid, Whole(answer=Answer.YES)) for cid in cids}


class Wire:
    """`dag/export` and `dag/import` of one node. A root that it `refuses` fails the whole request."""

    auth = None

    def __init__(self, node: Kubo) -> None:
        self.node, self._client = node, self
        self.limits: list[tuple[str, float, float]] = []

    def stream(self, what: str, call: Any, *, seconds: float, silence: float, lines: bool = True) -> Iterator[Any]:
        self.limits.append((what.partition(" ")[0], seconds, silence))
        try:
            yield from call(self)
        except OSError as error:
            raise NodeError(f"the connection broke: {error}", Reason.CUT) from error

    def request(self, command: str, args: Sequence[str], *, data: Iterable[bytes] = (), **_: Any) -> Iterator[Any]:
        if command == "dag/export":
            if args[0] in self.node.errors:
                raise self.node.errors[args[0]]
            yield f"CAR of {args[0]};".encode()
            return
        body = b"".join(data).decode()
        cids = re.findall(r'filename="(\w+)\.car"', body)
        assert cids == re.findall(r"CAR of (\w+);", body)
        self.node.imports.append(cids)
        for cid in cids:
            if cid in self.node.refuses:
                raise self.node.refuses[cid]
            if (words := self.node.says.get(cid, "")) is not None:
                yield {"Root": {"Cid": {"/": cid}, "PinErrorMsg": words}}


class Cluster(ClusterNode):
    """A cluster that accepts everything, and pins what it is followed on."""

    def __init__(self) -> None:
        super().__init__("http://cluster:9094")
        self.asked: list[Asked] = []

    def submit(self, cid: str, **options: Any) -> Any:
        self.asked.append(("submit", cid, options))

    def push_car(self, cid: str, car: Any, **options: Any) -> None:
        self.asked.append(("push", cid, (b"".join(car), options)))

    def pinned(self, cids: Sequence[str], *, names: bool = False) -> Mapping[str, Told]:
        return dict.fromkeys(cids, Told(answer=Answer.NO))

    def pin(self, cid: str, *, limits: Limits, **_: Any) -> None:
        self.asked.append(("follow", cid, limits))


class Service(PinningService):
    """A pinning service that pins everything."""

    def __init__(self) -> None:
        super().__init__("https://service")
        self.asked: list[Asked] = []

    def pin(self, cid: str, **options: Any) -> None:
        self.asked.append(("pin", cid, options))


def items(*numbers: int, mb: float | None = 1.0) -> list[Item]:
    """What waits, as Migration hands it over."""
    cids = {number: directory_cid(number) for number in numbers}
    return [
        Item(cid=cid, keys=[(cid, f"job-{number}")], size_mb=mb, node_id="encoder-1") for number, cid in cids.items()
    ]


def node_error(reason: Reason, words: str = "no") -> NodeError:
    return NodeError(words, reason)
