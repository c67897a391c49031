"""`migrate` and `clean` as an operator types them: usage, credentials, what is shown and what never is."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from encoder_hookspecs import hookimpl
from encoder_hookspecs.events import Migrated, Proof, Reason
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import ArchiveRecord
from encoder_pin_plugin.archive.tally import Tally, Trouble
from encoder_pin_plugin.archive.waiting import Item
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "nothing stands in {file}; is it the right file?"),
        (b"machine-1\n", "no line of {file} is an archive line; is it the right file? {file}, line 1: it is not JSON"),
        (b'{"hash":"' + b"z" * 46 + b'"}\n', "no line of {file} is an archive line"),
        (b"\n", "no line of {file} is an archive line"),
    ],
    ids=["empty", "no JSON", "no CID", "blank"],
)
def test_a_file_that_is_no_archive_is_refused_before_anything_is_asked_or_written(
    desk: Desk, tmp_path: Path, content: bytes, words: str
) -> None:
    file = tmp_path / "wrong"
    file.write_bytes(content)
    before = set(tmp_path.rglob("*"))
    done = desk.run("migrate", str(file), "--to", "kubo+http://127.0.0.1:1")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {words.format(file=file)}")
    assert done.stdout == ""
    assert set(tmp_path.rglob("*")) == before


def _collected(path: Path, *numbers: int) -> Path:
    records = [ArchiveRecord(hash=CIDS[number], job_id=f"job-{number}", size_mb=2.5) for number in numbers]
    path.write_bytes(b"".join(record.line() for record in records))
    return path


@pytest.fixture
def server() -> Iterator[FakeKubo]:
    with FakeKubo() as node:
        node.content |= dict.fromkeys(CIDS, Content())
        yield node


def test_an_empty_archive_of_a_fleet_is_left_out_and_a_wrong_file_stops_all(
    desk: Desk, server: FakeKubo, tmp_path: Path
) -> None:
    full, empty, wrong = _collected(tmp_path / "full", 0), tmp_path / "empty", tmp_path / "wrong"
    empty.touch()
    wrong.write_text("machine-1\n")
    to = f"kubo+{server.url}"
    assert desk.run("migrate", str(full), str(wrong), "--to", to).exit_code == 2
    assert server.pins == {}
    done = desk.run("migrate", str(full), str(empty), "--to", to)
    assert done.exit_code == 0, done.output
    assert f"nothing stands in {empty}: it is left out" in done.stderr
    assert CIDS[0] in server.pins
    assert [path.name for path in tmp_path.glob("*.migrated.json")] == ["full.migrated.json"]


def test_bad_lines_of_a_collected_file_are_lines_and_mended_where_they_came_from(
    desk: Desk, server: FakeKubo, tmp_path: Path
) -> None:
    file = _collected(tmp_path / "encoder 1.jsonl", 0)
    with file.open("ab") as opened:
        opened.write(b"rubbish\nmore\n")
    to = f"kubo+{server.url}"
    done = desk.run("migrate", str(file), "--to", to)
    assert done.exit_code == 1
    advice = f"ook with encoder-pin archive check '{file}'; encoder-pin archive repair on the encoder that it came from"
    assert f"bad line: 2 lines. L{advice}" in done.stdout
    assert "1 CID to finish with encoder-pin clean on the encoder" in done.stdout
    document = json.loads(desk.run("migrate", str(file), "--to", to, "--json").stdout)
    assert document["failed"][0]["advice"].startswith(f"l{advice}")
    both = desk.run("migrate", str(file), str(_collected(tmp_path / "other", 1)), "--to", to)
    assert "archive check FILE; " in both.stdout


def test_bad_lines_of_the_own_archive_are_repaired_here(desk: Desk, target: FakeKubo, local: FakeKubo) -> None:
    path = desk.data / "local-fallback-pins.jsonl"
    with path.open("ab") as opened:
        opened.write(b"rubbish\n")
    desk.env["MIGRATE_AUTH"] = f"bearer:{TOKEN}"
    for files in ((), (str(path),)):
        done = desk.run("migrate", *files, "--to", f"kubo+{target.url}")
        assert done.exit_code == 1
        assert "bad line: 1 line. Look with encoder-pin archive check; then encoder-pin archive repair" in done.stdout


def test_what_a_limit_leaves_out_is_told_and_what_is_next(
    desk: Desk, target: FakeKubo, local: FakeKubo, tmp_path: Path
) -> None:
    for number in (1, 2):
        target.content[CIDS[number]] = local.content[CIDS[number]] = Content()
        local.pins[CIDS[number]] = "encoder-pin"
        Archive(desk.data).append(ArchiveRecord(hash=CIDS[number], job_id=f"job-{number}", size_mb=2.5))
    desk.env["MIGRATE_AUTH"] = f"bearer:{TOKEN}"
    to = ("--to", f"kubo+{target.url}")
    assert "2 CIDs more would be left out by --limit 1" in desk.run("migrate", *to, "--limit", "1", "--dry-run").stdout
    done = desk.run("migrate", *to, "--limit", "1")
    assert done.exit_code == 0, done.output
    assert "2 CIDs still wait, left out by --limit 1: run this again with --clean, or without --limit" in done.stdout
    assert "nothing was removed here: run this again with --clean" in done.stdout
    assert json.loads(desk.run("migrate", *to, "--limit", "1", "--json").stdout)["left_by_limit"] == 2
    file = _collected(tmp_path / "collected", 0, 1)
    done = desk.run("migrate", str(file), *to, "--limit", "1")
    assert "1 CID still waits, left out by --limit 1: run this again without it to go on" in done.stdout
    assert "--clean" not in done.stdout
    done = desk.run("migrate", *to, "--limit", "2", "--clean")
    assert "1 CID still waits, left out by --limit 2: run this again to go on" in done.stdout
    assert "nothing was removed" not in done.stdout
    done = desk.run("migrate", *to, "--limit", "2", "--clean")
    assert done.exit_code == 0, done.output
    assert "left out" not in done.stdout
    assert json.loads(desk.run("migrate", *to, "--limit", "2", "--json").stdout)["left_by_limit"] == 0


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
    (desk.data / LEDGER_NAME).unlink()  # a job is in its file and in the ledger, and either is enough
    assert needed(CIDS) == {CIDS[0], CIDS[1]}


def test_a_line_that_was_moved_away_is_not_said_to_be_cleaned(
    desk: Desk, server: FakeKubo, local: FakeKubo, tmp_path: Path
) -> None:
    """With mv, as archives are collected: the local pin is there still."""
    (desk.data / "local-fallback-pins.jsonl").unlink()
    desk.submit("job-1", CIDS[0])
    desk.finish(State.ARCHIVED, line=ArchiveRecord(hash=CIDS[0], job_id="job-1", size_mb=2.5).line())
    collected = _collected(tmp_path / "collected", 0)
    assert desk.run("migrate", str(collected), "--to", f"kubo+{server.url}").exit_code == 0
    done = desk.run("clean", f"{collected}.migrated.json")
    assert done.exit_code == 1
    assert "1 line of it was written here, and stands in no file any more" in done.stderr
    assert "cleaned before" not in done.stdout
    assert CIDS[0] in local.pins
    assert desk.run("archive", "repair", "--from-ledger").exit_code == 0
    assert desk.run("clean", f"{collected}.migrated.json").exit_code == 0
    assert CIDS[0] not in local.pins
    again = desk.run("clean", f"{collected}.migrated.json")
    assert (again.exit_code, "cleaned before" in again.stdout) == (0, True)


def test_a_damaged_row_of_a_job_that_was_collected_long_ago_keeps_nothing_from_being_cleaned(
    desk: Desk, server: FakeKubo, local: FakeKubo, tmp_path: Path
) -> None:
    desk.submit("long-ago", CIDS[1])
    desk.finish(State.ARCHIVED, line=ArchiveRecord(hash=CIDS[1], job_id="long-ago").line())
    with closing(sqlite3.connect(desk.data / LEDGER_NAME)) as ledger:
        ledger.execute("UPDATE job SET attempts=-1, line=x'ff'")
        ledger.commit()
    collected = _collected(tmp_path / "collected", 0)
    assert desk.run("migrate", str(collected), "--to", f"kubo+{server.url}").exit_code == 0
    done = desk.run("clean", f"{collected}.migrated.json")
    assert done.exit_code == 0, done.output
    assert CIDS[0] not in local.pins


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
