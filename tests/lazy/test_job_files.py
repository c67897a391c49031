"""Job files: recorded durably, dropped by other programs, damaged, hostile: each is worked on or kept with a reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.errors import InvalidJobFile, NotRecorded
from encoder_pin_plugin.lazy.intake import Intake
from encoder_pin_plugin.lazy.jobfile import MAX_BYTES, job_key, new_submission, read_submission
from encoder_pin_plugin.lazy.spool import Spool
from encoder_pin_plugin.nodes.cid import canonical
from tests.cids import cid_of
from tests.conftest import until

CID = cid_of("a video")

HOSTILE_IDS = [
    "", " ", "../../etc/passwd", "a/b", "line\nbreak", "nul\0byte", "🎬🎬",
    "\x1b[2J", "a" * 10_000, "\ud800", "$(reboot)",
]  # fmt: skip

FIELDS = st.dictionaries(
    st.sampled_from(["cid", "job_id", "size_mb", "type", "completed_at", "node_id", "raw", "flags"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
)


@pytest.mark.parametrize("job_id", HOSTILE_IDS, ids=repr)
def test_any_job_id_is_recorded_and_read_again(tmp_path: Path, job_id: str) -> None:
    spool = Spool(tmp_path)
    job = CompletedJob(cid=CID, job_id=job_id)
    spool.record(job)
    (path,) = spool.arrivals(10)
    assert path.parent == tmp_path / "spool" / "new"
    assert path.name.replace(".", "").isalnum()
    again = spool.read(path).job
    assert (again.cid, again.job_id, again.flags) == (job.cid, job.job_id, job.flags)


class _Shown(str):
    """A host's own kind of text, which shows itself as something else."""

    def __str__(self) -> str:
        return f"ipfs://{str.__str__(self)}"


class _Videos(str, Enum):  # noqa: UP042 - StrEnum shows itself as what it is
    FIRST = CID


@pytest.mark.parametrize(
    "cid", [_Shown(CID), _Videos.FIRST, _Shown("zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA")]
)
def test_a_cid_that_is_more_than_a_text_is_recorded_and_read_again(tmp_path: Path, cid: str) -> None:
    spool = Spool(tmp_path)
    submission = spool.record(CompletedJob(cid=cid, job_id=_Shown("job")))
    again = spool.read(spool.arrivals(1)[0])
    assert (again.key, again.job.cid, again.job.job_id) == (submission.key, canonical(str.__str__(cid)), "job")


@pytest.mark.parametrize("size", [-1, float("nan"), float("inf"), 1e300, "12", 10**400, True, None], ids=repr)
def test_an_odd_size_costs_no_video(tmp_path: Path, size: object) -> None:
    spool = Spool(tmp_path)
    spool.record(CompletedJob(cid=CID, job_id="job", size_mb=size))
    assert spool.read(spool.arrivals(1)[0]).job.size_mb is None


def test_a_recorded_file_is_private_sealed_json_that_any_language_can_read(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.record(CompletedJob(cid=CID, job_id="job-1", size_mb=25.5, type="directory"))
    (path,) = spool.arrivals(1)
    fields = json.loads(path.read_text())
    assert (fields["cid"], fields["job_id"], fields["size_mb"], fields["type"]) == (CID, "job-1", 25.5, "directory")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().endswith(b"}\n")


@settings(max_examples=300, deadline=None)
@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_told_or_does_no_harm(position: int, bit: int) -> None:
    submission = new_submission(CompletedJob(cid=CID, job_id="job-1", size_mb=25.5))
    damaged = bytearray(submission.body)
    damaged[position % len(damaged)] ^= 1 << bit
    try:
        again = read_submission(submission.name, bytes(damaged))
    except InvalidJobFile:
        return
    assert (again.job.cid, again.job.job_id, again.key) == (CID, "job-1", submission.key)


@pytest.mark.parametrize("length", range(0, 200, 7))
def test_a_truncated_file_is_no_job(length: int) -> None:
    submission = new_submission(CompletedJob(cid=CID, job_id="job-1"))
    with pytest.raises(InvalidJobFile):
        read_submission(submission.name, submission.body[:length])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400) | st.text().map(str.encode) | FIELDS.map(lambda it: json.dumps(it).encode()))
def test_whatever_the_bytes_are_they_are_a_job_or_refused_in_words(body: bytes) -> None:
    try:
        read_submission("anything.json", body)
    except InvalidJobFile as error:
        assert len(str(error)) > 10  # noqa: PT017


BAD_FILES = {
    "empty": b"",
    "blank": b"\n\n",
    "no-json": b"bafy",
    "half": b'{"cid": "Qm',
    "list": b"[]",
    "no-cid": b'{"job_id": "x"}',
    "number": b'{"cid": 12, "job_id": "x"}',
    "path": json.dumps({"cid": f"/ipfs/{CID}", "job_id": "x"}).encode(),
    "url": json.dumps({"cid": f"https://x/ipfs/{CID}", "job_id": "x"}).encode(),
    "space": json.dumps({"cid": f" {CID}", "job_id": "x"}).encode(),
    "wrong-case": json.dumps({"cid": CID.lower(), "job_id": "x"}).encode(),
    "short": json.dumps({"cid": CID[:-3], "job_id": "x"}).encode(),
    "utf16": json.dumps({"cid": CID, "job_id": "x"}).encode("utf-16"),
    "latin1": b'{"cid": "Qm", "job_id": "\xe9"}',
    "huge": b'{"cid": "' + b"Q" * (MAX_BYTES + 10) + b'"}',
    "deep": b'{"cid": ' * 5000,
    "digits": b'{"cid": "x", "size_mb": ' + b"9" * 50_000 + b"}",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_useless_file_is_set_aside_with_its_reason_and_the_next_job_goes_on(bench, monkeypatch, name: str) -> None:
    monkeypatch.setattr("encoder_pin_plugin.lazy.intake.GRACE", 0.0)
    monkeypatch.setattr(Intake._read, "__defaults__", (0.0,))
    bench.spool.create()
    (bench.spool.new / name).write_bytes(BAD_FILES[name])
    good = bench.complete("good")
    bench.drain()
    assert good.cid in bench.supernode.pins
    (path,) = bench.spool.rejects()
    assert path.read_bytes() == BAD_FILES[name]
    assert len(bench.spool.why(path)) > 20


def test_links_folders_and_pipes_are_set_aside_and_not_followed(bench, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Intake._read, "__defaults__", (0.0,))
    bench.spool.create()
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"cid": CID, "job_id": "stolen"}))
    (bench.spool.new / "link").symlink_to(secret)
    (bench.spool.new / "folder").mkdir()
    os.mkfifo(bench.spool.new / "pipe")
    good = bench.complete("good")
    bench.drain()
    assert {path.name for path in bench.spool.rejects()} == {"link", "folder", "pipe"}
    assert secret.exists()
    assert set(bench.jobs()) == {"good"}
    assert good.cid in bench.supernode.pins


def test_a_file_in_the_making_is_given_time(bench, running) -> None:
    bench.spool.create()
    path = bench.spool.new / "slow.json"
    content = json.dumps({"cid": CID, "job_id": "slow"})
    path.write_text(content[:20])
    running(bench.worker())
    time.sleep(1.5)
    assert path.exists()
    path.write_text(content)
    until(lambda: CID in bench.supernode.pins)
    assert bench.spool.rejects() == []


def test_another_program_drops_a_file(bench) -> None:
    bench.spool.create()
    hidden = bench.spool.new / ".job-7"
    hidden.write_text(json.dumps({"cid": CID, "job_id": "job-7", "size_mb": 3, "type": "file"}))
    hidden.rename(bench.spool.new / "job-7.json")
    assert bench.drain() == 0
    assert bench.jobs()["job-7"].job.size_mb == 3
    assert CID in bench.supernode.pins
    assert bench.spool.opened() == []


def test_the_same_drop_again_later_is_a_new_submission(bench) -> None:
    for _ in range(2):
        bench.spool.create()
        (bench.spool.new / "job.json").write_text(json.dumps({"cid": CID, "job_id": "job"}))
        assert bench.drain() == 0
        del bench.supernode.pins[CID]
    assert bench.supernode.count("pin") == 2


def test_a_whole_file_left_in_tmp_by_a_killed_host_is_recovered(bench) -> None:
    bench.spool.create()
    submission = new_submission(CompletedJob(cid=CID, job_id="job"))
    for name, body in ((submission.name, submission.body), ("torn", submission.body[:50])):
        path = bench.spool.tmp / name
        path.write_bytes(body)
        os.utime(path, (1, 1))
    bench.drain()
    assert bench.jobs()["job"].closed_at
    assert list(bench.spool.tmp.iterdir()) == []


def test_a_read_only_folder_raises_one_clear_error_that_says_how_to_submit_again(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the data folder belongs")
    spool = Spool(tmp_path / "data")
    with pytest.raises(NotRecorded, match=r"encoder-pin --data-dir .* submit .* --job-id 'a b'") as caught:
        spool.record(CompletedJob(cid=CID, job_id="a b", size_mb=2))
    assert "--size-mb 2.0" in str(caught.value)
    assert str(tmp_path) in str(caught.value)


_FULL = """
import resource, signal, sys
from encoder_hookspecs import CompletedJob, EncoderManager, JobNotRecorded
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
manager = EncoderManager()
manager.load_entry_points()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
try:
    manager.on_job_complete(CompletedJob(cid=sys.argv[2], job_id="job-1"))
except JobNotRecorded as error:
    print("refused", error)
"""


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_disk_that_takes_no_more_is_told_to_the_host_through_the_manager(tmp_path: Path, room: int) -> None:
    environment = os.environ | {"DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-c", _FULL, str(room), CID]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("refused")
    assert "NOT RECORDED" in done.stderr
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


def test_the_key_is_the_same_for_every_form_of_a_cid() -> None:
    v1 = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
    assert job_key(v1, "job") == job_key(v1.upper(), "job")
    assert job_key(v1, "job") != job_key(v1, "job-2")
