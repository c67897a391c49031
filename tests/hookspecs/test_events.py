"""Events: what may stand in them, what becomes of odd values, and what a plugin may do with one."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
import typing
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoder_hookspecs import CompletedJob, InvalidEvent, events, testing
from encoder_hookspecs.normalise import MAX_JOB_ID_LENGTH, as_text
from encoder_hookspecs.testing import a_fallback, a_job

V0 = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
V1 = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
SAMPLES = [getattr(testing, name)() for name in testing.__all__ if name.startswith(("a_", "an_"))]


@pytest.mark.parametrize("cid", [V0, V1, V1.upper(), "uAXASIMWYdjc-_0000000000000000000000000000000000"])
def test_whatever_can_be_a_cid_is_taken_as_it_is(cid):
    assert a_job(cid=cid).cid == cid


@pytest.mark.parametrize(
    "cid",
    [
        "",
        " ",
        "Qm",
        f"/ipfs/{V0}",
        f"ipfs://{V0}",
        f"https://ipfs.io/ipfs/{V0}",
        f"{V0}/video.m3u8",
        f" {V0}",
        f"{V0}\n",
        f"{V0}\x00",
        V0[:-1] + "é",
        "b" * 10_000_000,
        None,
        7,
        V0.encode(),
    ],
    ids=lambda it: repr(it)[:30],
)
def test_what_can_be_no_cid_is_refused_with_what_was_expected(cid):
    with pytest.raises(InvalidEvent, match=r"^cid .*'bafy…' or 'Qm…'") as caught:
        a_job(cid=cid)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("size", [-1, -0.001, math.nan, math.inf, -math.inf, 1e12, 10**400, True, "25.5", [], 1 + 2j])
def test_an_odd_size_becomes_unknown_and_is_flagged(size):
    job = a_job(size_mb=size)
    assert job.size_mb is None
    assert job.flags[0].startswith("size_mb is not a size: ")
    assert job.raw["size_mb"].startswith(str(size)[:10]) or size == []


@pytest.mark.parametrize("size", [0, 25.5, 1, 999_999_999_999])
def test_a_size_is_a_float(size):
    assert (a_job(size_mb=size).size_mb, a_job(size_mb=size).flags) == (float(size), ())


@pytest.mark.parametrize(
    ("given_id", "kept"),
    [
        ("job-123", "job-123"),
        ("a/b\\c:🎬", "a/b\\c:🎬"),
        ("", "unnamed"),
        (" \t\n", "\ufffd\ufffd"),
        ("a\nb", "a\ufffdb"),
        ("\u202eevil", "\ufffdevil"),
        ("\ud800", "\ufffd"),
        (123, "123"),
        (None, "None"),
    ],
)
def test_an_odd_job_id_is_one_printable_line(given_id, kept):
    job = a_job(job_id=given_id)
    assert job.job_id == kept
    assert bool(job.flags) is (job.job_id != given_id)


def test_a_long_job_id_is_cut_in_the_middle_and_kept_whole_aside():
    job = a_job(job_id="a" * 200 + "b" * 200)
    assert len(job.job_id) <= MAX_JOB_ID_LENGTH
    assert (job.job_id[0], job.job_id[-1]) == ("a", "b")
    assert job.raw["job_id"] == "a" * 200 + "b" * 200


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a" * 200 + "1" + "b" * 200, "a" * 200 + "2" + "b" * 200),
        ("a" * 4000 + "1" + "b" * 4000, "a" * 4000 + "2" + "b" * 4000),
        ("a" * 200 + "\x01" + "b" * 200, "a" * 200 + "\x02" + "b" * 200),
        ("a" * 200 + "\ud800" + "b" * 200, "a" * 200 + "\ud801" + "b" * 200),
    ],
    ids=["in the middle", "beyond what is kept", "in what cannot be printed", "in what is no text"],
)
def test_long_job_ids_that_differ_stay_different_and_the_same_stays_the_same(one, other):
    first, second = a_job(job_id=one), a_job(job_id=other)
    assert first.job_id != second.job_id
    assert first.job_id == a_job(job_id=one).job_id
    assert dataclasses.replace(first).job_id == first.job_id
    assert len(first.job_id) == MAX_JOB_ID_LENGTH
    assert first.flags == ("job_id is longer than 256 characters: shortened",)


def test_a_job_id_of_the_longest_length_stays_as_it_is():
    longest = "j" * MAX_JOB_ID_LENGTH
    assert (a_job(job_id=longest).job_id, a_job(job_id=longest).flags) == (longest, ())


def test_a_node_id_that_is_cut_behind_a_space_stays_as_it_is_when_read_again():
    job = a_job(node_id="n" * (MAX_JOB_ID_LENGTH - 1) + " tail")
    assert dataclasses.replace(job) == job
    assert job.node_id == "n" * (MAX_JOB_ID_LENGTH - 1)


@pytest.mark.parametrize("kind", ["folder", "FILE", 7, b"file", []])
def test_an_odd_type_becomes_unknown(kind):
    assert (a_job(type=kind).type, len(a_job(type=kind).flags)) == (None, 1)


class BrokenZone(tzinfo):
    def utcoffset(self, moment):
        raise RuntimeError


def test_moments_are_told_in_utc():
    noon = datetime(2025, 10, 28, 12, tzinfo=timezone(timedelta(hours=2)))
    assert a_job(completed_at=noon).completed_at == datetime(2025, 10, 28, 10, tzinfo=UTC)
    assert a_job(completed_at=noon).completed_at.tzinfo is UTC
    assert a_job(completed_at=datetime(2025, 10, 28, 12)).completed_at.hour == 12  # noqa: DTZ001 - the point


@pytest.mark.parametrize(
    "moment",
    [
        "2025-10-28",
        0,
        None,
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime(2025, 1, 1, tzinfo=BrokenZone()),
    ],
    ids=lambda it: type(it).__name__,
)
def test_a_moment_that_is_none_becomes_now(moment):
    job = a_job(completed_at=moment)
    assert abs(datetime.now(UTC) - job.completed_at) < timedelta(minutes=5)
    assert len(job.flags) == 1


class Hostile:
    def __repr__(self):
        raise RuntimeError

    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None


@pytest.mark.parametrize("field", ["job_id", "size_mb", "type", "completed_at", "node_id"])
def test_a_hostile_value_costs_no_video(field):
    assert len(a_job(**{field: Hostile()}).flags) == 1


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.datetimes(), st.lists(st.text())
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(job_id=anything, size_mb=anything, kind=anything, completed_at=anything, node_id=anything)
def test_any_fields_make_a_job_that_can_be_written_down_and_normalising_is_done_once(
    job_id, size_mb, kind, completed_at, node_id
):
    job = CompletedJob(cid=V0, job_id=job_id, size_mb=size_mb, type=kind, completed_at=completed_at, node_id=node_id)
    assert len(job.job_id.splitlines()) == 1
    assert job.job_id.encode()
    assert job.type in (None, "file", "directory")
    assert job.size_mb is None or 0 <= job.size_mb < 1e12
    assert json.dumps(dataclasses.asdict(job), default=str).encode()
    assert dataclasses.replace(job) == job


@pytest.mark.parametrize("event", SAMPLES, ids=lambda it: type(it).__name__)
def test_a_plugin_may_copy_pickle_and_send_an_event(event):
    assert copy.copy(event) == copy.deepcopy(event) == pickle.loads(pickle.dumps(event)) == event
    assert hash(event) == hash(copy.deepcopy(event))
    assert json.dumps(dataclasses.asdict(event), default=str)
    assert typing.get_type_hints(type(event))
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.cid = "other"


def test_events_are_made_by_keyword_only():
    with pytest.raises(TypeError):
        CompletedJob(V0, "job-123")


def test_every_event_has_a_sample_but_the_decisions():
    kinds = {value for value in vars(events).values() if dataclasses.is_dataclass(value)}
    assert {it.__name__ for it in kinds - {type(it) for it in SAMPLES}} == {"RetryIn", "GiveUp"}


def test_the_parts_of_a_sample_agree():
    fallback = a_fallback(job=a_job(cid=V1))
    assert fallback.job == fallback.failure.job
    assert fallback.local_pin.cid == V1


def test_text_of_anything_is_bounded():
    assert as_text("x" * 5000).endswith("… (5000 characters)")
    assert as_text(Hostile()) == "<Hostile: RuntimeError in its repr>"
