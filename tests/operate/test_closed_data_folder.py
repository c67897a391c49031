"""A data folder that is a file, or somebody else's: every command says the same, and none takes it for an empty one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operate.conftest import CIDS, Desk

COMMANDS = (
    ("status", "--no-nodes"),
    ("doctor", "--no-nodes"),
    ("jobs",),
    ("jobs", "--state", "all"),
    ("retry", "job-1"),
    ("reject", "job-1"),
    ("archive", "total"),
    ("archive", "list"),
    ("archive", "check"),
    ("archive", "repair"),
    ("migrate", "--to", "kubo+http://127.0.0.1:1"),
    ("audit",),
    ("import", "."),
)
SUBMIT = ("submit", CIDS[0], "--job-id", "job-1")


def placed(desk: Desk, folder: Path, by: str, *command: str) -> tuple[str, ...]:
    """The command on a data folder that the option or the setting names."""
    if by == "option":
        return ("--data-dir", str(folder), *command)
    desk.env["DATA_DIR"] = str(folder)
    return command


@pytest.mark.parametrize("by", ["setting", "option"])
@pytest.mark.parametrize("below", ["file", "file/data"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_file_in_the_place_of_a_folder_is_named_once_by_every_command(
    desk: Desk, command: tuple[str, ...], below: str, by: str
) -> None:
    (desk.folder / "file").write_text("x")
    result = desk.run(*placed(desk, desk.folder / below, by, *command))
    assert result.exit_code == 1
    sentence = f"{desk.folder / 'file'}: a file stands where a folder belongs"
    assert result.output.count(sentence) == 1
    assert result.output.count("remove it, or set DATA_DIR to another folder") == 1
    assert not any(word in result.output for word in ("chmod", "user that runs", "no such folder", "belongs to user"))


@pytest.mark.parametrize("by", ["setting", "option"])
def test_submit_says_it_too_and_how_to_submit_it_again(desk: Desk, by: str) -> None:
    (desk.folder / "file").write_text("x")
    result = desk.run(*placed(desk, desk.folder / "file", by, *SUBMIT))
    assert result.exit_code == 1
    assert "a file stands where a folder belongs: remove it" in result.stderr
    command = f"encoder-pin --data-dir {desk.folder / 'file'} submit {CIDS[0]} --job-id job-1"
    assert f"submit it again with: {command}" in result.stderr
    assert "Usage" not in result.output


@pytest.fixture
def foreign(desk: Desk) -> Iterator[Path]:
    """Root's data folder, and somebody else who runs the commands."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "data").mkdir(mode=0o700)
    for command in (*COMMANDS, SUBMIT):
        desk.env["DATA_DIR"] = str(desk.folder / "none")
        desk.run(*command)  # what it imports may be out of the other's reach
    os.seteuid(65534)
    try:
        yield folder / "data"
    finally:
        os.seteuid(0)
        shutil.rmtree(folder)


@pytest.mark.parametrize("below", ["", "deeper"])
def test_whose_folder_it_is_is_named_once_by_every_command(desk: Desk, foreign: Path, below: str) -> None:
    desk.env["DATA_DIR"] = str(foreign / below)
    sentence = f"user 65534 may not use {foreign}, which belongs to user 0: run this as the user that runs the encoder"
    for command in COMMANDS[:-1]:  # the other user may not see this working folder, which import would read
        result = desk.run(*command)
        assert result.exit_code == 1, command
        if command[0] == "doctor":
            assert result.output.count(sentence.partition(": ")[0]) == 1
        else:
            assert result.output.count(sentence) == 1, command


@pytest.mark.parametrize("by", ["setting", "option"])
def test_submit_names_the_owner_and_how_to_submit_it_again(desk: Desk, foreign: Path, by: str) -> None:
    result = desk.run(*placed(desk, foreign, by, *SUBMIT))
    assert result.exit_code == 1
    assert f"{foreign} belongs to user 0, and we are user 65534" in result.stderr
    assert f"submit it again with: encoder-pin --data-dir {foreign} submit {CIDS[0]} --job-id job-1" in result.stderr


def test_our_own_folder_that_is_shut_is_opened_with_chmod(desk: Desk) -> None:
    if os.geteuid() == 0:
        pytest.skip("this user enters every folder")
    desk.data.mkdir(mode=0o000)
    for command in COMMANDS:
        result = desk.run(*command)
        assert result.exit_code == 1
        assert f"we may not use {desk.data} (mode 0000)" in result.output
        assert f"chmod 0700 {desk.data}" in result.output
    desk.data.chmod(0o700)


def test_a_file_that_is_named_is_read_whatever_the_data_folder_is(desk: Desk) -> None:
    desk.data.write_text("x")
    (desk.folder / "collected.jsonl").touch()
    for command in ("check", "list", "total"):
        assert desk.run("archive", command, "collected.jsonl").exit_code == 0


def test_a_folder_in_the_place_of_the_ledger_is_not_taken_for_a_question_of_users(desk: Desk) -> None:
    (desk.data / "lazy-pins.db").mkdir(parents=True)
    result = desk.run("jobs")
    assert result.exit_code == 1
    assert "Is a directory; a folder stands where a file belongs: move it away" in result.stderr
    assert "user that runs" not in result.stderr
