"""What a Cluster peer can say of a pin that no peer has: a table of lies in Cluster's own words.

The truth behind each of them is that the pin is queued, for ever, on every peer. What every server can do wrong on the
wire is in `kubo_lies.py`; that the honest fake says what a real peer says is in tests/real/test_cluster_node.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fakes.kubo_lies import OTHER_CID
from tests.fakes.service import send_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.cluster_peer import FakeClusterPeer
    from tests.fakes.kubo_node import Talk

THREE = ("peer-1", "peer-2", "peer-3")
_ABSENT = {"code": 404, "message": "pin is not part of the pinset"}


@dataclass(frozen=True)
class ClusterLie:
    """One way not to tell the truth.

    Args:
        tell: answers the request.
        to: the beginning of "METHOD /path" of those it is told to.
        peers: of the cluster.
        copies: that we want.
    """

    tell: Callable[[Talk], object]
    to: str = "GET /pins"
    peers: tuple[str, ...] = ("peer-1",)
    copies: int = 0


def _peer(talk: Talk) -> FakeClusterPeer:
    return talk.node  # type: ignore[return-value]


def _asked(talk: Talk) -> list[str]:
    one = talk.call.path.removeprefix("/pins").strip("/")  # type: ignore[attr-defined]
    return [one] if one else talk.call.query["cids"].split(",")  # type: ignore[attr-defined]


def _in_stream(talk: Talk) -> bool:
    return bool(talk.call.path == "/pins")  # type: ignore[attr-defined]


def _honest(talk: Talk) -> None:
    _peer(talk).answer(talk, talk.call)  # type: ignore[arg-type]


def _pinned(talk: Talk, cid: str, /, **changes: Any) -> dict[str, Any]:
    """A status as it is where the first peer has pinned."""
    name = _peer(talk).peers[0]
    held = {f"id-of-{name}": _peer(talk)._entry(name, "pinned")}
    return _peer(talk)._status(cid) | {"peer_map": held} | changes


def _says(make: Callable[[Talk, str], object], status: int = 200) -> Callable[[Talk], None]:
    """Answers a question about one CID, or about many, in this way."""

    def tell(talk: Talk) -> None:
        answers = [json.dumps(make(talk, cid)) for cid in _asked(talk)]
        talk.send(status, "\n".join(answers) + "\n", "application/json")

    return tell


def _peers_say(statuses: dict[str, str], **entry: str) -> Callable[[Talk, str], object]:
    def make(talk: Talk, cid: str) -> object:
        said = {f"id-of-{name}": _peer(talk)._entry(name, status) | entry for name, status in statuses.items()}
        return _peer(talk)._status(cid) | {"peer_map": said}

    return make


def _streams(*, pieces: Callable[[Talk, str], list[bytes]], end: Callable[[Talk], object]) -> Callable[[Talk], None]:
    """Answers questions about many CIDs, which come line by line, in this way; others honestly."""

    def tell(talk: Talk) -> None:
        if not _in_stream(talk):
            _honest(talk)
            return
        talk.start_stream()
        for cid in _asked(talk):
            for piece in pieces(talk, cid):
                talk.chunk(piece)
        end(talk)

    return tell


def _line(talk: Talk, cid: str) -> bytes:
    return json.dumps(_pinned(talk, cid)).encode() + b"\n"


def _true_line(talk: Talk, cid: str) -> bytes:
    return json.dumps(_peer(talk)._status(cid)).encode() + b"\n"


def _accepts(code: int, **changes: Any) -> Callable[[Talk], None]:
    """Takes a pin, and does nothing about it."""

    def tell(talk: Talk) -> None:
        (cid,) = _asked(talk)
        send_json(talk, {"cid": cid, "type": "pin", "mode": "recursive", "allocations": [], **changes}, code)

    return tell


CLUSTER_LIES: dict[str, ClusterLie] = {
    "a peer is missing": ClusterLie(_says(_peers_say({"peer-1": "pinned"})), peers=THREE, copies=2),
    "the others are dead": ClusterLie(
        _says(_peers_say({"peer-1": "pinned", "peer-2": "cluster_error", "peer-3": "cluster_error"})),
        peers=THREE,
        copies=2,
    ),
    "the others are queued": ClusterLie(
        _says(_peers_say({"peer-1": "pinned", "peer-2": "pin_queued", "peer-3": "pin_queued"})),
        peers=THREE,
        copies=2,
    ),
    "one Kubo node for two peers": ClusterLie(
        _says(_peers_say({"peer-1": "pinned", "peer-2": "pinned"}, ipfs_peer_id="kubo-of-peer-1")),
        peers=THREE,
        copies=2,
    ),
    "remote everywhere": ClusterLie(_says(_peers_say(dict.fromkeys(THREE, "remote"))), peers=THREE, copies=1),
    "dead everywhere": ClusterLie(_says(_peers_say(dict.fromkeys(THREE, "cluster_error"))), peers=THREE, copies=1),
    "about another CID": ClusterLie(_says(lambda talk, _: _pinned(talk, OTHER_CID))),
    "about no CID": ClusterLie(_says(lambda talk, cid: _pinned(talk, cid, cid=None))),
    "about a CID in a list": ClusterLie(_says(lambda talk, cid: _pinned(talk, cid, cid=[cid]))),
    "pinned by nobody": ClusterLie(_says(lambda _, cid: {"cid": cid, "status": "pinned", "peer_map": {}})),
    "peers in a list": ClusterLie(_says(lambda _, cid: {"cid": cid, "peer_map": [{"status": "pinned"}]})),
    "what is wanted": ClusterLie(_says(lambda _, cid: {"cid": cid, "type": "pin", "mode": "recursive"})),
    "pinned, under 500": ClusterLie(_says(_pinned, status=500)),
    "pinned, under 404": ClusterLie(_says(_pinned, status=404)),
    "an error in the trailer": ClusterLie(
        _streams(pieces=lambda talk, cid: [_line(talk, cid)], end=lambda talk: talk.end("context canceled"))
    ),
    "a stream without an end": ClusterLie(
        _streams(pieces=lambda talk, cid: [_line(talk, cid)], end=lambda talk: talk.cut())
    ),
    "a stream that ends in a line": ClusterLie(
        _streams(pieces=lambda talk, cid: [_line(talk, cid)[:-30]], end=lambda talk: talk.end())
    ),
    "an empty stream": ClusterLie(_streams(pieces=lambda _talk, _cid: [], end=lambda talk: talk.end())),
    "not pinned, then pinned": ClusterLie(
        _streams(pieces=lambda talk, cid: [_true_line(talk, cid), _line(talk, cid)], end=lambda talk: talk.end())
    ),
    "pinned, then not pinned": ClusterLie(
        _streams(pieces=lambda talk, cid: [_line(talk, cid), _true_line(talk, cid)], end=lambda talk: talk.end())
    ),
    "taken, then nothing": ClusterLie(_accepts(202), to="POST /pins/"),
    "taken as pinned": ClusterLie(_accepts(200, status="pinned"), to="POST /pins/"),
    "another CID taken": ClusterLie(_accepts(200, cid=OTHER_CID), to="POST /pins/"),
    "taken, then forgotten": ClusterLie(lambda talk: send_json(talk, _ABSENT, 404), to="GET /pins/"),
}
"""By what the lie is."""
