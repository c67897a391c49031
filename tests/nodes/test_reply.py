"""Heads of replies, as servers and proxies write them, and as nobody should."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from encoder_pin_plugin.nodes.reply import Reply


@contextmanager
def reply_to(head: bytes, body: bytes = b"") -> Iterator[Reply]:
    """The reply to a POST that these bytes are."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(head + b"\r\n\r\n" + body)
        theirs.shutdown(socket.SHUT_WR)
        with closing(Reply(ours, method="POST")) as reply:
            reply.begin()
            yield reply


HEADS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Stream-Error",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nX-Empty:",
    b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5",
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-length:5\r\nVary: Origin\r\nVary: Accept",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5",
    b"HTTP/1.1 200\r\nContent-Length: -5",
    b"HTTP/1.1 200 OK\r\nContent-Length: five",
]


@pytest.mark.parametrize("head", HEADS)
def test_a_reply_is_understood_as_the_standard_library_does(head: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, closing(http.client.HTTPResponse(ours, method="POST")) as standard:
        theirs.sendall(head + b"\r\n\r\n")
        standard.begin()
        with reply_to(head) as reply:
            for name in ("status", "reason", "version", "chunked", "length", "will_close"):
                assert getattr(reply, name) == getattr(standard, name), name
            assert reply.headers.items() == standard.headers.items()


def test_the_body_follows() -> None:
    with reply_to(b"HTTP/1.1 200 OK\r\nContent-Length: 5", b"hello, and more") as reply:
        assert reply.read() == b"hello"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nno header at all",
        b"HTTP/1.1 200 OK\r\nX-Folded: one\r\n two",
        b"HTTP/1.1 200 OK\r\nSpace : before the colon",
        b"HTTP/1.1 200 OK\r\n: no name",
        b"HTTP/3 200 OK\r\nContent-Length: 5",
        b"220 smtp.example.com ESMTP",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 200,
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70000,
    ],
)
def test_what_no_server_writes_is_refused(head: bytes) -> None:
    with pytest.raises(http.client.HTTPException), reply_to(head):
        pass
