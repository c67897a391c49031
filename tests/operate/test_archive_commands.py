"""`archive`: the operators' file checked, healed, summed up and listed."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import ArchiveRecord
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from tests.operate.conftest import CIDS, Desk


def _record(number: int, **fields: object) -> ArchiveRecord:
    content = {
        "hash": CIDS[number % 3], "job_id": f"job-{number}", "size_mb": 1.5, "type": "directory",
        "failed_lazy_attempts": 3, "local_pin_timestamp": f"2025-10-{number + 10}T10:30:00.000Z", "node_id": "enc-1",
    }  # fmt: skip
    return ArchiveRecord(**{**content, **fields})  # type: ignore[arg-type]


@pytest.fixture
def archive(desk: Desk) -> Archive:
    archive = Archive(desk.data)
    for number in range(3):
        archive.append(_record(number))
    return archive


def test_the_total_is_what_the_operators_own_commands_say(desk: Desk, archive: Archive) -> None:
    document = desk.json("archive", "total")
    lines = subprocess.run(["wc", "-l", archive.path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert (document["records"], document["size_mb"]) == (int(lines), 4.5)
    assert "3 lines, 4.5 MB" in desk.run("archive", "total").stdout


def test_a_file_elsewhere_is_taken_too(desk: Desk, archive: Archive, tmp_path: Path) -> None:
    collected = tmp_path / "collected.jsonl"
    archive.path.rename(collected)
    assert desk.json("archive", "total")["records"] == 0
    assert desk.json("archive", "total", str(collected))["records"] == 3
    assert desk.run("archive", "check", str(collected)).exit_code == 0
    assert desk.run("archive", "list", str(collected), "--json").stdout.encode() == collected.read_bytes()


def test_an_archive_in_order_is_said_to_be(desk: Desk, archive: Archive) -> None:
    result = desk.run("archive", "check")
    assert result.exit_code == 0, result.output
    assert f"{archive.path}: 3 lines, in order" in result.stdout


def test_bad_lines_are_named_with_their_numbers(desk: Desk, archive: Archive) -> None:
    with archive.path.open("ab") as file:
        file.write(b"\x1b[2Jrubbish\n" + _record(1).line() + b'{"hash":"torn')
    result = desk.run("archive", "check")
    assert result.exit_code == 1
    for words in ("line 4: it is not JSON", "1 bad, 1 doubled", "after the last newline", "archive repair"):
        assert words in result.stdout
    document = desk.json("archive", "check")
    assert document["good"] is False
    assert document["files"][0]["faults"][0]["line"] == 4


def test_lines_of_one_key_that_differ_are_noted_and_need_nobody(desk: Desk, archive: Archive) -> None:
    with archive.path.open("ab") as file:
        file.write(_record(1, size_mb=7.0).line() + _record(2, node_id="enc-2").line() + _record(0).line())
    checked = desk.run("archive", "check")
    assert checked.exit_code == 1
    assert "0 bad, 1 doubled" in checked.stdout
    assert "doubled: line 6 the same as line 1" in checked.stdout
    assert "2 lines of a CID and job that stood before (line 4 after line 2, line 5 after line 3)" in checked.stdout
    assert "would drop 1 doubled line\n" in desk.run("archive", "repair", "--dry-run").stdout
    assert "dropped 1 doubled line" in desk.run("archive", "repair").stdout
    again = desk.run("archive", "check")
    assert again.exit_code == 0, again.output
    assert "5 lines, in order" in again.stdout
    assert "line 4 after line 2" in again.stdout
    assert "archive repair" not in again.stdout
    assert desk.json("archive", "total")["records"] == 5
    assert "archive repair" not in desk.run("doctor", "--no-nodes").stdout


def test_what_was_taken_back_and_migrated_again_is_in_order_and_counted_once(desk: Desk, archive: Archive) -> None:
    def migrate(number: int) -> None:
        extra = {"migrated_to": "kubo+http://x:5001", "migration_proof": "whole", "migrated_at": "2025-10-29"}
        archive.compact([_record(number).key], [_record(number, extra=extra).line()])

    migrate(0)
    migrate(1)
    archive.take_back(_record(1), "the target lost it")
    assert desk.json("status", "--no-nodes")["archive"]["migrated_lines"] == 1
    assert "waits again since 20" in desk.run("archive", "list", "--migrated").stdout
    migrate(1)
    checked = desk.run("archive", "check")
    assert checked.exit_code == 0, checked.output
    assert f"{archive.migrated_path}: 4 lines, in order\n" in checked.stdout
    assert "2 migrated" in desk.run("status", "--no-nodes").stdout
    assert "doubled" not in desk.run("doctor", "--no-nodes").stdout


def test_a_bad_line_among_the_migrated_is_set_aside_too(desk: Desk, archive: Archive) -> None:
    line = _record(3).line()
    archive.migrated_path.write_bytes(line + b"rubbish\n" + line)
    archive.migrated_path.chmod(0o600)
    assert desk.run("archive", "check").exit_code == 1
    assert "would set aside 1 bad line" in desk.run("archive", "repair", "--dry-run").stdout
    assert f"{archive.migrated_path}: kept 2 lines, set 1 bad line aside" in desk.run("archive", "repair").stdout
    assert archive.migrated_path.read_bytes() == line + line
    assert desk.run("archive", "check").exit_code == 0


def test_a_file_from_elsewhere_is_to_be_repaired_where_it_came_from(
    desk: Desk, archive: Archive, tmp_path: Path
) -> None:
    collected = tmp_path / "collected.jsonl"
    collected.write_bytes(archive.path.read_bytes() + b"rubbish\n")
    checked = desk.run("archive", "check", str(collected))
    assert checked.exit_code == 1
    assert "run encoder-pin archive repair on the encoder that it came from" in checked.stdout
    with archive.path.open("ab") as file:
        file.write(b"rubbish\n")
    assert "encoder-pin archive repair sets" in desk.run("archive", "check", str(archive.path)).stdout


def test_what_only_a_person_can_put_right_is_not_said_to_be_a_repairs(desk: Desk, archive: Archive) -> None:
    archive.path.chmod(0o666)
    checked = desk.run("archive", "check")
    assert checked.exit_code == 1
    assert f"chmod go-w {archive.path}" in checked.stdout
    assert "archive repair" not in checked.stdout
    assert "archive repair" not in desk.run("doctor", "--no-nodes").stdout


def test_a_dry_repair_changes_nothing(desk: Desk, archive: Archive) -> None:
    with archive.path.open("ab") as file:
        file.write(b"rubbish\n")
    before = archive.path.read_bytes()
    result = desk.run("archive", "repair", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "would set aside 1 bad line" in result.stdout
    assert archive.path.read_bytes() == before
    assert not archive.quarantine.exists()
    assert "in no other line" not in result.stdout


def test_a_dry_repair_names_what_stands_in_bad_lines_alone(desk: Desk, archive: Archive) -> None:
    others = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n", "QmPZ9gcCEpqKTo6aq61g2nXGUhM4iCL3ewB6LDXZCtioEB"
    with archive.path.open("ab") as file:
        file.write(_record(1).line()[:-9] + b"\n")  # its CID stands in a good line too
        file.write(_record(7, hash=others[0]).line()[:-9])
    archive.migrated_path.write_bytes(_record(8, hash=others[1]).line().replace(b"1.5", b"NaN"))
    archive.migrated_path.chmod(0o600)
    planned = desk.run("archive", "repair", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "2 CIDs stand in what would be set aside and in no other line" in planned.stdout
    assert f"  {others[0]} of job job-7\n  {others[1]} of job job-8\n" in planned.stdout
    assert CIDS[1] not in planned.stdout
    assert "import" not in planned.stdout
    repaired = desk.run("archive", "repair")
    assert repaired.exit_code == 1
    assert f"  {others[0]} of job job-7\n  {others[1]} of job job-8\n" in repaired.stdout


def test_a_torn_end_of_what_was_migrated_is_told_and_its_cid_named(desk: Desk, archive: Archive) -> None:
    other = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"
    archive.migrated_path.write_bytes(_record(7, hash=other).line()[:-9])
    archive.migrated_path.chmod(0o600)
    repaired = desk.run("archive", "repair")
    assert repaired.exit_code == 1
    assert f"{archive.migrated_path}: kept 0 lines\ntorn end of " in repaired.stdout
    assert f"  {other} of job job-7\n" in repaired.stdout


def test_a_repair_keeps_good_lines_and_loses_nothing(desk: Desk, archive: Archive) -> None:
    good = archive.path.read_bytes()
    with archive.path.open("ab") as file:
        file.write(b"rubbish\n" + _record(1).line() + b"torn")
    result = desk.run("archive", "repair")
    assert result.exit_code == 0, result.output
    assert archive.path.read_bytes() == good
    kept = b"".join(path.read_bytes() for path in archive.quarantine.iterdir())
    assert b"rubbish" in kept
    assert b"torn" in kept
    assert desk.run("archive", "check").exit_code == 0


def test_what_was_set_aside_with_a_cid_is_named_and_can_be_taken_over_again(
    desk: Desk, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    other = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"
    good = archive.path.read_bytes()
    with archive.path.open("ab") as file:
        file.write(_record(1).line().replace(b"1.5", b"NaN"))  # its CID stands in a good line too
        file.write(_record(7, hash=other).line().replace(b"1.5", b"NaN") + b"rubbish\n")
    repaired = desk.run("archive", "repair")
    assert repaired.exit_code == 1
    assert archive.path.read_bytes() == good
    assert "1 CID stands in what was set aside and in no other line" in repaired.stdout
    assert f"  {other} of job job-7\n" in repaired.stdout
    assert CIDS[1] not in repaired.output
    assert f"no other line, so that nothing migrates it: {other} of job 'job-7'" in repaired.stderr
    gather, take_over = [line.strip() for line in repaired.stdout.splitlines() if line.startswith("  ")][-2:]
    subprocess.run(gather, shell=True, check=True, cwd=desk.folder)  # as an operator would
    done = desk.run(*take_over.split()[1:])
    assert done.exit_code == 1  # for the line of rubbish
    assert "took over 1 job" in done.stdout
    assert [job["job_id"] for job in desk.json("jobs")["jobs"]] == ["job-7"]


def test_what_the_ledger_writes_again_is_not_stranded(desk: Desk) -> None:
    line = _record(0).line()
    desk.submit("job-0", CIDS[0])
    desk.finish(State.ARCHIVED, line=line)
    path = desk.data / "local-fallback-pins.jsonl"
    path.write_bytes(line.replace(b"1.5", b"NaN"))
    repaired = desk.run("archive", "repair", "--from-ledger")
    assert repaired.exit_code == 0, repaired.output
    assert path.read_bytes() == line
    assert "in no other line" not in repaired.stdout


def test_lines_come_back_from_the_ledger_only_on_request(desk: Desk) -> None:
    line = _record(0).line()
    desk.submit("job-0", CIDS[0])
    desk.finish(State.ARCHIVED, line=line)
    desk.run("archive", "repair")
    assert desk.json("archive", "total")["records"] == 0
    assert "would write 1 line again" in desk.run("archive", "repair", "--from-ledger", "--dry-run").stdout
    assert desk.json("archive", "total")["records"] == 0
    assert "wrote 1 line again" in desk.run("archive", "repair", "--from-ledger").stdout
    assert (desk.data / "local-fallback-pins.jsonl").read_bytes() == line
    assert "wrote 0 lines again" in desk.run("archive", "repair", "--from-ledger").stdout


@pytest.mark.parametrize(
    "damaged", [b"", b"{}", b"\xff\n", _record(0).line()[:-9], _record(1).line()], ids=lambda line: repr(line)[:20]
)
def test_a_line_that_is_damaged_in_the_ledger_is_made_anew_from_its_job(desk: Desk, damaged: bytes) -> None:
    for number in (0, 2):
        desk.submit(f"job-{number}", CIDS[number], "--size-mb", "1.5", "--type", "directory", "--node-id", "enc-1")
        desk.finish(State.ARCHIVED, line=_record(number).line())
    with closing(sqlite3.connect(desk.data / LEDGER_NAME)) as ledger:
        ledger.execute("UPDATE job SET line=? WHERE job_id='job-0'", (damaged,))
        ledger.commit()
    shown = desk.run("archive", "repair", "--from-ledger", "--dry-run")
    assert "would write 2 lines again" in shown.stdout, shown.output
    assert "wrote 2 lines again" in desk.run("archive", "repair", "--from-ledger").stdout
    records = {entry.record.job_id: entry.record for entry in Archive(desk.data).entries() if entry.record}
    made = records["job-0"]
    assert (made.hash, made.size_mb, made.type, made.node_id) == (CIDS[0], 1.5, "directory", "enc-1")
    assert (made.failed_lazy_attempts, made.flags) == (3, ())
    assert records["job-2"] == _record(2)


@pytest.mark.parametrize("damage", ["reason='\x01'", "attempts=-1", "completed_at=1<<62"])
def test_a_line_that_is_sound_in_the_ledger_comes_back_whatever_else_is_damaged_there(desk: Desk, damage: str) -> None:
    for number in (0, 2):
        desk.submit(f"job-{number}", CIDS[number])
        desk.finish(State.ARCHIVED, line=_record(number).line())
    with closing(sqlite3.connect(desk.data / LEDGER_NAME)) as ledger:
        ledger.execute(f"UPDATE job SET {damage} WHERE job_id='job-0'")
        ledger.commit()
    done = desk.run("archive", "repair", "--from-ledger")
    assert "wrote 2 lines again" in done.stdout, done.output
    records = [entry.record for entry in Archive(desk.data).entries()]
    assert sorted(record.job_id for record in records if record) == ["job-0", "job-2"]
    assert _record(0) in records


def test_without_a_ledger_nothing_comes_from_it(desk: Desk) -> None:
    result = desk.run("archive", "repair", "--from-ledger")
    assert result.exit_code == 1
    assert "there is no ledger" in result.stderr


def test_the_list_is_filtered_in_both_forms(desk: Desk, archive: Archive) -> None:
    archive.append(_record(3, node_id="enc-2", size_mb=None, type=None))
    text = desk.run("archive", "list").stdout
    assert text.count("job-") == 4
    for arguments, jobs in (
        (["--cid", CIDS[0]], {"job-0", "job-3"}),
        (["--job-id", "job-1"], {"job-1"}),
        (["--node-id", "enc-2"], {"job-3"}),
        (["--cid", CIDS[0].upper()], {"job-0", "job-3"}),
        (["--since", "2025-10-12"], {"job-2", "job-3"}),
        (["--since", "2025-10-12 10:29+00:00"], {"job-2", "job-3"}),
        (["--since", "2025-10-12T10:31"], {"job-3"}),
        (["--limit", "1"], {"job-0"}),
        (["--migrated"], set()),
    ):
        lines = desk.run("archive", "list", "--json", *arguments).stdout.splitlines()
        assert {json.loads(line)["job_id"] for line in lines} == jobs


def test_lines_are_listed_as_they_stand_and_bad_ones_are_counted(desk: Desk, archive: Archive) -> None:
    odd = b'{"job_id": "job-9", "hash": "%s", "more": [1]}\n' % CIDS[0].encode()
    with archive.path.open("ab") as file:
        file.write(b"rubbish\n" + odd + b"torn")
    result = desk.run("archive", "list", "--json", "--job-id", "job-9")
    assert result.stdout.encode() == odd
    assert "left out 1 bad line" in result.stderr
    assert "first line 4" in result.stderr


def test_what_is_no_time_or_no_cid_is_wrong_usage(desk: Desk) -> None:
    assert desk.run("archive", "list", "--since", "yesterday").exit_code == 2
    assert desk.run("archive", "list", "--cid", "xx").exit_code == 2


def test_a_migrated_line_says_where_it_is_now(desk: Desk, archive: Archive) -> None:
    record = _record(0, extra={"migrated_to": "cluster+http://10.0.0.1:9094"})
    archive.migrated_path.write_bytes(record.line())
    assert "now on cluster+http://10.0.0.1:9094" in desk.run("archive", "list", "--migrated").stdout


def test_a_missing_file_is_wrong_usage(desk: Desk) -> None:
    assert desk.run("archive", "total", "nowhere.jsonl").exit_code == 2


def test_a_folder_in_the_archives_place_is_said_in_words(desk: Desk) -> None:
    (desk.data / "local-fallback-pins.jsonl").mkdir(parents=True)
    result = desk.run("archive", "check")
    assert result.exit_code == 1
    assert "no regular file" in result.stderr
    assert desk.run("status", "--no-nodes").exit_code == 1
