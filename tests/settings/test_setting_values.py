"""Values of settings: what is taken, what is refused and with which words, what contradicts what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.settings import (
    load_settings,
    sources,
)
from encoder_pin_plugin.settings.address import parse_address
from tests.settings.site import private_file, refused

if TYPE_CHECKING:
    from pathlib import Path

# What is refused


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "yes", "On", " true "])
def test_true_has_many_spellings(tmp_path: Path, text: str) -> None:
    assert load_settings({"REMOVE_LOCAL_AFTER_SYNC": text}, tmp_path).remove_local_after_sync is True


@pytest.mark.parametrize("text", ["false", "False", "0", "NO", "off"])
def test_false_has_many_spellings(tmp_path: Path, text: str) -> None:
    assert load_settings({"ENABLE_LOCAL_FALLBACK": text}, tmp_path).enable_local_fallback is False


@pytest.mark.parametrize("text", ["ture", "2", "enabled", "y", "t", "\uff54rue", "true false"])
def test_a_boolean_is_nothing_else(tmp_path: Path, text: str) -> None:
    assert "write true or false" in refused(tmp_path, ENABLE_LOCAL_FALLBACK=text)


NO_NUMBERS = [
    "NaN",
    "nan",
    "inf",
    "-inf",
    "-1",
    "1e999",
    "1e3",
    "0x10",
    "1_000",
    "+5",
    "\u0663",
    "\uff13",
    "1,5",
    "three",
]
NO_NUMBERS += ["1.", "9" * 5000]


@pytest.mark.parametrize("text", [*NO_NUMBERS, "0", "2.5"])
def test_a_count_is_a_plain_whole_number(tmp_path: Path, text: str) -> None:
    message = refused(tmp_path, LOCAL_FALLBACK_THRESHOLD=text)
    assert "write a whole number from 1" in message
    assert len(message) < 300


@pytest.mark.parametrize("text", [*NO_NUMBERS, "0", "0.0", ".5", "31536001"])
def test_a_time_is_a_plain_number_of_seconds(tmp_path: Path, text: str) -> None:
    assert "write seconds in plain digits" in refused(tmp_path, FALLBACK_AFTER=text)


@pytest.mark.parametrize("text", [",", "1,,2", "1;2", "60,-1", "60,nan", "60 300", "1," * 99 + "x"])
def test_a_backoff_is_a_list_of_seconds(tmp_path: Path, text: str) -> None:
    assert "such as 60,300,900" in refused(tmp_path, LAZY_PIN_BACKOFF=text)
    assert "at most 100" in refused(tmp_path, LAZY_PIN_BACKOFF=",".join("1" * 101))


@pytest.mark.parametrize(
    "address",
    ["/ip4/127.0.0.1/tcp/5001", "/ip6/::1/tcp/5001/http", "/dns/node.example.org/tcp/443/https", "/dns4/kubo/tcp/5001",
     "/unix/run/kubo.sock", "http://127.0.0.1:5001", "https://node.example.org", "http://[::1]:5001", "http://my_kubo:5001/a/b"],
)  # fmt: skip
def test_an_address_of_a_kubo_node_is_a_multiaddr_or_a_url(tmp_path: Path, address: str) -> None:
    loaded = load_settings({"IPFS_API_ADDR": address, "THREESPEAK_IPFS_ENDPOINT": address}, tmp_path)
    assert loaded.ipfs_api_addr == loaded.threespeak_ipfs_endpoint == address
    parse_address(address)


def test_a_slash_at_the_end_of_an_address_is_dropped(tmp_path: Path) -> None:
    assert load_settings({"IPFS_API_ADDR": "http://kubo:5001/"}, tmp_path).ipfs_api_addr == "http://kubo:5001"


@pytest.mark.parametrize(
    "address",
    ["localhost:5001", "127.0.0.1", "ftp://host", "http://", "http:///x", "http://host:0", "http://host:99999",
     "http://host:x", "http://host:", "http://a b", "http://host/?token=x", "http://host/#x", "http://hóst", "http://1.2.3",
     "http://[::1", "http://a..b",
     "/ip4/localhost/tcp/5001", "/ip4/::1/tcp/5001", "/ip6/127.0.0.1/tcp/5001", "/dns4/127.0.0.1/tcp/1",
     "/ip4/1.2.3.4/udp/1",
     "/ip4/1.2.3.4/tcp/0", "/ip4/1.2.3.4/tcp/70000", "/ip4/1.2.3.4/tcp/5001/p2p/Qm", "/", "http://host\x1b[31m"],
)  # fmt: skip
def test_what_is_no_address_is_refused(tmp_path: Path, address: str) -> None:
    message = refused(tmp_path, THREESPEAK_IPFS_ENDPOINT=address)
    assert message.startswith("THREESPEAK_IPFS_ENDPOINT (environment)")
    assert "http://127.0.0.1:5001" in message
    assert "token=x" not in message
    assert "\x1b" not in message


def test_a_cluster_has_a_web_address(tmp_path: Path) -> None:
    assert "IPFS_CLUSTER_ENDPOINT" in refused(tmp_path, IPFS_CLUSTER_ENDPOINT="/ip4/127.0.0.1/tcp/9094")


def test_a_password_in_an_address_is_refused_without_being_shown(tmp_path: Path) -> None:
    for address in ("http://me:hunter2@node:5001", "htp//me:hunter2@node", "https://hunter2@node"):
        message = refused(tmp_path, IPFS_API_ADDR=address)
        assert "IPFS_API_AUTH" in message
        assert "hunter2" not in message
        shown = sources({"IPFS_API_ADDR": address}, tmp_path)
        assert "hunter2" not in repr(shown)


def test_other_texts_are_checked_too(tmp_path: Path) -> None:
    assert "auto or off" in refused(tmp_path, HOLD_LOCAL="on")
    assert load_settings({"HOLD_LOCAL": "OFF"}, tmp_path).hold_local == "off"
    assert "printable" in refused(tmp_path, NODE_NAME="a\nb")
    assert "printable" in refused(tmp_path, NODE_NAME="x" * 256)
    assert "commas" in refused(tmp_path, TRUST_PLUGINS="one two")
    assert load_settings({"BLOCK_PLUGINS": "a, b,"}, tmp_path).block_plugins == {"a", "b"}
    assert "home folder" in refused(tmp_path, DATA_DIR="~nobody-has-this-name/data")


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FALLBACK_AFTER=soon\n")
    message = refused(tmp_path, LOCAL_FALLBACK_THRESHOLD="three", LAZY_PIN_BACKOF="1", USE_CLUSTER_FOR_PINS="true")
    assert message.startswith("4 things are wrong")
    assert "LOCAL_FALLBACK_THRESHOLD (environment) is 'three'" in message
    assert f"FALLBACK_AFTER ({tmp_path / '.env'}) is 'soon'" in message
    assert "did you mean LAZY_PIN_BACKOFF?" in message
    assert "IPFS_CLUSTER_ENDPOINT is not set" in message


# Contradictions and warnings


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"USE_CLUSTER_FOR_PINS": "true"}, "IPFS_CLUSTER_ENDPOINT is not set"),
        ({"LAZY_PIN_BACKOFF": "60,4000"}, "larger maximum"),
        ({"LAZY_PIN_MAX_BACKOFF": "899"}, "larger maximum"),
        ({"LAZY_PIN_STALL_TIMEOUT": "901"}, "shorter stall timeout"),
        ({"IPFS_API_AUTH": "bearer:x", "IPFS_API_AUTH_FILE": "token"}, "keep one of them"),
        ({"TRUST_PLUGINS": "a,b", "BLOCK_PLUGINS": "b"}, "both name b"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, environ: dict[str, str], words: str) -> None:
    private_file(tmp_path / "token", "bearer:y")
    assert words in refused(tmp_path, **environ)


@pytest.mark.parametrize(
    "address", ["http://node.example.org:5001", "/ip4/10.0.0.1/tcp/5001", "/dns4/node/tcp/80/http"]
)
def test_a_token_that_crosses_a_network_in_clear_is_warned_about(tmp_path: Path, address: str) -> None:
    loaded = load_settings({"IPFS_API_ADDR": address, "IPFS_API_AUTH": "bearer:hunter2"}, tmp_path)
    assert len(loaded.warnings) == 1
    assert "use https" in loaded.warnings[0]
    assert "hunter2" not in loaded.warnings[0]


@pytest.mark.parametrize(
    "address",
    ["http://localhost:5001", "http://127.0.0.9:1", "http://[::1]:1", "https://far.example.org", "/ip6/::1/tcp/1",
     "/unix/run/k", "/dns/a/tcp/1/https"],
)  # fmt: skip
def test_a_token_on_this_machine_or_over_tls_is_not(tmp_path: Path, address: str) -> None:
    assert load_settings({"IPFS_API_ADDR": address, "IPFS_API_AUTH": "bearer:x"}, tmp_path).warnings == ()


def test_what_is_set_without_effect_is_warned_about(tmp_path: Path) -> None:
    unused = load_settings({"IPFS_CLUSTER_ENDPOINT": "http://c:9094"}, tmp_path)
    assert "USE_CLUSTER_FOR_PINS" in unused.warnings[0]
    assert "of no use" in load_settings({"THREESPEAK_IPFS_AUTH": "bearer:x"}, tmp_path).warnings[0]
    assert "the default" in load_settings({"BLOCK_PLUGINS": "pin"}, tmp_path).warnings[0]


@pytest.mark.parametrize("options", ["replication-min=2", "replication-min=2&replication-max=3", "quorum=2"])
def test_a_cluster_is_told_how_many_copies_are_wanted(tmp_path: Path, options: str) -> None:
    address = f"http://127.0.0.1:9094?{options}"
    assert load_settings({"IPFS_CLUSTER_ENDPOINT": address}, tmp_path).ipfs_cluster_endpoint == address


@pytest.mark.parametrize(
    "options", ["copies=2", "quorum=", "quorum=two", "expire-in=1h", "quorum=2#x", "peer=a@http://b"]
)
def test_other_options_of_a_cluster_are_refused(tmp_path: Path, options: str) -> None:
    with pytest.raises(InvalidSettings, match="IPFS_CLUSTER_ENDPOINT"):
        load_settings({"IPFS_CLUSTER_ENDPOINT": f"http://127.0.0.1:9094?{options}"}, tmp_path)
