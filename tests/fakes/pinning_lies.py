"""What a pinning service can say of a pin that it does not have: a table of lies in the words of the API.

The truth behind each of them is that the service has nothing, and a request that it takes stays queued for ever. What
every server can do wrong on the wire is in `kubo_lies.py`; that the honest fake says what real services say is in
tests/real/test_pinning_service.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fakes.kubo_lies import OTHER_CID
from tests.fakes.service import send_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.kubo_node import Talk

LIST, ONE, ADD = "GET /pins", "GET /pins/", "POST /pins"


@dataclass(frozen=True)
class PinningLie:
    """One way not to tell the truth: `tell` answers the requests whose "METHOD /path" begins with `to`."""

    tell: Callable[[Talk], object]
    to: str


def _status(cid: object, **changes: Any) -> dict[str, Any]:
    made = {"requestid": "req-1", "status": "pinned", "created": "2026-11-24T11:18:00.001Z", "pin": {"cid": cid}}
    return made | {"delegates": []} | changes


def _cid(talk: Talk) -> str:
    """The CID asked about; the service knows of each request for which one it was."""
    request: Any = talk.call
    if request.method == "POST":
        return str(request.json()["cid"])
    asked = request.query.get("cid", "").partition(",")[0]
    return asked or next((str(made["pin"]["cid"]) for made in talk.node.requests), OTHER_CID)  # type: ignore[attr-defined]


def _results(make: Callable[[str], list[Any]], **changes: Any) -> PinningLie:
    """Tells this list where it is asked for one, and the truth about one request."""

    def tell(talk: Talk) -> None:
        if talk.call.path != "/pins":  # type: ignore[attr-defined]
            talk.node.answer(talk, talk.call)  # type: ignore[attr-defined]
            return
        results = make(_cid(talk))
        send_json(talk, {"count": len(results), "results": results} | changes)

    return PinningLie(tell, LIST)


def _request(make: Callable[[str], object], code: int = 200) -> PinningLie:
    return PinningLie(lambda talk: send_json(talk, make(_cid(talk)), code), ONE)


def _taken(make: Callable[[str], object], code: int = 202) -> PinningLie:
    """Takes a request, and does not."""
    return PinningLie(lambda talk: send_json(talk, make(_cid(talk)), code), ADD)


def _cut_list(talk: Talk) -> None:
    body = json.dumps({"count": 1, "results": [_status(_cid(talk))]})
    talk.send(200, body[:-12], "application/json")


PINNING_LIES: dict[str, PinningLie] = {
    "the list is about another CID": _results(lambda _: [_status(OTHER_CID)]),
    "the list is of pages that repeat": _results(lambda _: [_status(OTHER_CID)] * 1000, count=5000),
    "the list holds less than it counts": _results(lambda _: [], count=7),
    "the list counts in words": _results(lambda _: [], count="none"),
    "the list counts below zero": _results(lambda _: [_status(OTHER_CID)], count=-1),
    "the list is none": _results(lambda _: [], results=None),
    "the list is an object": _results(lambda cid: [], results=_status(OTHER_CID)),
    "the list names no CID": _results(lambda _: [_status(None)]),
    "the list has a list for a CID": _results(lambda cid: [_status([cid])]),
    "the list names no request": _results(lambda cid: [_status(cid, requestid=None)]),
    "the list has a path for a request": _results(lambda cid: [_status(cid, requestid="../pins", status="queued")]),
    "the list is cut": PinningLie(_cut_list, LIST),
    "the list says PINNED": _results(lambda cid: [_status(cid, status="PINNED")]),
    "the list says pinned and a blank": _results(lambda cid: [_status(cid, status="pinned ")]),
    "the list says true": _results(lambda cid: [_status(cid, status=True)]),
    "the list says it in a list": _results(lambda cid: [_status(cid, status=["pinned"])]),
    "the list says it in passing": _results(lambda cid: [_status(cid, status="queued", info={"status": "pinned"})]),
    "one request for two CIDs": _results(lambda cid: [_status(cid, status="queued"), _status(OTHER_CID)]),
    "one request, pinned and not": _results(lambda cid: [_status(cid), _status(cid, status="queued")]),
    "one request, not pinned and pinned": _results(lambda cid: [_status(cid, status="queued"), _status(cid)]),
    "the request is pinned, not in the list": _request(_status),
    "the request is for another CID": _request(lambda _: _status(OTHER_CID)),
    "the request is another": _request(lambda cid: _status(cid, requestid="req-2")),
    "the request failed": _request(lambda cid: _status(cid, status="failed")),
    "the request is gone": _request(lambda _: {"error": {"reason": "NOT_FOUND"}}, code=404),
    "the request is pinned, under 500": _request(_status, code=500),
    "taken as pinned": _taken(_status),
    "taken as another CID": _taken(lambda _: _status(OTHER_CID)),
    "taken without a request": _taken(lambda cid: _status(cid, requestid="")),
    "taken, under 200, in a list": _taken(lambda cid: [_status(cid)], code=200),
    "taken as pinned, under 500": _taken(_status, code=500),
}
"""By what the lie is."""
