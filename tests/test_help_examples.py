"""Every command's help has an example, and each of them runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.migration_report import MIGRATED, MigrationReport, ReportLine, write_report
from encoder_pin_plugin.archive.record import ArchiveRecord
from encoder_pin_plugin.operate.cli import cli
from tests.archive.former_files import pending, put, queue
from tests.shell import Shell, shell_in

CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return shell_in(tmp_path)


def examples() -> Iterator[tuple[str, str]]:
    """Each command with each command line in its help text."""
    for name, command in commands(cli, ()):
        for line in re.findall(r"^ +((?:[A-Z_]+=\S+ )*encoder-pin .+)$", command.help or "", flags=re.MULTILINE):
            yield name, line


def commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path) or "encoder-pin", group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_every_command_has_an_example_in_its_help() -> None:
    assert {name for name, _ in commands(cli, ())} == {name for name, _ in examples()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose data folder has an open job, a ledger and an archive of one line."""
    shell = shell_in(tmp_path_factory.mktemp("prepared"))
    assert shell.run(f"encoder-pin submit {CID} --job-id job-123").returncode == 0
    assert shell.run("timeout --preserve-status 10 encoder-pin work").returncode == 0
    record = ArchiveRecord(hash=CID, job_id="job-1", local_pin_timestamp="2025-10-28T10:30:00.000Z")
    Archive(shell.folder / "data").append(record)
    put(shell.folder / "pending_pins.json", queue([pending(1)]))
    return shell.folder


@pytest.mark.parametrize("line", [line for _, line in examples()])
def test_the_examples_in_the_help_texts_run(shell: Shell, prepared: Path, line: str) -> None:
    if "| jq" in line and not shutil.which("jq"):
        pytest.skip("jq is not installed")
    shutil.copytree(prepared, shell.folder, dirs_exist_ok=True)
    for name in re.findall(r"(?<!> )(?<!\S)[\w.-]+\.json\S*", line):
        make_named_file(shell.folder, name)
    line = line.replace("/srv/encoder", str(shell.folder))
    if line.split()[-1] == "work":
        line = f"timeout --preserve-status 10 {line}"
    done = shell.run(line)
    assert done.returncode in (0, 1), f"{line}\n{done.stdout}"
    assert "Traceback" not in done.stdout


def make_named_file(folder: Path, name: str) -> None:
    """A file that an example names: a collected archive, or the report of its migration."""
    archive = Archive(folder / "data")
    if name.endswith(".jsonl"):
        (folder / name).write_bytes(archive.path.read_bytes())
        return
    keys = [entry.record.key for entry in archive.entries() if entry.record]
    lines = tuple(ReportLine(hash=cid, job_id=job, node_id="encoder-1", status=MIGRATED) for cid, job in keys)
    made = MigrationReport(target="kubo+http://permanent:5001", made_at="2025-10-28", made_on="permanent", lines=lines)
    write_report(folder / name, made)
