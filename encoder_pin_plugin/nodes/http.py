"""What the Cluster and the pinning service adapters share: one call over HTTP, and what its answer means.

A call ends in a `Reply`, read whole, or in a `NodeError` with a reason and a sentence without secrets. The session
beneath (`transport.py`) holds every call to a deadline and a size, follows no redirect, reads no `.netrc`, and asks no
proxy for loopback.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import InvalidSettings, NodeError
from encoder_pin_plugin.nodes.http_reply import Reply, wait_while_busy
from encoder_pin_plugin.nodes.sayings import cause, said
from encoder_pin_plugin.settings.address import NodeAddress, parse_address
from encoder_pin_plugin.settings.masking import without

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence

    import requests

    from encoder_pin_plugin.nodes.transport import Watch
    from encoder_pin_plugin.settings import Credentials

ASK_SECONDS = 30.0
"""For one question; a peer that is asked about all peers waits for the slowest."""

REPLY_BYTES = 16 * 1024 * 1024
ERROR_BYTES = 65536


def service_address(text: str, port: int) -> NodeAddress:
    """Read a service's address; an http URL without a port gets `port`. Raises `InvalidSettings`."""
    address = parse_address(text)
    if address.unix_path:
        raise InvalidSettings(f"the address {text!r} is a unix socket, and this service speaks http or https")
    if "://" in text and not address.secure and urlsplit(text).port is None:
        return replace(address, port=port)
    return address


class Http:
    """Calls to one service, with one set of credentials. Safe for many threads: each has connections of its own.

    `seconds` is what one question may take, a wait for a busy service included.
    """

    def __init__(self, address: NodeAddress, auth: Credentials | None = None, *, seconds: float = ASK_SECONDS) -> None:
        self.address = address
        self.seconds = seconds
        self._auth = auth
        self._mine = threading.local()

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
        where = f"{self.address.text} {method} {path}"
        _check_sendable(self._auth, where)
        session, watch = self._session()
        watch.start(seconds=self.seconds if seconds is None else seconds, silence=silence, body=REPLY_BYTES)
        sent = {"params": list(query), "data": body, "headers": dict(headers or {})}
        with _failures(where, watch, self._auth), _send(session, method, self._url(path), **sent) as response:
            content = response.content
        found = {name.lower(): value for name, value in response.headers.items()}
        reply = Reply(where=where, status=response.status_code, headers=found, body=content, hide=self._auth)
        return replace(reply, late_error=watch.late_error)

    def stream(
        self,
        path: str,
        *,
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        seconds: float,
        silence: float,
        missing: Collection[int],
    ) -> Generator[bytes, None, None]:
        """GET a body of any size, in pieces, under status 200 alone; close the generator to hang up, in the thread that
        began. Arguments and errors as of `call`, while iterating; a late error in the trailer too, and CONTENT_MISSING
        for a status in `missing`."""
        where = f"{self.address.text} GET {path}"
        session, watch = self._session()
        watch.start(seconds=seconds, silence=silence, body=None)
        sent = {"params": list(query), "headers": dict(headers)}
        with _failures(where, watch, self._auth), _send(session, "GET", self._url(path), **sent) as response:
            if response.status_code != 200:
                watch.start(seconds=min(seconds, self.seconds), body=ERROR_BYTES)
                reply = Reply(where=where, status=response.status_code, body=response.content, hide=self._auth)
                raise _refusal(reply, missing)
            yield from response.iter_content(ERROR_BYTES)
        if watch.late_error:
            raise Reply(where=where, status=200, late_error=watch.late_error, hide=self._auth).failure()

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

    def _url(self, path: str) -> str:
        prefix = f"/{self.address.prefix}" if self.address.prefix else ""
        return f"{self.address.url.rstrip('/')}{prefix}{path}"

    def _session(self) -> tuple[Any, Watch]:
        """This thread's; made anew after a fork, because a connection must not be shared."""
        from encoder_pin_plugin.nodes.transport import Watch, open_session

        if getattr(self._mine, "pid", None) != os.getpid():
            watch = Watch()
            self._mine.session, self._mine.watch = open_session(self.address, self._auth, watch), watch
            self._mine.session.headers.pop("Content-Length", None)
            self._mine.pid = os.getpid()
        return self._mine.session, self._mine.watch


def _refusal(reply: Reply, missing: Collection[int]) -> NodeError:
    if reply.status not in missing:
        return reply.failure()
    return NodeError(f"{reply.where}: HTTP {reply.status}, it has not got it{reply.words()}", Reason.CONTENT_MISSING)


def _send(session: requests.Session, method: str, url: str, **sent: Any) -> requests.Response:
    """The answer, its body not read yet: a context, so that it is closed where that is not read to its end."""
    import requests

    # Not the session's own way: that one is made for calls without a body.
    return requests.Session.request(session, method, url, allow_redirects=False, stream=True, **sent)


@contextmanager
def _failures(where: str, watch: Watch, auth: Credentials | None) -> Iterator[None]:
    """Turns whatever a call raises into a `NodeError`; one of the upload's own source passes as it is."""
    import http.client

    import urllib3.exceptions

    from encoder_pin_plugin.nodes.transport import BadReply, TimeIsUp

    try:
        yield
    except (BadReply, TimeIsUp, OSError, urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
        reason, words = _judge(error, watch)
        raise NodeError(f"{where}: {without(auth, words)}", reason) from cause(error, auth)


def _judge(error: Exception, watch: Watch) -> tuple[Reason, str]:
    import http.client

    import requests
    import urllib3.exceptions

    from encoder_pin_plugin.nodes.transport import BadReply, TimeIsUp

    inner = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else error
    if isinstance(error, BadReply):
        return Reason.BAD_REPLY, f"the answer is no such service's: {error}"
    if isinstance(error, requests.ConnectTimeout):
        return Reason.REFUSED, "nobody answers there: no connection in time"
    if isinstance(inner, TimeIsUp | requests.Timeout | urllib3.exceptions.ReadTimeoutError):
        return Reason.TIMEOUT, "no complete answer in the time allowed"
    if isinstance(inner, urllib3.exceptions.ProtocolError | http.client.HTTPException) or watch.answered:
        return Reason.CUT, "the connection broke before the whole answer came, or what answers is no HTTP server"
    return Reason.REFUSED, f"nobody answers there: {_innermost(inner)}"


def _innermost(error: BaseException) -> str:
    """The system's own reason, without the object addresses that urllib3 prints."""
    for _ in range(10):
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return said(str(error).rpartition(": ")[2] or type(error).__name__, 120)


def _check_sendable(auth: Credentials | None, where: str) -> None:
    """What HTTP can't send, the libraries beneath put into their errors: it does not get that far."""
    if auth is not None and not (auth.header().isascii() and auth.header().isprintable()):
        words = "the credentials hold characters that cannot be sent: write them anew"
        raise NodeError(f"{where}: {words}", Reason.NOT_ALLOWED)
