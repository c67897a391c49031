"""The table of all settings: name, default, and how its text becomes a value. Where it differs from what
people read in the manual, the manual is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder_pin_plugin.settings import values
from encoder_pin_plugin.settings.credentials import Credentials, parse_credentials

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class Row:
    """One setting.

    Args:
        default: the text that stands where nothing else is said.
        parse: from a text to a value; raises `Unusable`.
        secret: whether its text is never shown.
        address: whether its text is an address, which is not shown where it holds a password.
    """

    default: str
    parse: Callable[[str], object]
    secret: bool = False
    address: bool = False


def _or_none(parse: Callable[[str], object]) -> Callable[[str], object]:
    return lambda text: parse(text) if text else None


def _address(default: str, parse: Callable[[str], object]) -> Row:
    return Row(default=default, parse=_or_none(parse), address=True)


def _auth(name: str) -> dict[str, Row]:
    return {
        name: Row(default="", parse=_or_none(parse_credentials), secret=True),
        f"{name}_FILE": Row(default="", parse=_or_none(values.path)),
    }


TABLE: dict[str, Row] = {
    "DATA_DIR": Row(default="data", parse=values.path),
    "NODE_NAME": Row(default="", parse=values.node_name),
    "ENABLE_LOCAL_FALLBACK": Row(default="true", parse=values.boolean),
    "LOCAL_FALLBACK_THRESHOLD": Row(default="3", parse=values.whole_number(1, 1_000_000)),
    "LAZY_PIN_BACKOFF": Row(default="60,300,900", parse=values.seconds_list),
    "LAZY_PIN_MAX_BACKOFF": Row(default="3600", parse=values.seconds),
    "FALLBACK_AFTER": Row(default="7200", parse=values.seconds),
    "LAZY_PIN_CONCURRENCY": Row(default="16", parse=values.whole_number(1, 1_024)),
    "LAZY_PIN_STALL_TIMEOUT": Row(default="120", parse=values.seconds),
    "LAZY_PIN_TIMEOUT": Row(default="900", parse=values.seconds),
    "THREESPEAK_IPFS_ENDPOINT": _address("", values.kubo_address("THREESPEAK_IPFS_AUTH")),
    "USE_CLUSTER_FOR_PINS": Row(default="false", parse=values.boolean),
    "IPFS_CLUSTER_ENDPOINT": _address("", values.cluster_address("IPFS_CLUSTER_AUTH")),
    "IPFS_API_ADDR": _address("/ip4/127.0.0.1/tcp/5001", values.kubo_address("IPFS_API_AUTH")),
    "HOLD_LOCAL": Row(default="auto", parse=values.one_of("auto", "off")),
    "REMOVE_LOCAL_AFTER_SYNC": Row(default="false", parse=values.boolean),
    "TRUST_PLUGINS": Row(default="", parse=values.names),
    "BLOCK_PLUGINS": Row(default="", parse=values.names),
    "PLUGIN_TIMEOUT": Row(default="60", parse=values.seconds),
    **_auth("THREESPEAK_IPFS_AUTH"),
    **_auth("IPFS_API_AUTH"),
    **_auth("IPFS_CLUSTER_AUTH"),
    "PINNED_IS_ENOUGH": Row(default="false", parse=values.addresses_or_boolean, address=True),
    **_auth("MIGRATE_AUTH"),
}


def as_text(value: object) -> str:
    """The text that stands for a value, so that what a program gives passes the same checks as what a
    person writes."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Credentials):
        return value.text()
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    if isinstance(value, (tuple, list)):
        return ",".join(map(as_text, value))
    if isinstance(value, (set, frozenset)):
        return as_text(sorted(value))
    return str(value)
