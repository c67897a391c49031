"""A fleet's archives, collected on the permanent server: pinned once, reported, and finished on each encoder."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.nodes import KuboDaemon
from tests.real.migrating import SCRIPT, Encoder

pytestmark = pytest.mark.real


@dataclass
class Fleet:
    """Two encoders and a permanent server, whose program sees nothing of them but the files."""

    first: Encoder
    second: Encoder
    desk: Path

    def collect(self) -> list[Path]:
        files = [self.desk / "encoder-1.jsonl", self.desk / "encoder-2.jsonl"]
        for file, encoder in zip(files, (self.first, self.second), strict=True):
            shutil.copy(encoder.archive.path, file)
        return files

    def migrate(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(SCRIPT), "migrate", *map(str, arguments), "--to", self.first.to]
        return subprocess.run(
            command, env={"PATH": "/usr/bin:/bin", "IPFS_API_ADDR": "http://127.0.0.1:1"}, cwd=self.desk,
            capture_output=True, text=True, timeout=240,
        )  # fmt: skip


@pytest.fixture
def fleet(make_kubo: Callable[..., KuboDaemon], tmp_path: Path) -> Fleet:
    target = make_kubo()
    encoders = [Encoder(tmp_path / f"encoder-{number}" / "data", make_kubo(), target) for number in (1, 2)]
    for encoder in encoders:
        encoder.data.mkdir(parents=True)
        encoder.local.connect(target)
    (tmp_path / "desk").mkdir()
    return Fleet(*encoders, tmp_path / "desk")


def test_collected_files_are_pinned_once_and_each_encoder_finishes_its_own(fleet: Fleet) -> None:
    shared = fleet.first.video(0)
    fleet.second.local.connect(fleet.first.local)
    fleet.second.video(0, cid=shared)
    cids = [fleet.first.video(1), fleet.second.video(2)]
    files = fleet.collect()
    before = [file.read_bytes() for file in files]
    done = fleet.migrate(*files, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["pinned"] == 3
    assert {shared, *cids} <= fleet.first.target.pins()
    assert [file.read_bytes() for file in files] == before
    assert not (fleet.desk / "data").exists(), "nothing is made on the permanent server but the reports"
    for encoder, file in zip((fleet.first, fleet.second), files, strict=True):
        report = file.with_name(f"{file.name}.migrated.json")
        done = encoder.run("clean", str(report))
        assert done.returncode == 0, done.stdout + done.stderr
        assert encoder.waiting() == []
        assert len(encoder.migrated()) == 2
        assert not {shared, *cids} & encoder.local.pins()
        again = encoder.run("clean", str(report))
        assert (again.returncode, "cleaned before" in again.stdout) == (0, True)


def test_no_pin_leaves_on_the_word_of_a_report(fleet: Fleet) -> None:
    kept, gone = fleet.first.video(1), fleet.first.video(2)
    fleet.second.video(3)
    files = fleet.collect()
    assert fleet.migrate(*files).returncode == 0
    fleet.first.target.rpc("pin/rm", gone)
    done = fleet.first.run("clean", f"{files[0]}.migrated.json")
    assert done.returncode == 1
    assert "does not hold it, whatever the report says: migrate it again" in done.stdout
    assert gone in fleet.first.local.pins()
    assert kept not in fleet.first.local.pins()
    assert fleet.first.waiting() == [gone]


def test_a_target_that_cannot_be_reached_from_the_encoder_is_explained(fleet: Fleet) -> None:
    cid = fleet.first.video(1)
    fleet.second.video(2)
    files = fleet.collect()
    assert fleet.migrate(*files).returncode == 0
    report = f"{files[0]}.migrated.json"
    done = fleet.first.run("clean", report, "--to", "kubo+http://127.0.0.1:1")
    assert done.returncode == 1
    assert "ssh -L" in done.stderr
    assert cid in fleet.first.local.pins()
    itself = fleet.first.run("clean", report, "--to", f"kubo+{fleet.first.local.api_url}")
    assert (itself.returncode, "is the encoder's own node" in itself.stderr) == (2, True)
    assert fleet.first.waiting() == [cid]


def test_an_edited_report_is_refused(fleet: Fleet) -> None:
    cid = fleet.first.video(1)
    fleet.second.video(2)
    files = fleet.collect()
    assert fleet.migrate(*files).returncode == 0
    report = Path(f"{files[0]}.migrated.json")
    report.write_text(report.read_text().replace("job-1", "job-2"))
    done = fleet.first.run("clean", str(report))
    assert done.returncode == 1
    assert "is not as it was written: copy it again" in done.stderr
    report.write_text("<html>")
    assert "is no migration report" in fleet.first.run("clean", str(report)).stderr
    assert cid in fleet.first.local.pins()


def test_cleaning_where_nothing_of_the_encoder_is_reachable_is_wrong_usage(fleet: Fleet) -> None:
    fleet.first.video(1)
    fleet.second.video(2)
    done = fleet.migrate(*fleet.collect(), "--clean")
    assert done.returncode == 2
    assert "run encoder-pin clean FILE.migrated.json there" in done.stderr
