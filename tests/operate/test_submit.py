"""`submit`: recorded when it returns, or refused in words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.operate.conftest import CIDS, SCRIPT, Desk


def test_a_submitted_job_stands_in_a_file_that_is_named(desk: Desk) -> None:
    result = desk.run("submit", CIDS[0], "--job-id", "job-1", "--size-mb", "25.5", "--type", "directory")
    assert result.exit_code == 0
    (file,) = desk.spool.arrivals(10)
    assert str(file) in result.stdout
    job = desk.spool.read(file).job
    assert (job.cid, job.job_id, job.size_mb, job.type) == (CIDS[0], "job-1", 25.5, "directory")


def test_the_command_of_a_failed_recording_can_be_typed_as_it_stands(desk: Desk) -> None:
    when = "2025-10-28T10:30:00.000+00:00"
    desk.submit("job-1", CIDS[1], "--size-mb", "1.0", "--type", "file", "--node-id", "enc-1", "--completed-at", when)
    job = desk.spool.read(desk.spool.arrivals(1)[0]).job
    assert (job.node_id, job.completed_at.isoformat(timespec="milliseconds")) == ("enc-1", when)


def test_that_nobody_works_is_said(desk: Desk) -> None:
    result = desk.run("submit", CIDS[0], "--job-id", "job-1")
    assert "nobody works on" in result.stderr
    assert 'run "encoder-pin work"' in result.stderr


@pytest.mark.parametrize(
    "cid", ["", "xx", "/ipfs/" + CIDS[0], CIDS[0] + "\n", "Q" * 10_000, CIDS[0][:-1], "https://x/y"]
)
def test_what_is_no_cid_is_refused_with_exit_code_2_and_nothing_is_recorded(desk: Desk, cid: str) -> None:
    result = desk.run("submit", cid, "--job-id", "job-1")
    assert result.exit_code == 2
    assert "CID" in result.stderr
    assert not desk.data.exists()


def test_a_cid_in_another_base_is_recorded_in_its_canonical_form(desk: Desk) -> None:
    desk.submit("job-1", CIDS[0].upper())
    assert desk.spool.read(desk.spool.arrivals(1)[0]).job.cid == CIDS[0]


@pytest.mark.parametrize(
    "odd",
    [["--size-mb", "-1"], ["--size-mb", "nan"], ["--size-mb", "much"], ["--type", "dir"], ["--completed-at", "x"]],
)
def test_an_odd_value_costs_no_video(desk: Desk, odd: list[str]) -> None:
    result = desk.run("submit", CIDS[0], "--job-id", "job-1", *odd)
    assert result.exit_code == 0
    assert "warning: job job-1: " in result.stderr
    assert len(desk.spool.arrivals(10)) == 1


def test_a_hostile_job_id_reaches_neither_the_file_system_nor_the_terminal(desk: Desk) -> None:
    result = desk.run("submit", CIDS[0], "--job-id", "../../\x1b[2J\nX")
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    (file,) = desk.spool.arrivals(10)
    assert file.parent == desk.spool.new


def test_json_says_the_same_to_programs(desk: Desk) -> None:
    document = json.loads(desk.run("submit", CIDS[0], "--job-id", "job-1", "--json").stdout)
    assert document["recorded"] is True
    assert Path(document["file"]).is_file()


def test_a_job_is_recorded_whatever_is_wrong_with_the_settings(desk: Desk) -> None:
    desk.env["LAZY_PIN_BACKOFF"] = "soon"
    result = desk.run("submit", CIDS[0], "--job-id", "job-1")
    assert result.exit_code == 0
    assert "LAZY_PIN_BACKOFF" in result.stderr
    assert len(desk.spool.arrivals(10)) == 1


def test_the_data_folder_of_the_option_wins(desk: Desk, tmp_path: Path) -> None:
    desk.env["DATA_DIR"] = str(tmp_path / "other")
    result = desk.run("--data-dir", str(tmp_path / "chosen"), "submit", CIDS[0], "--job-id", "job-1")
    assert result.exit_code == 0
    assert (tmp_path / "chosen" / "spool" / "new").is_dir()
    assert not (tmp_path / "other").exists()


def test_what_the_disk_refuses_ends_with_exit_code_1_and_the_command_for_later(desk: Desk) -> None:
    desk.data.write_text("a file stands where the folder belongs")
    result = desk.run("submit", CIDS[0], "--job-id", "job 1")
    assert result.exit_code == 1
    assert result.stderr.count(f"encoder-pin --data-dir {desk.data} submit {CIDS[0]} --job-id 'job 1'") == 1


@pytest.mark.parametrize("option", [(), ("--data-dir", "relative")], ids=["setting", "option"])
def test_where_the_working_folder_is_gone_only_that_is_said_and_the_command_for_later(
    desk: Desk, option: tuple[str, ...]
) -> None:
    (desk.folder / "gone").mkdir()
    words = [str(SCRIPT), *option, "submit", CIDS[0], "--job-id", "job 1"]
    command = ["bash", "-c", 'cd gone && rmdir ../gone && exec "$@"', "bash", *words]
    result = subprocess.run(command, cwd=desk.folder, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert "is recorded" not in result.stderr
    assert "the working folder is gone; write an absolute path" in result.stderr
    assert result.stderr.count(f"submit it again with: encoder-pin submit {CIDS[0]} --job-id 'job 1'") == 1
    assert len(result.stderr.splitlines()) == 1


def test_that_wrong_settings_stop_the_work_is_said_of_recorded_jobs_only(desk: Desk) -> None:
    desk.env["LAZY_PIN_BACKOFF"] = "soon"
    desk.data.write_text("a file stands where the folder belongs")
    result = desk.run("submit", CIDS[0], "--job-id", "job-1")
    assert result.exit_code == 1
    assert "the job is recorded" not in result.stderr


def test_a_blocked_recorder_is_said_and_not_taken_for_success(desk: Desk) -> None:
    desk.env["BLOCK_PLUGINS"] = "pin"
    result = desk.run("submit", CIDS[0], "--job-id", "job-1")
    assert result.exit_code == 1
    assert "not recorded" in result.stderr
    assert "blocked" in result.stderr


def test_a_terminal_that_knows_no_emoji_shows_the_job_all_the_same(desk: Desk) -> None:
    desk.env["PYTHONIOENCODING"] = "latin-1"
    result = desk.process("submit", CIDS[1], "--job-id", "\U0001f600")
    assert result.returncode == 0, result.stderr
    assert "\\U0001f600" in result.stdout


def test_python_m_does_the_same_as_the_console_script(desk: Desk) -> None:
    command = [sys.executable, "-m", "encoder_pin_plugin", "submit", CIDS[0], "--job-id", "job-1"]
    result = subprocess.run(command, cwd=desk.folder, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert len(desk.spool.arrivals(10)) == 1
