"""What the Cluster and the pinning service adapters share: one call over HTTP, and what its answer means.

A call ends in a `Reply`, read whole, or in a `NodeError` with a reason and a sentence without secrets. The session
beneath (`transport.py`) holds every call to a deadline and a size, follows no redirect, reads no `.netrc`, and asks no
proxy for loopback. A status code is only where an answer begins: a service behind a proxy answers HTML with 200, and
Cluster an empty 200 for an upload that failed.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import InvalidSettings, NodeError
from encoder_pin_plugin.nodes.address import NodeAddress, parse_address
from encoder_pin_plugin.nodes.kubo_errors import said

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from encoder_pin_plugin.nodes.transport import Watch
    from encoder_pin_plugin.settings import Credentials

ASK_SECONDS = 30.0
"""For one question; a peer that is asked about all peers waits for the slowest."""

REPLY_BYTES = 16 * 1024 * 1024
LONGEST_BUSY = 60.0
"""Seconds that we wait at most for a service that names a time to come back (`Retry-After`)."""


def service_address(text: str, port: int) -> NodeAddress:
    """Read a service's address; an http URL without a port gets `port`. Raises `InvalidSettings`."""
    address = parse_address(text)
    if address.unix_path:
        raise InvalidSettings(f"the address {text!r} is a unix socket, and this service speaks http or https")
    if "://" in text and not address.secure and urlsplit(text).port is None:
        return replace(address, port=port)
    return address


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One whole answer.

    Args:
        where: the call that it answers, for messages.
        status, headers, body: as received; header names in lower case.
        late_error: what the trailer `X-Stream-Error` says: the answer looks well and is not.
        hide: texts that are shown to nobody, should the service send them back to us.
    """

    where: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    late_error: str = ""
    hide: tuple[str, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300 and not self.late_error

    def object(self) -> dict[str, Any]:
        """The body as one JSON object. Raises `NodeError` for a refusal, and for anything else than an object."""
        self.need_ok()
        return self._decode(self.body)

    def lines(self) -> list[dict[str, Any]]:
        """The body as JSON objects, one a line; none for an empty body. Raises as `object`."""
        self.need_ok()
        return [self._decode(line) for line in self.body.splitlines() if line.strip()]

    def need_ok(self) -> None:
        """Raises `NodeError` where the service refused, in its words."""
        if not self.ok:
            raise self.failure()

    def failure(self) -> NodeError:
        """What this answer means where it is no success."""
        words = self.words()
        if self.status in _NOT_ALLOWED:
            return NodeError(
                f"{self.where}: HTTP {self.status}{words}; {_NOT_ALLOWED[self.status]}", Reason.NOT_ALLOWED
            )
        return NodeError(f"{self.where}: HTTP {self.status}{words}", self._reason(words))

    def words(self) -> str:
        """The service's own words after a colon, or nothing where it has none."""
        text = said(self.late_error or _error_in(self.body))
        for secret in self.hide:
            text = text.replace(secret, "***")
        return f": {text}" if text else ""

    def busy_for(self) -> float | None:
        """Seconds after which the service wants to be asked again, 1 … `LONGEST_BUSY`; None where it names none."""
        wish = self.headers.get("retry-after", "").strip()
        if not wish or not (self.status == 429 or self.status >= 500):
            return None
        seconds = float(wish) if wish.isdecimal() and len(wish) < 10 else _seconds_until(wish)
        return None if seconds is None else min(max(seconds, 1.0), LONGEST_BUSY)

    def _reason(self, words: str) -> Reason:
        if self.status == 507 or "no space left" in words or "quota exceeded" in words:
            return Reason.NODE_FULL
        return Reason.NODE_ERROR if words or self.status == 429 else Reason.BAD_REPLY

    def _decode(self, text: bytes) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return value
        what = "an empty body" if not text.strip() else said(text[:80].decode("utf-8", "replace"), 80)
        raise NodeError(
            f"{self.where}: HTTP {self.status} with {what} where a JSON object belongs: a proxy, or another program",
            Reason.BAD_REPLY,
        )


class Http:
    """Calls to one service, with one set of credentials. Safe for many threads: each has connections of its own.

    `seconds` is what one question may take, a wait for a busy service included.
    """

    def __init__(self, address: NodeAddress, auth: Credentials | None = None, *, seconds: float = ASK_SECONDS) -> None:
        self.address = address
        self.seconds = seconds
        self._auth = auth
        self._mine = threading.local()
        self._hide = _secrets(auth)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
        silence: float | None = None,
    ) -> Reply:
        """Send one request and read its answer, whatever its status.

        Args:
            method, path, query, headers: of the request; `path` is quoted already.
            body: what is sent; piece by piece where it comes in pieces.
            seconds: for all of it; default as for any question.
            silence: seconds without a byte; default `seconds`.

        Raises:
            NodeError: REFUSED, TIMEOUT, CUT, or BAD_REPLY for what is no usable answer (a redirect, too many bytes).
        """
        import requests

        session, watch = self._session()
        watch.start(seconds=self.seconds if seconds is None else seconds, silence=silence, body=REPLY_BYTES)
        where = f"{self.address.text} {method} {path}"
        prefix = f"/{self.address.prefix}" if self.address.prefix else ""
        with _failures(where, watch):
            # Not the session's own way: that one is made for calls without a body.
            response = requests.Session.request(
                session,
                method,
                f"{self.address.url.rstrip('/')}{prefix}{path}",
                params=list(query),
                data=body,
                headers=dict(headers or {}),
                allow_redirects=False,
                stream=True,
            )
            with response:  # closed, not kept, where it is not read to its end
                content = response.content
        return Reply(
            where=where,
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=content,
            late_error=watch.late_error,
            hide=self._hide,
        )

    def ask(
        self, method: str, path: str, *, until: float | None = None, query: Sequence[tuple[str, str]] = ()
    ) -> Reply:
        """As `call`; a service that is busy and names a time to come back is asked again then, where that is before
        `until` (seconds of `time.monotonic`, default `seconds` from now). Only for requests that may be repeated."""
        until = until or time.monotonic() + self.seconds
        while True:
            reply = self.call(method, path, query=query)
            if not wait_while_busy(reply, until):
                return reply

    def _session(self) -> tuple[Any, Watch]:
        """This thread's; made anew after a fork, because a connection must not be shared."""
        from encoder_pin_plugin.nodes.transport import Watch, open_session

        if getattr(self._mine, "pid", None) != os.getpid():
            watch = Watch()
            self._mine.session, self._mine.watch = open_session(self.address, self._auth, watch), watch
            self._mine.session.headers.pop("Content-Length", None)
            self._mine.pid = os.getpid()
        return self._mine.session, self._mine.watch


def wait_while_busy(reply: Reply, until: float) -> bool:
    """Sleep for as long as a busy service wishes, and say that it may be asked again; False where there is no such
    wish, or it would end after `until`."""
    wait = reply.busy_for()
    if wait is None or time.monotonic() + wait >= until:
        return False
    time.sleep(wait)
    return True


@contextmanager
def _failures(where: str, watch: Watch) -> Iterator[None]:
    """Turns whatever a call raises into a `NodeError`; one of the upload's own source passes as it is."""
    import http.client

    import urllib3.exceptions

    from encoder_pin_plugin.nodes.transport import BadReply, TimeIsUp

    try:
        yield
    except (BadReply, TimeIsUp, OSError, urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
        reason, words = _judge(error, watch)
        # Not chained: requests puts a header that can't be sent, credentials too, into its error.
        raise NodeError(f"{where}: {words}", reason) from None


def _judge(error: Exception, watch: Watch) -> tuple[Reason, str]:
    import http.client

    import requests
    import urllib3.exceptions

    from encoder_pin_plugin.nodes.transport import BadReply, TimeIsUp

    inner = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else error
    if isinstance(error, requests.exceptions.InvalidHeader):
        return Reason.NOT_ALLOWED, "the credentials hold characters that cannot be sent: write them anew"
    if isinstance(error, BadReply):
        return Reason.BAD_REPLY, f"the answer is no such service's: {error}"
    if isinstance(error, requests.ConnectTimeout):
        return Reason.REFUSED, "nobody answers there: no connection in time"
    if isinstance(inner, TimeIsUp | requests.Timeout | urllib3.exceptions.ReadTimeoutError):
        return Reason.TIMEOUT, "no complete answer in the time allowed"
    if isinstance(inner, urllib3.exceptions.ProtocolError | http.client.HTTPException) or watch.answered:
        return Reason.CUT, "the connection broke before the whole answer came, or what answers is no HTTP server"
    return Reason.REFUSED, f"nobody answers there: {_innermost(inner)}"


def _innermost(error: object) -> str:
    """The system's own reason, without the object addresses that urllib3 prints."""
    for _ in range(10):
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return said(str(error).rpartition(": ")[2] or type(error).__name__, 120)


def _error_in(body: bytes) -> str:
    """The words of an error: Cluster's `message`, a pinning service's `error.reason` and `error.details`; else what
    is readable of a short text. HTML has none: it is a proxy's, not the service's."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        text = body[:400].decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else text
    if not isinstance(value, dict):
        return ""
    error = value.get("error", value.get("message"))
    if isinstance(error, dict):
        return " ".join(str(error[key]) for key in ("reason", "details") if error.get(key))
    return str(error or "")


def _seconds_until(moment: str) -> float | None:
    try:
        return (parsedate_to_datetime(moment).astimezone(UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None


def _secrets(auth: Credentials | None) -> tuple[str, ...]:
    if auth is None:
        return ()
    return tuple(text for text in (auth.header().partition(" ")[2], auth.secret.reveal()) if len(text) > 3)


_NOT_ALLOWED = {
    401: "correct the credentials",
    403: "correct the credentials, or let them do this",
    404: "the address is wrong, or another program's",
    405: "the address is wrong, or another program's",
}
