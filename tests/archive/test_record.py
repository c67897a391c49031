"""One line: what is written to the byte, what is forgiven, what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder_hookspecs.events import CompletedJob, LazyPinFailure, LocalFallback, LocalPin, Proof, Reason
from encoder_pin_plugin.archive.record import (
    KEYS,
    MAX_LINE,
    ArchiveRecord,
    InvalidLine,
    from_fallback,
    parse_line,
    utc_text,
)
from encoder_pin_plugin.errors import ArchiveError
from tests.archive.lines import CID, record


def line_of(**changes: object) -> bytes:
    return json.dumps({**json.loads(record().line()), **changes}).encode() + b"\n"


def test_a_line_is_the_one_of_the_operators_document() -> None:
    expected = (
        '{"hash":"%s","job_id":"job-123","size_mb":25.5,"type":"directory","failed_lazy_attempts":3,'
        '"local_pin_timestamp":"2025-10-28T10:30:00.000Z","source":"failed_lazy_pin_fallback","node_id":"encoder-node-1"}\n'
    )
    written = record(hash=CID, job_id="job-123", size_mb=25.5).line()
    assert written == (expected % CID).encode()


@pytest.mark.parametrize(
    ("size", "text"), [(25.5, b"25.5"), (12.0, b"12"), (0.0, b"0"), (0.001, b"0.001"), (None, b"null")]
)
def test_a_size_is_printed_as_in_the_document(size: float | None, text: bytes) -> None:
    assert b'"size_mb":' + text + b"," in record(size_mb=size).line()


def test_further_keys_come_after_the_eight_and_survive_a_rewrite() -> None:
    line = record(extra={"target": "kubo", "size_mb": 7, "nested": {"a": [1]}}).line()
    assert list(json.loads(line)) == [*KEYS, "target", "nested"]
    assert parse_line(line).line() == line


def test_a_line_is_ascii_whatever_a_job_is_called() -> None:
    hostile = 'a/../"b"\n\u2028\x1b[31m🎬\ud800\x00'
    line = record(job_id=hostile, extra={"é": "é"}).line()
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert not any(byte < 0x20 for byte in line[:-1])
    assert parse_line(line).job_id == hostile


@given(
    job_id=st.text(st.characters(), min_size=1, max_size=300),
    size=st.none() | st.floats(min_value=0, max_value=1e11),
    node=st.text(st.characters(), min_size=1, max_size=50),
    attempts=st.integers(min_value=0, max_value=2**40),
)
def test_what_is_written_is_read(job_id: str, size: float | None, node: str, attempts: int) -> None:
    written = record(job_id=job_id, size_mb=size, node_id=node, failed_lazy_attempts=attempts)
    assert parse_line(written.line()) == written


@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_an_invalid_line(line: bytes) -> None:
    try:
        assert isinstance(parse_line(line), ArchiveRecord)
    except InvalidLine as error:
        assert str(error)  # noqa: PT017 - both outcomes are right


def test_a_record_that_could_not_be_read_back_is_refused() -> None:
    for unwritable in (
        record(job_id="x" * MAX_LINE),
        record(size_mb=float("nan")),
        record(size_mb=float("inf")),
        record(extra={"a": object()}),
        record(extra={"a": float("nan")}),
    ):
        with pytest.raises(ArchiveError, match=r"cannot be written|more than"):
            unwritable.line()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"# a comment\n", "not JSON"),
        (b"[]\n", "no object"),
        (b'"text"\n', "no object"),
        (b"{}\n", "no hash"),
        (line_of(hash=None), "no hash"),
        (line_of(hash=17), "no text"),
        (line_of(hash="QmXYZ..."), "no CID"),
        (line_of(hash="../" * 20), "no CID"),
        (line_of(hash=CID * 5), "no CID"),
        (line_of(hash="Qm-" + "x" * 200), f"no CID: 'Qm-{'x' * 77}'$"),
        (line_of()[:-2], "not JSON"),
        (line_of() + line_of(), "not JSON"),
        (line_of()[:-1] + b"\0\n", "NUL"),
        (b"\xff" + line_of(), "UTF-8"),
        (line_of(job_id="x").replace(b'"x"', b'"\xe9"'), "UTF-8"),
        (line_of()[:-2] + b',"hash":"%s"}\n' % CID.encode(), "twice"),
        (line_of()[:-2] + b',"x":{"a":1,"a":2}}\n', "twice"),
        (line_of(x=float("nan")), "NaN"),
        (line_of(size_mb=float("-inf")), "Infinity"),
        (b'{"a":' * 10_000 + b"\n", "deep|not JSON"),
        (b"[" * 60_000 + b"\n", "deep"),
        (line_of(x="y" * MAX_LINE), "more than 65536"),
    ],
)
def test_a_line_without_a_record_is_refused_in_words(line: bytes, fault: str) -> None:
    with pytest.raises(InvalidLine, match=fault):
        parse_line(line)


def test_a_line_may_be_as_long_as_the_limit_and_no_longer() -> None:
    room = MAX_LINE - len(record(job_id="").line())
    longest = record(job_id="x" * room)
    assert len(longest.line()) == MAX_LINE
    assert parse_line(longest.line()) == longest
    with pytest.raises(ArchiveError, match="65537 bytes, more than 65536"):
        record(job_id="x" * (room + 1)).line()
    with pytest.raises(InvalidLine, match="65537 bytes, more than 65536"):
        parse_line(longest.line()[:-1] + b" \n")


def test_the_smallest_and_the_largest_numbers_are_taken() -> None:
    for size in (0, 0.5, 999_999_999_999.5):
        read = parse_line(line_of(size_mb=size))
        assert (read.size_mb, read.flags) == (size, ())
    for attempts in (0, 1, 2**53 - 1):
        read = parse_line(line_of(failed_lazy_attempts=attempts))
        assert (read, read.flags) == (record(failed_lazy_attempts=attempts), ())
    assert parse_line(line_of(size_mb=1e12)).size_mb is None
    assert parse_line(line_of(failed_lazy_attempts=2**53)).failed_lazy_attempts == 0


def test_a_further_key_keeps_its_number_where_python_can_hold_it() -> None:
    for digits in (300, 301):
        kept = parse_line(line_of()[:-2] + b',"x":%s}' % (b"9" * digits)).extra["x"]
        assert kept == (10**300 - 1 if digits == 300 else None)
    assert parse_line(line_of()[:-2] + b',"x":1e999,"y":1.5}').extra == {"x": None, "y": 1.5}


@pytest.mark.parametrize("kind", ["file", "directory", None])
def test_the_type_is_read_as_it_is(kind: str | None) -> None:
    read = parse_line(line_of(type=kind))
    assert read.type == kind
    assert read.flags == (() if kind else ("type is not known",))


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"job_id": None}, "job_id is missing"),
        ({"job_id": ""}, "job_id is missing"),
        ({"job_id": []}, "job_id is no text"),
        ({"job_id": 17}, "job_id is a number"),
        ({"size_mb": None}, "size_mb is not known"),
        ({"size_mb": "x"}, "size_mb is no size"),
        ({"type": "video"}, "type is neither file nor directory"),
    ],
)
def test_a_flag_tells_what_is_missing_from_what_is_wrong(changes: dict[str, object], flag: str) -> None:
    assert parse_line(line_of(**changes)).flags == (flag,)


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"job_id": 17}, "job_id", "17"),
        ({"job_id": None}, "job_id", "unnamed"),
        ({"job_id": ["x"]}, "job_id", "unnamed"),
        ({"size_mb": -1}, "size_mb", None),
        ({"size_mb": "25.5"}, "size_mb", None),
        ({"size_mb": True}, "size_mb", None),
        ({"size_mb": 10**200}, "size_mb", None),
        ({"type": "video"}, "type", None),
        ({"failed_lazy_attempts": -3}, "failed_lazy_attempts", 0),
        ({"failed_lazy_attempts": 2.5}, "failed_lazy_attempts", 0),
        ({"local_pin_timestamp": 1761647400}, "local_pin_timestamp", ""),
        ({"local_pin_timestamp": "yesterday"}, "local_pin_timestamp", "yesterday"),
        ({"node_id": ""}, "node_id", "unknown"),
        ({"source": None}, "source", "failed_lazy_pin_fallback"),
    ],
)
def test_an_odd_field_is_normalised_and_flagged(changes: dict[str, object], field: str, value: object) -> None:
    read = parse_line(line_of(**changes))
    assert getattr(read, field) == value
    assert any(field in flag for flag in read.flags)


@pytest.mark.parametrize("number", ["9" * 5000, "1e999", "-1e999"])
def test_a_number_out_of_range_costs_no_video(number: str) -> None:
    read = parse_line(line_of(size_mb=0).replace(b'"size_mb": 0', f'"size_mb": {number}'.encode()))
    assert read.size_mb is None
    assert read.line()


def test_a_line_that_an_editor_has_touched_is_still_read() -> None:
    assert parse_line(b"\xef\xbb\xbf" + line_of()).flags == ("starts with a byte order mark",)
    assert parse_line(line_of()[:-1] + b" \r\n") == record()
    assert parse_line(line_of(job_id="a\tb").replace(b"\\t", b"\t")).job_id == "a\tb"
    only_hash = parse_line(b'{"hash":"%s"}' % CID.encode())
    assert only_hash.key == (CID, "unnamed")
    assert len(only_hash.flags) == 7


def fallback(job: CompletedJob, pin: LocalPin) -> LocalFallback:
    failure = LazyPinFailure(job=job, attempts=3, reason=Reason.TIMEOUT, error="no answer")
    return LocalFallback(job=job, failure=failure, local_pin=pin)


def test_a_fallback_becomes_a_record() -> None:
    moment = datetime(2025, 10, 28, 12, 30, 0, 999, tzinfo=timezone(timedelta(hours=2)))
    job = CompletedJob(cid=CID, job_id="job-123", size_mb=99, type="file")
    pin = LocalPin(cid=CID, node="kubo", proof=Proof.WHOLE, size_mb=25.50049, type="directory", pinned_at=moment)
    made = from_fallback(fallback(job, pin), "encoder-node-1")
    assert made == record(hash=CID, job_id="job-123", size_mb=25.5)
    assert made.node_id == "encoder-node-1"


def test_what_the_node_did_not_tell_is_taken_from_the_job() -> None:
    job = CompletedJob(cid=CID, job_id="job-123", size_mb=12.3, type="file", node_id="mine")
    made = from_fallback(fallback(job, LocalPin(cid=CID, node="kubo", proof=Proof.WHOLE)), "theirs")
    assert (made.size_mb, made.type, made.node_id) == (12.3, "file", "mine")
    unknown = CompletedJob(cid=CID, job_id="job-123")
    made = from_fallback(fallback(unknown, LocalPin(cid=CID, node="kubo", proof=Proof.WHOLE)), "theirs")
    assert (made.size_mb, made.type, made.node_id) == (None, None, "theirs")


def test_a_moment_is_utc_with_milliseconds_wherever_the_machine_is(in_tokyo: None) -> None:
    summer = datetime(2025, 10, 28, 12, 30, tzinfo=timezone(timedelta(hours=2)))
    assert utc_text(summer) == "2025-10-28T10:30:00.000Z"
    assert utc_text(datetime(2025, 10, 28, 10, 30, tzinfo=UTC)) == "2025-10-28T10:30:00.000Z"
