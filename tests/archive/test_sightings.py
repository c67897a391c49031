"""First looks at a target: remembered over runs, never longer than needed, and lost without harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.sightings import NAME, Sightings
from encoder_pin_plugin.errors import StorageError

TO = "psa+https://pins"
BOOT = "one"


def test_a_first_look_counts_over_runs_and_targets_have_their_own(tmp_path: Path) -> None:
    assert Sightings(tmp_path, TO, BOOT).patience(["a"], 60, 1000) == {"a": 60}
    assert Sightings(tmp_path, TO, BOOT).patience(["a", "b"], 60, 1020) == {"a": 40, "b": 60}
    assert Sightings(tmp_path, TO, BOOT).patience(["a", "b"], 60, 1070) == {"a": 0, "b": 10}
    assert Sightings(tmp_path, "another", BOOT).patience(["a"], 60, 1070) == {"a": 60}


def test_a_look_of_the_future_counts_as_taken_now(tmp_path: Path) -> None:
    sightings = Sightings(tmp_path, TO, BOOT)
    sightings.patience(["a"], 60, 10**9)
    assert sightings.patience(["a"], 60, 1000) == {"a": 60}
    assert sightings.patience(["a"], 60, 1001) == {"a": 59}


def test_looks_of_another_boot_do_not_count(tmp_path: Path) -> None:
    Sightings(tmp_path, TO, "before").patience(["a"], 60, 1000)
    assert Sightings(tmp_path, TO, BOOT).patience(["a"], 60, 1070) == {"a": 60}


def test_what_is_forgotten_begins_anew(tmp_path: Path) -> None:
    sightings = Sightings(tmp_path, TO, BOOT)
    sightings.patience(["a", "b"], 60, 1000)
    sightings.forget({"a"})
    assert json.loads((tmp_path / NAME).read_text()) == {BOOT: {TO: {"b": 1000}}}
    assert Sightings(tmp_path, TO, BOOT).patience(["a", "b"], 60, 1010) == {"a": 60, "b": 50}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b"17", b'{"one": []}', b'{"one": {"psa+https://pins": []}}',
     b'{"one": {"psa+https://pins": {"a": null}}}', b'{"one": {"psa+https://pins": {"a": "x"}}}', b"[" * 100_000, b"{}",
     b'{"one": {"psa+https://pins": {"a": ' + b"9" * 5000 + b"}}}", b'{"psa+https://pins": {"a": 0.5}}'],
    ids=["empty", "half", "binary", "list", "number", "no targets", "no looks", "null", "text", "deep", "nothing",
         "digits", "no boot"],
)  # fmt: skip
def test_whatever_stands_there_costs_another_wait_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert Sightings(tmp_path, TO, BOOT).patience(["a"], 60, 1000) == {"a": 60}
    assert json.loads((tmp_path / NAME).read_text()) == {BOOT: {TO: {"a": 1000}}}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(StorageError, match=f"^cannot write {tmp_path / NAME}: "):
        Sightings(tmp_path, TO, BOOT).patience(["a"], 60, 1000)
