"""Every form of a node's address that people write is read as what it says, and every other is refused in words."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.settings.address import parse_address

READ = {
    "/ip4/127.0.0.1/tcp/5001": ("http", "127.0.0.1", 5001, ""),
    "/ip4/127.0.0.1/tcp/5001/http": ("http", "127.0.0.1", 5001, ""),
    "/ip6/::1/tcp/5001": ("http", "::1", 5001, ""),
    "/dns/node.example/tcp/443/https": ("https", "node.example", 443, ""),
    "/dns4/node.example/tcp/443/tls/http": ("https", "node.example", 443, ""),
    "http://192.0.2.5:5001": ("http", "192.0.2.5", 5001, ""),
    "http://node.example": ("http", "node.example", 5001, ""),
    "https://node.example/": ("https", "node.example", 443, ""),
    "https://node.example/ipfs/node1": ("https", "node.example", 443, "ipfs/node1"),
    "https://node.example/node1/api/v0/": ("https", "node.example", 443, "node1"),
    "http://[2001:db8::1]:5001/": ("http", "2001:db8::1", 5001, ""),
    "localhost:5001": ("http", "localhost", 5001, ""),
    "node_1.example:9094": ("http", "node_1.example", 9094, ""),
    "[::1]:5001": ("http", "::1", 5001, ""),
}


@pytest.mark.parametrize("text", READ)
def test_a_form_is_read(text: str) -> None:
    address = parse_address(text)
    assert ("https" if address.secure else "http", address.host, address.port, address.prefix) == READ[text]
    assert address.text == text
    assert urlsplit(address.url).hostname == address.host


def test_a_unix_socket_is_read() -> None:
    assert parse_address("/unix/run/Kubo/api.sock").unix_path == "/run/Kubo/api.sock"
    assert parse_address("/unix/run%2Fkubo.sock").unix_path == "/run/kubo.sock"
    assert parse_address("/unix//run/kubo.sock").unix_path == "/run/kubo.sock"


def test_a_family_is_kept() -> None:
    assert parse_address("/dns4/node.example/tcp/5001").family is socket.AF_INET
    assert parse_address("/dns6/node.example/tcp/5001").family is socket.AF_INET6
    assert parse_address("/dns/node.example/tcp/5001").family is socket.AF_UNSPEC


@pytest.mark.parametrize(
    ("text", "here"),
    {
        "/ip4/127.0.0.1/tcp/5001": True,
        "127.8.9.1:5001": True,
        "http://localhost:5001": True,
        "http://LOCALHOST.:5001": True,
        "http://kubo.localhost:5001": True,
        "/ip6/::1/tcp/5001": True,
        "/unix/run/kubo.sock": True,
        "http://0.0.0.0:5001": True,
        "http://192.168.1.5:5001": False,
        "http://localhost.example:5001": False,
        "https://node.example": False,
    }.items(),
)
def test_this_machine_is_told_from_others(text: str, here: bool) -> None:
    address = parse_address(text)
    assert address.on_this_machine is here
    assert address.sends_in_clear is (not here and not address.secure)


REFUSED = {
    "": "empty",
    "node.example": "names no port",
    "http://": "no host",
    "http://user:secret@node.example:5001": "credentials",
    "https://token@node.example": "credentials",
    "ftp://node.example:21": "'ftp'",
    "ws://node.example:5001": "'ws'",
    "http://node.example:0": "no port",
    "http://node.example:99999": "up to 65535",
    "http://node.example:port": "",
    "http://node.example:5001?token=x": "query",
    "http://node.example:5001#x": "fragment",
    "http://no de:5001": "spaces",
    "http://node.example:5001\n": "spaces",
    "http://nöde.example:5001": "characters",
    "http://[::1:5001": "",
    "http://-node.example:5001": "no host",
    "/ip4/127.0.0.1": "/tcp/PORT",
    "/ip4/127.0.0.1/udp/5001": "/tcp/PORT",
    "/ip4/127.0.0.1/tcp/0": "/tcp/PORT",
    "/ip4/127.0.0.1/tcp/66000": "/tcp/PORT",
    "/ip4/127.0.0.1/tcp/5001/p2p/Qm": "/tcp/PORT",
    "/ip4/127.0.0.1/tcp/5001/ws": "/tcp/PORT",
    "/ip4/node.example/tcp/5001": "not supported",
    "/ip6/127.0.0.1/tcp/5001": "not supported",
    "/dnsaddr/node.example": "not supported",
    "/unix": "socket file",
    "/unix/" + "x" * 120: "too long",
    "x" * 1000 + ":5001": "too long",
}


@pytest.mark.parametrize("text", REFUSED, ids=[repr(text)[:40] for text in REFUSED])
def test_any_other_form_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(InvalidSettings, match="write '/ip4/127") as caught:
        parse_address(text)
    assert REFUSED[text] in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "token@" not in str(caught.value)


@given(text=st.text(max_size=80))
def test_no_text_does_anything_else(text: str) -> None:
    try:
        address = parse_address(text)
    except InvalidSettings:
        return
    assert address.unix_path or address.host
