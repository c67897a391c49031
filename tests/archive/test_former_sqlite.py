"""What is told of each row of a former encoder's databases, and what a damaged one still gives."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from encoder_pin_plugin.archive import former_sqlite
from encoder_pin_plugin.archive.former import Former, Left, Place
from encoder_pin_plugin.archive.former_sqlite import LONGEST_VALUE, read_database
from encoder_pin_plugin.errors import ArchiveError, StorageError
from tests.archive.former_files import APPLICATION, HOT, cid, database, put
from tests.conftest import failing

pytestmark = pytest.mark.usefixtures("open_files")
AMONG = "found in a damaged database"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "local-pins.db"


def row(path: Path, number: int) -> Place:
    return Place(path=path, where=f"row {number}")


def among(path: Path, number: int) -> Former:
    return Former(cid=cid(number), place=Place(path=path, where="among its bytes"), says=AMONG)


def taken(path: Path) -> list[str]:
    return [one.cid for one in read_database(path) if isinstance(one, Former)]


def digest(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_are_told_by_number(path: Path) -> None:
    at = "2025-10-28 10:30:00"
    database(path, APPLICATION, *({"hash": cid(number), "job_id": "a", "pin_timestamp": at} for number in (1, 2)))
    assert list(read_database(path)) == [
        Former(
            cid=cid(number), place=row(path, number), says="pending", job_id="a",
            at=datetime(2025, 10, 28, 10, 30, tzinfo=UTC),
        )
        for number in (1, 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "says"), [("synced", "synced, unproved"), ("failed", "failed"), (None, "pending"), ("x" * 50, "x" * 40)]
)
def test_a_rows_state_is_told_in_its_own_words(path: Path, status: str | None, says: str) -> None:
    database(path, APPLICATION, {"hash": cid(1), "sync_status": status})
    (one,) = read_database(path)
    assert isinstance(one, Former)
    assert one.says == says


@pytest.mark.parametrize(
    ("status", "why"), [("invalid", "invalid"), (None, "not wanted"), ("", "not wanted"), ("x" * 50, "x" * 40)]
)
def test_what_a_hot_node_removed_is_left_and_no_fault(path: Path, status: str | None, why: str) -> None:
    rows = [{"cid": cid(1) + "x" * 30, "unpinned": 1, "migrated": 0, "status": status}, {"cid": cid(2), "unpinned": 0}]
    database(path, HOT, *rows)
    left, kept = read_database(path)
    why = f"the hot node removed it as {why}"
    assert left == Left(place=row(path, 1), what=(cid(1) + "x" * 30)[:80], why=why, fault=False)
    assert kept == Former(cid=cid(2), place=row(path, 2), says="on the hot node")


def test_what_a_hot_node_migrated_is_taken_although_it_removed_it(path: Path) -> None:
    database(path, HOT, {"cid": cid(1), "unpinned": 1, "migrated": 1})
    assert list(read_database(path)) == [Former(cid=cid(1), place=row(path, 1), says="migrated, unproved")]


def test_text_that_is_not_utf8_costs_no_row(path: Path) -> None:
    database(path, APPLICATION, {"hash": cid(1), "job_id": "a"})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE local_pins SET job_id = CAST(x'61ff' AS TEXT)")
        connection.commit()
    (one,) = read_database(path)
    assert isinstance(one, Former)
    assert one.job_id == "a\ufffd"


def test_what_is_not_there_gives_nothing_and_a_folder_is_refused(path: Path, tmp_path: Path) -> None:
    assert list(read_database(path)) == []
    with pytest.raises(ArchiveError, match=f"^{tmp_path} is no regular file"):
        list(read_database(tmp_path))


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
@pytest.mark.parametrize("linked", [False, True], ids=["itself", "by a link"])
def test_what_a_killed_writer_left_beside_it_is_read_in_a_copy(tmp_path: Path, mode: str, *, linked: bool) -> None:
    made = database(tmp_path / "made/local-pins.db", APPLICATION, {"hash": cid(1)})
    path = tmp_path / "left/local-pins.db"
    with closing(sqlite3.connect(made, isolation_level=None)) as writer:
        for words in (f"PRAGMA journal_mode={mode}", "PRAGMA cache_spill=1", "PRAGMA cache_size=1", "BEGIN"):
            writer.execute(words).fetchall()
        for number in range(2, 400):
            writer.execute("INSERT INTO local_pins (hash, metadata) VALUES (?, ?)", (cid(number), "x" * 500))
        if mode == "WAL":
            writer.execute("COMMIT")
        for end in ("", "-wal" if mode == "WAL" else "-journal"):
            put(path.with_name(path.name + end), made.with_name(made.name + end).read_bytes())
    (tmp_path / "link.db").symlink_to(path)
    before = digest(path.parent)
    found = list(read_database(tmp_path / "link.db" if linked else path))
    assert [one.cid for one in found if isinstance(one, Former)] == [
        cid(number) for number in range(1, 400 if mode == "WAL" else 2)
    ]
    assert not any(isinstance(one, Left) for one in found)
    assert found[0].place.path == (tmp_path / "link.db" if linked else path)
    assert digest(path.parent) == before


def test_what_cannot_be_copied_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database(path, APPLICATION, {"hash": cid(1)})
    put(path.with_name("local-pins.db-wal"), b"")
    monkeypatch.setattr(former_sqlite.shutil, "copyfile", failing(errno.ENOSPC))
    with pytest.raises(StorageError, match=f"^cannot copy {path}: "):
        list(read_database(path))


# Damage


def damaged(path: Path, numbers: int, *, schema: str = APPLICATION) -> Path:
    """A database whose last page is cut off; the rows before it are read all the same."""
    name = "cid" if schema is HOT else "hash"
    database(path, schema, *({name: cid(number)} for number in range(1, numbers + 1)))
    os.truncate(path, path.stat().st_size - 100)
    return path


@pytest.mark.parametrize("linked", [False, True], ids=["itself", "by a link"])
@pytest.mark.parametrize("schema", [APPLICATION, HOT], ids=["local pins", "a hot node's"])
def test_what_rows_do_not_give_is_looked_for_among_the_bytes(
    path: Path, tmp_path: Path, schema: str, *, linked: bool
) -> None:
    damaged(path, 300, schema=schema)
    if linked:
        (tmp_path / "link.db").symlink_to(path)
        path = tmp_path / "link.db"
    there = [number for number in range(1, 301) if cid(number).encode() in path.read_bytes()]
    *found, left = read_database(path)
    rest = [one for one in found if one.place.where == "among its bytes"]
    cids = [one.cid for one in found if isinstance(one, Former)]
    assert sorted(cids) == sorted(cid(number) for number in there), "each once"
    assert 0 < len(rest) < 10, "a row that reads as zeros is damage, although SQLite gives it"
    assert isinstance(left, Left)
    assert left == Left(place=Place(path=path, where="the whole file"), what="", why=left.why)
    assert left.why.startswith("it is damaged, or no database (")
    assert f": {len(rest)} CIDs were found among its bytes" in left.why


def test_each_cid_among_the_bytes_is_told_once(path: Path) -> None:
    put(path, b"no database " + b" ".join(cid(number).encode() for number in (1, 2, 1)))
    *found, left = read_database(path)
    assert found == [among(path, 1), among(path, 2)]
    assert isinstance(left, Left)
    assert ": 2 CIDs were found among its bytes" in left.why
    assert left.fault


def test_a_cid_is_found_wherever_it_stands(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(former_sqlite, "_CHUNK", 100)
    for start in range(30, 110):
        put(path, b"-" * start + cid(1).encode() + b"-" * 100 + cid(2).encode())
        assert list(read_database(path))[:-1] == [among(path, 1), among(path, 2)]


def test_a_cid_of_the_older_version_is_found_too(path: Path) -> None:
    older = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
    put(path, b"no database" + older.encode() + b"rest")
    assert taken(path) == [older]


def test_other_tables_are_named_as_missing(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (hash TEXT)")
    (left,) = read_database(path)
    assert isinstance(left, Left)
    assert "(it has none of the tables local_pins, pins)" in left.why


def test_a_view_of_that_name_is_no_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE VIEW local_pins AS SELECT '{cid(1)}' AS hash")
    assert next(read_database(path)) == among(path, 1)


def test_a_row_with_a_huge_value_ends_the_reading_and_costs_no_cid(path: Path) -> None:
    rows = [
        {"hash": cid(1)},
        {"hash": cid(2)},
        {"hash": cid(3), "metadata": "x" * (LONGEST_VALUE + 1)},
        {"hash": cid(4)},
    ]
    database(path, APPLICATION, *rows)
    *found, left = read_database(path)
    assert found[0].place == row(path, 1)
    assert sorted(one.cid for one in found if isinstance(one, Former)) == sorted(cid(number) for number in range(1, 5))
    assert isinstance(left, Left)
    assert "too big" in left.why


def test_damage_that_the_rows_do_not_show_is_told(path: Path) -> None:
    """An index that lacks a row: `SELECT *` does not read it."""
    database(path, APPLICATION, {"hash": cid(1)}, {"hash": cid(2)})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE spare (hash TEXT)")
        connection.execute("PRAGMA writable_schema=ON").fetchall()
        words = "SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'spare') WHERE name = 'idx_hash'"
        connection.execute(f"UPDATE sqlite_schema {words}")
        connection.execute("DELETE FROM sqlite_schema WHERE name = 'spare'")
        connection.commit()
    one, two, left = read_database(path)
    assert (one.place, two.place) == (row(path, 1), row(path, 2))
    assert isinstance(left, Left)
    assert left.why.startswith("it is damaged, or no database (")
    assert "None" not in left.why
    assert ": 0 CIDs were found among its bytes" in left.why


def test_a_disk_that_does_not_give_the_bytes_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, b"no database")
    monkeypatch.setattr(os, "read", failing(errno.EIO))
    with pytest.raises(StorageError, match=f"^cannot read {path}: "):
        list(read_database(path))
