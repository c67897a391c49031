"""Names of settings that are nearly right, and `.env` files that are of no use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.settings import (
    data_dir,
    load_settings,
)
from tests.settings.site import refused

FOREIGN = tuple(
    """HIVE_USERNAME ENCODER_PRIVATE_KEY ENCODER_PUBLIC_KEY TEMP_DIR FFMPEG_PATH HARDWARE_ACCELERATION
MAX_CONCURRENT_JOBS ARIA2_CONNECTIONS DIRECT_API_ENABLED DIRECT_API_PORT DIRECT_API_KEY EMBED_SYSTEM_ENABLED
EMBED_SYSTEM_MODE EMBED_GATEWAY_URL GATEWAY_URL QUEUE_MAX_LENGTH QUEUE_CONCURRENCY ASYNC_UPLOADS
REMOTE_GATEWAY_ENABLED MONGODB_URI DATABASE_NAME GATEWAY_AID_SERVER_URL GATEWAY_MONITOR_ENABLED SUPERNODE_API
SUPERNODE_TIMEOUT_MS MIGRATION_START_AFTER_DAYS MIGRATION_BATCH_SIZE HEALTH_DISK_WARNING_PERCENT DISCORD_WEBHOOK_URL
ADMIN_PASSWORD STORAGE_ADMIN_PASSWORD IPFS_GATEWAY_URL TRAFFIC_DIRECTOR_URL IPFS_PATH IPFS_API IPFS_CLUSTER_PATH
IPFS_CLUSTER_SECRET DATADIR DATA_DIRS XDG_DATA_DIRS NODE_ENV NODE_PATH HOSTNAME PATH LANG PIP_TIMEOUT""".split()  # noqa: SIM905 - as the reference lists them
)


# Names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LOCAL_FALLBACK_TRESHOLD", "LOCAL_FALLBACK_THRESHOLD"),
        ("LAZY_PIN_BACKOF", "LAZY_PIN_BACKOFF"),
        ("LAZY_PIN_TIMEUOT", "LAZY_PIN_TIMEOUT"),
        ("LAZY_PINN_TIMEOUT", "LAZY_PIN_TIMEOUT"),
        ("lazy_pin_timeout", "LAZY_PIN_TIMEOUT"),
        ("LAZY-PIN-TIMEOUT", "LAZY_PIN_TIMEOUT"),
        ("data_dir", "DATA_DIR"),
        ("TREESPEAK_IPFS_ENDPOINT", "THREESPEAK_IPFS_ENDPOINT"),
        ("IPFS_CLUSTER_ENDPOINTS", "IPFS_CLUSTER_ENDPOINT"),
        ("ENABLE_LOCAL_FALBACK", "ENABLE_LOCAL_FALLBACK"),
    ],
)
def test_a_name_that_is_one_slip_away_is_refused_with_the_right_one(tmp_path: Path, name: str, meant: str) -> None:
    assert f"did you mean {meant}?" in refused(tmp_path, **{name: "1"})
    (tmp_path / ".env").write_text(f"{name}=1\n")
    with pytest.raises(InvalidSettings, match=r"no setting|cannot be read"):
        load_settings({}, tmp_path)


def test_names_of_others_are_left_alone(tmp_path: Path) -> None:
    environ = dict.fromkeys([*FOREIGN, *(f"SOMETHING_ELSE_{number}" for number in range(5000))], "x y z")
    (tmp_path / ".env").write_text("".join(f"{name}=whatever\n" for name in FOREIGN))
    assert load_settings(environ, tmp_path) == load_settings({}, tmp_path / "empty", data_dir=tmp_path / "data")


def test_a_line_about_a_setting_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NODE_NAME=x\nsome words of the encoder\nFALLBACK_AFTER: 60\n")
    with pytest.raises(
        InvalidSettings, match=r"FALLBACK_AFTER \(.*\.env, line 3\) cannot be read: write FALLBACK_AFTER=value"
    ):
        load_settings({}, tmp_path)


# Files that are none


@pytest.mark.parametrize("kind", ["folder", "latin", "huge", "pipe", "loop", "closed"])
def test_an_env_file_of_no_use_is_refused_but_never_stops_the_data_folder(tmp_path: Path, kind: str) -> None:
    file = tmp_path / ".env"
    spoil(file, kind)
    (tmp_path / ".env.local").write_text("FALLBACK_AFTER=nonsense\nLAZY_PIN_BACKOF=1\n")
    with pytest.raises(InvalidSettings) as caught:
        load_settings({}, tmp_path)
    assert f"{file} " in str(caught.value)
    expected = "vidé".encode("latin-1") if kind == "latin" else b"data"
    assert os.fsencode(data_dir({}, tmp_path)) == os.fsencode(tmp_path) + b"/" + expected
    assert data_dir({"DATA_DIR": "/srv/data"}, tmp_path) == Path("/srv/data")


def spoil(file: Path, kind: str) -> None:
    if kind == "folder":
        file.mkdir()
    elif kind == "latin":
        file.write_bytes("DATA_DIR=vidé\n".encode("latin-1"))
    elif kind == "huge":
        file.write_bytes(b"DATA_DIR=far\n" + b"#" * 1_100_000)
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "loop":
        file.symlink_to(file)
    else:
        file.write_text("DATA_DIR=far\n")
        file.chmod(0)
        if os.access(file, os.R_OK):
            pytest.skip("this user reads every file")


def test_the_data_folder_is_found_as_the_settings_find_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATA_DIR=far\n")
    assert data_dir({}, tmp_path) == load_settings({}, tmp_path).data_dir == tmp_path / "far"
    (tmp_path / ".env.local").write_text("DATA_DIR=near\n")
    assert data_dir({}, tmp_path) == load_settings({}, tmp_path).data_dir == tmp_path / "near"
    assert data_dir({"DATA_DIR": ""}, tmp_path) == load_settings({"DATA_DIR": ""}, tmp_path).data_dir
    home = {"DATA_DIR": "~/x"}
    assert data_dir(home, tmp_path) == load_settings(home, tmp_path).data_dir == Path.home() / "x"


def test_a_data_folder_that_can_be_no_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="NUL"):
        data_dir({"DATA_DIR": "a\0b"}, tmp_path)


def test_a_working_folder_that_is_gone_stops_relative_paths_only(tmp_path: Path) -> None:
    code = (
        "import os; from encoder_pin_plugin.settings import data_dir; os.rmdir(os.getcwd())\n"
        "print(data_dir({'DATA_DIR': '/srv'}))\n"
        "try: data_dir({})\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=gone, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "/srv"
    assert "InvalidSettings DATA_DIR is 'data': the working folder is gone; write an absolute path" in done.stdout
