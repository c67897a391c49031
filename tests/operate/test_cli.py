"""The command line as a whole: its help, its exit codes, its errors, its speed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from encoder_pin_plugin import __version__
from encoder_pin_plugin.operate.cli import cli
from tests.operate.conftest import CIDS, Desk


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


ALL = list(_commands(cli))


@pytest.mark.parametrize("path", [path for path, _ in ALL], ids=" ".join)
def test_every_command_has_a_help_text_with_an_example_that_names_it(desk: Desk, path: tuple[str, ...]) -> None:
    result = desk.run(*path, "--help")
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"encoder-pin {' '.join(path)}" in result.stdout or f" {path[-1]}" in result.stdout.split("Example")[1]


@pytest.mark.parametrize(("path", "command"), ALL, ids=lambda it: " ".join(it) if isinstance(it, tuple) else "")
def test_the_first_sentence_of_each_help_text_fits_its_line(path: tuple[str, ...], command: click.Command) -> None:
    assert "..." not in command.get_short_help_str(limit=60), path


def test_each_option_says_what_it_does() -> None:
    for path, command in ALL:
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, (path, parameter.name)


def test_the_version_is_ours(desk: Desk) -> None:
    assert desk.run("--version").stdout == f"encoder-pin {__version__}\n"


@pytest.mark.parametrize("wrong", [["statsu"], ["status", "--jsn"], ["submit"], ["jobs", "--state", "lost"]])
def test_wrong_usage_ends_with_2(desk: Desk, wrong: list[str]) -> None:
    assert desk.run(*wrong).exit_code == 2


def test_help_imports_nothing_that_takes_long() -> None:
    heavy = ["rich", "loguru", "requests", "ipfshttpclient", "sqlite3", "filelock", "pluggy", "dotenv"]
    code = (
        "import sys; from encoder_pin_plugin.operate.cli import cli\n"
        "try: cli.main(['--help'], prog_name='encoder-pin')\n"
        f"except SystemExit: print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "Commands:" in result.stdout
    assert result.stderr.strip() == "[]"


def test_colours_are_for_terminals_only(desk: Desk) -> None:
    assert "\x1b" not in desk.process("status", "--no-nodes").stdout


def test_a_terminal_gets_colours_unless_it_asks_for_none(desk: Desk) -> None:
    import os
    import pty

    def shown(**env: str) -> bytes:
        ours, theirs = pty.openpty()
        desk.env |= env
        running = desk.start("status", "--no-nodes", stdout=theirs, stderr=theirs)
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 4096):
                text += piece
        except OSError:
            pass  # the other end is closed
        os.close(ours)
        running.wait(timeout=60)
        return text

    assert b"\x1b[" in shown(TERM="xterm")
    assert b"\x1b[" not in shown(TERM="xterm", NO_COLOR="1")


def test_what_we_did_not_foresee_is_not_hidden(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("encoder_pin_plugin.operate.report.gather", broken)
    with pytest.raises(ZeroDivisionError):
        desk.run("status", "--no-nodes")


@pytest.mark.parametrize("empty", ["", "  "])
def test_a_data_folder_without_a_name_is_not_the_working_folder(desk: Desk, empty: str) -> None:
    """A script's variable that is not set."""
    done = desk.run("--data-dir", empty, "submit", CIDS[0], "--job-id", "job-1")
    assert done.exit_code == 2
    assert "--data-dir" in done.stderr
    assert list(desk.folder.iterdir()) == []
    assert desk.run("--data-dir", ".", "submit", CIDS[0], "--job-id", "job-1").exit_code == 0
    assert (desk.folder / "spool").is_dir()
