"""Every command, with a secret in every place that takes one, before nodes that hang, refuse, break, redirect, and
repeat what they were sent: it is in nothing that is printed, logged or written.

That a node was really sent it is looked at, too: what never left the settings would be easy to hide.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from loguru import logger

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.migration_report import MIGRATED, MigrationReport, ReportLine, write_report
from encoder_pin_plugin.archive.record import ArchiveRecord
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Limits, PinNode
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.pinning_service import PinningService
from encoder_pin_plugin.operate.cli import COMMANDS
from encoder_pin_plugin.plugin import PinPlugin
from encoder_pin_plugin.settings import Credentials, Secret, load_settings
from tests.archive.former_files import pending, put, queue
from tests.fakes.unfriendly import HOWS, Unfriendly

CANARY = "canary-3c96fe"
CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
ANOTHER = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
FORMS = (CANARY.encode(), base64.b64encode(f"me:{CANARY}".encode()))
HOLD_IT = (".env", "token", "wrong-token")

SWEPT = [
    "submit {cid} --job-id job-9", "work --drain", "status", "status --json", "jobs", "jobs --json --state pending",
    "retry job-2", "reject job-2", "archive check", "archive total", "archive list --json",
    "archive repair --from-ledger",
    "migrate --to kubo+{url} --clean", "migrate --to cluster+{url} --dry-run --auth-file token",
    "migrate --to psa+{url} --clean --transfer push", "migrate --to psa+{url} --auth-file wrong-token",
    "migrate --to cluster+{url}?peer=p@{url} --proof retrieved", "migrate collected.jsonl --to kubo+{url}",
    "migrate --to psa+{url} --proof retrieved --gateway {url} --json",
    "clean collected.jsonl.migrated.json --to kubo+{url}",
    "clean collected.jsonl.migrated.json", "audit", "audit --to psa+{url} --json", "import former --apply", "plugins",
    "plugins --json", "doctor", "doctor --json", "settings", "settings --json",
]  # fmt: skip
SUPERNODE = {how: "USE_CLUSTER_FOR_PINS=true\n" if number % 2 else "" for number, how in enumerate(HOWS)}


def test_every_command_is_swept() -> None:
    assert {line.split()[0] for line in SWEPT} == {name for name, _ in COMMANDS}


@pytest.mark.slow
@pytest.mark.parametrize("how", HOWS)
def test_a_secret_comes_out_of_no_command(tmp_path: Path, how: str) -> None:
    with Unfriendly(how) as node:
        prepared = prepare(tmp_path / "prepared", node, SUPERNODE[how])
        assert CANARY.encode() in b"".join((prepared / name).read_bytes() for name in HOLD_IT)

        def sweep(number: int) -> list[str]:
            folder = shutil.copytree(prepared, tmp_path / f"run-{number}")
            words = SWEPT[number].format(cid=CID, url=node.url).split()
            output = run(folder, words, patience=4 if how == "hangs" else 20)
            return [f"{' '.join(words)}: in {where}" for where in found_in(folder, output)]

        with ThreadPoolExecutor(2) as pool:
            leaks = [leak for leaks in pool.map(sweep, range(len(SWEPT))) for leak in leaks]
        assert leaks == []
        sent = node.asked().encode()
        assert all(form in sent for form in FORMS)


def prepare(folder: Path, node: Unfriendly, more: str) -> Path:
    """A folder where every command has something to do, and settings with a secret wherever one can stand."""
    folder.mkdir()
    data = folder / "data"
    archive = Archive(data)
    archive.append(ArchiveRecord(hash=CID, job_id="job-1", size_mb=2.5))
    shutil.copy(archive.path, folder / "collected.jsonl")
    line = ReportLine(hash=CID, job_id="job-1", node_id="encoder-1", status=MIGRATED, target=f"kubo+{node.url}")
    made = MigrationReport(target=f"kubo+{node.url}", made_at="2025-10-28", made_on=os.uname().nodename, lines=(line,))
    write_report(folder / "collected.jsonl.migrated.json", made)
    PinPlugin(load_settings({}, folder)).service.record(CompletedJob(cid=ANOTHER, job_id="job-2"))
    put(folder / "former/data/pending_pins.json", queue([pending(1)]))
    for name, content in (("token", f"bearer:{CANARY}\n"), ("wrong-token", f"nonsense:{CANARY}\n")):
        put(folder / name, content.encode()).chmod(0o600)
    put(folder / ".env", (
        f"THREESPEAK_IPFS_ENDPOINT={node.url}\nIPFS_API_ADDR={node.url}/local\nIPFS_CLUSTER_ENDPOINT={node.url}\n"
        f"THREESPEAK_IPFS_AUTH_FILE=token\nIPFS_API_AUTH=basic:me:{CANARY}\nIPFS_CLUSTER_AUTH=basic:me:{CANARY}\n"
        f"LAZY_PIN_BACKOFF=1\nFALLBACK_AFTER=3\nLOCAL_FALLBACK_THRESHOLD=1\nLAZY_PIN_TIMEOUT=2\nLAZY_PIN_STALL_TIMEOUT=1\n"
        f"MIGRATE_AUTH=bearer:{CANARY}\n{more}"
    ).encode())  # fmt: skip
    return folder


def run(folder: Path, words: list[str], *, patience: float) -> bytes:
    """What a command printed; one that goes on for longer is told to end, and says what it says then."""
    kept = {name: text for name, text in os.environ.items() if name in ("PATH", "HOME", "PYTHONPATH")}
    running = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "ignore", "-m", "encoder_pin_plugin", "-vv", *words], cwd=folder, env=kept,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    for end in (signal.SIGINT, signal.SIGINT, signal.SIGKILL):
        try:
            return running.communicate(timeout=patience)[0]
        except subprocess.TimeoutExpired:
            running.send_signal(end)
    return running.communicate()[0]


def found_in(folder: Path, output: bytes) -> Iterator[str]:
    if any(form in output for form in FORMS):
        yield "its output: " + next(filter(told, output.decode().splitlines()))
    for path in sorted(folder.rglob("*")):
        if path.name not in HOLD_IT and path.is_file() and any(form in path.read_bytes() for form in FORMS):
            yield str(path.relative_to(folder))


def told(line: str) -> bool:
    return any(form.decode() in line for form in FORMS)


# In somebody else's process, whose log shows the values in a traceback


@pytest.mark.parametrize("kind", [KuboNode, ClusterNode, PinningService])
@pytest.mark.parametrize("auth", ["bearer", "basic"])
@pytest.mark.parametrize("how", [how for how in HOWS if how != "hangs"] + ["nobody"])
def test_a_host_that_logs_a_failure_with_every_value_shows_no_secret(kind: type[PinNode], auth: str, how: str) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level="TRACE", backtrace=True, diagnose=True)
    try:
        with Unfriendly("hangs up" if how == "nobody" else how) as node:
            url = "http://127.0.0.1:9" if how == "nobody" else node.url
            user = "me" if auth == "basic" else ""
            target = kind(url, auth=Credentials(auth, user, Secret(CANARY)))  # type: ignore[call-arg,arg-type]
            limits = Limits(stall=1, total=2)
            for call in (target.ping, lambda: target.pin(CID, limits=limits), lambda: target.unpin(CID)):
                try:
                    call()
                except NodeError:
                    logger.exception("a call failed")
            answers = repr([target.pinned([CID]), target.whole([CID])])
            asked = node.asked()
    finally:
        logger.remove(sink)
    assert lines
    assert "Traceback" in "".join(lines)
    assert list(filter(told, [*"".join(lines).splitlines(), answers])) == []
    assert how == "nobody" or told(asked)
