"""Credentials: their forms, their files, and that no secret ever shows."""

from __future__ import annotations

import copy
import os
import pickle
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
from loguru import logger

from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.settings import (
    Credentials,
    Secret,
    load_settings,
    parse_credentials,
    sources,
)
from tests.settings.site import private_file, refused

if TYPE_CHECKING:
    from pathlib import Path

# Secrets


def test_a_secret_shows_nowhere() -> None:
    secret = Secret("hunter2")
    credentials = Credentials("bearer", "", secret)
    for shown in (repr(secret), str(secret), f"{secret:>20}", f"{secret!r}", f"{credentials}"):
        assert "hunter2" not in shown
        assert "***" in shown
    assert secret.reveal() == "hunter2"


def test_a_secret_is_not_pickled_but_copied_as_itself(tmp_path: Path) -> None:
    secret = Secret("hunter2")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secret, protocol)
    assert copy.copy(secret) is copy.deepcopy(secret) is secret
    loaded = load_settings({"IPFS_API_AUTH": "bearer:hunter2"}, tmp_path)
    assert "hunter2" not in repr(loaded) + repr(asdict(loaded))


def test_secrets_are_equal_by_their_text() -> None:
    assert Secret("ä") == Secret("ä") != Secret("a")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("bearer:abc", "Bearer abc"),
        ("bearer:a:b", "Bearer a:b"),
        ("basic:me:pass:word", "Basic bWU6cGFzczp3b3Jk"),
        ("basic:bWU6cGFzczp3b3Jk", "Basic bWU6cGFzczp3b3Jk"),
        ("basic:mé:ß", "Basic bcOpOsOf"),
    ],
)
def test_credentials_have_the_forms_of_kubo(text: str, header: str) -> None:
    parsed = parse_credentials(text)
    assert parsed.header() == header
    assert parse_credentials(parsed.text()) == parsed


@pytest.mark.parametrize(
    "text", ["hunter2", "Bearer hunter2", "bearer:", "bearer:a hunter2", "bearer:hunter2\r\nX: y", "basic:hunter2",
             "basic::hunter2",
             "basic:hunter2:", "digest:hunter2", "bearer:hunter2é", "basic:aHVudGVyMg=="]
)  # fmt: skip
def test_credentials_of_another_form_are_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    message = refused(tmp_path, IPFS_CLUSTER_AUTH=text)
    assert message.startswith("IPFS_CLUSTER_AUTH (environment) cannot be used: write")
    assert "hunter2" not in message
    assert "hunter2" not in repr(sources({"IPFS_CLUSTER_AUTH": text}, tmp_path))


def test_credentials_come_from_a_private_file(tmp_path: Path) -> None:
    private_file(tmp_path / "token", "bearer:hunter2\n")
    for given_as in ("token", str(tmp_path / "token")):
        loaded = load_settings({"THREESPEAK_IPFS_AUTH_FILE": given_as}, tmp_path)
        assert loaded.threespeak_ipfs_auth == Credentials("bearer", "", Secret("hunter2"))
    private_file(tmp_path / "token", "basic:me: pass \r\n", 0o400)
    loaded = load_settings({"IPFS_API_AUTH_FILE": "token"}, tmp_path)
    assert loaded.ipfs_api_auth == Credentials("basic", "me", Secret(" pass "))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_a_credentials_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    private_file(tmp_path / "token", "bearer:hunter2\n", mode)
    message = refused(tmp_path, IPFS_API_AUTH_FILE="token")
    assert f"mode {mode:04o}" in message
    assert "chmod 0600" in message


def test_a_credentials_file_of_no_use_is_refused_without_its_text(tmp_path: Path) -> None:
    private_file(tmp_path / "token", "hunter2")
    assert "write bearer:TOKEN or basic:USER:PASSWORD into it" in refused(tmp_path, IPFS_API_AUTH_FILE="token")
    assert "hunter2" not in refused(tmp_path, IPFS_API_AUTH_FILE="token")
    private_file(tmp_path / "token", "bearer:" + "x" * 20_000)
    assert "larger than" in refused(tmp_path, IPFS_API_AUTH_FILE="token")
    (tmp_path / "token").write_bytes(b"bearer:\xff")
    assert "not UTF-8" in refused(tmp_path, IPFS_API_AUTH_FILE="token")
    assert "no regular file" in refused(tmp_path, IPFS_API_AUTH_FILE=".")
    assert "No such file" in refused(tmp_path, IPFS_API_AUTH_FILE="missing")
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "no regular file" in refused(tmp_path, IPFS_API_AUTH_FILE="pipe")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_credentials_file_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(private_file(tmp_path / "token", "bearer:x"), 12345, 12345)
    assert "belongs to another user" in refused(tmp_path, IPFS_API_AUTH_FILE="token")


def test_a_traceback_with_the_values_of_variables_shows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPFS_API_AUTH", "hunter2")
    monkeypatch.setenv("IPFS_API_ADDR", "http://me:hunter2@node")
    private_file(tmp_path / "token", "hunter2")
    monkeypatch.setenv("THREESPEAK_IPFS_AUTH_FILE", str(tmp_path / "token"))
    lines: list[str] = []
    handler = logger.add(lines.append, diagnose=True, backtrace=True)
    try:
        load_settings(folder=tmp_path)
    except InvalidSettings:
        logger.exception("settings")
    finally:
        logger.remove(handler)
    assert "InvalidSettings" in lines[0]
    assert "hunter2" not in lines[0]
