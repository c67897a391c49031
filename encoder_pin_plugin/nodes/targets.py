"""Where a migration goes, from one line of text: `kubo+http://…`, `cluster+http://…`, `psa+https://…`.

The word before the plus says which software answers there, because no port does: a Cluster peer alone listens on three,
of which one passes for a Kubo node and says "pinned" before a byte has moved. Options stand in the query:

    cluster+http://cluster.example:9094?replication-min=2&replication-max=3
    cluster+http://cluster.example?quorum=2&peer=peer1@http://10.0.0.1:5001&peer=peer2@http://10.0.0.2:5001

Credentials never do: a command line is read by everybody on the machine (`ps`), and kept in a history. What looks like
some is refused, and not repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.pinning_service import PinningService
from encoder_pin_plugin.settings.address import parse_address
from encoder_pin_plugin.settings.masking import may_hold_a_password, shown_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.nodes.pinning_service import Dial
    from encoder_pin_plugin.settings import Credentials

KINDS = ("kubo", "cluster", "psa")
_INSTEAD = (
    "everybody on this machine reads a command line, and shells keep it; put bearer:TOKEN or basic:USER:PASSWORD"
    " into MIGRATE_AUTH in the environment, or into a file of mode 0600 that MIGRATE_AUTH_FILE names"
)
_EXAMPLE = "write kubo+http://node.example:5001, cluster+http://cluster.example:9094 or psa+https://service.example/psa"


@dataclass(frozen=True, kw_only=True)
class NamedTarget:
    """A target that was read, and is a possible one; nothing is opened yet.

    Args:
        url: as it was written.
        kind: one of `KINDS`.
        address: the URL without kind and options.
        numbers, peers: options of a cluster.
    """

    url: str
    kind: str
    address: str
    numbers: Mapping[str, int] = field(default_factory=dict)
    peers: Mapping[str, PinNode] = field(default_factory=dict)

    def open(
        self, auth: Credentials | None = None, *, dial: Dial | None = None
    ) -> KuboNode | ClusterNode | PinningService:
        """The node; nothing is sent to it yet.

        Args:
            auth: credentials for it.
            dial: called with the addresses of a pinning service, so that it finds the content with us.
        """
        if self.kind == "kubo":
            return KuboNode(self.address, auth=auth)
        if self.kind == "cluster":
            return ClusterNode(self.address, auth=auth, peers=self.peers, **self.numbers)
        return PinningService(self.address, auth=auth, dial=dial)


def read_target(url: str) -> NamedTarget:
    """What `url` names.

    Args:
        url: `KIND+http(s)://host[:port][/prefix][?option=…]`, KIND one of `KINDS`. Options of a cluster:
            `replication-min`, `replication-max`, `quorum` (numbers), `peer=NAME@URL` (the Kubo node of a peer, once for
            each, called without credentials).

    Raises:
        InvalidSettings: says what is wrong with it and what to write instead.
    """
    if may_hold_a_password(url):
        raise InvalidSettings(
            f"the target {shown_address(url)} holds a user or a password: {_INSTEAD}; and change the one that was shown"
        )
    kind, plus, address = url.partition("+")
    if not plus or kind not in KINDS or not address.startswith(("http://", "https://")):
        raise InvalidSettings(f"the target {shown_address(url)} names no kind of node we know; {_EXAMPLE}")
    address, options = _split(address, url)
    parse_address(address)
    if kind == "cluster":
        numbers, peers = _of_a_cluster(options, url)
        return NamedTarget(url=url, kind=kind, address=address, numbers=numbers, peers=peers)
    if options:
        raise InvalidSettings(
            f"the target {shown_address(url)} has options, and only a cluster takes any. If that is a token: {_INSTEAD}"
        )
    return NamedTarget(url=url, kind=kind, address=address)


def _split(address: str, url: str) -> tuple[str, list[tuple[str, str]]]:
    try:
        parts = urlsplit(address)
    except ValueError:  # it may quote a part of the URL
        raise InvalidSettings(f"the target {shown_address(url)} is no URL; {_EXAMPLE}") from None
    bare = urlunsplit((parts.scheme, parts.netloc, parts.path, "", parts.fragment))
    return bare, parse_qsl(parts.query, keep_blank_values=True)


def _of_a_cluster(options: list[tuple[str, str]], url: str) -> tuple[dict[str, int], dict[str, PinNode]]:
    numbers: dict[str, int] = {}
    peers: dict[str, PinNode] = {}
    for name, value in options:
        if name == "peer":
            peer, at, where = value.partition("@")
            if not peer or not at:
                raise InvalidSettings(f"a peer in the target {shown_address(url)} is not named: write peer=NAME@URL")
            peers[peer] = KuboNode(where)
        else:
            option = _number_option(name, url)
            numbers[option] = _number(name, value, url)
    _check(numbers, url)
    return numbers, peers


def _number_option(name: str, url: str) -> str:
    if name not in ("replication-min", "replication-max", "quorum"):
        raise InvalidSettings(
            f"the target {shown_address(url)} has what is no option of a cluster; known are replication-min,"
            f" replication-max, quorum and peer. If that is a token: {_INSTEAD}"
        )
    return name.replace("-", "_")


def _number(name: str, value: str, url: str) -> int:
    least = 1 if name == "quorum" else -1
    try:
        number = int(value)
    except ValueError:
        number = least - 1
    if not least <= number <= 10_000:
        words = "a number of copies" if name == "quorum" else "a number of copies, or -1 for every peer"
        raise InvalidSettings(f"{name} in the target {shown_address(url)}: write {words}")
    return number


def _check(numbers: Mapping[str, int], url: str) -> None:
    least, most = numbers.get("replication_min", 0), numbers.get("replication_max", 0)
    if 0 < most < least or (least == -1 and most > 0) or (most == -1 and least > 0):
        raise InvalidSettings(f"replication-min and -max of the target {shown_address(url)} contradict each other")
