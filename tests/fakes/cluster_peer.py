"""A Cluster peer that says what Cluster 1.1.6 says, from memory, and on command what a real one won't say.

Its answers, status, JSON shape and words, are compared with a real peer's in tests/real/test_cluster_node.py.

    with FakeClusterPeer(["peer-1", "peer-2"]) as peer:
        peer.becomes("pinning", "pinned")  # what each question about a new pin finds, the last one for ever
        peer.say(cid, {"peer-1": "pinned", "peer-2": "cluster_error"})
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.fakes.service import FakeService, Request, send_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.fakes.kubo_node import Talk

LONGEST_HEADER = 8192
_CID = re.compile(r"(Qm[1-9A-HJ-NP-Za-km-z]{44}|b[a-z2-7]{50,})")
_NOT_THERE = {"code": 404, "message": "pin is not part of the pinset"}
_BAD_CID = {"code": 400, "message": "error decoding Cid: invalid cid: selected encoding not supported"}


class FakeClusterPeer(FakeService):
    """A peer of a cluster of `peers`. `pinset` holds the wanted pins, `recovered` what was to be recovered, `kubos` the
    peer ids of their Kubo nodes where these are not made up."""

    def __init__(self, peers: Sequence[str] = ("peer-1",), *, token: str = "") -> None:
        super().__init__(token=token)
        self.peers = list(peers)
        self.pinset: dict[str, dict[str, Any]] = {}
        self.recovered: list[str] = []
        self.kubos: dict[str, str] = {}
        self._becomes: list[str] = ["pinned"]
        self._left: dict[str, list[str]] = {}
        self._said: dict[str, Mapping[str, Any]] = {}

    def becomes(self, *statuses: str) -> None:
        self._becomes = list(statuses)

    def say(self, cid: str, peer_map: Mapping[str, Any]) -> None:
        """What the peers say of a CID: each a status, or whatever the test wants to stand there."""
        self._said[cid] = peer_map

    def refuse(self, talk: Talk) -> None:
        send_json(talk, {"code": 401, "message": "no tokens or basic authentication provided"}, 401)

    def answer(self, talk: Talk, request: Request) -> None:
        _, _, cid = request.path.partition("/pins/")
        cid = cid.removesuffix("/recover")
        known = {
            "GET /version": lambda: send_json(talk, {"version": "1.1.6"}),
            "GET /peers": lambda: self._peers(talk),
            "GET /pins": lambda: self._list(talk, request.query.get("cids", "").split(",")),
            "POST /add": lambda: self._add(talk, request),
        }
        if request.command in known:
            known[request.command]()
        elif request.path.startswith("/allocations/"):
            wanted = self.pinset.get(request.path.removeprefix("/allocations/"))
            send_json(talk, wanted or _NOT_THERE, 200 if wanted else 404)
        elif cid and not _CID.fullmatch(cid):
            send_json(talk, _BAD_CID, 400)
        elif cid:
            self._one(talk, request, cid)
        else:
            send_json(talk, {"code": 404, "message": "not found"}, 404)

    def _one(self, talk: Talk, request: Request, cid: str) -> None:
        if request.method == "GET":
            send_json(talk, self._status(cid))
        elif request.path.endswith("/recover"):
            self.recovered.append(cid)
            send_json(talk, self._status(cid))
        elif request.method == "POST":
            self._pin(talk, cid, request.query)
        elif cid in self.pinset:
            send_json(talk, self.pinset.pop(cid))
        else:
            send_json(talk, _NOT_THERE, 404)

    def _pin(self, talk: Talk, cid: str, query: Mapping[str, str]) -> None:
        least, most = (int(query.get(f"replication-{end}", -1)) for end in ("min", "max"))
        if least > len(self.peers):
            words = f"not enough peers to allocate CID. Needed at least: {least}. Wanted at most: {most}. "
            words += f"Available candidates: {len(self.peers)}. See logs for more info."
            send_json(talk, {"code": 500, "message": words}, 500)
            return
        self._want(cid, query, least, most)
        send_json(talk, self.pinset[cid])
        self.pinset[cid]["origins"] = self.pinset[cid]["origins"] or []  # what is stored has a list

    def _want(self, cid: str, query: Mapping[str, str], least: int, most: int) -> None:
        self._left[cid] = list(self._becomes)
        self.pinset[cid] = {
            "replication_factor_min": least,
            "replication_factor_max": most,
            "name": query.get("name", ""),
            "mode": "recursive",
            "shard_size": 0,
            "user_allocations": None,
            "expire_at": query.get("expire-at", "0001-01-01T00:00:00Z"),
            "metadata": {key[5:]: value for key, value in query.items() if key.startswith("meta-")},
            "pin_update": None,
            "origins": query["origins"].split(",") if query.get("origins") else None,
            "cid": cid,
            "type": "pin",
            "allocations": [] if least == -1 else [f"id-of-{name}" for name in self.peers[: max(most, least)]],
            "max_depth": -1,
            "reference": None,
            "timestamp": "2026-11-24T11:18:10.726233634Z",
        }

    def _list(self, talk: Talk, cids: list[str]) -> None:
        if len(",".join(cids)) > LONGEST_HEADER:
            talk.send(431, "431 Request Header Fields Too Large")
        elif not all(map(_CID.fullmatch, cids)):
            send_json(talk, _BAD_CID, 400)
        else:
            talk.start_stream()
            for cid in cids:
                talk.item(self._status(cid))
            talk.end()

    def _status(self, cid: str) -> dict[str, Any]:
        wanted = self.pinset.get(cid, {})
        return {
            "cid": cid,
            "name": wanted.get("name", ""),
            "allocations": wanted.get("allocations", []),
            "origins": wanted.get("origins"),
            "created": "2026-11-24T11:18:10Z",
            "metadata": wanted.get("metadata"),
            "peer_map": self._peer_map(cid, wanted),
        }

    def _peers(self, talk: Talk) -> None:
        talk.start_stream()
        for name in self.peers:
            kubo = {"id": self.kubos.get(name, f"kubo-of-{name}"), "addresses": [], "error": ""}
            talk.item({"id": f"id-of-{name}", "peername": name, "ipfs": kubo, "error": ""})
        talk.end()

    def _peer_map(self, cid: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        if cid in self._said:
            said = self._said[cid]
            return {f"id-of-{n}": self._entry(n, s) if isinstance(s, str) else s for n, s in said.items()}
        status = "unpinned"
        if wanted:
            left = self._left[cid]
            status = left.pop(0) if len(left) > 1 else left[0]
        chosen = wanted.get("allocations") or [f"id-of-{name}" for name in self.peers]
        return {
            f"id-of-{name}": self._entry(name, status if f"id-of-{name}" in chosen else "remote") for name in self.peers
        }

    def _entry(self, name: str, status: str) -> dict[str, Any]:
        status, _, error = status.partition(": ")
        return {
            "peername": name,
            "ipfs_peer_id": self.kubos.get(name, f"kubo-of-{name}"),
            "status": status,
            "timestamp": "2026-11-24T11:18:12.247044962Z",
            "error": error,
            "attempt_count": 1 if error or status == "pinning" else 0,
            "priority_pin": False,
        }

    def _add(self, talk: Talk, request: Request) -> None:
        """Takes for a CAR what holds the name of its root; everything else is a damaged one, which is an empty 200."""
        found = re.search(rb"CAR OF ([0-9A-Za-z]+) ENDS", request.body)
        talk.start_stream()
        if not found:
            talk.end("unexpected EOF")
            return
        cid = found[1].decode()
        self._want(cid, request.query, *(int(request.query.get(f"replication-{end}", -1)) for end in ("min", "max")))
        line = {"name": "content.car", "cid": cid, "bytes": 6153, "allocations": ["id-of-peer-1"]}
        talk.chunk(json.dumps(line).encode() + b"\n")
        talk.end()
