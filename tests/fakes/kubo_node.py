"""A Kubo node that answers honestly from memory, or lies on command: for what a real node won't do when asked.

Honest, it says what Kubo 0.43.0 says, status, JSON shape and words (tests/real/test_kubo_node.py compares the two).
What it lies is in the table `LIES` (kubo_lies.py): `node.lie("html_200")`, for some commands or all, for some calls or
all that follow.

    with FakeKubo() as node:
        node.content[cid] = Content(blocks=4, size=1234)
        node.lie("stall_in_body", only={"pin/add"}, times=1)
        KuboNode(node.url).pin(cid, limits=Limits(stall=1, total=5))
"""

from __future__ import annotations

import http.server
import json
import socket
import struct
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from tests.fakes.kubo_honest import COMMANDS, Content
from tests.fakes.kubo_lies import LIES, Lie
from tests.fakes.serving import Served, Server


@dataclass(frozen=True)
class Call:
    """A call that was received."""

    command: str
    args: tuple[str, ...]
    options: dict[str, str]
    headers: dict[str, str]
    peer: tuple[str, int] = ("", 0)


class FakeKubo(Served):
    """A node on a free loopback port. `content` and `pins` (CID to name) are its state, `calls` what it was asked.

    `types` gives pins another type than recursive; a question about `poison` fails.
    """

    def __init__(self, *, token: str = "") -> None:
        super().__init__(_Handler)
        self.content: dict[str, Content] = {}
        self.pins: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self.poison = ""
        self.cookie = ""
        self.paths: list[str] = []
        self.calls: list[Call] = []
        self.token = token
        self._lies: list[tuple[Lie, frozenset[str], list[int]]] = []

    def lie(self, name: str, *, only: set[str] | None = None, times: int = 1_000_000) -> None:
        """From now on tell this lie, to these commands, so many times; lies told first come first."""
        self._lies.append((LIES[name], frozenset(only or ()), [times]))

    def honest(self) -> None:
        self._lies.clear()

    def asked(self, command: str) -> list[Call]:
        return [call for call in self.calls if call.command == command]

    def next_lie(self, command: str) -> Lie | None:
        for lie, only, left in self._lies:
            if left[0] > 0 and (not only or command in only):
                left[0] -= 1
                return lie
        return None


class Talk:
    """One request, and the ways to answer it."""

    def __init__(self, handler: _Handler, call: Call) -> None:
        self.handler, self.call, self.node = handler, call, handler.server.node
        self.cid: str = call.args[0].removeprefix("/ipfs/") if call.args else ""

    def send(self, status: int, body: bytes | str, kind: str = "text/plain; charset=utf-8", **headers: str) -> None:
        """An ordinary answer."""
        raw = body.encode() if isinstance(body, str) else body
        self.start(status, kind, content_length=str(len(raw)), **headers)
        self.write(raw)

    def json(self, value: object, status: int = 200) -> None:
        """As Kubo sends one: chunked, with the newline."""
        self.start_stream(status)
        self.item(value)
        self.end()

    def error(self, message: str) -> None:
        """Anything that fails while a command runs."""
        self.json({"Message": message, "Code": 0, "Type": "error"}, 500)

    def start_stream(self, status: int = 200) -> None:
        self.start(status, "application/json", transfer_encoding="chunked", trailer="X-Stream-Error")

    def item(self, value: object) -> None:
        self.chunk(json.dumps(value, separators=(",", ":")).encode() + b"\n")

    def start(self, status: int, kind: str, **headers: str) -> None:
        self.handler.send_response(status)
        if kind:
            self.handler.send_header("Content-Type", kind)
        if self.node.cookie:
            self.handler.send_header("Set-Cookie", self.node.cookie)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-").title(), value)
        self.handler.end_headers()

    def chunk(self, data: bytes) -> None:
        self.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self, late_error: str = "") -> None:
        trailer = f"X-Stream-Error: {late_error}\r\n" if late_error else ""
        self.write(b"0\r\n" + trailer.encode() + b"\r\n")

    def write(self, data: bytes) -> None:
        self.handler.wfile.write(data)

    def cut(self, *, reset: bool = False) -> None:
        """End the connection here and now, by a FIN or by an RST."""
        connection = self.handler.connection
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
        self.handler.close_connection = True

    def wait(self, seconds: float = 3600) -> bool:
        """Do nothing for so long; True when the fake is to end or the client has hung up."""
        for _ in range(int(seconds / 0.02) + 1):
            if self.node.stopping.wait(min(seconds, 0.02)) or self._hung_up():
                return True
        return False

    def _hung_up(self) -> bool:
        try:
            return not self.handler.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self._talk(Call("", (), {}, {})).send(405, "405 - Method Not Allowed\n")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = self._read_call()
        lie = self.server.node.next_lie(call.command)
        self.server.node.calls.append(call)  # who sees it here knows that its lie was chosen
        talk = self._talk(call)
        try:
            if lie:
                lie.tell(talk)
            else:
                self._honestly(talk)
        except (OSError, ValueError):  # the client hung up
            self.close_connection = True

    def _honestly(self, talk: Talk) -> None:
        token = self.server.node.token
        if token and talk.call.headers.get("Authorization") != f"Bearer {token}":
            talk.send(403, "403 - Forbidden\n\nKubo RPC Access Denied: Please provide a valid authorization token.\n")
        elif talk.call.command not in COMMANDS:
            talk.send(404, "404 page not found\n")
        elif not talk.call.args and talk.call.command not in ("version", "id", "pin/ls"):
            talk.send(400, 'argument "ipfs-path" is required\n')
        else:
            COMMANDS[talk.call.command](talk)

    def _read_call(self) -> Call:
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        args = tuple(query.pop("arg", ()))
        options = {name: values[-1] for name, values in query.items()}
        self.server.node.paths.append(url.path)
        command = url.path.partition("/api/v0/")[2]
        return Call(command, args, options, dict(self.headers.items()), self.client_address)

    def _talk(self, call: Call) -> Talk:
        return Talk(self, call)

    def log_message(self, *_: object) -> None:
        """Quiet."""
