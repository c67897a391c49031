"""What of an address is shown: enough to find it again, and nothing that could be a secret, wherever that stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.nodes.gateway import Gateway
from encoder_pin_plugin.nodes.targets import read_target
from encoder_pin_plugin.settings import load_settings, sources
from encoder_pin_plugin.settings.masking import shown_address, visible

PLAIN = [
    "http://127.0.0.1:5001", "https://node.example/prefix/v0", "kubo+http://permanent:5001", "http://[::1]:5001",
    "psa+https://service.example/psa", "127.0.0.1:5001", "localhost:5001", "/ip4/127.0.0.1/tcp/5001",
    "/unix/run/kubo.sock", "/dns/node.example/tcp/443/https", "ftp://node.example", "http://", "",
    "cluster+http://cluster:9094?replication-min=1&replication-max=2",
]  # fmt: skip
SECRET = "hunter22"
PLACES = [
    "http://me:{}@h:5001", "http://{}@h", "http://{}:x@h", "http://me:{}/x@h:1", "http://me:x/{}@h", "http://me:{}?x@h",
    "http://me:1?{}@h", "http://me:{}#x@h", "http://me:x@{}@h", "http://me:1/{}@h", "http:/me:{}@h", "https:me:{}@h",
    "//me:{}@h", "htp//me:{}@h", "ftp://me:{}@h", "me:{}@h:5001", "{}@h:5001", "http://me:{}@h:port", "http://me:{}@[::1",
    "http://me:{}[@h", "http://me:{}%2f@h", "http://me:{}\\x@h", "http://me:{} x@h", "http://me:{}\n@h", "http://me:{}\u2100@h",
    "http://h?{}", "http://h?token={}", "http://h:1/p?quorum=1&token={}", "http://h#{}", "http://h;token={}", "http://h:{}",
    "/ip4/me:{}@1.2.3.4/tcp/1", "/dns/h/tcp/5001?token={}", "bearer:{}", "{}", "http://h/p@th?x={}", "http://h?x=me@{}",
]  # fmt: skip


@pytest.mark.parametrize("address", PLAIN)
def test_a_plain_address_is_shown_whole(address: str) -> None:
    assert visible(address) == address
    assert shown_address(address) == repr(address)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("kubo+http://me:secret@permanent:5001/p", "kubo+http://…@permanent:5001/p"),
        ("psa+https://service.example/psa?token=x", "psa+https://service.example…"),
        ("http://node.example:port", "http://node.example…"),
        ("http://me:pass/word@node.example", "http://…@node.example"),
        ("bearer:token", "…"),
        ("cluster+http://c:9094?quorum=2&peer=p1@http://10.0.0.1:5001", "cluster+http://c:9094?…"),
    ],
)
def test_of_any_other_the_part_is_shown_that_can_be_no_secret(address: str, shown: str) -> None:
    assert visible(address) == shown


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_in_an_address_is_in_no_message_and_no_display(tmp_path: Path, place: str) -> None:
    address = place.format(SECRET)
    seen = [shown_address(address)]
    for name in ("IPFS_API_ADDR", "THREESPEAK_IPFS_ENDPOINT", "IPFS_CLUSTER_ENDPOINT", "PINNED_IS_ENOUGH"):
        seen += [
            told(lambda name=name: load_settings({name: address}, tmp_path)),
            repr(sources({name: address}, tmp_path)),
        ]
    for kind in ("kubo+", "cluster+", "psa+", "no+", "", "cluster+http://c?peer=p1@", "cluster+http://c?peer="):
        seen.append(told(lambda kind=kind: read_target(kind + address).open()))
    seen.append(told(lambda: Gateway(address)))
    assert [text for text in seen if SECRET in text] == []


def told(call: object) -> str:
    """What a person, and a log with a traceback, is told of what is refused."""
    try:
        call()  # type: ignore[operator]
    except InvalidSettings as error:
        return f"{error!r} {error.__cause__!r} {error.__context__!r}" if not error.__suppress_context__ else repr(error)
    return ""


@given(text=st.text(alphabet="ab1:/?#@;=&.[]\\ \n\u2026\x1b", max_size=30))
def test_nothing_before_the_last_at_is_ever_shown(text: str) -> None:
    shown = shown_address(f"http://me:{SECRET}{text}@host:5001")
    assert SECRET not in shown
    assert shown.isprintable()
    assert len(shown) <= 122
