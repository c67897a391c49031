"""The calls of the Pinning Services API 1.0.0, and a list that knows whether it is whole.

Lists come newest first and are paged by `before`; services differ in what `count` means (all that match, or those of
the page), in the largest page, and in the order. So a list says whether it was read to its end: what is missing in one
that was not is unknown, not absent.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.http import Http
from encoder_pin_plugin.nodes.pinning_request import STATUSES, PinRequest, read_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from encoder_pin_plugin.settings import Credentials
    from encoder_pin_plugin.settings.address import NodeAddress

BATCH = 10
"""CIDs in one question: the specification's maximum."""

PAGE = 1000
_MOST_PAGES = 50


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Requests that a service listed; `complete` where it was read to its end."""

    requests: tuple[PinRequest, ...]
    complete: bool


class PinningWire:
    """The calls to one service. A busy one that names a time to come back is waited for within `until`."""

    def __init__(self, address: NodeAddress, auth: Credentials | None, *, seconds: float) -> None:
        self.http = Http(address, auth, seconds=seconds)

    def listed(self, cids: Sequence[str], *, until: float | None = None, page: int = PAGE) -> Listing:
        """Every request for some CIDs (at most `BATCH`), of any status; all there are for no CID."""
        found: dict[str, PinRequest] = {}
        doubtful: set[str] = set()  # of which it says two things
        before, matching = "", 0
        for _ in range(_MOST_PAGES):
            requests, count, items = self._page(cids, page, before, until)
            matching = matching or count  # of the first page: later ones count what is left
            known = len(found)
            for request in requests:
                if found.setdefault(request.requestid, request).says != request.says:
                    doubtful.add(request.requestid)
            oldest = min((request.created for request in requests if request.created), default="")
            if (items < page and len(found) >= matching) or len(found) == known or not oldest or oldest == before:
                break
            before = oldest
        clear = tuple(request for request in found.values() if request.requestid not in doubtful)
        return Listing(requests=clear, complete=len(found) >= matching and not doubtful)

    def _page(
        self, cids: Sequence[str], size: int, before: str, until: float | None
    ) -> tuple[list[PinRequest], int, int]:
        """Readable requests, how many the service says there are, and how many items came."""
        query = [("status", STATUSES), ("limit", str(size))]
        if cids:
            query.append(("cid", ",".join(cids)))
        if before:
            query.append(("before", before))
        reply = self.http.ask("GET", "/pins", query=query, until=until)
        answer = reply.object()
        results, count = answer.get("results"), answer.get("count")
        if not isinstance(results, list) or not all(isinstance(item, dict) for item in results):
            raise NodeError(f"{reply.where}: the answer has no list of results", Reason.BAD_REPLY)
        requests = []
        for item in results:
            with contextlib.suppress(NodeError):  # then the list is not whole, and says so
                requests.append(read_request(item, reply.where))
        return requests, max(count, len(results)) if isinstance(count, int) else len(results), len(results)

    def add(self, pin: Mapping[str, object]) -> PinRequest:
        """Ask for a pin. Not to be repeated without looking: a second request is a second pin. Raises `Busy`."""
        reply = self.http.call(
            "POST", "/pins", body=json.dumps(pin).encode("ascii"), headers={"Content-Type": "application/json"}
        )
        if (wait := reply.busy_for()) is not None:
            raise Busy(reply.failure(), wait)
        return read_request(reply.object(), reply.where)

    def get(self, requestid: str, *, seconds: float, until: float) -> PinRequest | None:
        """The request as it is now, None where the service has none of that name."""
        path = f"/pins/{quote(requestid, safe='')}"
        reply = self.http.call("GET", path, seconds=seconds)
        if reply.busy_for() is not None:
            reply = self.http.ask("GET", path, until=until)
        if reply.status == 404:
            return None
        return read_request(reply.object(), reply.where)

    def delete(self, requestid: str) -> None:
        """Withdraw a request and its pin; one that is gone is no error."""
        path = f"/pins/{quote(requestid, safe='')}"
        reply = self.http.ask("DELETE", path)
        if reply.status != 404:
            reply.need_ok()


class Busy(NodeError):
    """The service did not take a request, and says when to come back."""

    def __init__(self, refusal: NodeError, seconds: float) -> None:
        super().__init__(str(refusal), refusal.reason)
        self.seconds = seconds
