"""Addresses as they may be shown. People paste passwords and tokens into them, and what is wrong with an address is
told where others read it: in logs, in reports, on terminals that are shared.

So only what is plainly an address comes through: a scheme, a host, a port, a path. A password may hold any of the
characters that end one (`/`, `?`, `#`, `@`), and then stands where a parser sees a host or a path; where there is an
`@`, nothing before it is shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from encoder_pin_plugin.settings.credentials import Credentials

HIDDEN = "…"
COPIES = r"(?:(?:replication-min|replication-max|quorum)=-?\d{1,4}(?:&|\Z))+"
"""The options of a cluster that stand for themselves alone."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,20}://", re.ASCII | re.IGNORECASE)
_HOST = re.compile(r"\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}", re.ASCII)
_PORT = re.compile(r":\d{1,6}(?=[/?#]|\Z)", re.ASCII)
_PATH = re.compile(r"[A-Za-z0-9._~/%:-]*", re.ASCII)
_OPTION = re.compile(r"\?(?:peer|quorum|replication-min|replication-max)=", re.ASCII)


def shown_address(text: str, limit: int = 120) -> str:
    """An address, quoted, in ASCII, without anything in it that may be a secret: `…` stands for that."""
    kept = visible(text)
    return ascii(kept if len(kept) <= limit else kept[: limit - 1] + HIDDEN).replace("\\u2026", HIDDEN)


def visible(text: str) -> str:
    """What of an address may be seen, on one line."""
    if text.startswith("/"):
        return text if _PATH.fullmatch(text) and not text.startswith("//") else HIDDEN
    scheme = match[0] if (match := _SCHEME.match(text)) else ""
    rest = text[len(scheme) :]
    option = _OPTION.search(rest)
    place, options = (rest[: option.start()], rest[option.start() :]) if option else (rest, "")
    shown = scheme + _place(place, bare=not scheme)
    if options:
        shown += options if re.fullmatch(COPIES, options[1:]) else f"?{HIDDEN}"
    return shown


def without(auth: Credentials | None, text: str) -> str:
    """What a node says, without the credentials that it was sent, should it repeat them."""
    for secret in auth.forms() if auth else ():
        text = text.replace(secret, "***")
    return text


def may_hold_a_password(text: str) -> bool:
    """Whether somebody wrote a user or a password before an address's host."""
    return "@" in _OPTION.split(text, maxsplit=1)[0]


def _place(text: str, *, bare: bool) -> str:
    """Host, port and path; without a scheme before it a host counts as one only where a port follows."""
    before, at, text = text.rpartition("@")
    if at and re.search(r"[?#]", before):
        return HIDDEN
    hidden = f"{HIDDEN}@" if at else ""
    host = match[0] if (match := _HOST.match(text)) else ""
    port = match[0] if (match := _PORT.match(text, len(host))) else ""
    if bare and not port:
        return HIDDEN if text else ""
    rest = text[len(host) + len(port) :]
    return hidden + host + port + (rest if rest[:1] in ("", "/") and _PATH.fullmatch(rest) else HIDDEN)
