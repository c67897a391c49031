"""A remote pinning service (Pinning Services API 1.0.0) as a `PinNode`.

The API is not idempotent: a request whose answer was lost, sent again, is a second pin that costs twice. So we look
before we ask, and look again when an answer is lost. A service says `pinned` and no more: whether every block is there
cannot be asked, and `whole` is always unknown.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from encoder_hookspecs.events import ContentType, Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, DagSize, Limits, Told, Whole
from encoder_pin_plugin.nodes.cid import comparable
from encoder_pin_plugin.nodes.http import ASK_SECONDS, service_address
from encoder_pin_plugin.nodes.pin_wait import PinWait
from encoder_pin_plugin.nodes.pinning_request import WAITING, PinRequest
from encoder_pin_plugin.nodes.pinning_wire import BATCH, Busy, PinningWire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from encoder_pin_plugin.settings import Credentials

    Dial = Callable[[Sequence[str]], None]

PORT = 80
MOST_ORIGINS = 20
LONGEST_NAME = 255
_LOST = frozenset({Reason.CUT, Reason.TIMEOUT, Reason.BAD_REPLY, Reason.NODE_ERROR})
"""After which a request may have been taken all the same."""


class PinningService:
    """One account at one service. Safe to be used by many threads at once.

    Args:
        address: of the API, up to but without `/pins`. Raises `InvalidSettings` for what is no address.
        auth: credentials for it (a bearer token at most services), or None.
        dial: called with the service's own addresses (`delegates`), so that it finds the content with us. What it
            raises as `NodeError` or OSError is no failure of the pin.
        ask_seconds: for one question.
    """

    def __init__(
        self,
        address: str,
        *,
        auth: Credentials | None = None,
        dial: Dial | None = None,
        ask_seconds: float = ASK_SECONDS,
    ) -> None:
        self.where = service_address(address, PORT)
        self._wire = PinningWire(self.where, auth, seconds=ask_seconds)
        self._dial = dial

    def __repr__(self) -> str:
        return f"PinningService({self.where.text!r})"

    @property
    def address(self) -> str:
        return self.where.text

    @property
    def on_this_machine(self) -> bool:
        """Never known: the service's address says nothing about its blocks."""
        return False

    def ping(self) -> str:
        """Lists one pin: a service has no cheaper question that needs credentials too. Raises `NodeError`."""
        self._wire.listed((), page=1)
        return "pinning service (API 1.0)"

    def pinned(self, cids: Sequence[str], *, names: bool = False) -> Mapping[str, Told]:
        """For each CID whether the service says `pinned`, on a fresh question; one call for ten CIDs."""
        told: dict[str, Told] = {}
        for start in range(0, len(cids), BATCH):
            told |= self._pinned(cids[start : start + BATCH], names=names)
        return told

    def pin(
        self,
        cid: str,
        *,
        name: str = PIN_NAME,
        limits: Limits,
        progress: Callable[[int], None] | None = None,
        meta: Mapping[str, str] | None = None,
        origins: Sequence[str] = (),
    ) -> None:
        """As `PinNode.pin`; returns when the service says `pinned`. `progress` counts its changes of mind.

        Args:
            meta: kept with the pin, such as job_id and node_id.
            origins: multiaddresses where the content can be fetched; the first twenty are sent.

        Raises:
            NodeError: STALLED where it stays queued for the stall limit, TIMEOUT at the total limit, NODE_ERROR where
                it says `failed`, UNPROVED where the request is gone, NOT_ALLOWED for what only other settings can mend.
        """
        wait = PinWait(limits)
        request = self.submit(cid, name=name, meta=meta, origins=origins, until=wait.until)
        self._help(request)
        self._follow(request, wait, progress or (lambda _: None))

    def submit(
        self,
        cid: str,
        *,
        name: str = PIN_NAME,
        meta: Mapping[str, str] | None = None,
        origins: Sequence[str] = (),
        until: float | None = None,
    ) -> PinRequest:
        """Ask for a pin and return at once; `pinned` says later what came of it. A request that is there already is
        taken as ours, one that failed is replaced. A busy service is waited for until `until` (monotonic seconds).
        Raises `NodeError`."""
        until = until or time.monotonic() + self._wire.http.seconds
        pin: dict[str, object] = {"cid": cid, "name": name[:LONGEST_NAME]}
        pin["meta"] = {"app": PIN_NAME} | dict(meta or {})
        if origins:
            pin["origins"] = list(origins)[:MOST_ORIGINS]
        there = self._best(cid, until)
        if there is not None and there.status != "failed":
            return there
        if there is not None and there.of_cluster:
            return self._add(_again(there), cid, until)
        if there is not None:
            self._wire.delete(there.requestid)
        return self._add(pin, cid, until)

    def whole(self, cids: Sequence[str]) -> Mapping[str, Whole]:
        """Unknown, always."""
        return dict.fromkeys(cids, Whole(answer=Answer.UNKNOWN, detail="a pinning service cannot be asked for blocks"))

    def unpin(self, cid: str, *, requestid: str | None = None) -> None:
        """Withdraw our requests for `cid`, or the one named. Others of the account that pin the same CID are left
        alone; what is gone is no error. Raises `NodeError`."""
        if requestid is not None:
            self._wire.delete(requestid)
            return
        for request in self._requests(cid):
            if request.ours:
                self._wire.delete(request.requestid)

    def describe(self, cid: str) -> tuple[DagSize | None, ContentType | None]:
        """Nothing: what services tell of sizes is not theirs to prove."""
        return None, None

    def _pinned(self, cids: Sequence[str], *, names: bool) -> dict[str, Told]:
        try:
            listing = self._wire.listed(cids)
        except NodeError as error:
            return dict.fromkeys(cids, Told(answer=Answer.UNKNOWN, detail=str(error), reason=error.reason))
        by_cid: dict[str, list[PinRequest]] = {}
        for request in listing.requests:
            by_cid.setdefault(comparable(request.cid), []).append(request)
        return {cid: _told(by_cid.get(comparable(cid), []), listing.complete, named=names) for cid in cids}

    def _requests(self, cid: str, until: float | None = None) -> list[PinRequest]:
        """Those for `cid`. Raises `NodeError` where none was found in a list that is not whole."""
        listing = self._wire.listed((cid,), until=until)
        found = [request for request in listing.requests if comparable(request.cid) == comparable(cid)]
        if not found and not listing.complete:
            words = f"{self.address}: its list of requests for {cid} is not whole: not asking for what may be there"
            raise NodeError(words, Reason.BAD_REPLY)
        return found

    def _best(self, cid: str, until: float) -> PinRequest | None:
        """The request for `cid` that is furthest on."""
        order = {"pinned": 0, "pinning": 1, "queued": 2, "failed": 4}
        return min(self._requests(cid, until), key=lambda request: order.get(request.status, 3), default=None)

    def _add(self, pin: Mapping[str, object], cid: str, until: float) -> PinRequest:
        """Send a new request; where its answer is lost or the service was busy, look whether it was taken."""
        while True:
            try:
                request = self._wire.add(pin)
            except NodeError as error:
                if error.reason not in _LOST:
                    raise
                taken = self._taken(cid, until)
                if taken is not None:
                    return taken
                if not isinstance(error, Busy) or time.monotonic() + error.seconds >= until:
                    raise
                time.sleep(error.seconds)
                continue
            if comparable(request.cid) != comparable(cid):
                words = f"{self.address}: asked to pin {cid}, it answers about {request.cid[:80]!r}"
                raise NodeError(words, Reason.BAD_REPLY)
            return request

    def _taken(self, cid: str, until: float) -> PinRequest | None:
        with contextlib.suppress(NodeError):  # the failure of the request itself says more
            request = self._best(cid, until)
            if request is not None and request.status != "failed":
                return request
        return None

    def _help(self, request: PinRequest) -> None:
        if self._dial is not None and request.delegates and request.status in WAITING:
            with contextlib.suppress(NodeError, OSError):
                self._dial(request.delegates)

    def _follow(self, request: PinRequest, wait: PinWait, progress: Callable[[int], None]) -> None:
        what = f"{self.address} pinning {request.cid}"
        trouble: NodeError | None = None
        changes = 0
        wait.begin()
        while not request.pinned or trouble is not None:
            if (over := wait.over()) is not None:
                raise trouble or NodeError(f"{what}: {over.value}, {request.in_words()}", _end(over, request))
            if request.status == "failed" and not request.of_cluster:
                raise NodeError(f"{what}: {request.in_words()}", Reason.NODE_ERROR)
            wait.pause()
            try:
                request, trouble = self._again(request, wait, what), None
            except NodeError as error:  # one question of many: the pin goes on without it
                if error.reason in (Reason.NOT_ALLOWED, Reason.UNPROVED):
                    raise
                trouble = error
            if wait.saw((request, str(trouble)), working=request.status == "pinning" and trouble is None):
                changes += 1
                progress(changes)

    def _again(self, request: PinRequest, wait: PinWait, what: str) -> PinRequest:
        now = self._wire.get(request.requestid, seconds=wait.left(self._wire.http.seconds), until=wait.until)
        if now is None:
            raise NodeError(f"{what}: the service no longer knows request {request.requestid}", Reason.UNPROVED)
        if comparable(now.cid) != comparable(request.cid):
            raise NodeError(f"{what}: request {request.requestid} is now for {now.cid[:80]!r}", Reason.UNPROVED)
        return now


def _again(there: PinRequest) -> dict[str, object]:
    """The same request once more, which has Cluster try again at once; it must keep every option, or loses it."""
    pin: dict[str, object] = {"cid": there.cid, "name": there.name, "meta": dict(there.meta)}
    return pin | ({"origins": list(there.origins)} if there.origins else {})


def _end(over: Reason, request: PinRequest) -> Reason:
    return Reason.NODE_ERROR if request.status == "failed" else over


def _told(requests: Sequence[PinRequest], complete: bool, *, named: bool) -> Told:
    held = next((request for request in requests if request.pinned), None)
    if held is not None:
        return Told(answer=Answer.YES, name=held.name if named else "")
    words = ", ".join(request.in_words() for request in requests) or "no request for it"
    clear = complete and all(request.status in WAITING | {"failed"} for request in requests)
    detail = words if complete else f"{words}; the list is not whole"
    return Told(answer=Answer.NO if clear else Answer.UNKNOWN, detail=detail)
