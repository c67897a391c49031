"""The demo and the harness as a person starts them: real ffmpeg, two real Kubo nodes, real kills."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_pin_plugin.nodes.cid import parse_cid

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.usefixtures("kubo_binary")]

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0
EIGHT_KEYS = [
    "hash",
    "job_id",
    "size_mb",
    "type",
    "failed_lazy_attempts",
    "local_pin_timestamp",
    "source",
    "node_id",
]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a run leaves everything; whatever the run was, none of its processes is left afterwards."""
    yield tmp_path / "run"
    assert _processes_in(tmp_path, until_gone=30) == []


def test_the_demo_tells_its_story_and_leaves_what_it_claims(folder: Path) -> None:
    done = _harness("demo", "--folder", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "claims checked, all of them true" in done.stdout
    assert (folder / "data" / "local-fallback-pins.jsonl").read_bytes() == b""
    lines = (folder / "data" / "migrated-pins.jsonl").read_text(encoding="ascii").splitlines()
    entries = [json.loads(line) for line in lines]
    assert [list(entry) for entry in entries] == [[*EIGHT_KEYS, "migrated_to", "migration_proof", "migrated_at"]]
    assert entries[0]["migration_proof"] == "whole"
    assert entries[0]["source"] == "failed_lazy_pin_fallback"
    assert entries[0]["failed_lazy_attempts"] == 3
    assert parse_cid(entries[0]["hash"]).version == 1
    log = (folder / "logs" / "encoder.log").read_text(encoding="utf-8")
    assert len(re.findall(r"LAZY PIN FALLBACK .*002-test-video", log)) == 1
    assert len(re.findall(r"lazy pin attempt \d of job 002-test-video", log)) == 3
    assert "001-test-video" not in "".join(lines)
    assert len(list(folder.glob("jobs/*/hls/*p/*.ts"))) == 8


def test_the_demo_can_be_told_twice_in_one_folder(folder: Path) -> None:
    first, second = (_harness("demo", "--folder", folder) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), second.stdout + second.stderr
    assert len((folder / "data" / "migrated-pins.jsonl").read_text().splitlines()) == 1


def test_a_claim_that_is_not_so_ends_the_demo_with_exit_code_1(folder: Path) -> None:
    done = _harness("demo", "--folder", folder, ENCODER_BLOCK_PLUGINS="pin")
    assert done.returncode == 1
    assert "error: not so: the default implementations, `pin`, are among them" in done.stderr


def test_the_demo_is_the_same_whatever_a_person_has_set(folder: Path, tmp_path: Path) -> None:
    """And on a machine without ffmpeg, Go and jq: only what a shell needs is on PATH."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "grep", "wc", "cat"):
        (tools / name).symlink_to(str(shutil.which(name)))
    own = {"LOCAL_FALLBACK_THRESHOLD": "2", "ENABLE_LOCAL_FALLBACK": "false", "IPFS_API_ADDR": "nonsense"}
    done = _harness("demo", "--folder", folder, PATH=str(tools), **own)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no jq on this machine" in done.stdout


def test_kill_9_in_mid_flight_loses_no_job_and_doubles_none(folder: Path) -> None:
    done = _run(folder, "--make", "2", "--supernode", "down", "--kill-after", "2.5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"kill -9 \d+: the encoder is gone in mid flight", done.stdout)
    lines = (folder / "data" / "local-fallback-pins.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["job_id"] for line in lines) == ["001-test-video", "002-test-video"]
    assert not list((folder / "data" / "spool" / "open").iterdir())


@pytest.mark.parametrize(
    "fault",
    [["down", "--back-after", "4"], ["slow"], ["flapping"]],
    ids=["down and back", "slow", "flapping"],
)
def test_a_supernode_that_recovers_gets_the_job_or_the_archive_does(folder: Path, fault: list[str]) -> None:
    done = _run(folder, "--make", "1", "--supernode", *fault)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "001-test-video  pinned" in done.stdout or "001-test-video  archived" in done.stdout


def test_a_bad_video_is_named_and_does_not_stop_the_next_job(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    done = _run(folder, str(bad), "--make", "1")
    assert done.returncode == 1
    assert "001-bad  not encoded: " in done.stdout
    assert "002-test-video  pinned" in done.stdout


def test_a_job_that_cannot_be_recorded_stays_with_the_encoder(folder: Path) -> None:
    folder.mkdir()
    (folder / "data").write_text("a file where the data folder belongs")
    done = _run(folder, "--make", "1")
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert str(folder / "data") in done.stderr
    (folder / "data").unlink()
    again = _run(folder)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "001-test-video  pinned" in again.stdout


def test_every_plugin_of_the_group_is_loaded_and_called(folder: Path, tmp_path: Path) -> None:
    """A site's own distribution, found by its entry point: it hears of the job and cuts the retries short."""
    site = _site_distribution(tmp_path / "site-packages")
    done = _run(folder, "--make", "1", "--supernode", "down", PYTHONPATH=str(site), SITE_NOTES=str(tmp_path / "notes"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "notes").read_text() == "001-test-video\n"
    entry = json.loads((folder / "data" / "local-fallback-pins.jsonl").read_text())
    assert entry["failed_lazy_attempts"] == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ending_the_harness_ends_its_encoder_and_nodes_and_the_next_run_goes_on(
    folder: Path, how: signal.Signals
) -> None:
    command, environment = _command("run", "--folder", folder, "--make", "1", "--supernode", "down", "--backoff", "8")
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=_hear_interrupts
    ) as harness:
        assert harness.stdout is not None
        assert any("001-test-video  attempt 1 failed" in line for line in harness.stdout)
        harness.send_signal(how)
        harness.stdout.read()
        assert harness.wait(PATIENCE) != 0
    assert _processes_in(folder, until_gone=30) == []
    done = _run(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "001-test-video  reported complete before this run" in done.stdout
    assert "001-test-video  pinned" in done.stdout
    assert "002-" not in done.stdout


def _hear_interrupts() -> None:
    """What a shell starts in the background without job control is deaf to SIGINT, and so are its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return _harness("run", "--folder", folder, "--backoff", "1,1", *arguments, **environment)


def _harness(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command, variables = _command(*arguments, **environment)
    return subprocess.run(
        command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def _command(*arguments: object, **environment: str) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-m", "examples.encoder_harness", *map(str, arguments)]
    return command, {**os.environ, "PYTHONUNBUFFERED": "1", **environment}


def _site_distribution(folder: Path) -> Path:
    metadata = folder / "harness_site-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: harness-site\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[encoder]\nimpatient = harness_site\n")
    (folder / "harness_site.py").write_text(
        "import os\n"
        "from encoder_hookspecs import GiveUp, hookimpl\n"
        "@hookimpl\n"
        "def on_job_complete(job):\n"
        "    with open(os.environ['SITE_NOTES'], 'a') as notes:\n"
        "        notes.write(job.job_id + '\\n')\n"
        "@hookimpl\n"
        "def on_lazy_pin_attempt_failed(attempt):\n"
        "    return GiveUp(why='one is enough')\n"
    )
    return folder


def _processes_in(folder: Path, *, until_gone: float) -> list[str]:
    """The command lines of processes that work in `folder`, after waiting for them to go."""
    deadline = time.monotonic() + until_gone
    while (found := _processes(str(folder))) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def _processes(folder: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            about = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if folder.encode() in about and process.name != str(os.getpid()):
            found.append(about.split(b"\0\0")[0].decode(errors="replace")[:300])
    return found
