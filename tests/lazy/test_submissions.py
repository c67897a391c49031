"""The job file to the byte: what is written, what is read again, and in which words the rest is refused."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.errors import InvalidJobFile
from encoder_pin_plugin.lazy.jobfile import (
    MAX_BYTES,
    is_sealed,
    job_key,
    new_submission,
    nonce_of,
    read_submission,
)
from tests.cids import cid_of

CID = cid_of("a video")
V1 = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
MOMENT = datetime(2025, 10, 28, 10, 30, 0, 5000, tzinfo=UTC)
JOB = CompletedJob(cid=CID, job_id="job-1", size_mb=25.5, type="file", completed_at=MOMENT, node_id="encoder-1")


def sealed(content: bytes) -> bytes:
    """`content`, a JSON object, with the seal of its bytes."""
    digest = hashlib.sha256(content).hexdigest()
    return content[:-1] + f',"sha256":"{digest}"'.encode() + b"}"


def read(**fields: Any) -> CompletedJob:
    return read_submission("any.json", json.dumps({"cid": CID, "job_id": "job-1"} | fields).encode()).job


def test_a_job_file_is_compact_json_with_a_seal_over_all_before_it() -> None:
    content = (
        f'{{"cid":"{CID}","job_id":"job-1","size_mb":25.5,"type":"file",'
        '"completed_at":"2025-10-28T10:30:00.005+00:00","node_id":"encoder-1"}'
    ).encode()
    submission = new_submission(JOB)
    assert submission.body == sealed(content) + b"\n"
    assert re.fullmatch(r"[0-9a-f]{32}\.[0-9a-f]{16}", submission.name)
    assert submission.name == f"{job_key(CID, 'job-1')}.{submission.nonce}"
    assert submission.job is JOB
    assert new_submission(JOB).nonce != submission.nonce


def test_what_is_written_is_read_again() -> None:
    written = new_submission(JOB)
    assert read_submission(written.name, written.body) == written


def test_what_was_odd_is_read_again_with_what_it_was() -> None:
    odd = CompletedJob(cid=CID, job_id="job-1", size_mb="large", type="video", completed_at=MOMENT)
    assert len(odd.flags) == 2
    written = new_submission(odd)
    assert read_submission(written.name, written.body).job == odd
    assert "flags" not in json.loads(new_submission(JOB).body)
    assert "raw" not in json.loads(new_submission(JOB).body)


@pytest.mark.parametrize("letters", [8_000, 12_000, 60_000, 200_000])
def test_however_much_is_odd_the_file_stays_small_and_keeps_the_job(letters: int) -> None:
    raw = {str(number) + "n" * letters: "r" * letters for number in range(20)}
    odd = CompletedJob(cid=CID, job_id="job-1", flags=("f" * letters,) * 20, raw=raw)
    body = new_submission(odd).body
    fields = json.loads(body)
    assert len(body) <= MAX_BYTES
    assert (fields["cid"], fields["job_id"]) == (CID, "job-1")
    assert [len(flag) for flag in fields["flags"]] == [1000] * 10
    assert [(len(name), len(text)) for name, text in fields["raw"].items()] == [(100, 1000)] * 10


def test_what_fits_is_kept_whole_to_the_last_byte() -> None:
    plain = len(new_submission(CompletedJob(cid=CID, job_id="job-1", flags=("",), completed_at=MOMENT)).body)
    for letters in range(MAX_BYTES - plain - 30, MAX_BYTES - plain + 1):
        body = new_submission(CompletedJob(cid=CID, job_id="job-1", flags=("f" * letters,), completed_at=MOMENT)).body
        assert len(body) <= MAX_BYTES
        kept = len(json.loads(body)["flags"][0])
        assert kept in (letters, 1000)
    whole = MAX_BYTES - plain - 23
    for letters, kept in ((whole, whole), (whole + 1, 1000)):
        body = new_submission(CompletedJob(cid=CID, job_id="job-1", flags=("f" * letters,), completed_at=MOMENT)).body
        assert len(json.loads(body)["flags"][0]) == kept


def test_characters_that_json_writes_long_are_cut_once_more() -> None:
    odd = CompletedJob(
        cid=CID, job_id="job-1", flags=("🎬" * 2000,) * 10, raw={f"{n}" + "🎬" * 200: "🎬" * 2000 for n in range(10)}
    )
    fields = json.loads(new_submission(odd).body)
    assert [len(flag) for flag in fields["flags"]] == [100] * 10
    assert [(len(name), len(text)) for name, text in fields["raw"].items()] == [(100, 100)] * 10


def test_a_seal_is_told_with_and_without_its_newline_and_nowhere_else() -> None:
    body = new_submission(JOB).body
    assert is_sealed(body)
    assert is_sealed(body[:-1])
    assert is_sealed(body.replace(b"job-1", b"job-2"))
    assert not is_sealed(body + b" ")
    assert not is_sealed(json.dumps({"cid": CID}).encode())


def test_a_true_seal_is_taken_also_without_the_newline_and_a_false_one_never() -> None:
    written = new_submission(JOB)
    assert read_submission(written.name, written.body[:-1]).job == JOB
    with pytest.raises(InvalidJobFile, match="its sha256 does not match its content"):
        read_submission(written.name, written.body.replace(b"25.5", b"26.5"))


def test_a_file_under_the_name_of_another_job_is_refused() -> None:
    name = new_submission(CompletedJob(cid=CID, job_id="job-2")).name
    with pytest.raises(InvalidJobFile, match="its name belongs to another job"):
        read_submission(name, new_submission(JOB).body)


def test_a_name_of_ours_carries_its_nonce_and_no_other_does() -> None:
    key = job_key(CID, "job-1")
    assert nonce_of(f"{key}.0123456789abcdef") == "0123456789abcdef"
    for name in ("job.json", key, f"{key}.0123", f"{key}.0123456789abcdef.why", f"{key}.0123456789ABCDEF"):
        assert nonce_of(name) is None


def test_a_strange_name_gets_a_nonce_of_its_name_its_content_and_its_file() -> None:
    body = json.dumps({"cid": CID, "job_id": "job-1"}).encode()
    nonces = [
        read_submission(*case, fingerprint=file).nonce
        for case, file in ((("a", body), "1"), (("b", body), "1"), (("a", body + b" "), "1"), (("a", body), "2"))
    ]
    assert len(set(nonces)) == 4
    assert all(re.fullmatch("[0-9a-f]{16}", nonce) for nonce in nonces)
    assert read_submission("a", body, fingerprint="1").nonce == nonces[0]
    assert read_submission("a", body).nonce == hashlib.sha256(b"a\0\0" + body).hexdigest()[:16]


def test_the_key_names_the_content_and_the_job_and_nothing_of_either_shows() -> None:
    assert job_key(CID, "job-1") == hashlib.sha256(f"{CID}\0job-1".encode()).hexdigest()[:32]
    assert job_key(V1.upper(), "job-1") == job_key(V1, "job-1")
    assert job_key("no CID", "../x") == hashlib.sha256(b"no CID\0../x").hexdigest()[:32]
    assert job_key(CID, "\ud800") == hashlib.sha256(f"{CID}\0".encode() + b"\xed\xa0\x80").hexdigest()[:32]


BAD = {
    "large": (b"x" * (MAX_BYTES + 1), r"it is larger than 65536 bytes: a job file is a small JSON object"),
    "empty": (b"", "it is empty: write it under another name first"),
    "blank": (b" \n\t", "it is empty"),
    "latin": (b'{"cid": "\xff"}', r"it is not UTF-8 \(byte 9\): write it as UTF-8"),
    "no JSON": (
        b"{'cid': 1}",
        r"it is not JSON \(Expecting property name .*column 2 \(char 1\)\): it may have been read half",
    ),
    "deep": (b"[" * 60_000, r"it is not JSON \(RecursionError\)"),
    "digits": (b"[" + b"9" * 5000 + b"]", r"it is not JSON \(ValueError\)"),
    "text": (b'"text"', "it is JSON but no object: write {"),
    "no CID": (b'{"job_id": "x"}', 'it has no "cid": write {'),
    "bad CID": (b'{"cid": "x"}', "its CID cannot be used: .+"),
    "null": (b'{"cid": null}', "its CID cannot be used: .+"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_job_is_refused_in_words(kind: str) -> None:
    body, why = BAD[kind]
    with pytest.raises(InvalidJobFile, match=f"^{why}"):
        read_submission("any.json", body)


def test_a_file_of_just_the_allowed_size_is_read() -> None:
    body = json.dumps({"cid": CID}).encode()
    assert read_submission("any.json", body.ljust(MAX_BYTES)).job.cid == CID


def test_every_field_of_another_program_is_taken() -> None:
    job = read(size_mb=3, type="directory", completed_at="2025-10-28T12:30:00.005+02:00", node_id="theirs")
    assert (job.size_mb, job.type, job.completed_at, job.node_id) == (3, "directory", MOMENT, "theirs")
    assert (job.cid, job.job_id, job.flags, dict(job.raw)) == (CID, "job-1", (), {})


def test_a_cid_and_a_job_id_are_enough(in_tokyo: None) -> None:
    job = read()
    assert (job.size_mb, job.type, job.node_id, job.flags) == (None, None, None, ())
    assert abs(datetime.now(UTC) - job.completed_at) < timedelta(minutes=5)
    assert read(cid=V1.upper()).cid == V1
    lacking = read_submission("any.json", json.dumps({"cid": CID}).encode())
    assert (lacking.job.job_id, lacking.job.flags) == ("unnamed", ("job_id is empty",))
    assert lacking.key == job_key(CID, "unnamed")


@pytest.mark.parametrize("moment", ["yesterday", 17, ["x"]])
def test_a_moment_that_is_none_is_flagged_and_kept(moment: Any) -> None:
    job = read(completed_at=moment)
    assert any("completed_at" in flag for flag in job.flags)
    assert str(moment) in job.raw["completed_at"]


@pytest.mark.parametrize("nonsense", ["text", 17, None, {"a": 1}, [1]])
def test_flags_and_raw_that_are_none_cost_no_job(nonsense: Any) -> None:
    job = read(flags=nonsense, raw=nonsense)
    assert job.flags == (("1",) if nonsense == [1] else ())
    assert dict(job.raw) == ({"a": "1"} if nonsense == {"a": 1} else {})
