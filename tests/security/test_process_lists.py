"""What others on the machine see of a running command: `ps` shows everybody every command line.

A secret goes in through the environment, which only its own user reads, or better through a file of mode 0600. Each
process here waits for a node that has been sent the secret and never answers, and is looked at meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import ArchiveRecord
from tests.fakes.unfriendly import Unfriendly

CANARY = "canary-5d81c0"
CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")


@pytest.fixture
def silent() -> Iterator[Unfriendly]:
    with Unfriendly("hangs") as node:
        yield node


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a line to migrate, a job to pin, and the secret in a private file."""
    Archive(tmp_path / "data").append(ArchiveRecord(hash=CID, job_id="job-1", size_mb=2.5))
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text(f"bearer:{CANARY}\n")
    return tmp_path


GIVEN = {
    "an option that names a file": ({}, "", ["--auth-file", "token"]),
    "a setting that names a file": ({"MIGRATE_AUTH_FILE": "token"}, "", []),
    "an .env file": ({}, f"MIGRATE_AUTH=bearer:{CANARY}\n", []),
    "the environment": ({"MIGRATE_AUTH": f"bearer:{CANARY}"}, "", []),
}


@pytest.mark.parametrize("how", GIVEN)
def test_a_migration_shows_its_secret_to_nobody(folder: Path, silent: Unfriendly, how: str) -> None:
    environ, env_file, options = GIVEN[how]
    (folder / ".env").write_text(env_file)
    with command(folder, ["migrate", "--to", f"kubo+{silent.url}", *options], environ) as running:
        assert CANARY in silent.heads.get(timeout=60)
        assert CANARY not in command_lines(running.pid)
        assert (CANARY in environment(running.pid)) == (how == "the environment")


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("THREESPEAK_IPFS", {"THREESPEAK_IPFS_ENDPOINT": "{url}"}),
        ("IPFS_CLUSTER", {"IPFS_CLUSTER_ENDPOINT": "{url}", "USE_CLUSTER_FOR_PINS": "true"}),
        ("IPFS_API", {"IPFS_API_ADDR": "{url}"}),
    ],
)
@pytest.mark.parametrize("words", [["work"], ["doctor"], ["status"]], ids=" ".join)
def test_no_other_command_does(
    folder: Path, silent: Unfriendly, words: list[str], name: str, more: dict[str, str]
) -> None:
    environ = {key: text.format(url=silent.url) for key, text in more.items()} | {f"{name}_AUTH_FILE": "token"}
    assert run(folder, ["submit", CID, "--job-id", "job-2"]).returncode == 0
    with command(folder, words, environ) as running:
        assert CANARY in silent.heads.get(timeout=60)
        assert CANARY not in command_lines(running.pid) + environment(running.pid)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["migrate", "--to", f"kubo+http://me:{CANARY}@127.0.0.1:9"], "MIGRATE_AUTH"),
        (["migrate", "--to", f"kubo+http://me:x/{CANARY}@127.0.0.1:9", "--clean"], "MIGRATE_AUTH"),
        (["migrate", "--to", f"psa+http://127.0.0.1:9?token={CANARY}", "--dry-run"], "MIGRATE_AUTH"),
        (["migrate", "--to", f"cluster+http://127.0.0.1:9?access_token={CANARY}"], "MIGRATE_AUTH"),
        (["migrate", "--to", f"cluster+http://127.0.0.1:9?peer=p@http://me:{CANARY}@127.0.0.1:9"], "password"),
        (["migrate", "--to", "psa+http://127.0.0.1:9", "--gateway", f"http://me:{CANARY}@127.0.0.1:9"], "password"),
        (["migrate", "token", "--to", f"kubo+http://me:{CANARY}@127.0.0.1:9"], "MIGRATE_AUTH"),
        (["clean", "token", "--to", f"kubo+http://me:{CANARY}@127.0.0.1:9"], "MIGRATE_AUTH"),
        (["audit", "--to", f"kubo+http://me:{CANARY}@127.0.0.1:9"], "MIGRATE_AUTH"),
    ],
)
def test_a_secret_on_the_command_line_is_refused_before_a_file_is_touched(
    folder: Path, words: list[str], hint: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = run(folder, words)
    assert done.returncode == 2
    assert hint in done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


# Helpers


@contextmanager
def command(folder: Path, words: list[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(
        [sys.executable, "-m", "encoder_pin_plugin", *words], cwd=folder, env=clean() | environ,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield running
    finally:
        running.kill()
        running.wait(60)


def run(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "encoder_pin_plugin", *words], cwd=folder, env=clean(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def clean() -> dict[str, str]:
    ours = ("PATH", "HOME", "PYTHONPATH")
    return {name: text for name, text in os.environ.items() if name in ours} | {"LAZY_PIN_BACKOFF": "1"}


def command_lines(session: int) -> str:
    """The command line of every process in a session, and the name of each of its threads: what `ps -eLf` shows."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and session_of(process) == session:
            found += [(process / "cmdline").read_text(), *(task.read_text() for task in process.glob("task/*/comm"))]
    assert found
    return "\n".join(found)


def environment(session: int) -> str:
    return "\n".join(
        (process / "environ").read_text()
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and session_of(process) == session
    )


def session_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[3])
    except (OSError, IndexError):
        return -1
