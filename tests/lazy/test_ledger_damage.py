"""What is damage to a ledger, what of it is mended in place, and how the rest is set aside."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from encoder_pin_plugin.errors import LedgerError, StorageError
from encoder_pin_plugin.lazy import schema
from encoder_pin_plugin.lazy.opening import OpenLedger
from tests.conftest import Said, failing, names_in
from tests.lazy.conftest import NOW

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.mark.parametrize(
    ("error", "damaged"),
    [
        (sqlite3.DatabaseError("quick_check: bad"), True), (sqlite3.InternalError("odd"), True),
        (sqlite3.OperationalError("disk full"), False), (sqlite3.IntegrityError("NOT NULL"), False),
        (sqlite3.ProgrammingError("closed"), False), (sqlite3.InterfaceError("misused"), False),
    ],
    ids=repr,
)  # fmt: skip
def test_which_errors_say_that_the_file_is_damaged(error: sqlite3.Error, damaged: bool) -> None:
    assert schema.is_damaged(error) is damaged


def test_a_text_that_is_none_is_damage(db: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        db.execute("SELECT CAST(x'ff41' AS TEXT)").fetchall()
    assert schema.is_damaged(caught.value)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB])
def test_what_sqlite_calls_corrupt_is_damage_whatever_its_class(code: int) -> None:
    error = sqlite3.OperationalError("database disk image is malformed")
    error.sqlite_errorcode = code
    assert schema.is_damaged(error)


def add_job(db: sqlite3.Connection, **changes: str) -> None:
    row = {"key": "'k'", "cid": "'c'", "job_id": "'j'", "completed_at": "1", "waiting_since": "1", "next_at": "1"}
    row |= {"state": "'pending'"} | changes
    db.execute(f"INSERT INTO job ({', '.join(row)}) VALUES ({', '.join(row.values())})")


def spoil_index(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """An index that does not agree with its table; everything else is sound."""
    db.execute("PRAGMA writable_schema=ON")
    db.execute("UPDATE sqlite_master SET sql=replace(sql, 'next_at', 'tries') WHERE name='job_due'")
    db.close()
    return schema.connect(path)[0]


FOUND = r"^integrity_check: .*job_due"
KEY = f"'{schema.job_key('c', 'j')}'"


def test_a_sound_ledger_is_silent(db: sqlite3.Connection, path: Path, log: list[str]) -> None:
    add_job(db, key=KEY)
    for whole in (False, True):
        schema.check(db, path, whole=whole)
    assert log == []


def test_a_spoilt_index_is_made_anew_when_the_whole_is_read(db: sqlite3.Connection, path: Path, log: list[str]) -> None:
    add_job(db, key=KEY)
    with closing(spoil_index(db, path)) as again:
        schema.check(again, path, whole=False)
        assert log == []
        schema.check(again, path, whole=True)
        assert [line[:40] for line in log] == [f"ERROR an index of the ledger {path}"[:40]]
        schema.check(again, path, whole=True)
        assert len(log) == 1


@pytest.mark.parametrize("spoilt", [{"key": "'another'"}, {"key": KEY, "job_id": "CAST(x'ff41' AS TEXT)"}], ids=repr)
def test_a_spoilt_index_beside_keys_that_are_not_right_is_damage(
    db: sqlite3.Connection, path: Path, log: list[str], spoilt: dict[str, str]
) -> None:
    add_job(db, **spoilt)
    with closing(spoil_index(db, path)) as again, pytest.raises(sqlite3.DatabaseError, match=FOUND):
        schema.check(again, path, whole=True)
    assert log == []


def test_a_spoilt_index_beside_a_submission_of_no_job_is_damage(
    db: sqlite3.Connection, path: Path, log: list[str]
) -> None:
    """A bit of the key in its row: the file was written again under that name, and the job's own never closed."""
    add_job(db, key=KEY)
    db.execute("PRAGMA foreign_keys=OFF")
    db.execute("INSERT INTO submission (nonce, key, body) VALUES ('nonce', 'another', x'')")
    with closing(spoil_index(db, path)) as again, pytest.raises(sqlite3.DatabaseError, match=FOUND):
        schema.check(again, path, whole=True)
    assert log == []


def test_an_index_that_cannot_be_made_anew_is_damage(db: sqlite3.Connection, path: Path) -> None:
    add_job(db, key=KEY)
    with closing(spoil_index(db, path)) as again:
        again.execute("PRAGMA query_only=ON")
        with pytest.raises(sqlite3.DatabaseError, match=FOUND):
            schema.check(again, path, whole=True)


def test_a_row_that_breaks_a_rule_is_damage(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA ignore_check_constraints=1")
    add_job(db, key=KEY, state="'lost'")
    db.execute("PRAGMA ignore_check_constraints=0")
    with pytest.raises(sqlite3.DatabaseError, match=r"^quick_check: CHECK constraint failed in job"):
        schema.check(db, path, whole=False)


def test_other_tables_than_ours_are_damage(db: sqlite3.Connection, path: Path) -> None:
    db.execute("CREATE TABLE strange (it)")
    with pytest.raises(sqlite3.DatabaseError, match="tables are not what was written"):
        schema.check(db, path, whole=False)


def test_a_damaged_ledger_is_set_aside_with_all_that_belongs_to_it(
    path: Path, said: Said, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NOW * 10**6 + 999_999)
    for suffix in ("-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).write_text(suffix)
    corpse = schema.set_aside(path, schema.file_at(path), "the reason")
    assert corpse == path.with_name(f"lazy-pins.db.damaged-{NOW}")
    aside = [f"{corpse.name}{suffix}" for suffix in ("", "-journal", "-shm", "-wal")]
    assert names_in(path.parent) == sorted(["lazy-pins.db.lock", *aside])
    assert said[-1] == ("fsync", ".")
    assert said[-2] == ("rename", "lazy-pins.db", corpse.name), "the ledger goes last"
    assert len(log) == 1
    assert all(it in log[0] for it in ("ERROR", str(path), "the reason", str(corpse)))


@pytest.mark.parametrize("found", [None, (0, 0)])
def test_what_was_rebuilt_meanwhile_is_left_alone(path: Path, log: list[str], found: schema.File | None) -> None:
    assert schema.set_aside(path, found, "test") is None
    assert names_in(path.parent) == ["lazy-pins.db", "lazy-pins.db-journal", "lazy-pins.db.lock"]
    assert path.with_name("lazy-pins.db.lock").stat().st_mode & 0o777 == 0o600
    assert log == []


@root_only
def test_the_lock_belongs_to_whom_the_folder_belongs_to(path: Path) -> None:
    os.chown(path.parent, 1234, 5678)
    schema.set_aside(path, schema.file_at(path), "test")
    assert path.with_name("lazy-pins.db.lock").stat().st_uid == 1234


def test_a_lock_that_somebody_keeps_is_said_and_nothing_is_moved(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "PATIENCE", 0.1)
    with FileLock(f"{path}.lock"), pytest.raises(StorageError, match=f"^cannot set aside the ledger {path}: .*lock"):
        schema.set_aside(path, schema.file_at(path), "test")
    assert path.exists()


def test_where_there_are_no_locks_a_damaged_ledger_is_an_error_in_words(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"garbage" * 999)
    opened = OpenLedger(path, lambda ledger: None)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        opened.get()
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOSYS))
    with pytest.raises(LedgerError, match=r"is damaged .*; cannot set aside the ledger .*Function not implemented"):
        opened.recover(caught.value)
    assert path.exists()
