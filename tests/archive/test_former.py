"""What one former record is made of, field by field, under each of the names that its files use."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from encoder_pin_plugin.archive.former import INSTALLERS_TEST, Former, Left, Place, former_of
from encoder_pin_plugin.errors import InvalidCid
from encoder_pin_plugin.nodes.cid import canonical
from tests.archive.former_files import cid

PLACE = Place(path=Path("/former"), where="line 1")
AT = datetime(2025, 10, 28, 10, 30, tzinfo=UTC)


def former(**fields: Any) -> Former:
    found = former_of({"hash": cid(1)} | fields, PLACE, "pending")
    assert isinstance(found, Former)
    return found


def test_a_record_is_all_that_its_fields_say() -> None:
    fields = {"job_id": "a", "size_mb": 2.5, "type": "file", "timestamp": "2025-10-28T10:30:00Z", "node_id": "e"}
    assert former(**fields) == Former(
        cid=cid(1), place=PLACE, says="pending", job_id="a", size_mb=2.5, type="file", at=AT, node_id="e"
    )
    assert former() == Former(cid=cid(1), place=PLACE, says="pending")


def test_the_cid_goes_by_two_names_and_is_made_canonical() -> None:
    assert former_of({"cid": f" {cid(1).upper()}\n"}, PLACE, "x") == Former(cid=cid(1), place=PLACE, says="x")
    assert former(cid=cid(2)).cid == cid(1)


def test_the_installers_own_row_is_no_fault() -> None:
    (found, why) = former_of({"hash": INSTALLERS_TEST}, PLACE, "x"), "the installer's own test, no video"
    assert found == Left(place=PLACE, what="test_init_hash", why=why, fault=False)


@pytest.mark.parametrize(("value", "what"), [(None, "NoneType"), (42, "42"), (1.5, "1.5"), (["x"], "list")])
def test_what_is_no_text_is_no_cid(value: object, what: str) -> None:
    assert former_of({"hash": value}, PLACE, "x") == Left(place=PLACE, what=what, why="it has no CID")


@pytest.mark.parametrize("text", ["", "QmNope", "x" * 81])
def test_what_is_no_cid_is_left_with_why(text: str) -> None:
    with pytest.raises(InvalidCid) as error:
        canonical(text)
    assert former_of({"hash": text}, PLACE, "x") == Left(place=PLACE, what=text[:80], why=str(error.value))


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (" a", " a"), (7, "7"), ("", None), (" ", None), (True, None), (1.5, None), (["a"], None)],
)
def test_a_job_and_a_node_are_texts_or_numbers(value: object, text: str | None) -> None:
    assert (former(job_id=value).job_id, former(node_id=value).node_id) == (text, text)


def test_a_node_that_did_not_know_its_name_is_not_known() -> None:
    assert former(node_id="unknown", job_id="unknown") == former(job_id="unknown")
    assert former(job_id="unknown").job_id == "unknown"


@pytest.mark.parametrize(
    ("fields", "mb"),
    [
        ({"size_mb": 0.5}, 0.5),
        ({"size_mb": 1.23456}, 1.235),
        ({"size_bytes": 9_999_000_000}, 9999.0),
        ({"size": 8_888_000_000}, 8888.0),
        ({"size_mb": 0, "size_bytes": 5_000_000}, 5.0),
        ({"size_mb": 1, "size_bytes": 5_000_000, "size": 6_000_000}, 1.0),
        ({"size_bytes": 5_000_000, "size": 6_000_000}, 5.0),
        ({"size_mb": 1e12}, None),
        ({"size_mb": 999_999_999_999}, 999_999_999_999.0),
        ({"size_bytes": 1e18}, None),
        ({"size_mb": True}, None),
        ({"size_mb": -1}, None),
        ({"size_mb": "5"}, None),
    ],
)
def test_a_size_is_in_mb_by_whichever_name(fields: dict[str, Any], mb: float | None) -> None:
    assert former(**fields).size_mb == mb


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"type": "file"}, "file"),
        ({"content_type": "directory"}, "directory"),
        ({"content_type": "file", "type": "directory"}, "file"),
        ({"content_type": "video", "type": "directory"}, "directory"),
        ({"type": "failed_pin"}, None),
        ({"type": ["file"]}, None),
    ],
)
def test_a_type_is_a_file_or_a_directory(fields: dict[str, Any], kind: str | None) -> None:
    assert former(**fields).type == kind


@pytest.mark.parametrize("name", ["added_at", "pin_timestamp", "timestamp", "pinned_at", "created_at"])
def test_a_moment_goes_by_five_names(name: str) -> None:
    assert former(**{name: "2025-10-28T10:30:00.000Z"}).at == AT


def test_of_several_moments_the_first_that_is_one_counts() -> None:
    early, late = "2025-10-28T10:30:00Z", "2026-10-28T10:30:00Z"
    assert former(created_at=late, added_at=early).at == AT
    assert former(created_at=early, added_at="soon").at == AT


@pytest.mark.usefixtures("in_tokyo")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2025-10-28T10:30:00.5Z", "2025-10-28T10:30:00.500000+00:00"),
        ("2025-10-28 10:30:00", "2025-10-28T10:30:00+00:00"),
        ("2025-10-28T12:30:00+02:00", "2025-10-28T10:30:00+00:00"),
        (1_000_000_000, "2001-09-09T01:46:40+00:00"),
        (9_999_999_999, "2286-11-20T17:46:39+00:00"),
        (1_000_000_000_000, "2001-09-09T01:46:40+00:00"),
        (1_730_000_000_500, "2024-10-27T03:33:20.500000+00:00"),
        (1_730_000_000.5, "2024-10-27T03:33:20.500000+00:00"),
    ],
)
def test_a_moment_is_in_utc_whatever_its_form(value: object, text: str) -> None:
    at = former(added_at=value).at
    assert at is not None
    assert at.isoformat() == text


@pytest.mark.parametrize(
    "value",
    [0, -1, 999_999_999, 10_000_000_000, 999_999_999_999, 10_000_000_000_000, True, 1e300, float("nan"), None, "",
     "soon", "0001-01-01T00:00:00+23:00", ["2025-10-28"]],
)  # fmt: skip
def test_what_can_be_no_moment_is_not_known(value: object) -> None:
    assert former(added_at=value).at is None


def test_what_one_does_not_know_another_may() -> None:
    knows = Former(cid=cid(1), place=PLACE, says="a", job_id="a", size_mb=2.5, type="file", at=AT, node_id="e")
    other = Place(path=Path("/other"), where="row 1")
    little = Former(cid=cid(1), place=other, says="b", job_id="b")
    assert little.with_what_is_known(knows) == replace(knows, place=other, says="b", job_id="b")
    assert knows.with_what_is_known(little) == knows
    more = replace(knows, size_mb=7.0, type="directory", at=datetime(2026, 1, 1, tzinfo=UTC), node_id="f")
    assert knows.with_what_is_known(more) == knows
    assert replace(knows, size_mb=0.0).with_what_is_known(more).size_mb == 0.0
