"""The README, taken at its word: what it shows is run, and what it lists is compared with the code."""

from __future__ import annotations

import configparser
import inspect
import itertools
import os
import re
import shutil
import signal
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from encoder_hookspecs import EncoderSpecs
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import KEYS, ArchiveRecord
from encoder_pin_plugin.lazy.spool import Spool
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from encoder_pin_plugin.operate.cli import COMMANDS
from encoder_pin_plugin.settings.table import TABLE
from examples.nodes import ClusterPeer, KuboDaemon, make_dag
from tests.archive.former_files import pending, put, queue
from tests.shell import Shell, shell_in

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "encoder_pin_plugin").rglob("*.py")))


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def table(first_heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    after = README.split(f"\n| {first_heading} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in after.splitlines()[2:]]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]*)`", text)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return shell_in(tmp_path)


# What it shows is run


@dataclass
class Nodes:
    """Every node that the README speaks of, and what its host name there is here."""

    supernode: KuboDaemon
    local: KuboDaemon
    permanent: KuboDaemon
    cluster: ClusterPeer

    def named(self, command: str) -> str:
        """The command with the addresses of these nodes in it."""
        names = {
            "http://permanent:5001": self.permanent.api_url,
            "http://cluster:9094": self.cluster.rest_url,
            "http://service:9097": self.cluster.pinsvc_url,
        }
        for name, url in names.items():
            command = command.replace(name, url)
        return command


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    with ExitStack() as running:
        supernode, local, permanent, behind = [
            running.enter_context(KuboDaemon(folder / name)) for name in ("super", "local", "permanent", "behind")
        ]
        for node in (supernode, permanent, behind):
            node.connect(local)
        yield Nodes(supernode, local, permanent, running.enter_context(ClusterPeer(folder / "cluster", behind)))


COPY = '#!/bin/sh\ncp "${1#*:/opt/encoder/}" "$2"\n'
"""Stands in for scp: the encoder is this folder."""


@pytest.mark.real
@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
def test_every_command_does_what_is_shown(shell: Shell, nodes: Nodes) -> None:
    """On a machine as the README describes it: a fallback lies behind, and the worker runs as a service."""
    put(shell.folder / "former/data/pending_pins.json", queue([pending(1)]))
    put(shell.folder / "scp", COPY.encode()).chmod(0o755)
    shell.env["PATH"] = f"{shell.folder}{os.pathsep}{shell.env['PATH']}"
    shell.env |= {"IPFS_API_ADDR": nodes.local.api_multiaddr, "THREESPEAK_IPFS_ENDPOINT": "http://127.0.0.1:1"}
    cid = make_dag(nodes.local, pin=False)
    assert shell.run(f"encoder-pin submit {cid} --job-id job-1").returncode == 0
    assert shell.run("LAZY_PIN_BACKOFF=1 encoder-pin work --drain").returncode == 0
    shell.env["THREESPEAK_IPFS_ENDPOINT"] = nodes.supernode.api_url
    worker = shell.start("encoder-pin", "work")
    try:
        for block in blocks("console"):
            if "migrate" in block:
                wait_for_migration(shell, nodes.local)
            run_as_shown(shell, nodes.named(block))
        for line in "".join(blocks("bash")).splitlines():
            done = shell.run(line)
            assert done.returncode == 0, f"{line}\n{done.stdout}"
            assert done.stdout.strip(), f"{line} printed nothing"
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)


def wait_for_migration(shell: Shell, local: KuboDaemon) -> None:
    """See to it that exactly one line waits: a command that says how many it moved is not to depend on luck."""
    archive = Archive(shell.folder / "data")
    if any(entry.record for entry in archive.entries()):
        return
    cid = make_dag(local, pin=False)
    local.rpc("pin/add", cid, name="encoder-pin")
    archive.append(ArchiveRecord(hash=cid, job_id="job", local_pin_timestamp="2025-10-28T10:30:00.000Z"))


def run_as_shown(shell: Shell, block: str) -> None:
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, flags=re.MULTILINE):
        done = shell.run(command)
        assert done.returncode in allowed(command), f"$ {command}\n{done.stdout}"
        pattern = re.escape(expected.strip()).replace("…", ".*")
        assert re.fullmatch(pattern, done.stdout.strip(), flags=re.DOTALL), f"$ {command}\n{done.stdout}"


def allowed(command: str) -> set[int]:
    """0, and 1 for a command of which the README says so."""
    name = command.split()[1]
    return {0, 1} if re.search(rf"`{name}` ends with 1", README) else {0}


def test_the_python_blocks_run_in_order_and_record_their_jobs(shell: Shell) -> None:
    script = shell.folder / "encoder.py"
    script.write_text("\n".join(blocks("python")))
    done = shell.run(f"{sys.executable} -W error {script.name}")
    assert done.returncode == 0, done.stdout
    spool = Spool(shell.folder / "data")
    files = [*spool.arrivals(100), *spool.opened()]
    assert sorted(spool.read(path).job.job_id for path in files) == ["job-123", "job-124"]


def test_the_service_file_is_one_and_starts_what_exists() -> None:
    (text,) = blocks("ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    assert set(unit.sections()) == {"Unit", "Service", "Install"}
    service = unit["Service"]
    program, *arguments = service["ExecStart"].split()
    assert (Path(program).name, arguments) == ("encoder-pin", ["work"])
    folder = service["WorkingDirectory"]
    assert service["ReadWritePaths"].split() == [f"{folder}/data", f"{folder}/logs"]


def test_the_entry_point_is_that_of_the_example_plugin() -> None:
    (text,) = blocks("toml")
    example = tomllib.loads((ROOT / "examples/site_plugin/pyproject.toml").read_text())
    assert tomllib.loads(text)["project"]["entry-points"] == example["project"]["entry-points"]


# What it lists is what there is


def test_the_settings_are_those_of_the_table_with_their_defaults() -> None:
    shown: dict[str, str] = {}
    for names, default, _ in table("setting"):
        defaults = re.sub(r"`[^`]*`", lambda each: each[0].replace(",", ";"), default).split(",")
        for name, text in itertools.zip_longest(quoted(names), defaults, fillvalue=""):
            shown[name] = "".join(quoted(text)).replace(";", ",")
    files = {name for name in TABLE if name.endswith("_AUTH_FILE")}
    assert "…_AUTH_FILE" in README
    assert shown == {name: row.default for name, row in TABLE.items() if name not in files}


def test_the_hooks_are_those_of_the_contract_with_their_parameters() -> None:
    shown = {quoted(hook)[0]: quoted(parameters) for hook, parameters, *_ in table("hook")}
    hooks = {name: hook for name, hook in vars(EncoderSpecs).items() if name.startswith("on_")}
    assert shown == {name: list(inspect.signature(hook).parameters)[1:] for name, hook in hooks.items()}


@pytest.mark.parametrize("name", [name for name, _ in COMMANDS])
def test_every_command_is_mentioned(name: str) -> None:
    assert re.search(rf"encoder-pin {name}\b|`{name}[ `]", README)


def test_the_files_are_those_that_the_code_writes() -> None:
    shown = {quoted(names)[0].rstrip("/"): what for names, what in table("file")}
    data, archive, spool = Path("data"), Archive(Path("data")), Spool(Path("data"))
    ours = {archive.path, archive.migrated_path, archive.quarantine, spool.folder, data / LEDGER_NAME}
    assert set(shown) == {*map(str, ours), f"{archive.path}.lock", "logs/encoder.log"}
    assert quoted(shown[str(archive.path)]) == [", ".join(KEYS)]
    assert quoted(shown[str(spool.folder)]) == [spool.new.name, spool.open.name, spool.rejected.name]


def test_the_messages_to_look_up_are_those_that_are_written() -> None:
    for seen, *_ in table("you see"):
        for text in quoted(seen):
            pattern = re.escape(text).replace("…", ".*").replace('"', r'\\?"')
            assert re.search(pattern.replace(r"\ ", r"[\s\"f]+"), SOURCE), f"nothing writes {text!r}"


def test_every_target_of_make_exists() -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, flags=re.MULTILINE))
    assert {"demo", "test"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_every_link_into_the_checkout_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("https://")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
