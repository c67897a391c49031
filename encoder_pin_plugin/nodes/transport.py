"""An HTTP session that a hostile or broken server can neither hold, fill, nor lead elsewhere.

requests limits the time of each socket operation, not of a call, and the size of nothing: a server that sends one byte
every ten seconds, or never ends its line, holds a thread for ever. Here each call has a deadline that is looked at
before every read from the socket, down to headers and trailer; a longest silence; and a longest body and line. No
redirect is followed, nothing compressed is read, no cookie kept, no `.netrc` read, and no proxy asked for loopback.

The session is made for ipfshttpclient and is put into its client; it fits other adapters of `PinNode` as well.
"""

from __future__ import annotations

import functools
import http.cookiejar
import io
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode

import requests
import requests.adapters
from ipfshttpclient import requests_wrapper
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from requests.utils import get_environ_proxies

from encoder_pin_plugin.nodes.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3.connection import HTTPConnection

    from encoder_pin_plugin.settings import Credentials
    from encoder_pin_plugin.settings.address import NodeAddress

CONNECT_TIMEOUT = 5.0
"""Seconds for one TCP connection and its TLS handshake."""

_PIECE = 65536


class BadReply(Exception):
    """What comes back is no node's answer, or longer than one: it is not read any further."""


class TimeIsUp(Exception):
    """The call's deadline passed, or the server was silent for too long, while its reply was read."""


class Watch:
    """What one call may take, and what was seen of its reply.

    Args:
        seconds: for all of it.
        silence: seconds between two reads.
        body: bytes of the body, or None for any number.
        line: bytes of one line of the body, or None for any number.
    """

    def __init__(self, *, seconds: float = 30, **limits: Any) -> None:
        self.start(seconds=seconds, **limits)

    def start(
        self, *, seconds: float, silence: float | None = None, body: int | None = 65536, line: int | None = None
    ) -> None:
        """A call begins, and with it everything from the start."""
        self._deadline = time.monotonic() + seconds
        self._silence = seconds if silence is None else silence
        self._body, self._line = body, line
        self._body_seen = self._line_seen = 0
        self.answered = False
        self.late_error = ""

    def patience(self) -> float:
        """How long the next read may wait, in seconds. Raises `TimeIsUp`."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeIsUp
        return min(left, self._silence)

    def saw(self, piece: bytes) -> None:
        """A piece of the body came. Raises `BadReply` where it is too much."""
        self._body_seen += len(piece)
        if self._body is not None and self._body_seen > self._body:
            raise BadReply(f"a reply of more than {self._body} bytes")
        if self._line is not None:
            newline = piece.rfind(b"\n")
            self._line_seen = self._line_seen + len(piece) if newline < 0 else len(piece) - newline - 1
            if self._line_seen > self._line:
                raise BadReply(f"a line of more than {self._line} bytes")

    def check_headers(self, response: requests.Response) -> None:
        """Raise `BadReply` for a reply that should not be read at all."""
        headers = response.headers
        if 300 <= response.status_code < 400:
            raise BadReply(
                f"a redirect ({response.status_code}), which is not followed: the address must be the node's own"
            )
        if "ipfsproxy" in headers.get("Server", ""):
            raise BadReply(
                "the answer of an IPFS Cluster's proxy, which says 'pinned' before a byte has moved: give a Kubo node's"
                " own address, or the Cluster's REST address (port 9094) as a Cluster's"
            )
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise BadReply("a compressed reply, which was not asked for")
        length = headers.get("Content-Length", "0")
        if self._body is not None and length.isascii() and length.isdigit() and int(length[:19]) > self._body:
            raise BadReply(f"a reply of {length[:19]} bytes")


def open_session(address: NodeAddress, auth: Credentials | None, watch: Watch | None = None) -> WatchedSession:
    """A session for this one node. Proxies and certificates are looked up now, once, not on each call."""
    adapter = _Adapter(address, watch or Watch())
    session = WatchedSession(adapter)
    session.trust_env = False
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.proxies = {} if address.on_this_machine else get_environ_proxies(address.url)
    session.headers = cast("Any", {"User-Agent": "encoder-pin-plugin", "Content-Length": "0"})
    session.auth = NodeAuth(auth) if auth else None
    session.adapters.clear()
    session.mount(address.url.partition("//")[0] + "//", adapter)
    return session


class WatchedSession(requests.Session):
    """A session whose next call is watched by the watch it was given last.

    It prepares a call that has no body by hand, which takes a third of the time that requests' merging takes.
    """

    def __init__(self, adapter: _Adapter) -> None:
        super().__init__()
        self._adapter = adapter

    def watch_by(self, watch: Watch) -> None:
        self._adapter.current.watch = watch

    def request(self, method: Any, url: Any, params: Any = None, data: Any = None, *args: Any, **options: Any) -> Any:
        if data is not None or args or options.get("headers") or options.get("auth") or options.get("cookies"):
            return super().request(method, url, params, data, *args, **options)
        call = requests.PreparedRequest()
        call.method, call.url = method, f"{url}?{urlencode(params, doseq=True)}" if params else url
        call.headers = CaseInsensitiveDict(cast("dict[str, str]", self.headers))
        if self.auth:
            cast("NodeAuth", self.auth)(call)
        return self._adapter.send(call, verify=self.verify, proxies=self.proxies)


class NodeAuth(AuthBase):
    """Sets the Authorization header itself: one set among the headers would give way to a `.netrc`."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._credentials.header()
        return request


@dataclass
class _Current:
    """The watch of the call that is under way, apart from the adapter: no circle of references keeps sockets open."""

    watch: Watch


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, address: NodeAddress, watch: Watch) -> None:
        self._address, self.current = address, _Current(watch)
        self._pool: Any = None
        super().__init__(pool_connections=1, pool_maxsize=4)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        if self._pool is None:  # one address, one pool; pools are made inside urllib3, and this is the way in
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
            self._pool.ConnectionCls = functools.partial(_connect, self._address, self.current)
        return self._pool

    def close(self) -> None:
        self._pool = None
        super().close()

    def request_url(self, request: Any, proxies: Any) -> str:
        return super().request_url(request, proxies) if proxies else cast("str", request.path_url)

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        """As requests does, without looking for cookies, of which none is kept."""
        response = requests.Response()
        response.status_code, response.reason, response.url = resp.status, resp.reason, req.url
        response.headers, response.encoding = CaseInsensitiveDict(resp.headers), "utf-8"
        response.raw, response.request, response.connection = resp, req, self
        return response

    def send(self, request: Any, stream: bool = False, timeout: Any = None, *args: Any, **kwargs: Any) -> Any:
        watch = self.current.watch
        patience = watch.patience()
        # urllib3 takes the first for each send as well: an upload may have to wait for the server's disk.
        timeout = (patience if request.body else min(CONNECT_TIMEOUT, patience), patience)
        response = super().send(request, True, timeout, *args, **kwargs)
        watch.answered = True
        try:
            watch.check_headers(response)
        except BadReply:
            response.close()
            raise
        response.raw = _Body(response.raw, watch)
        return response


def _connect(address: NodeAddress, current: _Current, /, **options: Any) -> HTTPConnection:
    """A connection whose replies are read under the watch of the call that they answer."""
    kind = requests_wrapper.HTTPSConnection if address.secure else requests_wrapper.HTTPConnection
    connection: Any = kind(**options)
    connection.response_class = lambda *args, **kwargs: _Response(*args, watch=current.watch, **kwargs)
    connection.family = address.family
    if address.unix_path:
        connection.family = socket.AF_UNIX
        connection._dns_host = quote(address.unix_path, safe="")  # noqa: SLF001 - read by the wrapper
    return cast("HTTPConnection", connection)


class _Body:
    """A reply's body, read as it comes: requests would wait for whole chunks, whatever length they claim."""

    def __init__(self, raw: Any, watch: Watch) -> None:
        self._raw, self._watch = raw, watch

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        while piece := self._raw.read1(_PIECE, decode_content=False):
            self._watch.saw(piece)
            yield piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


class _Response(Reply):
    """A reply with a deadline under its buffer and an ear for Kubo's trailer."""

    def __init__(self, sock: socket.socket, *args: Any, watch: Watch, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._watch = watch
        self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock, watch))

    def _read_and_discard_trailer(self) -> None:
        """A late error of Kubo stands only here, under status 200 (ipfs/kubo#2386)."""
        for _ in range(100):
            line = self.fp.readline(_PIECE)
            if line in (b"\r\n", b"\n", b""):
                return
            name, _colon, value = line.partition(b":")
            if name.strip().lower() == b"x-stream-error":
                self._watch.late_error = value.strip().decode("utf-8", "replace")
        raise BadReply("a trailer that does not end")


class _TimedReader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, watch: Watch) -> None:
        self._raw, self._sock, self._watch = raw, sock, watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._watch.patience())
        return cast("int | None", self._raw.readinto(buffer))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._raw.close()
