"""Where no job can be recorded, `status` and `doctor` say so, by looking alone."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from encoder_pin_plugin.operate import recordable
from encoder_pin_plugin.operate.recordable import why_not
from tests.operate.conftest import Desk, in_a_mount

TOPICS = {"settings", "data folder", "disk", "locks", "software", "ledger", "clock", "archive", "worker", "plugins"}


def _mounted(desk: Desk, options: str, then: str, command: str) -> dict[str, Any]:
    """What `command` says of a data folder in a mount of its own, which `then` is done to first."""
    data = shlex.quote(str(desk.data))
    desk.data.mkdir(exist_ok=True)
    script = f"mount -t tmpfs -o {options} tmpfs {data} && {then} encoder-pin {command} --json"
    result = in_a_mount(desk, script)
    assert result.returncode == 1, result.stderr
    return dict(json.loads(result.stdout))


READ_ONLY = "mount -o remount,ro data &&"
FULL = "(dd if=/dev/zero of=data/fill bs=1k count=1000 2>/dev/null; true) &&"


def _wrong(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(it["topic"], it["text"], it["todo"]) for it in document["findings"] if it["level"] == "wrong"]


def test_a_read_only_data_folder_is_wrong_and_every_topic_is_spoken_of(desk: Desk) -> None:
    document = _mounted(desk, "mode=700", READ_ONLY, "doctor --no-nodes")
    (todo,) = [todo for topic, text, todo in _wrong(document) if topic == "disk" and "mounted read-only" in text]
    assert "remount it writable" in todo
    assert {it["topic"] for it in document["findings"]} == TOPICS


def test_a_full_disk_is_wrong_and_every_topic_is_spoken_of(desk: Desk) -> None:
    document = _mounted(desk, "size=256k,mode=700", FULL, "doctor --no-nodes")
    assert any(topic == "disk" and "is full" in text for topic, text, _ in _wrong(document))
    assert {it["topic"] for it in document["findings"]} == TOPICS


@pytest.mark.parametrize(
    ("options", "then", "why", "todo"),
    [
        ("mode=700", READ_ONLY, "mounted read-only (tmpfs at", "remount it"),
        ("size=256k,mode=700", FULL, "is full: 0.0 MB free", "free some space"),
        ("nr_inodes=2,mode=700", "touch data/one &&", "is full: 0 files can still be made", "delete files"),
    ],
)
def test_status_needs_a_person_where_the_disk_takes_no_job(
    desk: Desk, options: str, then: str, why: str, todo: str
) -> None:
    document = _mounted(desk, options, then, "status --no-nodes")
    assert document["ok"] is False
    (text,) = document["needs_a_person"]
    assert document["cannot_record"] == [text]
    assert text.startswith("jobs cannot be recorded: ")
    assert why in text
    assert todo in text


def test_a_disk_that_is_nearly_full_is_said_before_it_is(desk: Desk) -> None:
    (text,) = _mounted(desk, "size=20m,mode=700", "", "status --no-nodes")["needs_a_person"]
    assert "MB free, on the disk of" in text
    assert "soon no job can be recorded" in text


def test_a_read_only_place_for_the_folder_to_come(desk: Desk) -> None:
    document = _mounted(desk, "mode=700", READ_ONLY, "--data-dir data/inner doctor --no-nodes")
    assert any(topic == "disk" and "mounted read-only" in text for topic, text, _ in _wrong(document))
    assert {it["topic"] for it in document["findings"]} == TOPICS
    document = _mounted(desk, "mode=700", READ_ONLY, "--data-dir data/inner status --no-nodes")
    assert "mounted read-only" in document["needs_a_person"][0]


@pytest.mark.parametrize("place", ["data", "data/spool", "data/spool/new"])
def test_a_link_that_leads_nowhere(desk: Desk, place: str) -> None:
    link = desk.folder / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("/nonexist/x")
    result = desk.run("status", "--no-nodes")
    assert result.exit_code == 1
    assert f"jobs cannot be recorded: {link} is a link to /nonexist/x" in result.stdout
    result = desk.run("doctor", "--no-nodes")
    assert result.exit_code == 1
    assert "the first job makes it" not in result.stdout
    assert {it["topic"] for it in desk.json("doctor", "--no-nodes")["findings"]} == TOPICS
    assert link.is_symlink()


def test_a_file_where_a_folder_belongs(desk: Desk) -> None:
    desk.data.mkdir()
    (desk.data / "spool").write_text("in the way")
    assert desk.run("doctor", "--no-nodes").exit_code == 1
    result = desk.run("status", "--no-nodes")
    assert result.exit_code == 1
    assert f"jobs cannot be recorded: {desk.data / 'spool'} is no folder" in result.stdout


@contextmanager
def _nobody() -> Iterator[Path]:
    """Be nobody, beside a folder that everybody may look into."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(0)
        shutil.rmtree(folder)


def test_a_folder_that_this_user_may_not_make(desk: Desk) -> None:
    desk.run("status", "--no-nodes")  # what it imports may be out of nobody's reach
    with _nobody() as folder:
        desk.env["DATA_DIR"] = str(folder / "data")
        result = desk.run("status", "--no-nodes")
    assert result.exit_code == 1
    assert "jobs cannot be recorded" in result.stdout
    assert f"user 65534 may not make it in {folder}" in result.stdout


def test_our_own_folder_that_we_may_not_write() -> None:
    with _nobody() as folder:
        os.seteuid(0)
        data = folder / "data"
        data.mkdir(mode=0o500)
        os.chown(data, 65534, 65534)
        os.seteuid(65534)
        (text,) = why_not(data)
    assert text == f"jobs cannot be recorded: we may not write into {data}, which is ours; chmod 0700 {data}"


def test_who_only_watches_a_folder_of_another_is_not_alarmed() -> None:
    with _nobody() as folder:
        assert why_not(folder) == []


def test_nothing_is_said_or_made_where_all_is_well(tmp_path: Path) -> None:
    assert why_not(tmp_path / "a" / "data") == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_a_size_is_not_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    sizeless = os.statvfs_result([*real[:2], 0, 0, 0, 0, 0, 0, *real[8:]])
    monkeypatch.setattr(recordable.os, "statvfs", lambda _: sizeless)
    assert why_not(tmp_path) == []
