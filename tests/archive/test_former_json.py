"""What is told of each entry and each line of a former encoder's JSON: the place, the beginning, and why not."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.former import Former, Found, Left, Place
from encoder_pin_plugin.archive.former_json import read_list, read_queue
from encoder_pin_plugin.archive.record import SOURCE, parse_line
from encoder_pin_plugin.errors import StorageError
from tests.archive.former_files import archived, cid, given_up, lines, local, pending, put, queue

AT = datetime(2025, 10, 28, 10, 30, tzinfo=UTC)
LONG = "x" * 200


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "former"


def whole(path: Path, why: str) -> Left:
    return Left(place=Place(path=path, where="the whole file"), what="", why=why)


def waiting(path: Path, number: int, where: str, says: str = "pending") -> Former:
    """What `pending(number)` is read as."""
    return Former(
        cid=cid(number), place=Place(path=path, where=where), says=says, job_id=f"direct-{number}", size_mb=25.5,
        type="directory", at=AT,
    )  # fmt: skip


# The queue


def test_entries_are_told_by_number(path: Path) -> None:
    put(path, json.dumps({"pending_pins": [pending(1), LONG, pending(2)]}).encode())
    assert list(read_queue(path)) == [
        waiting(path, 1, "entry 1"),
        Left(place=Place(path=path, where="entry 2"), what=LONG[:80], why="it is no record"),
        waiting(path, 2, "entry 3"),
    ]


def test_what_is_empty_or_zeros_is_told_as_a_whole(path: Path) -> None:
    put(path, b" \n")
    assert list(read_queue(path)) == [whole(path, "it is empty: a crash while it was being rewritten leaves it so")]
    put(path, b"\0" * 9 + b"\r\n\t \0")
    zeros = "it holds nothing but zeros: the disk had its size and not yet its content"
    assert list(read_queue(path)) == [whole(path, zeros)]


def test_behind_a_byte_order_mark_it_is_whole(path: Path) -> None:
    put(path, b"\xef\xbb\xbf" + queue([pending(1)]))
    assert list(read_queue(path)) == [waiting(path, 1, "entry 1")]


def test_a_byte_that_is_not_utf8_costs_no_record(path: Path) -> None:
    odd = pending(1, job_id="a@")
    put(path, queue([odd]).replace(b"@", b"\xff"))
    assert list(read_queue(path)) == [replace(waiting(path, 1, "entry 1"), job_id="a\ufffd")]
    put(path, lines(local(1) | {"job_id": "a@"}).replace(b"@", b"\xff"))
    assert [one.job_id for one in read_list(path) if isinstance(one, Former)] == ["a\ufffd"]


@pytest.mark.parametrize(("missing", "says"), [(0, "pending"), (1, "pending (its record is cut)")])
def test_a_torn_one_tells_where_each_record_was_and_how_many(path: Path, missing: int, says: str) -> None:
    texts = [json.dumps(pending(number)) for number in (1, 2)]
    put(path, f'{{"pending_pins": [{texts[0]}, {texts[1]}'[: -missing or None].encode())
    second = waiting(path, 2, f"character {19 + len(texts[0]) + 2}", says)
    assert list(read_queue(path)) == [
        waiting(path, 1, "character 19"),
        replace(second, size_mb=None, type=None, at=None) if missing else second,
        whole(path, "it is damaged or torn: 2 records were found in it, and what followed is lost"),
    ]


def test_a_torn_one_without_a_record_says_so(path: Path) -> None:
    put(path, b'{"pending_pins": [')
    lost = "it is damaged or torn: no record was found in it, and what followed is lost"
    assert list(read_queue(path)) == [whole(path, lost)]


@pytest.mark.parametrize("body", [b"42", b'{"other": []}', b'{"pending_pins": {}}'])
def test_json_without_a_list_of_records_is_as_good_as_torn(path: Path, body: bytes) -> None:
    put(path, body)
    (left,) = read_queue(path)
    assert isinstance(left, Left)
    assert "no record was found in it" in left.why


def test_a_queue_that_cannot_be_read_is_named(path: Path) -> None:
    with pytest.raises(StorageError, match=f"^cannot read {path}: "):
        list(read_queue(path))


# Lists


def test_lines_are_told_by_number_and_kind(path: Path) -> None:
    put(path, lines(given_up(1), local(2), {"hash": cid(3), "type": "other"}))
    node = "pinned on the encoder's own node"
    assert [(one.place, one.says) for one in read_list(path) if isinstance(one, Former)] == [
        (Place(path=path, where="line 1"), "given up on"),
        (Place(path=path, where="line 2"), node),
        (Place(path=path, where="line 3"), "recorded"),
    ]


def test_a_list_may_be_a_link(path: Path, tmp_path: Path) -> None:
    put(path, lines(given_up(1)))
    (tmp_path / "link").symlink_to(path)
    assert len(list(read_list(tmp_path / "link"))) == 1


def test_what_is_no_record_is_told_by_its_beginning(path: Path) -> None:
    put(path, json.dumps(LONG).encode() + b"\n" + LONG.encode() + b"\n")
    text, garbage = read_list(path)
    assert text == Left(place=Place(path=path, where="line 1"), what=f'"{LONG}'[:80], why="it is no record")
    assert isinstance(garbage, Left)
    assert garbage == Left(place=Place(path=path, where="line 2"), what=LONG[:80], why=garbage.why)
    assert garbage.why.startswith("it is not JSON")


def test_padding_is_no_part_of_a_line(path: Path) -> None:
    put(path, b"\0\0 \n\n\xef\xbb\xbf" + lines(given_up(1))[:-1] + b" \t\r\n")
    (one,) = read_list(path)
    assert one.place.where == "line 3"


def test_records_in_one_line_are_each_told_whole_or_cut(path: Path) -> None:
    put(path, lines(given_up(1))[:-20] + lines(given_up(2)))
    place = Place(path=path, where="line 1")
    assert list(read_list(path)) == [
        Former(cid=cid(1), place=place, says="recorded (its record is cut)"),
        Former(
            cid=cid(2), place=place, says="recorded", at=datetime(2025, 10, 29, 10, 30, tzinfo=UTC), node_id="encoder-9"
        ),
    ]


def test_a_record_in_a_damaged_line_whose_cid_is_none_is_left_with_the_line(path: Path) -> None:
    put(path, b'{"hash": "QmNope"} {"hash": "QmNope"}\n')
    assert [type(one) for one in read_list(path)] == [Left, Left, Left]


# A former archive


def archive_line(path: Path, line: bytes) -> Found:
    put(path, line)
    (one,) = read_list(path)
    return one


def test_an_archives_line_is_taken_as_it_stands(path: Path) -> None:
    line = lines(archived(1))
    says = "pinned on the encoder's own node, archived"
    assert archive_line(path, line) == Former(
        cid=cid(1), place=Place(path=path, where="line 1"), says=says, job_id="direct-1", size_mb=12.3,
        type="directory", node_id="encoder-9", line=parse_line(line),
    )  # fmt: skip
    assert archive_line(path, line) == archive_line(path, line[:-1]), "whole but for its newline"


@pytest.mark.parametrize("missing", ["source", "local_pin_timestamp"])
def test_one_of_two_keys_tells_an_archives_line(path: Path, missing: str) -> None:
    fields = archived(1)
    del fields[missing]
    one = archive_line(path, lines(fields))
    assert isinstance(one, Former)
    assert one.line is not None
    assert (one.line.source, one.line.flags) == (SOURCE, ()), "what it lacked is known now"


def test_another_records_source_makes_no_archives_line(path: Path) -> None:
    one = archive_line(path, lines(given_up(1) | {"source": "elsewhere"}))
    assert isinstance(one, Former)
    assert (one.line, one.says) == (None, "given up on")


def test_a_line_without_a_job_has_the_archives_name_for_it(path: Path) -> None:
    fields = archived(1)
    del fields["job_id"]
    one = archive_line(path, lines(fields))
    assert isinstance(one, Former)
    assert one.line is not None
    assert one.job_id == one.line.job_id
    assert one.job_id


def test_its_cid_is_written_in_canonical_form(path: Path) -> None:
    one = archive_line(path, lines(archived(1) | {"hash": cid(1).upper()}))
    assert isinstance(one, Former)
    assert one.line is not None
    assert one.cid == one.line.hash == cid(1)


def test_an_archives_line_that_none_of_ours_would_be_is_told_without_the_line(path: Path) -> None:
    odd = lines(archived(1))[:-2] + b',"node_id":"other"}\n'
    says = "archived, in an odd line"
    assert archive_line(path, odd) == Former(
        cid=cid(1), place=Place(path=path, where="line 1"), says=says, job_id="direct-1", size_mb=12.3,
        type="directory", node_id="other",
    )  # fmt: skip


def test_so_is_one_that_would_be_too_long_in_ascii(path: Path) -> None:
    long = json.dumps(archived(1) | {"note": "\N{CLAPPER BOARD}" * 12_000}, ensure_ascii=False)
    one = archive_line(path, long.encode() + b"\n")
    assert isinstance(one, Former)
    assert (one.line, one.says) == (None, "archived, in an odd line")


def test_an_archives_line_without_a_cid_is_left(path: Path) -> None:
    one = archive_line(path, lines(archived(1) | {"hash": "QmNope"}))
    assert isinstance(one, Left)
    assert (one.place.where, one.what) == ("line 1", "QmNope")
