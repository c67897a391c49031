"""The ledger's file as it is opened: durable, private, set to survive a power cut, or refused in words."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from encoder_pin_plugin.errors import LedgerError, StorageError
from encoder_pin_plugin.lazy import schema
from tests.conftest import Said

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def is_open(path: Path) -> bool:
    """Whether this process has the file open."""
    return path in [it.readlink() for it in Path("/proc/self/fd").iterdir() if it.exists()]


def test_every_setting_stands(db: sqlite3.Connection) -> None:
    names = (
        "journal_mode",
        "synchronous",
        "foreign_keys",
        "trusted_schema",
        "cell_size_check",
        "mmap_size",
        "temp_store",
    )
    got = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
    assert got == ["truncate", 3, 1, 0, 1, 0, 2]


def test_another_process_is_waited_for_as_long_as_is_wanted(path: Path) -> None:
    with closing(schema.connect(path, busy_timeout=0.05)[0]) as db:
        assert db.execute("PRAGMA busy_timeout").fetchone()[0] == 50


def test_a_ledger_that_does_not_take_a_setting_is_not_worked_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_SETTINGS", (("synchronous", "OFF", 3),))
    with pytest.raises(LedgerError, match=rf"^the ledger {path} does not take synchronous=OFF \(it says 0\)") as caught:
        schema.connect(path)
    assert caught.value
    assert not is_open(path)


def test_a_new_ledger_says_whose_it_is_and_is_durable_in_folders_that_are_made(tmp_path: Path, said: Said) -> None:
    path = tmp_path / "a" / "b" / "lazy-pins.db"
    db, new = schema.connect(path)
    with closing(db):
        assert new
        assert db.execute("PRAGMA application_id").fetchone()[0] == int.from_bytes(b"encp")
        assert said == [("fsync", "."), ("fsync", "a"), ("fsync", "a/b/lazy-pins.db", "0"), ("fsync", "a/b")]


def test_what_is_written_outside_a_transaction_stands_at_once(db: sqlite3.Connection, path: Path) -> None:
    db.execute("INSERT INTO meta VALUES ('name', 'value')")
    assert db.execute("SELECT * FROM meta").fetchone()["value"] == "value"
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT * FROM meta").fetchall() == [("name", "value")]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"in the way")
    with pytest.raises(StorageError, match=f"^cannot create the folder {tmp_path}/data/deep: "):
        schema.connect(tmp_path / "data" / "deep" / "lazy-pins.db")


def test_a_file_that_cannot_be_made_is_named() -> None:
    with pytest.raises(StorageError, match=r"^cannot create the ledger /proc/self/lazy-pins.db: "):
        schema.connect(Path("/proc/self/lazy-pins.db"))


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=f"^cannot open the ledger {tmp_path}: .*owner and mode$"):
        schema.connect(tmp_path)


def test_a_newer_ledger_is_named_and_let_go(db: sqlite3.Connection, path: Path) -> None:
    db.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    db.execute("ALTER TABLE job ADD COLUMN later TEXT")
    db.close()
    with pytest.raises(LedgerError, match=f"^the ledger {path} is of version 2, written by a newer") as caught:
        schema.connect(path)
    assert caught.value
    assert not is_open(path)


def test_a_version_that_does_not_fit_its_tables_is_damage_and_is_let_go(db: sqlite3.Connection, path: Path) -> None:
    db.execute(f"PRAGMA user_version={schema.VERSION + (1 << 30)}")
    db.close()
    with pytest.raises(sqlite3.DatabaseError, match=r"^its version reads 107\d+, and its tables") as caught:
        schema.connect(path)
    assert schema.is_damaged(caught.value)
    assert not is_open(path)


def test_a_busy_ledger_is_not_called_damaged_and_is_let_go(db: sqlite3.Connection, path: Path) -> None:
    db.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked") as caught:
        schema.connect(path, busy_timeout=0.05)
    assert not schema.is_damaged(caught.value)
    db.close()
    assert not is_open(path)


def test_a_file_of_a_format_that_does_not_exist_is_damage_and_is_let_go(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[47] = 0xFF
    path.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError, match=r"^it is no ledger any more: unsupported file format") as caught:
        schema.connect(path)
    assert schema.is_damaged(caught.value)
    assert not is_open(path)


def test_a_ledger_that_could_not_be_made_whole_is_not_made_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lazy-pins.db"
    with monkeypatch.context() as patch, pytest.raises(sqlite3.DatabaseError):
        patch.setattr(schema, "_SCHEMA", f"{schema._SCHEMA}; CREATE NONSENSE")
        schema.connect(path)
    db, new = schema.connect(path)
    assert new
    schema.check(db, path, whole=True)
    db.close()


@pytest.mark.parametrize(
    ("before", "after"), [(0o400, 0o600), (0o200, 0o600), (0o000, 0o600), (0o640, 0o640), (0o701, 0o701)], ids=oct
)
@pytest.mark.parametrize("name", ["lazy-pins.db", "lazy-pins.db-journal"])
def test_a_file_that_its_owner_cannot_use_is_made_usable(
    path: Path, log: list[str], name: str, before: int, after: int
) -> None:
    file = path.with_name(name)
    file.touch()
    file.chmod(before)
    schema.connect(path)[0].close()
    assert file.stat().st_mode & 0o777 == after
    assert any(str(file) in line for line in log) is (before != after)


@root_only
def test_a_file_of_somebody_else_keeps_its_mode(path: Path) -> None:
    path.chmod(0o400)
    os.chown(path, 12345, 12345)
    schema.connect(path)[0].close()
    assert path.stat().st_mode & 0o777 == 0o400


def test_what_is_no_file_keeps_its_mode(path: Path) -> None:
    folder = path.with_name("lazy-pins.db-journal")
    folder.unlink()
    folder.mkdir(mode=0o500)
    schema._make_usable(folder)
    assert folder.stat().st_mode & 0o777 == 0o500
