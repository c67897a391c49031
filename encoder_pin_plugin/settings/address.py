"""Where a node is: the forms people write an address in, read once and strictly.

Taken: a multiaddr (`/ip4/127.0.0.1/tcp/5001`, `/dns/node.example/tcp/443/https`, `/unix/run/kubo.sock`), a URL
(`https://node.example/prefix`), and bare `host:port`. Everything else is refused with what to write instead: a form
that is silently read as something else sends pins to the wrong node.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.settings.masking import shown_address

DEFAULT_PORT = 5001
"""Kubo's RPC port, for an http URL that names none."""


@dataclass(frozen=True, kw_only=True)
class NodeAddress:
    """A node's address, read.

    Args:
        text: as it was written, to be shown; it holds no credentials, because such addresses are refused.
        host: a name or a number; empty for a unix socket.
        port: TCP port; 0 for a unix socket.
        secure: whether the connection is TLS.
        prefix: path before `/api/v0`, without slashes at its ends.
        family: AF_UNSPEC, or the only address family that `/dns4` and `/dns6` allow.
        unix_path: path of the unix socket, or empty.
    """

    text: str
    host: str = ""
    port: int = 0
    secure: bool = False
    prefix: str = ""
    family: socket.AddressFamily = socket.AF_UNSPEC
    unix_path: str = ""

    @property
    def on_this_machine(self) -> bool:
        """Loopback, or a unix socket. A tunnel that begins on loopback can't be told from a node there."""
        return bool(self.unix_path) or is_loopback(self.host)

    @property
    def sends_in_clear(self) -> bool:
        """Whether what is sent, credentials too, can be read on the way."""
        return not self.secure and not self.on_this_machine

    @property
    def url(self) -> str:
        """Scheme, host and port. A unix socket has the name localhost here, and is dialled by the transport."""
        host = f"[{self.host}]" if ":" in self.host else self.host or "localhost"
        return f"{'https' if self.secure else 'http'}://{host}:{self.port or 80}/"


def parse_address(text: str) -> NodeAddress:
    """Read an address. Raises `InvalidSettings` that says what is wrong and what to write."""
    if not text or len(text) > 500 or not text.isascii() or not _PLAIN.fullmatch(text):
        raise _refuse(text, "it is empty, too long, or has spaces or characters that no address has")
    if text.startswith("/"):
        return _from_multiaddr(text)
    if "://" in text:
        return _from_url(text, text)
    return _from_url(f"http://{text}", text, port_needed=True)


_PLAIN = re.compile(r"[!-\[\]-~]+")
_EXAMPLES = "write '/ip4/127.0.0.1/tcp/5001', 'http://node.example:5001' or 'https://node.example/prefix'"
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


def _refuse(text: str, why: str) -> InvalidSettings:
    return InvalidSettings(f"the node address {shown_address(text)} cannot be used: {why}; {_EXAMPLES}")


def _from_url(url: str, text: str, *, port_needed: bool = False) -> NodeAddress:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # it quotes the part that it cannot read, and that may be half a password
        raise _refuse(text, "its host cannot be read, or its port is no number up to 65535") from None
    if fault := _fault_in_url(parts, port, port_needed=port_needed):
        raise _refuse(text, fault)
    secure = parts.scheme == "https"
    return NodeAddress(
        text=text,
        host=_host(parts.hostname or "", text),
        port=port or (443 if secure else DEFAULT_PORT),
        secure=secure,
        prefix=_prefix(parts.path),
    )


def _fault_in_url(parts: SplitResult, port: int | None, *, port_needed: bool) -> str:
    if parts.username is not None or parts.password is not None:
        return "it holds a user or a password, which would end up in logs; give credentials by their own setting"
    if parts.scheme not in ("http", "https"):
        return f"its scheme is {parts.scheme[:20]!a}, and only http and https are spoken"
    if parts.query or parts.fragment:
        return "it has a query or a fragment"
    if port == 0 or parts.netloc.endswith(":") or (port_needed and port is None):
        return "it names no port"
    return ""


def _prefix(path: str) -> str:
    """The path without `/api/v0`, which people copy along and which is added to every call."""
    return re.sub(r"(^|/)api/v0$", "", path.strip("/")).strip("/")


def _host(host: str, text: str) -> str:
    if not (_is_number(host, 4) or _is_number(host, 6) or _is_name(host)):
        raise _refuse(text, "where its host should be is no host")
    return host


def _from_multiaddr(text: str) -> NodeAddress:
    kind, _, rest = text[1:].partition("/")
    if kind == "unix":
        if not rest or rest.endswith("/") or len(rest) > 106:
            raise _refuse(text, "it names no socket file, or one with a path too long for a unix socket")
        return NodeAddress(text=text, unix_path="/" + rest.replace("%2F", "/").replace("%2f", "/").lstrip("/"))
    host, _, rest = rest.partition("/")
    if kind not in _FAMILIES or not _fits(kind, host):
        raise _refuse(text, f"its beginning is not supported; known are {', '.join(_FAMILIES)} with a host, and unix")
    match = re.fullmatch(r"tcp/(\d{1,5})(?:/(http|https|tls/http))?/?", rest)
    if not match or not 0 < int(match[1]) < 65536:
        raise _refuse(text, "after the host it must go on with /tcp/PORT, and may end in /http or /https")
    secure = match[2] in ("https", "tls/http")
    return NodeAddress(text=text, host=host, port=int(match[1]), secure=secure, family=_FAMILIES[kind])


_FAMILIES = {
    "ip4": socket.AF_UNSPEC,
    "ip6": socket.AF_UNSPEC,
    "dns": socket.AF_UNSPEC,
    "dns4": socket.AF_INET,
    "dns6": socket.AF_INET6,
}


def _fits(kind: str, host: str) -> bool:
    if kind in ("ip4", "ip6"):
        return _is_number(host, int(kind[2]))
    return _is_name(host)


def _is_name(host: str) -> bool:
    """Whether it can be a name; what is all digits and dots is a number or a slip of the keyboard."""
    return bool(_HOST.fullmatch(host)) and ".." not in host and not re.fullmatch(r"[0-9.]+", host)


def _is_number(host: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(host).version == version
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether a name or an IP address is this machine's own by its spelling; nothing is looked up."""
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return host.rstrip(".").lower() == "localhost" or host.lower().endswith(".localhost")
    return number.is_loopback or number.is_unspecified
