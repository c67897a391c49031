"""`settings`: what is set, where that stands, and no secret."""

from __future__ import annotations

from tests.operate.conftest import Desk


def test_every_setting_is_shown_with_its_origin(desk: Desk) -> None:
    (desk.folder / ".env").write_text("LAZY_PIN_CONCURRENCY=4\n")
    desk.env["NODE_NAME"] = "enc-7"
    result = desk.run("--data-dir", str(desk.folder / "d"), "settings")
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
    assert rows["LAZY_PIN_CONCURRENCY"] == ["4", ".env"]
    assert rows["NODE_NAME"] == ["enc-7", "environment"]
    assert rows["DATA_DIR"] == [str(desk.folder / "d"), "option"]
    assert rows["LOCAL_FALLBACK_THRESHOLD"] == ["3", "default"]


def test_secrets_are_masked_in_both_forms(desk: Desk) -> None:
    desk.env["IPFS_API_AUTH"] = "bearer:token-of-the-node"
    assert "token-of-the-node" not in desk.run("settings").output
    assert "token-of-the-node" not in desk.run("settings", "--json").output


def test_wrong_settings_are_shown_with_what_is_wrong_and_exit_code_2(desk: Desk) -> None:
    desk.env["LAZY_PIN_BACKOFF"] = "soon"
    result = desk.run("settings")
    assert result.exit_code == 2
    assert "soon" in result.stdout
    assert "write seconds" in result.stderr
    assert desk.json("settings")["wrong"]


def test_warnings_are_said(desk: Desk) -> None:
    desk.env["IPFS_CLUSTER_ENDPOINT"] = "http://127.0.0.1:9094"
    assert "USE_CLUSTER_FOR_PINS" in desk.run("settings").stderr
