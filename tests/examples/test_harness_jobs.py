"""The encoder remembers its jobs on disk, and says clearly what is wrong with its folders and its node."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from examples.encoder_harness.board import State
from examples.encoder_harness.cli import cli
from examples.encoder_harness.earlier import earlier_jobs
from examples.encoder_harness.errors import HarnessError
from examples.encoder_harness.ipfs import add_folder
from examples.encoder_harness.jobs import Jobs
from examples.encoder_harness.story import tell_story
from examples.nodes.ports import free_port


def test_jobs_are_found_again_in_their_order_with_what_is_known_of_them(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    first, second = jobs.add(Path("holiday film/Ägypten & co.mp4")), jobs.add()
    jobs.reported(first, cid="bafy")
    found = Jobs(tmp_path).all()
    assert [job.job_id for job in found] == ["001--gypten---co", "002-test-video"]
    assert [(job.reported, job.cid) for job in found] == [(True, "bafy"), (False, "")]
    assert found[0].source == str(Path("holiday film/Ägypten & co.mp4").absolute())
    assert found[1] == second


def test_what_became_of_earlier_jobs_is_asked_of_the_plugin(tmp_path: Path) -> None:
    assert earlier_jobs(tmp_path / "data") == {}
    command = [sys.executable, "-m", "encoder_pin_plugin", "--data-dir", str(tmp_path / "data")]
    command += ["submit", "bafybeihltddphfk4mncei4nb2zqj2lhg6hkd65mjyl6m75qurnfamvqwuy", "--job-id", "001-film"]
    subprocess.run(command, check=False, capture_output=True)
    assert earlier_jobs(tmp_path / "data") == {"001-film": {"state": State.REPORTED, "attempts": 0, "error": ""}}


def test_a_damaged_job_is_named(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    damaged = jobs.folder_of(jobs.add()) / "job.json"
    damaged.write_text("{")
    with pytest.raises(HarnessError, match=rf"{damaged} holds no job"):
        jobs.all()


def test_a_node_that_does_not_answer_is_named_with_its_address(tmp_path: Path) -> None:
    address = f"/ip4/127.0.0.1/tcp/{free_port()}"
    (tmp_path / "file").write_text("x")
    with pytest.raises(HarnessError, match=rf"cannot add .* to the Kubo node at {address}: .*; is it running"):
        add_folder(tmp_path, api=address)


def test_the_demo_removes_nothing_that_no_demo_left(tmp_path: Path) -> None:
    mine = tmp_path / "thesis.txt"
    mine.write_text("years of work")
    with pytest.raises(HarnessError, match="choose another with --folder"):
        tell_story(tmp_path)
    assert mine.read_text() == "years of work"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.mp4"], "no video at nowhere.mp4"),
        (["run", "--supernode", "tired"], "'tired' is not one of"),
        (["run", "--make", "-1"], "--make"),
        (["run", "--back-after", "soon"], "'soon' is not a valid float"),
        (["run", "--kill-after", "-3"], "--kill-after"),
        (["run", "--backoff", "later"], "LAZY_PIN_BACKOFF"),
        (["dance"], "No such command"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_is_wrong(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2
    assert words in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["demo", "run"])
def test_each_command_has_a_help_with_an_example(command: str) -> None:
    done = CliRunner().invoke(cli, [command, "--help"])
    assert done.exit_code == 0
    assert f"python -m examples.encoder_harness {command} " in done.output
