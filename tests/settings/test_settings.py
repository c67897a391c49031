"""Settings: where they come from, what is shown of them, and that nonsense gives sentences."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.settings import (
    Credentials,
    Secret,
    Settings,
    data_dir,
    load_settings,
    sources,
)
from encoder_pin_plugin.settings.table import TABLE

# What is there by itself


def test_nothing_said_gives_the_defaults_of_the_design(tmp_path: Path) -> None:
    loaded = load_settings({}, tmp_path)
    assert loaded.data_dir == tmp_path / "data"
    assert loaded.node_name == os.uname().nodename
    assert loaded.enable_local_fallback is True
    assert loaded.local_fallback_threshold == 3
    assert loaded.lazy_pin_backoff == (60, 300, 900)
    assert (loaded.lazy_pin_max_backoff, loaded.fallback_after) == (3600, 7200)
    assert (loaded.lazy_pin_concurrency, loaded.lazy_pin_stall_timeout, loaded.lazy_pin_timeout) == (16, 120, 900)
    assert (loaded.threespeak_ipfs_endpoint, loaded.ipfs_cluster_endpoint) == (None, None)
    assert loaded.ipfs_api_addr == "/ip4/127.0.0.1/tcp/5001"
    assert (loaded.use_cluster_for_pins, loaded.hold_local, loaded.remove_local_after_sync) == (False, "auto", False)
    assert (loaded.trust_plugins, loaded.block_plugins, loaded.plugin_timeout) == (frozenset(), frozenset(), 60)
    assert (loaded.threespeak_ipfs_auth, loaded.ipfs_api_auth, loaded.ipfs_cluster_auth) == (None, None, None)
    assert loaded.warnings == ()


def test_every_field_is_a_setting_and_every_setting_a_field_or_a_file() -> None:
    named = {field.name.upper() for field in fields(Settings)} - {"WARNINGS"}
    assert named == {name for name in TABLE if not name.endswith("_FILE")}


def test_settings_are_frozen_and_hashable(tmp_path: Path) -> None:
    loaded = load_settings({"IPFS_API_AUTH": "bearer:token"}, tmp_path)
    with pytest.raises(FrozenInstanceError):
        loaded.node_name = "other"  # type: ignore[misc]
    assert len({loaded, load_settings({"IPFS_API_AUTH": "bearer:token"}, tmp_path)}) == 1


def test_a_supernode_that_nobody_named_is_seen_but_stops_nothing(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path).supernode_missing
    assert not load_settings({"THREESPEAK_IPFS_ENDPOINT": "http://super:5002"}, tmp_path).supernode_missing
    cluster = {"USE_CLUSTER_FOR_PINS": "true", "IPFS_CLUSTER_ENDPOINT": "http://cluster:9094"}
    assert not load_settings(cluster, tmp_path).supernode_missing


# Where it comes from


def test_the_environment_wins_over_env_local_which_wins_over_env(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NODE_NAME=one\nFALLBACK_AFTER=1\nLAZY_PIN_CONCURRENCY=1\n")
    (tmp_path / ".env.local").write_text("NODE_NAME=two\nFALLBACK_AFTER=2\n")
    loaded = load_settings({"NODE_NAME": "three"}, tmp_path)
    assert (loaded.node_name, loaded.fallback_after, loaded.lazy_pin_concurrency) == ("three", 2, 1)


def test_the_callers_values_win_over_everything_and_pass_the_same_checks(tmp_path: Path) -> None:
    environ = {"NODE_NAME": "host", "LAZY_PIN_BACKOFF": "5"}
    loaded = load_settings(
        environ,
        tmp_path,
        node_name="mine",
        lazy_pin_backoff=(0.5, 2),
        enable_local_fallback=False,
        data_dir=tmp_path / "x",
        trust_plugins={"b", "a"},
        ipfs_api_auth=Credentials("basic", "me", Secret("pa:ss")),
        lazy_pin_timeout="121",
        threespeak_ipfs_endpoint=None,
    )
    assert (loaded.node_name, loaded.lazy_pin_backoff) == ("mine", (0.5, 2))
    assert (loaded.enable_local_fallback, loaded.data_dir) == (False, tmp_path / "x")
    assert loaded.trust_plugins == {"a", "b"}
    assert loaded.ipfs_api_auth == Credentials("basic", "me", Secret("pa:ss"))
    with pytest.raises(InvalidSettings, match="LOCAL_FALLBACK_THRESHOLD"):
        load_settings({}, tmp_path, local_fallback_threshold=0)
    with pytest.raises(InvalidSettings, match="FALLBACK_AFTER"):
        load_settings({}, tmp_path, fallback_after=float("nan"))
    with pytest.raises(TypeError, match="no_such"):
        load_settings({}, tmp_path, no_such=1)


def test_an_empty_text_is_as_good_as_none_and_still_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NODE_NAME=file\nLAZY_PIN_TIMEOUT=\nUSE_CLUSTER_FOR_PINS\n")
    loaded = load_settings({"NODE_NAME": " ", "THREESPEAK_IPFS_ENDPOINT": ""}, tmp_path)
    assert (loaded.node_name, loaded.lazy_pin_timeout) == (os.uname().nodename, 900)
    assert loaded.threespeak_ipfs_endpoint is None


def test_env_files_are_read_with_quotes_comments_export_and_without_expansion(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbf# a comment\nexport NODE_NAME='enc $HOME'  # why\r\nLAZY_PIN_BACKOFF=\"1, 2,3\"\n"
    )
    loaded = load_settings({}, tmp_path)
    assert (loaded.node_name, loaded.lazy_pin_backoff) == ("enc $HOME", (1, 2, 3))


def test_an_env_file_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("NODE_NAME=linked")
    (tmp_path / ".env").symlink_to("shared")
    assert load_settings({}, tmp_path).node_name == "linked"


def test_the_working_folder_is_asked_at_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("DATA_DIR=here\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings({}).data_dir == data_dir({}) == tmp_path / "here"


def test_our_own_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATA_DIR", "/elsewhere")
    assert load_settings(folder=tmp_path).data_dir == data_dir(folder=tmp_path) == Path("/elsewhere")


# What `encoder-pin settings` shows


def test_sources_say_where_each_setting_stands(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NODE_NAME=enc-1\nIPFS_API_AUTH=bearer:hunter2\nFALLBACK_AFTER=soon\n")
    shown = {at.name: at for at in sources({"HOLD_LOCAL": "off"}, tmp_path, data_dir="here")}
    assert list(shown) == list(TABLE)
    assert (shown["DATA_DIR"].value, shown["DATA_DIR"].source) == (str(tmp_path / "here"), "option")
    assert (shown["HOLD_LOCAL"].value, shown["HOLD_LOCAL"].source) == ("off", "environment")
    assert (shown["NODE_NAME"].value, shown["NODE_NAME"].source) == ("enc-1", str(tmp_path / ".env"))
    assert (shown["LAZY_PIN_TIMEOUT"].value, shown["LAZY_PIN_TIMEOUT"].source) == ("900", "default")
    assert shown["FALLBACK_AFTER"].value == "soon"
    assert shown["IPFS_API_AUTH"].value == "***"
    assert shown["IPFS_CLUSTER_AUTH"].value == ""


def test_sources_show_nothing_that_a_terminal_acts_on(tmp_path: Path) -> None:
    shown = repr([at.value.encode() for at in sources({"NODE_NAME": "\x1b]0;x\x07", "DATA_DIR": "a\x1bb"}, tmp_path)])
    assert "\\x1b" not in shown.replace("\\\\x1b", "")


# At import, and whatever comes


def test_the_import_is_cheap_and_reads_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    code = "import sys, encoder_pin_plugin.settings; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not {"dotenv", "requests", "ipfshttpclient", "rich", "click", "multiaddr"} & set(loaded.stdout.split())


TEXTS = st.text(max_size=40) | st.sampled_from(
    ["1e999", "true", "/ip4/1.2.3.4/tcp/1", "http://a:b@c", "60,", "~", "\ud800", "bearer:x"]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    environ=st.dictionaries(st.sampled_from([*TABLE, "lazy_pin_backoff", "DATADIR"]), TEXTS, max_size=8),
    file=st.binary(max_size=80),
)
def test_nonsense_gives_settings_or_sentences(tmp_path: Path, environ: dict[str, str], file: bytes) -> None:
    (tmp_path / ".env").write_bytes(file)
    sources(environ, tmp_path)
    try:
        loaded = load_settings(environ, tmp_path)
    except InvalidSettings as error:
        message = str(error)
    else:
        message = ""
        assert loaded.data_dir == data_dir(environ, tmp_path)
        assert loaded.data_dir.is_absolute()
    assert all(line.isprintable() for line in message.split("\n"))
