"""The worker's ledger: one connection that is sound and prepared, or none."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from encoder_pin_plugin.errors import LedgerError, StorageError
from encoder_pin_plugin.lazy import schema
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.opening import OpenLedger
from tests.conftest import names_in
from tests.lazy.booking import add, names

NO_LEDGER = b"no ledger at all, and longer than the header of a database is" * 40
DAMAGED = sqlite3.DatabaseError("it is damaged")


class Opening:
    """A ledger that is opened when needed, and the connections that were prepared."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lazy-pins.db"
        self.prepared: list[Ledger] = []
        self.told: list[bool] = []
        self.fails: Exception | None = None
        self.ledger = OpenLedger(self.path, self.prepare)

    def prepare(self, ledger: Ledger) -> None:
        self.prepared.append(ledger)
        self.told.append(self.ledger.set_aside)
        if self.fails:
            raise self.fails


@pytest.fixture
def opening(tmp_path: Path, open_files: None) -> Opening:
    return Opening(tmp_path)


def _is_closed(ledger: Ledger) -> bool:
    try:
        ledger.owners()
    except sqlite3.ProgrammingError:
        return True
    return False


def _set_aside(folder: Path) -> list[str]:
    return [name for name in names_in(folder) if "damaged" in name]


def test_it_is_opened_when_needed_prepared_once_and_stays_open(opening: Opening) -> None:
    assert opening.ledger.current is None
    assert not opening.path.exists()
    ledger = opening.ledger.get()
    assert opening.ledger.get() is ledger
    assert opening.ledger.current is ledger
    assert opening.prepared == [ledger]
    assert ledger.path == opening.ledger.path == opening.path
    opening.ledger.close()


def test_it_is_closed_once_and_opened_again_when_needed(opening: Opening) -> None:
    first = opening.ledger.get()
    add(first, "a")
    opening.ledger.close()
    opening.ledger.close()
    assert opening.ledger.current is None
    assert _is_closed(first)
    assert names(opening.ledger.get().select()) == ["a"]
    assert len(opening.prepared) == 2
    opening.ledger.close()


def test_one_that_cannot_be_closed_is_let_go(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = opening.ledger.get()

    def refuse() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "close", refuse)
        opening.ledger.close()
    assert opening.ledger.current is None
    ledger.close()


def test_what_could_not_be_prepared_is_closed_and_prepared_anew(opening: Opening) -> None:
    opening.fails = LedgerError("busy")
    with pytest.raises(LedgerError, match="busy"):
        opening.ledger.get()
    assert opening.ledger.current is None
    assert _is_closed(opening.prepared[0])
    opening.fails = None
    assert opening.ledger.get() is opening.prepared[1]
    opening.ledger.close()


def test_a_damaged_one_is_not_prepared(opening: Opening, tmp_path: Path) -> None:
    Ledger(opening.path).close()
    db = sqlite3.connect(opening.path)
    db.execute("ALTER TABLE submission RENAME TO something")
    db.close()
    with pytest.raises(sqlite3.DatabaseError, match="not what was written"):
        opening.ledger.get()
    assert opening.prepared == []


def test_one_that_was_replaced_is_opened_again(opening: Opening, tmp_path: Path, log: list[str]) -> None:
    first = opening.ledger.get()
    other = Ledger(tmp_path / "other.db")
    add(other, "in the other")
    other.close()
    (tmp_path / "other.db").rename(opening.path)
    assert names(opening.ledger.get().select()) == ["in the other"]
    assert _is_closed(first)
    assert log == [f"WARNING the ledger {opening.path} was replaced by another file: opened again\n"]
    opening.ledger.close()


def test_a_damaged_one_is_set_aside_and_made_anew(opening: Opening, tmp_path: Path, log: list[str]) -> None:
    Ledger(opening.path).close()
    first = opening.ledger.get()
    opening.ledger.recover(DAMAGED)
    assert _is_closed(first)
    assert opening.ledger.current is None
    assert not opening.path.exists()
    assert _set_aside(tmp_path)
    assert "is damaged (it is damaged): set aside" in log[0]
    assert opening.ledger.set_aside
    assert opening.ledger.get().new
    assert not opening.ledger.set_aside
    assert opening.told == [False, True]
    opening.ledger.close()


def test_one_that_another_process_has_made_anew_is_not_set_aside(opening: Opening, tmp_path: Path) -> None:
    opening.path.write_bytes(NO_LEDGER)
    with pytest.raises(sqlite3.DatabaseError) as damage:
        opening.ledger.get()
    assert schema.is_damaged(damage.value)
    Ledger(tmp_path / "anew.db").close()
    (tmp_path / "anew.db").rename(opening.path)
    opening.ledger.recover(damage.value)
    assert _set_aside(tmp_path) == []
    assert not opening.ledger.get().new
    assert not opening.ledger.set_aside
    opening.ledger.close()


def test_one_that_a_quicker_worker_has_set_aside_is_not_said_to_be_gone(opening: Opening, tmp_path: Path) -> None:
    Ledger(opening.path).close()
    opening.ledger.get()
    opening.path.rename(tmp_path / "set aside by the other")
    opening.ledger.recover(DAMAGED)
    assert opening.ledger.get().new
    assert opening.told == [False, True]
    opening.ledger.close()


def test_one_that_is_only_busy_stays_where_it_is(opening: Opening, tmp_path: Path) -> None:
    Ledger(opening.path).close()
    first = opening.ledger.get()
    busy = sqlite3.OperationalError("database is locked")
    with pytest.raises(LedgerError, match="cannot be used: database is locked") as told:
        opening.ledger.recover(busy)
    assert told.value.__cause__ is busy
    assert opening.ledger.current is None
    assert _is_closed(first)
    assert _set_aside(tmp_path) == []
    assert opening.ledger.get() is not first
    opening.ledger.close()


def test_a_folder_that_refuses_has_it_said(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    Ledger(opening.path).close()
    opening.ledger.get()
    refused = PermissionError(13, "Permission denied")

    def refuse(path: Path, target: object) -> None:
        raise refused

    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", refuse)
        with pytest.raises(LedgerError, match=r"is damaged \(it is damaged\); cannot set aside .*: Perm") as told:
            opening.ledger.recover(DAMAGED)
    assert isinstance(told.value.__cause__, StorageError)
    assert told.value.__cause__.__cause__ is refused
    assert opening.path.exists()
