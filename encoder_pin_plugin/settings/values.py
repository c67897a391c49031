"""From the text of a setting to its value, or to one sentence that says what to write instead.

Strict on purpose: 3Speak's encoder, whose names these are, takes `TRUE`, `yes` and `1` for *false* without a word, and
a threshold of `three` for no number. Here a text means what it says, or is refused.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from encoder_pin_plugin.errors import InvalidSettings, Unusable
from encoder_pin_plugin.settings.address import parse_address
from encoder_pin_plugin.settings.masking import COPIES

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_SECONDS = 31_536_000.0
"""One year: beyond it a waiting time is a slip of the keyboard, and timers of the system overflow."""

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_WHOLE = re.compile(r"[0-9]{1,12}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)


def boolean(text: str) -> bool:
    """`true`, `1`, `yes`, `on`, or `false`, `0`, `no`, `off`, in any case."""
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Unusable("write true or false")


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers in plain digits, from `least` to `most`."""

    def parse(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise Unusable(f"write a whole number from {least} to {most}")
        return int(text)

    return parse


def seconds(text: str) -> float:
    """A time in seconds: more than 0, up to a year, in plain digits."""
    if not _DECIMAL.fullmatch(text) or not 0 < float(text) <= LONGEST_SECONDS:
        raise Unusable(f"write seconds in plain digits, such as 60 or 2.5, more than 0, up to {LONGEST_SECONDS:.0f}")
    return float(text)


def seconds_list(text: str) -> tuple[float, ...]:
    """Up to 100 times in seconds, separated by commas."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 100:
        raise Unusable("write at most 100 times; the last one repeats")
    try:
        return tuple(seconds(part) for part in parts)
    except Unusable:
        raise Unusable("write seconds separated by commas, each more than 0, such as 60,300,900") from None


def one_of(*words: str) -> Callable[[str], str]:
    """A parser of one word out of a few, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise Unusable(f"write {' or '.join(words)}")
        return text.lower()

    return parse


def names(text: str) -> frozenset[str]:
    """Names of plugins, separated by commas."""
    found = frozenset(part.strip() for part in text.split(",") if part.strip())
    if not all(name.isprintable() and " " not in name for name in found):
        raise Unusable("write the plugins' names separated by commas, as `encoder-pin plugins` shows them")
    return found


def addresses_or_boolean(text: str) -> frozenset[str]:
    """Addresses separated by commas; `true` for all of them, as `*`, `false` for none."""
    with contextlib.suppress(Unusable):
        return frozenset("*" if boolean(text) else "")
    found = frozenset(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    if not all(address == "*" or re.fullmatch(r"[!-~]+//[!-~]+", address) for address in found):
        raise Unusable("write true, false, or targets separated by commas, such as kubo+http://node.example:5001")
    return found


def node_name(text: str) -> str:
    """A name for people, up to 255 printable characters; for an empty text the host's name."""
    name = text or os.uname().nodename or "unknown"
    if not name.isprintable() or len(name) > 255:
        raise Unusable("write up to 255 printable characters")
    return name


def path(text: str) -> Path:
    """A path, perhaps a relative one; a `~` at its start is the home folder."""
    if "\0" in text:
        raise Unusable("write a path without NUL characters")
    try:
        os.fsencode(text)
        return Path(text).expanduser()
    except UnicodeEncodeError:
        raise Unusable("write a path in characters that this system's file names can have") from None
    except RuntimeError:
        raise Unusable("there is no such home folder; write an absolute path, such as /srv/encoder/data") from None


def absolute(path: Path, folder: Path | None) -> Path:
    """`path` as it stands, or below `folder` (by default the working folder) where it is relative."""
    try:
        return path if path.is_absolute() else (folder or Path()).absolute() / path
    except FileNotFoundError:
        raise Unusable("the working folder is gone; write an absolute path, such as /srv/encoder/data") from None


def kubo_address(auth_name: str) -> Callable[[str], str]:
    """A parser of the address of a Kubo node's RPC: a multiaddr or an http(s) URL.

    Args:
        auth_name: the setting that credentials belong into, for the sentence that says so.
    """
    url = web_address(auth_name)

    def parse(text: str) -> str:
        if not text.startswith("/"):
            return url(text)
        _check_address(text, "a multiaddr such as /ip4/127.0.0.1/tcp/5001, or a URL such as http://127.0.0.1:5001")
        return text

    return parse


def web_address(auth_name: str) -> Callable[[str], str]:
    """A parser of http(s) URLs with a host and perhaps port and path. A slash at the end is dropped."""

    def parse(text: str) -> str:
        if "@" in text:
            raise Unusable(f"write the address alone, and its user and password into {auth_name}", secret=True)
        advice = "an address such as http://127.0.0.1:5001 or https://ipfs.example.org"
        if "://" not in text:
            raise Unusable(f"write {advice}", secret=True)
        _check_address(text, advice)
        return text.rstrip("/")

    return parse


def cluster_address(auth_name: str) -> Callable[[str], str]:
    """A parser of a Cluster's REST address, with the copies that are wanted behind a question mark."""
    url = web_address(auth_name)

    def parse(text: str) -> str:
        address, mark, options = text.partition("?")
        if mark and not re.fullmatch(COPIES, options):
            words = "behind the ? write replication-min=N, replication-max=N, quorum=N, joined by &"
            raise Unusable(words, secret=True)
        return url(address) + mark + options

    return parse


def _check_address(text: str, advice: str) -> None:
    try:
        parse_address(text)
    except InvalidSettings:
        raise Unusable(f"write {advice}", secret=True) from None


def excerpt(text: str) -> str:
    """A text from outside, quoted, on one line, without control characters, and not too long."""
    return ascii(text if len(text) <= 60 else f"{text[:57]}...")


def plain(text: str) -> str:
    """A text from outside without anything that a terminal would act on."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
