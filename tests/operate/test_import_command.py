"""`import`: shows first, takes each video once, however many files name it, and says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoder_hookspecs import CompletedJob
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.spool import Spool
from tests.archive.former_files import (
    APPLICATION,
    archived,
    cid,
    database,
    given_up,
    lines,
    local,
    pending,
    put,
    queue,
)
from tests.operate.conftest import Desk


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """One of everything: five videos in all, some named by several files."""
    folder = tmp_path / "former"
    put(folder / "data/pending_pins.json", queue([pending(1)]))
    put(folder / "logs/failed-pins.jsonl", lines(given_up(1), given_up(2), given_up(2)))
    put(folder / "logs/local-pins.jsonl", lines(local(3)))
    put(folder / "data/local-fallback-pins.jsonl", lines(archived(4), archived(4)))
    rows = [{"hash": cid(3), "size_bytes": 5_000_000}, {"hash": cid(5), "job_id": "direct-5", "sync_status": "synced"}]
    database(folder / "data/local-pins.db", APPLICATION, *rows)
    return folder


def submitted(desk: Desk) -> dict[str, str]:
    jobs = [desk.spool.read(path).job for path in desk.spool.arrivals(100)]
    return {job.job_id: job.cid for job in jobs}


def archive_keys(desk: Desk) -> list[tuple[str, str]]:
    return [entry.record.key for entry in Archive(desk.data).entries() if entry.record]


EVERYTHING = {
    "direct-1": cid(1), f"recovered-{cid(2)[-12:]}": cid(2), "direct-3": cid(3), "direct-5": cid(5),
}  # fmt: skip


def test_without_apply_it_only_looks(desk: Desk, former: Path) -> None:
    result = desk.run("import", str(former))
    assert result.exit_code == 0
    assert "with --apply, 4 jobs and 1 archive line are taken over" in result.stdout
    assert not desk.data.exists()


def test_every_video_is_taken_once(desk: Desk, former: Path) -> None:
    result = desk.run("import", str(former), "--apply")
    assert result.exit_code == 0, result.output
    assert submitted(desk) == EVERYTHING
    assert archive_keys(desk) == [(cid(4), "direct-4")]
    assert (desk.data / "local-fallback-pins.jsonl").read_bytes() == lines(archived(4))


def test_a_line_that_would_be_too_long_for_ours_is_a_job_and_holds_up_no_other(desk: Desk, former: Path) -> None:
    long = archived(6) | {"note": "\N{CLAPPER BOARD}" * 12_000}  # it grows threefold in ASCII
    path = former / "data/local-fallback-pins.jsonl"
    path.write_bytes(json.dumps(long, ensure_ascii=False).encode() + b"\n" + path.read_bytes())
    result = desk.run("import", str(former), "--apply")
    assert result.exit_code == 0, result.output
    assert submitted(desk) == EVERYTHING | {"direct-6": cid(6)}
    assert archive_keys(desk) == [(cid(4), "direct-4")]


@pytest.mark.parametrize("place", ["data", "."])
def test_open_jobs_of_another_data_folder_of_ours_are_not_passed_over_in_silence(
    desk: Desk, former: Path, place: str
) -> None:
    spool = Spool(former / place)
    spool.record(CompletedJob(cid=cid(7), job_id="direct-7"))
    result = desk.run("import", str(former), "--apply")
    assert result.exit_code == 1
    assert "has 1 open job, which an import does not take over" in result.stderr
    assert submitted(desk) == EVERYTHING
    own = desk.run("--data-dir", str(former / place), "import", str(former))
    assert "open job," not in own.stderr


def test_twice_is_once(desk: Desk, former: Path) -> None:
    desk.run("import", str(former), "--apply")
    again = desk.run("import", str(former), "--apply")
    assert again.exit_code == 0
    assert "nothing to take over" in again.stdout
    assert submitted(desk) == EVERYTHING
    desk.finish(State.PINNED)
    assert "nothing to take over" in desk.run("import", str(former)).stdout
    assert not desk.spool.arrivals(10)


def test_the_originals_are_kept_untouched(desk: Desk, former: Path) -> None:
    def content() -> dict[str, tuple[bytes, int]]:
        files = [path for path in sorted(former.rglob("*")) if path.is_file()]
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    before = content()
    desk.run("import", str(former), "--apply")
    assert content() == before


def test_what_one_file_knows_completes_what_another_says(desk: Desk, former: Path) -> None:
    desk.run("import", str(former), "--apply")
    jobs = {job.job_id: job for job in (desk.spool.read(path).job for path in desk.spool.arrivals(100))}
    assert jobs["direct-3"].size_mb == 5.0
    assert jobs["direct-1"].node_id == "encoder-9"
    assert jobs["direct-1"].raw["completed_at"] == "2025-10-28T10:30:00+00:00"
    assert "pending_pins.json, entry 1" in jobs["direct-1"].raw["imported_from"]


def test_an_imported_job_is_not_too_old_for_its_supernode(desk: Desk, former: Path) -> None:
    desk.run("import", str(former), "--apply")
    desk.ledger().close()
    assert desk.json("jobs", "--state", "overdue")["jobs"] == []


def test_our_own_archive_is_left_in_peace(desk: Desk) -> None:
    put(desk.data / "local-fallback-pins.jsonl", lines(archived(4)))
    put(desk.data / "pending_pins.json", queue([pending(4)]))
    result = desk.run("import", str(desk.folder), "--apply", "--json")
    assert result.exit_code == 0
    assert {record["action"] for record in json.loads(result.stdout)["records"]} == {"known"}
    assert (desk.data / "local-fallback-pins.jsonl").read_bytes() == lines(archived(4))


def test_what_is_migrated_already_is_not_taken_again(desk: Desk, former: Path) -> None:
    put(desk.data / "migrated-pins.jsonl", lines(archived(4) | {"target": "kubo+http://x", "proof": "whole"}))
    desk.run("import", str(former), "--apply")
    assert archive_keys(desk) == []


def test_an_open_job_with_the_same_cid_stands_for_a_record_without_a_name(desk: Desk, former: Path) -> None:
    desk.submit("ours", cid(2))
    desk.ledger().close()
    document = desk.json("import", str(former))
    (record,) = [it for it in document["records"] if it["what"] == cid(2) and "ours" in it["why"]][:1]
    assert record["action"] == "known"


def test_what_cannot_be_made_out_is_named_and_ends_with_1(desk: Desk, former: Path) -> None:
    put(former / "data/pending_pins.json", queue([pending(1), pending(9, hash="Qm\x1b[2Jnope"), pending(2)])[:-60])
    result = desk.run("import", str(former), "--apply")
    assert result.exit_code == 1
    assert "left, because:" in result.stdout
    assert "damaged or torn" in result.stdout
    assert "\x1b" not in result.output
    assert set(EVERYTHING.values()) <= set(submitted(desk).values())


def test_json_tells_each_record_and_each_file(desk: Desk, former: Path) -> None:
    document = desk.json("import", str(former))
    assert document["applied"] is False
    assert [
        (Path(file["path"]).name, file["submit"], file["archive"], file["known"]) for file in document["files"]
    ] == [
        ("local-fallback-pins.jsonl", 0, 1, 1),
        ("pending_pins.json", 1, 0, 0),
        ("local-pins.db", 1, 0, 1),
        ("failed-pins.jsonl", 1, 0, 2),
        ("local-pins.jsonl", 1, 0, 0),
    ]
    assert len(document["records"]) == 9


def test_a_folder_without_such_files_says_what_was_looked_for(desk: Desk, tmp_path: Path) -> None:
    result = desk.run("import", str(tmp_path))
    assert result.exit_code == 1
    assert "data/pending_pins.json" in result.stderr


def test_a_running_former_encoder_is_warned_of(desk: Desk, former: Path) -> None:
    put(former / "data/pending_pins.lock", b"4711")
    assert "process 4711" in desk.run("import", str(former)).stderr


def test_a_full_disk_is_said_and_the_next_import_goes_on(desk: Desk, former: Path) -> None:
    desk.spool.create()
    desk.spool.new.rmdir()
    desk.spool.new.write_text("in the way")
    result = desk.run("import", str(former), "--apply")
    assert result.exit_code == 1
    desk.spool.new.unlink()
    assert desk.run("import", str(former), "--apply").exit_code == 0
    assert submitted(desk) == EVERYTHING
    assert archive_keys(desk) == [(cid(4), "direct-4")]
