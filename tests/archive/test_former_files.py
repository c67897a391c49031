"""A former encoder's files are read to the last record, whatever a crash has made of them, and never changed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder_pin_plugin.archive.former import Former, Found, Left
from encoder_pin_plugin.archive.importers import former_files, running_encoder
from encoder_pin_plugin.archive.salvage import salvage
from tests.archive.former_files import (
    APPLICATION,
    HOT,
    INSTALLER,
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


def read(folder: Path) -> list[Found]:
    return [record for file in former_files(folder) for record in file.records()]


def taken(folder: Path) -> list[Former]:
    return [one for one in read(folder) if isinstance(one, Former)]


def left(folder: Path) -> list[Left]:
    return [one for one in read(folder) if isinstance(one, Left)]


# The queue


def test_the_queue_says_what_it_knows(tmp_path: Path) -> None:
    put(tmp_path / "data/pending_pins.json", queue([pending(1), pending(2, type="file", size_mb=0)]))
    one, two = taken(tmp_path)
    assert (one.cid, one.job_id, one.size_mb, one.type) == (cid(1), "direct-1", 25.5, "directory")
    assert one.at == datetime(2025, 10, 28, 10, 30, tzinfo=UTC)
    assert (two.size_mb, two.type) == (None, "file"), "a former encoder writes 0 for what it does not know"
    assert left(tmp_path) == []


def test_cut_anywhere_it_gives_every_record_whose_cid_is_there(tmp_path: Path) -> None:
    body = queue([pending(1), pending(2), pending(3)])
    ends = [body.index(cid(number).encode()) + len(cid(number)) + 1 for number in (1, 2, 3)]
    whole_at = [body.index(b"}", end) + 1 for end in ends]
    for length in range(len(body)):
        path = put(tmp_path / "pending_pins.json", body[:length])
        found = taken(tmp_path)
        assert [one.cid for one in found] == [cid(n) for n, end in enumerate(ends, 1) if end <= length]
        for one, end in zip(found, whole_at, strict=False):
            if end <= length:
                assert (one.size_mb, one.type, one.says) == (25.5, "directory", "pending")
        assert any(one.fault for one in left(tmp_path)), "that something is lost is said"
        assert path.read_bytes() == body[:length]


@pytest.mark.parametrize("job_id", ["a } b", 'a " b', "a \\ b", "{", '{"hash": "x"}', "é\u2028", "\ud800"])
def test_braces_and_quotes_in_a_job_id_do_not_confuse_it(tmp_path: Path, job_id: str) -> None:
    put(tmp_path / "pending_pins.json", queue([pending(1, job_id=job_id), pending(2)])[:-40])
    assert [(one.cid, one.job_id) for one in taken(tmp_path)] == [(cid(1), job_id), (cid(2), "direct-2")]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps([pending(1)]).encode(),
        json.dumps({"pins": [pending(1)]}).encode(),
        b"\xef\xbb\xbf" + queue([pending(1)]),
        queue([pending(1)]) + b"}}",
        b"\0" * 500 + queue([pending(1)])[20:],
        b"\xff\xfe" + queue([pending(1)]),
        json.dumps({"a": {"b": pending(1)}}).encode(),
    ],
    ids=["a list", "another key", "a byte order mark", "something behind", "zeros before", "not UTF-8", "nested"],
)
def test_another_shape_still_gives_its_records(tmp_path: Path, body: bytes) -> None:
    put(tmp_path / "pending_pins.json", body)
    assert [one.cid for one in taken(tmp_path)] == [cid(1)]


@pytest.mark.parametrize(
    ("body", "why"),
    [(b"", "it is empty"), (b"\0" * 4096, "nothing but zeros"), (b"{}", "no record"), (b"42", "no record")],
)
def test_what_holds_no_record_says_so(tmp_path: Path, body: bytes, why: str) -> None:
    put(tmp_path / "pending_pins.json", body)
    (one,) = read(tmp_path)
    assert isinstance(one, Left)
    assert why in one.why


def test_an_emptied_queue_is_no_fault(tmp_path: Path) -> None:
    put(tmp_path / "pending_pins.json", queue([]))
    assert read(tmp_path) == []


@pytest.mark.parametrize("bad", ["", "QmNope", "../../etc/passwd", 42, None, "Qm" + "1" * 10_000, ["x"], "x\x1b[2J"])
def test_a_bad_cid_is_left_with_why_and_costs_no_other(tmp_path: Path, bad: object) -> None:
    put(tmp_path / "pending_pins.json", queue([pending(1, hash=bad), pending(2)]))
    assert [one.cid for one in taken(tmp_path)] == [cid(2)]
    (one,) = left(tmp_path)
    assert one.fault
    assert one.place.where == "entry 1"
    assert len(one.what) <= 80


@pytest.mark.parametrize("size", [-1, 0, None, "25", 1e300, True, [], 10**400])
def test_a_bad_size_is_not_known(tmp_path: Path, size: object) -> None:
    put(tmp_path / "pending_pins.json", queue([pending(1, size_mb=size)]))
    assert [one.size_mb for one in taken(tmp_path)] == [None]


def test_sizes_that_json_has_no_word_for_are_not_known(tmp_path: Path) -> None:
    put(tmp_path / "pending_pins.json", queue([pending(1, size_mb=float("nan")), pending(2, size_mb=float("inf"))]))
    assert [one.size_mb for one in taken(tmp_path)] == [None, None]


def test_a_huge_queue_is_refused_in_words(tmp_path: Path) -> None:
    with (tmp_path / "pending_pins.json").open("wb") as file:
        file.truncate(1 << 40)
    (one,) = left(tmp_path)
    assert "larger than" in one.why


@pytest.mark.parametrize("piece", ['{"', '{"a":', '[{"a":[', '{"hash":"', '{"hash":"' + "Q" * 50], ids=repr)
def test_hostile_text_takes_bounded_time(piece: str) -> None:
    begun = time.monotonic()
    list(salvage(piece * (300_000 // len(piece))))
    assert time.monotonic() - begun < 60


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=500))
def test_no_text_makes_it_fail(text: str) -> None:
    list(salvage(text))


# Lists


def test_each_line_of_a_list_is_taken_for_what_it_is(tmp_path: Path) -> None:
    put(tmp_path / "logs/failed-pins.jsonl", lines(given_up(1)))
    put(tmp_path / "logs/local-pins.jsonl", lines(local(2)))
    put(tmp_path / "data/local-fallback-pins.jsonl", lines(archived(3)))
    third, first, second = taken(tmp_path)
    assert (first.cid, first.job_id, first.node_id, first.says) == (cid(1), None, "encoder-9", "given up on")
    assert (second.job_id, second.type, second.node_id) == ("direct-2", "directory", None)
    assert third.line is not None
    assert third.line.line() == lines(archived(3))


def test_a_collected_archive_under_another_name_is_an_archive(tmp_path: Path) -> None:
    put(tmp_path / "failed-pins.jsonl", lines(archived(3), given_up(1)))
    assert [one.line is not None for one in taken(tmp_path)] == [True, False]


def test_two_records_glued_by_a_torn_end_are_both_taken(tmp_path: Path) -> None:
    whole = lines(given_up(1)).rstrip()
    put(tmp_path / "failed-pins.jsonl", whole[:-20] + lines(given_up(2)) + lines(given_up(3)))
    assert [one.cid for one in taken(tmp_path)] == [cid(1), cid(2), cid(3)]


def test_a_torn_end_is_taken_if_its_cid_is_there(tmp_path: Path) -> None:
    torn = lines(archived(2))
    for length in range(1, len(torn)):
        put(tmp_path / "local-fallback-pins.jsonl", lines(archived(1)) + torn[:length])
        has_cid = length > torn.index(cid(2).encode()) + len(cid(2))
        assert [one.cid for one in taken(tmp_path)] == [cid(1), *([cid(2)] if has_cid else [])]
        assert len(left(tmp_path)) == (not has_cid)
    assert taken(tmp_path)[1].line is not None, "whole but for its newline, it is a line"


def test_lines_that_are_none_are_left_and_cost_no_other(tmp_path: Path) -> None:
    hostile = b'[]\n\xff\xfe\n{"a":1}\n"x"\n\n\0\0\0\n' + b"x" * 1_000_000 + b"\n" + b"[" * 50_000 + b"\n"
    put(tmp_path / "failed-pins.jsonl", hostile + lines(given_up(1)))
    assert [one.cid for one in taken(tmp_path)] == [cid(1)]
    assert len(left(tmp_path)) == 6, "blank lines and zeros are nothing"


# Databases


def digest(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_both_forms_of_the_database_are_read_and_no_byte_is_changed(tmp_path: Path) -> None:
    rows = [
        {"hash": cid(1), "job_id": "direct-1", "content_type": "directory", "size_bytes": 25_500_000,
         "pin_timestamp": "2025-10-28 10:30:00", "sync_status": "syncing"},
        {"hash": cid(2), "sync_status": "synced", "supernode_verified": 1, "metadata": '{"last_error":"x"}'},
    ]  # fmt: skip
    database(tmp_path / "data/local-pins.db", APPLICATION, *rows)
    row = {"hash": cid(3), "size": 1_000_000, "pinned_at": 1730000000, "sync_status": "failed"}
    database(tmp_path / "local-pins.db", INSTALLER, row)
    before = digest(tmp_path)
    one, two, three = taken(tmp_path)
    assert (one.cid, one.job_id, one.size_mb, one.type, one.says) == (cid(1), "direct-1", 25.5, "directory", "syncing")
    assert one.at == datetime(2025, 10, 28, 10, 30, tzinfo=UTC)
    assert (two.job_id, two.says) == (None, "synced, unproved")
    assert (three.size_mb, three.at, three.says) == (1.0, datetime.fromtimestamp(1730000000, UTC), "failed")
    (test_row,) = left(tmp_path)
    assert "installer's own test" in test_row.why
    assert not test_row.fault
    assert digest(tmp_path) == before


def test_a_hot_nodes_pins_are_taken_but_for_what_it_deleted(tmp_path: Path) -> None:
    rows = [
        {"cid": cid(1), "added_at": 1730000000000, "size_bytes": 5_000_000, "status": "valid", "migrated": 0},
        {"cid": cid(2), "status": "valid", "migrated": 1, "unpinned": 1},
        {"cid": cid(3), "status": "invalid", "migrated": 0, "unpinned": 1},
    ]
    database(tmp_path / "database/hotnode.db", HOT, *rows)
    assert [(one.cid, one.says) for one in taken(tmp_path)] == [
        (cid(1), "on the hot node"),
        (cid(2), "migrated, unproved"),
    ]
    assert taken(tmp_path)[0].at == datetime.fromtimestamp(1730000000, UTC)
    assert [(one.what, one.fault) for one in left(tmp_path)] == [(cid(3), False)]


def test_a_writer_killed_in_mid_transaction_is_undone_in_a_copy(tmp_path: Path) -> None:
    path = database(tmp_path / "made/local-pins.db", APPLICATION, {"hash": cid(1)})
    folder = tmp_path / "left"
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA cache_spill=1").fetchall()
        writer.execute("PRAGMA cache_size=1").fetchall()
        writer.execute("BEGIN")
        for number in range(2, 500):
            writer.execute("INSERT INTO local_pins (hash, metadata) VALUES (?, ?)", (cid(number), "x" * 500))
        for end in ("", "-journal"):
            put(folder / f"local-pins.db{end}", path.with_name(path.name + end).read_bytes())
    before = digest(folder)
    assert [one.cid for one in taken(folder)] == [cid(1)]
    assert digest(folder) == before


def test_a_database_in_wal_mode_is_read_with_its_wal(tmp_path: Path) -> None:
    path = database(tmp_path / "made/local-pins.db", APPLICATION, {"hash": cid(1)})
    folder = tmp_path / "left"
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode=WAL").fetchall()
        writer.execute("INSERT INTO local_pins (hash) VALUES (?)", (cid(2),))
        writer.commit()
        for end in ("", "-wal"):
            put(folder / f"local-pins.db{end}", path.with_name(path.name + end).read_bytes())
    before = digest(folder)
    assert [one.cid for one in taken(folder)] == [cid(1), cid(2)]
    assert digest(folder) == before


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_truncated_database_gives_every_cid_among_its_bytes(tmp_path: Path, share: float) -> None:
    rows = [{"hash": cid(number), "job_id": f"direct-{number}"} for number in range(1, 301)]
    path = database(tmp_path / "local-pins.db", APPLICATION, *rows)
    body = path.read_bytes()
    path.write_bytes(body[: int(len(body) * share)])
    there = {cid(number) for number in range(1, 301) if cid(number).encode() in path.read_bytes()}
    assert {one.cid for one in taken(tmp_path)} == there
    assert any(one.fault and "damaged" in one.why for one in left(tmp_path))


@pytest.mark.parametrize("body", [b"", b"no database", b"SQLite format 3\0" + bytes(500)])
def test_what_is_no_database_is_left_with_why(tmp_path: Path, body: bytes) -> None:
    put(tmp_path / "local-pins.db", body)
    (one,) = read(tmp_path)
    assert isinstance(one, Left)
    assert one.fault


def test_odd_values_in_a_row_cost_no_other(tmp_path: Path) -> None:
    rows = [{"hash": b"\xff\0"}, {"hash": cid(1), "job_id": b"\xff", "size_bytes": "many"}, {"hash": cid(2)}]
    database(tmp_path / "local-pins.db", APPLICATION, *rows)
    assert [one.cid for one in taken(tmp_path)] == [cid(1), cid(2)]
    assert len(left(tmp_path)) == 1


# Finding them


def test_a_file_is_found_in_its_usual_place_or_in_the_folder_itself_and_once(tmp_path: Path) -> None:
    put(tmp_path / "data/pending_pins.json", queue([pending(1)]))
    assert len(former_files(tmp_path)) == len(former_files(tmp_path / "data")) == 1
    (tmp_path / "pending_pins.json").symlink_to(tmp_path / "data/pending_pins.json")
    assert len(former_files(tmp_path)) == 1


@pytest.mark.parametrize("name", ["pending_pins.json", "local-pins.db", "failed-pins.jsonl"])
def test_what_is_no_regular_file_is_left_with_why(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (one,) = left(tmp_path)
    assert name in one.why


def test_that_the_former_encoder_may_be_running_is_seen(tmp_path: Path) -> None:
    assert running_encoder(tmp_path) == ""
    put(tmp_path / "data/pending_pins.lock", b"4711")
    assert "process 4711" in running_encoder(tmp_path)
