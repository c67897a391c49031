"""Job ids are chosen by others: they never become a path, a line of their own, a command, or an act on a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.plugin import PinPlugin
from encoder_pin_plugin.settings import load_settings
from tests.cids import cid_of
from tests.conftest import messages_from
from tests.faults.acting import work_off
from tests.faults.actors import place_at, plugin_at, through_pluggy

HOSTILE = [
    "../../../../tmp/evil", "/etc/passwd", "a/b", "..", "~root", "-rf", "--help", "$(touch evil)", "`id`",
    "; rm -rf /", "%s%n{0}", "{}", "<red>x</red>", "\x1b[2J\x1b[31mred", "\x1b]0;title\x07", "a\nb\r\nc",
    "\u2028\u2029", "\x00", "\u202etxt", "'; DROP TABLE job; --", '"},{"hash":"x', "\ud800", "ä" * 300,
    "x" * 100_000, "", " ", "con", "\ufeffbom", "\x9b31m",
]  # fmt: skip

CID = cid_of("hostile")


@pytest.fixture
def log() -> Iterator[list[str]]:
    with messages_from("DEBUG") as messages:
        yield messages


@pytest.mark.parametrize("job_id", HOSTILE, ids=lambda text: ascii(text)[:24])
def test_a_hostile_job_id_is_kept_and_harms_nothing(tmp_path: Path, log: list[str], job_id: str) -> None:
    place = place_at(str(tmp_path / "run"))
    through_pluggy(plugin_at(place))(CompletedJob(cid=CID, job_id=job_id))
    (place.supernode / "down").touch()
    assert work_off(place, local_fallback_threshold=1) == 0
    lines = (place.data / "local-fallback-pins.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["hash"] for line in lines] == [CID]
    assert all(line.isascii() and line.decode().isprintable() for line in lines)
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert written == {"run"}
    for path in place.data.rglob("*"):
        assert path.name.isascii()
        assert path.name.isprintable()
    assert all(line.isprintable() for line in log), [line for line in log if not line.isprintable()]


@pytest.mark.parametrize("words", [["status"], ["jobs"], ["jobs", "--json"], ["archive", "list"], ["archive", "check"]])
def test_no_command_passes_control_characters_to_a_terminal(tmp_path: Path, words: list[str]) -> None:
    place = place_at(str(tmp_path))
    for job_id in HOSTILE:
        if job_id and "\ud800" not in job_id:
            PinPlugin(load_settings({}, tmp_path, data_dir=place.data)).service.record(
                CompletedJob(cid=CID, job_id=job_id)
            )
    (place.supernode / "down").touch()
    work_off(place, local_fallback_threshold=1)
    done = subprocess.run(
        [sys.executable, "-m", "encoder_pin_plugin", "--data-dir", str(place.data), *words],
        capture_output=True, check=False, env=os.environ | {"TERM": "xterm", "COLUMNS": "200", "NO_COLOR": "1"},
    )  # fmt: skip
    text = (done.stdout + done.stderr).decode("utf-8")
    assert {c for c in text if not c.isprintable()} <= {"\n"}
