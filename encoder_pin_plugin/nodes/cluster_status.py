"""What IPFS Cluster says, read: the pin that is wanted, and what each peer has done about it.

Two answers that must not be confused. The *wanted* pin (`POST /pins`, `GET /allocations`) says what the cluster was
asked for and nothing about blocks. The *status* (`GET /pins`) says for each peer whether its Kubo node has pinned.
Statuses: ipfs-cluster v1.1.6 `api/types.go`; what a real cluster says of a dead peer was seen on three peers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, Told
from encoder_pin_plugin.nodes.sayings import said, word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EVERYWHERE = -1
"""A replication factor that means every peer."""

WORKING = frozenset({"pinning"})
FAILED = frozenset({"pin_error", "unpin_error", "unexpectedly_unpinned"})
NOT_YET = frozenset({"unpinned", "unpinning", "pin_queued", "unpin_queued", "sharded"})
ELSEWHERE = "remote"
"""The peer was not chosen for this CID: its word counts neither for nor against."""

DEAD = "cluster_error"
"""The peer did not answer the others, and what stands in its place is theirs."""

_NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, kw_only=True)
class WantedPin:
    """A pin as the cluster's pinset has it: every option that posting it again has to name, or loses.

    Args:
        cid: what is pinned.
        name, metadata, origins, user_allocations, expire_at: as given; `expire_at` empty for never.
        replication_min, replication_max: copies; `EVERYWHERE`, or 0 for the cluster's own setting.
    """

    cid: str
    name: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    user_allocations: tuple[str, ...] = ()
    expire_at: str = ""
    replication_min: int = 0
    replication_max: int = 0

    def options(self) -> list[tuple[str, str]]:
        """As the query of `POST /pins/CID` or `POST /add`."""
        named = (
            ("name", self.name),
            ("replication-min", str(self.replication_min or "")),
            ("replication-max", str(self.replication_max or "")),
            ("origins", ",".join(self.origins)),
            ("user-allocations", ",".join(self.user_allocations)),
            ("expire-at", self.expire_at),
        )
        about = [(f"meta-{key}", value) for key, value in self.metadata.items()]
        return [(key, value) for key, value in named if value] + about


@dataclass(frozen=True, kw_only=True)
class PeerPin:
    """What one peer says of a CID.

    Args:
        peer, name: the peer's id and name.
        kubo: the peer id of its Kubo node.
        status: one of Cluster's words, or whatever stood there.
        error: the peer's own words.
        attempts: how often it tried.
    """

    peer: str
    name: str = ""
    kubo: str = ""
    status: str = ""
    error: str = ""
    attempts: int = 0

    def in_words(self) -> str:
        return f"{self.name or self.peer} {self.status or 'says nothing'}" + (f" ({self.error})" if self.error else "")


@dataclass(frozen=True, kw_only=True)
class CidStatus:
    """What all peers say of one CID. `allocations` are the peers chosen for it; none means every peer. `ours` where its
    metadata says that we asked for it: for ever."""

    cid: str
    name: str = ""
    allocations: tuple[str, ...] = ()
    peers: tuple[PeerPin, ...] = ()
    ours: bool = False

    @property
    def chosen(self) -> tuple[PeerPin, ...]:
        return tuple(peer for peer in self.peers if peer.status != ELSEWHERE)

    @property
    def holders(self) -> tuple[PeerPin, ...]:
        return tuple(peer for peer in self.peers if peer.status == "pinned")

    @property
    def copies(self) -> int:
        """How many Kubo nodes hold it: two peers in front of one node are one copy."""
        return nodes_behind(self.holders)

    @property
    def doubtful(self) -> tuple[PeerPin, ...]:
        """Peers of which nothing is known: dead ones (`cluster_error`), and words that we do not know."""
        known = WORKING | FAILED | NOT_YET | {"pinned"}
        return tuple(peer for peer in self.chosen if peer.status not in known)

    @property
    def failed(self) -> tuple[PeerPin, ...]:
        return tuple(peer for peer in self.chosen if peer.status in FAILED)

    @property
    def working(self) -> bool:
        return any(peer.status in WORKING for peer in self.chosen)

    def judged(self, copies: int, *, named: bool = False) -> Told:
        """Whether at least `copies` peers hold it; unknown where peers that cannot be asked would decide."""
        held, name = self.copies, self.name if named else ""
        if held >= max(copies, 1):
            return Told(answer=Answer.YES, name=name)
        open_question = not self.peers or held + len(self.doubtful) >= copies
        words = f"{held} of {copies} copies: {self.in_words()}"
        return Told(answer=Answer.UNKNOWN if open_question else Answer.NO, detail=words, name=name)

    def in_words(self) -> str:
        """The peers that do not hold it, those with an error first; many of one kind are counted."""
        rest = [peer for peer in self.chosen if peer.status != "pinned"]
        if len(rest) > 4:
            return ", ".join(f"{count} {status}" for status, count in Counter(p.status for p in rest).items())
        return (
            ", ".join(peer.in_words() for peer in sorted(rest, key=lambda peer: not peer.error)) or "no peer is named"
        )


def nodes_behind(peers: Sequence[PeerPin]) -> int:
    """The number of Kubo nodes of some peers; one that names none has a node of its own."""
    return len({peer.kubo or peer.peer for peer in peers})


def read_wanted(answer: Mapping[str, Any]) -> WantedPin:
    """The wanted pin in `POST /pins`, `GET /allocations`; odd values are read as absent."""
    expire = _text(answer.get("expire_at"))
    return WantedPin(
        cid=read_cid(answer.get("cid")),
        name=_text(answer.get("name")),
        metadata={str(key): _text(value) for key, value in _mapping(answer.get("metadata")).items()},
        origins=_texts(answer.get("origins")),
        user_allocations=_texts(answer.get("user_allocations")),
        expire_at="" if expire == _NEVER else expire,
        replication_min=_number(answer.get("replication_factor_min")),
        replication_max=_number(answer.get("replication_factor_max")),
    )


def read_status(answer: Mapping[str, Any]) -> CidStatus:
    """The status object of one CID; odd values are read as absent, an odd status as one that is not known."""
    return CidStatus(
        cid=read_cid(answer.get("cid")),
        name=_text(answer.get("name")),
        allocations=_texts(answer.get("allocations")),
        peers=tuple(_peer(str(key), value) for key, value in _mapping(answer.get("peer_map")).items()),
        ours=_mapping(answer.get("metadata")).get("app") == PIN_NAME,
    )


def read_cid(value: object) -> str:
    """A CID in an answer: a text, or `{"/": text}` as before Cluster 1.0."""
    return _text(value.get("/") if isinstance(value, dict) else value)


def _peer(peer: str, value: object) -> PeerPin:
    says = _mapping(value)
    return PeerPin(
        peer=peer,
        name=said(_text(says.get("peername")), 60),
        kubo=_text(says.get("ipfs_peer_id")),
        status=word(_text(says.get("status"))),
        error=said(_text(says.get("error")), 160),
        attempts=_number(says.get("attempt_count")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    items: Sequence[object] = value if isinstance(value, list) else ()
    return tuple(item for item in items if isinstance(item, str))


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
