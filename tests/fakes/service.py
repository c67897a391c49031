"""The HTTP part of the fake Cluster peer and the fake pinning service: read a request, answer it honestly or not.

What every server can do wrong on the wire is in the fake Kubo node's table (`kubo_lies.py`) and is told here as well:
`service.lie("cut_chunk")`. What only this kind of service can say is a function: `service.lie(lambda talk: …)`.
"""

from __future__ import annotations

import http.server
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.fakes.kubo_lies import LIES
from tests.fakes.kubo_node import Talk
from tests.fakes.serving import Served, Server

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Request:
    """A request that was received."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    args: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        return f"{self.method} {self.path}"

    def json(self) -> Any:
        return json.loads(self.body)


class FakeService(Served):
    """A service on a free loopback port. A kind of service says in `answer` what it honestly says."""

    def __init__(self, *, token: str = "") -> None:
        super().__init__(_Handler)
        self.calls: list[Request] = []
        self.faults: list[Exception] = []
        self.token = token
        self.cookie = ""  # `Talk` sends it
        self.lock = threading.RLock()
        self._lies: list[tuple[Callable[[Talk], object], str, list[int]]] = []

    def answer(self, talk: Talk, request: Request) -> None:
        raise NotImplementedError

    def refuse(self, talk: Talk) -> None:
        """What an unknown caller hears."""
        raise NotImplementedError

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        if self.faults:
            raise self.faults[0]

    def lie(self, lie: str | Callable[[Talk], object], *, to: str = "", times: int = 1_000_000) -> None:
        """From now on tell this lie to requests whose "METHOD /path" begins so, so many times; first come first."""
        tell = LIES[lie].tell if isinstance(lie, str) else lie
        self._lies.append((tell, to, [times]))

    def honest(self) -> None:
        self._lies.clear()

    def asked(self, command: str) -> list[Request]:
        return [call for call in self.calls if call.command.startswith(command)]

    def next_lie(self, command: str) -> Callable[[Talk], object] | None:
        for tell, to, left in self._lies:
            if left[0] > 0 and command.startswith(to):
                left[0] -= 1
                return tell
        return None


def send_json(talk: Talk, value: object, status: int = 200, **headers: str) -> None:
    talk.send(status, json.dumps(value), "application/json", **headers)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _serve(self) -> None:
        service, request = self.server.node, self._read()
        service.calls.append(request)
        talk = Talk(self, request)  # type: ignore[arg-type]
        try:
            if tell := service.next_lie(request.command):
                tell(talk)
            elif service.token and request.headers.get("Authorization") != f"Bearer {service.token}":
                service.refuse(talk)
            else:
                with service.lock:
                    service.answer(talk, request)
        except (OSError, ValueError):  # the client hung up
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 - a fault of the fake itself: it fails the test
            service.faults.append(error)
            self.close_connection = True

    do_GET = do_POST = do_DELETE = do_PUT = _serve  # noqa: N815

    def _read(self) -> Request:
        parts = urlsplit(self.path)
        return Request(
            method=self.command,
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=dict(self.headers.items()),
            body=self._body(),
        )

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        """Tests look at `calls`."""
