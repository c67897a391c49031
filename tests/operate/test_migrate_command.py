"""`migrate` and `clean` as an operator types them: usage, credentials, what is shown and what never is."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from encoder_hookspecs import hookimpl
from encoder_hookspecs.events import Migrated, Proof, Reason
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import ArchiveRecord
from encoder_pin_plugin.archive.tally import Tally, Trouble
from encoder_pin_plugin.archive.waiting import Item
from encoder_pin_plugin.nodes.proofs import Look
from encoder_pin_plugin.operate.migrate_parts import jobs_that_need, observers
from encoder_pin_plugin.operate.migrate_words import ADVICE, troubles_in_words
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_node import FakeKubo
from tests.operate.conftest import CIDS, SCRIPT, Desk

TOKEN = "s3cr3t-t0ken"


@pytest.fixture
def target() -> Iterator[FakeKubo]:
    with FakeKubo(token=TOKEN) as node:
        node.content[CIDS[0]] = Content()
        yield node


@pytest.fixture
def local(desk: Desk) -> Iterator[FakeKubo]:
    with FakeKubo() as node:
        node.content[CIDS[0]] = Content()
        node.pins[CIDS[0]] = "encoder-pin"
        desk.env["IPFS_API_ADDR"] = node.url
        Archive(desk.data).append(ArchiveRecord(hash=CIDS[0], job_id="job-1", size_mb=2.5))
        yield node


def test_credentials_come_from_the_environment_or_a_private_file(
    desk: Desk, target: FakeKubo, local: FakeKubo, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text(f"bearer:{TOKEN}\n")
    secret.chmod(0o600)
    to = f"kubo+{target.url}"
    wrong = desk.run("migrate", "--to", to)
    assert wrong.exit_code == 1
    assert "credentials" in wrong.stderr
    assert desk.run("migrate", "--to", to, "--auth-file", str(secret)).exit_code == 0
    desk.env["MIGRATE_AUTH"] = f"bearer:{TOKEN}"
    done = desk.run("migrate", "--to", to, "--clean")
    assert done.exit_code == 0, done.output
    everything = done.output + "".join(path.read_text() for path in desk.data.glob("*.json*"))
    assert TOKEN not in everything
    assert CIDS[0] in target.pins
    assert CIDS[0] not in local.pins


def test_the_settings_credentials_serve_the_same_address(desk: Desk, target: FakeKubo, local: FakeKubo) -> None:
    desk.env |= {"THREESPEAK_IPFS_ENDPOINT": target.url, "THREESPEAK_IPFS_AUTH": f"bearer:{TOKEN}"}
    assert desk.run("migrate", "--to", f"kubo+{target.url}").exit_code == 0


def test_a_file_that_others_may_read_is_refused(desk: Desk, target: FakeKubo, local: FakeKubo, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text(f"bearer:{TOKEN}")
    secret.chmod(0o644)
    done = desk.run("migrate", "--to", f"kubo+{target.url}", "--auth-file", str(secret))
    assert done.exit_code == 2
    assert "chmod 0600" in done.stderr
    assert TOKEN not in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--to"),
        (("--to", "http://x:5001"), "write kubo+http://"),
        (("--to", ""), "write kubo+http://"),
        (("--to", f"kubo+http://user:{TOKEN}@x:5001"), ""),
        (("--to", "psa+http://127.0.0.1:1", "--transfer", "push"), ""),
        (("--to", "kubo+http://127.0.0.1:1", "--only", "no-cid"), "CID"),
        (("--to", "kubo+http://127.0.0.1:1", "--transfer", "walk"), "walk"),
    ],
)
def test_wrong_usage_is_exit_code_2_or_a_target_that_is_not_there(
    desk: Desk, local: FakeKubo, arguments: tuple[str, ...], words: str
) -> None:
    done = desk.run("migrate", *arguments)
    assert done.exit_code in ((1, 2) if "psa+" in str(arguments) else (2,))
    assert words in done.stderr
    assert TOKEN not in done.output


def test_nothing_that_waits_is_done_already(desk: Desk) -> None:
    done = desk.run("migrate", "--to", "kubo+http://127.0.0.1:1")
    assert done.exit_code == 0
    assert "nothing waits in" in done.stdout


def test_a_progress_bar_shows_on_a_terminal(desk: Desk, target: FakeKubo, local: FakeKubo) -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, **{name: value for name, value in desk.env.items() if value}, "TERM": "xterm"}
    done = subprocess.run(
        [str(SCRIPT), "migrate", "--to", f"kubo+{target.url}"], cwd=desk.folder, stderr=theirs,
        env=env | {"MIGRATE_AUTH": f"bearer:{TOKEN}"}, timeout=60, check=False, stdout=subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with suppress(OSError):
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert done.returncode == 0
    assert b"1/1" in shown


def test_jobs_that_are_open_or_have_just_arrived_need_their_cids(desk: Desk) -> None:
    needed = jobs_that_need(desk.data)
    assert needed(CIDS) == set()
    desk.submit("job-1", CIDS[0])
    assert needed(CIDS) == {CIDS[0]}
    desk.ledger().close()
    desk.submit("job-2", CIDS[1])
    assert needed(CIDS) == {CIDS[0], CIDS[1]}


def test_observers_hear_of_every_line_that_is_proved() -> None:
    from encoder_hookspecs import EncoderManager

    heard: list[Migrated] = []

    class Catalogue:
        @hookimpl
        def on_migrated(self, record: Migrated) -> None:
            heard.append(record)

    manager = EncoderManager(recorder=None)
    manager.register(Catalogue(), "catalogue")
    item = Item(cid=CIDS[0], keys=[(CIDS[0], "job-1"), (CIDS[0], "job-2")], size_mb=2.5)
    with observers(manager, "kubo+http://x") as tell:
        tell(item, Look(proof=Proof.WHOLE, enough=True))
    assert [(record.job_id, record.target, record.proof) for record in heard] == [
        ("job-1", "kubo+http://x", Proof.WHOLE),
        ("job-2", "kubo+http://x", Proof.WHOLE),
    ]


def test_every_reason_has_an_advice_and_many_troubles_are_grouped() -> None:
    assert {reason.value for reason in Reason} - {"too_old", "plugin"} <= ADVICE.keys()
    tally = Tally()
    for number in range(50):
        tally.troubles[str(number)] = Trouble(cid=str(number), reason="stalled", detail="no progress \x1b[2J")
    lines = troubles_in_words(tally)
    assert lines[0].startswith("stalled: 50 CIDs. The target gets no blocks")
    assert lines[-1] == "  … and 47 more; --json names them all"
    assert "\x1b" not in "".join(lines)
    json.dumps(lines)
