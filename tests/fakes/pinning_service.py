"""A pinning service that follows the specification 1.0.0, from memory, and can be told to be one of the odd ones.

Its answers are compared with those of the real ones, Cluster's and npm's mock-ipfs-pinning-service, in
tests/real/test_pinning_service.py.

    with FakePinningService(becomes=["queued", "pinned"]) as service:
        service.add(cid, status="failed")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.service import FakeService, Request, send_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fakes.kubo_node import Talk

DELEGATE = "/ip4/127.0.0.1/tcp/4001/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN"


class FakePinningService(FakeService):
    """`requests` are its pin requests, oldest first; `longest_page` is the largest page that it gives."""

    def __init__(
        self,
        *,
        becomes: Sequence[str] = ("queued", "pinned"),
        token: str = "",
        longest_page: int = 1000,
        accepted: int = 202,
        delegates: Sequence[str] = (DELEGATE,),
    ) -> None:
        super().__init__(token=token)
        self.requests: list[dict[str, Any]] = []
        self.longest_page = longest_page
        self._becomes, self._accepted, self._delegates = list(becomes), accepted, list(delegates)
        self._left: dict[str, list[str]] = {}
        self._made = 0

    def add(self, cid: str, *, becomes: Sequence[str] = (), requestid: str = "", **pin: Any) -> dict[str, Any]:
        self._made += 1
        requestid = requestid or f"req-{self._made}"
        left = self._left[requestid] = list(becomes or self._becomes)
        made = {
            "requestid": requestid,
            "status": left.pop(0) if len(left) > 1 else left[0],
            "created": f"2026-11-24T11:18:{self._made // 1000:02}.{self._made % 1000:03}Z",
            "pin": {"cid": cid, **pin},
            "delegates": self._delegates,
        }
        self.requests.append(made)
        return made

    def refuse(self, talk: Talk) -> None:
        self._error(talk, 401, "UNAUTHORIZED")

    def answer(self, talk: Talk, request: Request) -> None:
        requestid = request.path.removeprefix("/pins").strip("/")
        found = next((made for made in self.requests if made["requestid"] == requestid), None)
        if request.command == "GET /pins":
            self._list(talk, request.query)
        elif request.command == "POST /pins":
            pin = request.json()
            send_json(talk, self.add(pin.pop("cid"), **pin), self._accepted)
        elif found is None:
            self._error(talk, 404, "NOT_FOUND")
        elif request.method == "GET":
            send_json(talk, self._now(found))
        else:
            self.requests.remove(found)
            talk.send(202, b"")

    def _now(self, made: dict[str, Any]) -> dict[str, Any]:
        left = self._left[made["requestid"]]
        made["status"] = left.pop(0) if len(left) > 1 else left[0]
        return made

    def _list(self, talk: Talk, query: dict[str, str]) -> None:
        statuses = query.get("status", "pinned").split(",")
        cids = query["cid"].split(",") if "cid" in query else None
        if cids and len(cids) > 10:
            self._error(talk, 400, "BAD_REQUEST")
            return
        matching = [
            made
            for made in reversed(self.requests)
            if (cids is None or made["pin"]["cid"] in cids)
            and made["status"] in statuses
            and made["created"] < query.get("before", "~")
        ]
        size = min(int(query.get("limit", "10")), self.longest_page)
        send_json(talk, {"count": len(matching), "results": matching[:size]})

    def _error(self, talk: Talk, status: int, reason: str) -> None:
        send_json(talk, {"error": {"reason": reason, "details": "said the fake service"}}, status)
