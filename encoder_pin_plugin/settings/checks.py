"""What is wrong with settings that are right one by one: contradictions, and what should at least be said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from encoder_pin_plugin.settings.address import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ADDRESS_OF = {
    "THREESPEAK_IPFS_AUTH": "THREESPEAK_IPFS_ENDPOINT",
    "IPFS_API_AUTH": "IPFS_API_ADDR",
    "IPFS_CLUSTER_AUTH": "IPFS_CLUSTER_ENDPOINT",
}


def contradictions(parsed: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each pair of settings that cannot both be meant. A setting that has no value is in no
    pair."""
    yield from _cluster(parsed)
    yield from _times(parsed)
    yield from _plugins(parsed)
    for name in (*_ADDRESS_OF, "MIGRATE_AUTH"):
        if parsed.get(name) and parsed.get(f"{name}_FILE"):
            yield f"{name} and {name}_FILE are both set: keep one of them"


def _cluster(parsed: Mapping[str, Any]) -> Iterator[str]:
    if parsed.get("USE_CLUSTER_FOR_PINS") and parsed.get("IPFS_CLUSTER_ENDPOINT", "") is None:
        yield (
            "USE_CLUSTER_FOR_PINS is true, but IPFS_CLUSTER_ENDPOINT is not set: write the Cluster's REST"
            " address there, such as http://127.0.0.1:9094, or turn USE_CLUSTER_FOR_PINS off"
        )


def _times(parsed: Mapping[str, Any]) -> Iterator[str]:
    backoff, most = parsed.get("LAZY_PIN_BACKOFF"), parsed.get("LAZY_PIN_MAX_BACKOFF")
    if backoff and most and max(backoff) > most:
        yield (
            f"LAZY_PIN_BACKOFF goes up to {max(backoff):g} s, but LAZY_PIN_MAX_BACKOFF is {most:g} s:"
            " write shorter times, or a larger maximum"
        )
    stall, total = parsed.get("LAZY_PIN_STALL_TIMEOUT"), parsed.get("LAZY_PIN_TIMEOUT")
    if stall and total and stall > total:
        yield (
            f"LAZY_PIN_STALL_TIMEOUT is {stall:g} s, but LAZY_PIN_TIMEOUT, the time in all, is {total:g} s:"
            " write a shorter stall timeout, or a longer one in all"
        )


def _plugins(parsed: Mapping[str, Any]) -> Iterator[str]:
    both = (parsed.get("TRUST_PLUGINS") or frozenset()) & (parsed.get("BLOCK_PLUGINS") or frozenset())
    if both:
        yield f"TRUST_PLUGINS and BLOCK_PLUGINS both name {', '.join(sorted(both))}: name it in one of them"


def warnings(parsed: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each thing that works, but that a person should look at. Needs every setting's value."""
    for auth, endpoint in _ADDRESS_OF.items():
        address = parsed[endpoint]
        if not (parsed[auth] or parsed[f"{auth}_FILE"]):
            continue
        if address is None:
            yield f"{auth} is set, but {endpoint} is not: the credentials are of no use"
        elif parse_address(address.partition("?")[0]).sends_in_clear:
            yield f"{endpoint} is {address}: over plain http anybody on the way can read {auth}; use https"
    if parsed["IPFS_CLUSTER_ENDPOINT"] and not parsed["USE_CLUSTER_FOR_PINS"]:
        yield "IPFS_CLUSTER_ENDPOINT is set, but not used: for that, set USE_CLUSTER_FOR_PINS to true"
    if "pin" in parsed["BLOCK_PLUGINS"]:
        yield "BLOCK_PLUGINS names pin, the default: others must record, retry, pin and archive in its place"
