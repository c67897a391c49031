"""A Kubo daemon as a `PinNode`: what it really answers, and what each answer proves.

The facts behind the choices here were seen on Kubo 0.34.1 and 0.43.0, and the tests see them again on both:
a status of 200 proves nothing, a pin is done only with a final item that names our CID in `Pins`; `pin/ls` without
`type=recursive` walks every DAG; a pin record outlives its blocks, so wholeness is a question of its own (`dag/stat`
with `offline=true`, which never fetches); and `pin/add` of a pinned CID drops the pin before it walks the DAG again.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder_hookspecs.events import ContentType, Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import EMPTY_DIRECTORY, PIN_NAME, Answer, DagSize, Limits, Told, Whole
from encoder_pin_plugin.nodes.cid import parse_cid
from encoder_pin_plugin.nodes.kubo_errors import OddReply
from encoder_pin_plugin.nodes.kubo_names import tells_names, with_our_names
from encoder_pin_plugin.nodes.kubo_pin import check_pins, follow_pin
from encoder_pin_plugin.nodes.kubo_questions import ask_pinned, ask_whole
from encoder_pin_plugin.nodes.kubo_wire import KuboWire
from encoder_pin_plugin.nodes.sayings import said
from encoder_pin_plugin.settings.address import NodeAddress, parse_address
from encoder_pin_plugin.settings.masking import without

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from encoder_pin_plugin.settings import Credentials


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a question may take, in seconds.

    Args:
        ask: for what a node answers from its index.
        walk: for what makes it read every block of up to a hundred DAGs.
    """

    ask: float = 30.0
    walk: float = 900.0


class KuboNode:
    """One Kubo node. Safe to be used by many threads at once; each has connections of its own.

    Args:
        address: multiaddr, URL or `host:port`; raises `InvalidSettings` for anything else.
        auth: credentials for it (Kubo's `API.Authorizations`, or a proxy's), or None.
        patience: how long questions may take.
    """

    def __init__(self, address: str, *, auth: Credentials | None = None, patience: Patience = Patience()) -> None:
        self.where: NodeAddress = parse_address(address)
        self.wire = KuboWire(self.where, auth)
        self.patience = patience
        self._version = ""

    def __repr__(self) -> str:
        return f"KuboNode({self.where.text!r})"

    @property
    def address(self) -> str:
        return self.where.text

    @property
    def on_this_machine(self) -> bool:
        return self.where.on_this_machine

    def close(self) -> None:
        """Close all connections. No call may be under way; a later call opens new ones."""
        self.wire.close()

    def ping(self) -> str:
        """The node's version. One that shows none is alive all the same if it answers a question about a pin."""
        try:
            version = self.wire.ask(
                "version", lambda kubo: _version(kubo.version().as_json()), seconds=self.patience.ask
            )
            return f"Kubo {said(without(self.wire.auth, version), 40)}"
        except NodeError as error:
            if error.reason in (Reason.REFUSED, Reason.TIMEOUT):
                raise
            if self.pinned([EMPTY_DIRECTORY])[EMPTY_DIRECTORY].answer is Answer.UNKNOWN:
                raise
            return "Kubo, which does not show its version"

    def pinned(self, cids: Sequence[str], *, names: bool = False) -> Mapping[str, Told]:
        told = ask_pinned(self.wire, cids, names=names, seconds=self.patience.ask)
        if names and any(answer.yes and not answer.name for answer in told.values()) and not self._tells_names():
            return with_our_names(self.wire, told, seconds=self.patience.ask)
        return told

    def pin(
        self, cid: str, *, name: str = PIN_NAME, limits: Limits, progress: Callable[[int], None] | None = None
    ) -> None:
        """Pin `cid`. Ask `pinned` first: a pin that is there already is dropped by Kubo before it walks the
        DAG, and stays away if the walk is cut short."""
        wanted = parse_cid(cid)
        options = {"progress": "true", "name": name, "timeout": f"{math.ceil(limits.total) + 30}s"}
        items = self.wire.stream(
            f"pin/add of {wanted}",
            lambda kubo: kubo.pin.add(wanted.text, opts=options, stream=True),
            seconds=limits.total,
            silence=limits.stall,
        )
        with closing(items):
            follow_pin(items, wanted, stall=limits.stall, progress=progress, node=self.address)

    def whole(self, cids: Sequence[str]) -> Mapping[str, Whole]:
        return ask_whole(self.wire, cids, seconds=self.patience.walk)

    def unpin(self, cid: str) -> None:
        wanted = parse_cid(cid)
        try:
            self.wire.ask(
                f"pin/rm of {wanted}",
                lambda kubo: check_pins(kubo.pin.rm(wanted.text).as_json(), wanted),
                seconds=self.patience.ask,
            )
        except NodeError as error:
            if "not pinned" not in str(error):
                raise

    def describe(self, cid: str) -> tuple[DagSize | None, ContentType | None]:
        dag = self.whole([cid])[cid].dag
        if dag is None:
            return None, None
        return dag, self._content_type(parse_cid(cid).text)

    def _tells_names(self) -> bool:
        if not self._version:
            try:
                self._version = self.ping()
            except NodeError:
                return True
        return tells_names(self._version)

    def _content_type(self, cid: str) -> ContentType | None:
        try:
            return self.wire.ask(
                f"files/stat of {cid}",
                lambda kubo: _content_type(kubo.files.stat(f"/ipfs/{cid}", opts={"offline": "true"}).as_json()),
                seconds=self.patience.ask,
            )
        except NodeError:
            return None


def _version(reply: object) -> str:
    version = reply.get("Version") if isinstance(reply, dict) else None
    if not isinstance(version, str) or not version:
        raise OddReply("it has no 'Version'")
    return version


def _content_type(reply: object) -> ContentType | None:
    kind = reply.get("Type") if isinstance(reply, dict) else None
    return kind if kind in ("file", "directory") else None
