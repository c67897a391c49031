"""What can be got out of JSON that is cut, glued or nested: each record by itself, and how far it was there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from encoder_pin_plugin.archive.salvage import LONGEST_RECORD, MOST_NESTED, Salvaged, salvage
from tests.archive.former_files import cid


def found(text: str) -> list[tuple[str, bool]]:
    """The CIDs in a text, and whether each record was whole."""
    return [(str(one.fields.get("hash", one.fields.get("cid"))), one.whole) for one in salvage(text)]


def text_of(number: int, **more: Any) -> str:
    return json.dumps({"hash": cid(number), "job_id": f"job-{number}", **more})


def nested(levels: int) -> str:
    """A record in which so many objects are, itself included."""
    return f'{{"hash": "{cid(1)}"' + ', "a": {"b": 1' * (levels - 1) + "}" * levels


def test_a_record_is_told_with_its_place_and_all_of_its_fields() -> None:
    record = {"hash": cid(1), "job_id": "a", "size_mb": 2.5, "what": [1, {"x": None}]}
    assert list(salvage("garbage" + json.dumps(record))) == [Salvaged(offset=7, fields=record, whole=True)]


@pytest.mark.parametrize("between", ["", "\n", ", ", "}", "{", '{"', "\0\0", "é"])
def test_each_is_found_whatever_stands_between(between: str) -> None:
    text = between.join(text_of(number) for number in range(1, 10))
    assert found(text) == [(cid(number), True) for number in range(1, 10)]
    assert [text[one.offset :].startswith(f'{{"hash": "{cid(n)}') for n, one in enumerate(salvage(text), 1)] == [
        True
    ] * 9


@pytest.mark.parametrize("cut", [0, 1, 9])
def test_what_follows_a_cut_one_is_no_part_of_it(cut: int) -> None:
    torn = text_of(1)[: len(text_of(1)) - 10 - cut]
    first, second = salvage(torn + text_of(2))
    assert first == Salvaged(offset=0, fields={"hash": cid(1)}, whole=False)
    assert second == Salvaged(offset=len(torn), fields=json.loads(text_of(2)), whole=True)


def test_a_cut_one_takes_no_job_from_the_next() -> None:
    first, _ = salvage(f'{{"hash": "{cid(1)}", ' + text_of(2))
    assert first.fields == {"hash": cid(1)}


@pytest.mark.parametrize(
    ("rest", "job"),
    [
        (', "job_id": "a"', {"job_id": "a"}),
        (', "job_id" : "a \\" \\u00e9"', {"job_id": 'a " é'}),
        (', "job_id": ""', {"job_id": ""}),
        (', "job_id": "a', {}),
        (', "job_id": "\\x"', {}),
        (', "job_id": "\\u12', {}),
        (', "job_id": 7', {}),
    ],
)
@pytest.mark.parametrize("name", ["hash", "cid"])
def test_of_a_cut_one_what_can_be_made_out_is_told(name: str, rest: str, job: dict[str, str]) -> None:
    (one,) = salvage(f'{{"{name}" : "{cid(1)}"{rest}')
    assert one == Salvaged(offset=0, fields={"hash": cid(1)} | job, whole=False)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"', "no JSON", f'{{"hash": "{cid(1)[:39]}', f'{{"hash": "{cid(1)}', '{"a": 1}']
)
def test_where_no_cid_is_there_to_its_end_nothing_is_found(text: str) -> None:
    assert found(text) == []


def test_a_record_may_name_its_cid_by_either_name() -> None:
    assert found(f'{{"cid": "{cid(1)}"}}') == [(cid(1), True)]
    assert found(f'{{"cid": 1, "hash": "{cid(1)}"}}') == [(cid(1), True)]


def test_what_only_holds_others_is_none_itself() -> None:
    assert found(f'{{"a": {{"b": {text_of(1)}, "c": {text_of(2)}}}}}') == [(cid(1), True), (cid(2), True)]


def test_what_stands_in_a_record_is_its_own() -> None:
    assert found(text_of(1, old={"hash": cid(2)}) + text_of(3)) == [(cid(1), True), (cid(3), True)]


@pytest.mark.parametrize("behind", ["", text_of(2) * 9])
def test_so_many_objects_may_be_in_one(behind: str) -> None:
    assert found(nested(MOST_NESTED) + behind)[0] == (cid(1), True)
    assert found(nested(MOST_NESTED + 1) + behind)[0] == (cid(1), False)


def test_a_record_may_be_so_long() -> None:
    long = text_of(1, what="")
    assert found(text_of(1, what="x" * (LONGEST_RECORD - len(long))) + "x" * 10) == [(cid(1), True)]
    assert found(text_of(1, what="x" * (LONGEST_RECORD - len(long) + 1)) + "x" * 10) == [(cid(1), False)]


def test_what_is_nested_without_end_costs_its_beginning_alone() -> None:
    assert found(f'{{"hash": "{cid(1)}", "a": ' + "[" * 4000) == [(cid(1), False)]
