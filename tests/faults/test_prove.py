"""The table of `make prove`: one line for each rig, whatever becomes of it, and an exit status that can be trusted."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.faults import prove
from tests.faults.rig import ROOT, Missing, RigReport


def _plain_rig(monkeypatch: pytest.MonkeyPatch, result: RigReport | Exception) -> prove.Outcome:
    def run(seed: int, count: int, say: object) -> RigReport:
        if isinstance(result, Exception):
            raise result
        return result

    module = ModuleType("rig")
    module.__dict__["run"] = run
    monkeypatch.setattr(importlib, "import_module", lambda name: module)
    return prove.prove("kills", 1, 1)


def test_every_registered_rig_can_be_run() -> None:
    for rig in prove.RIGS.values():
        assert callable(importlib.import_module(f"tests.faults.{rig.module}").run)
        assert 0 < rig.small <= rig.full


def test_a_row_says_what_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = _plain_rig(monkeypatch, RigReport(fault="a fault", tried=1234, lost=2, notes=("seed 7",)))
    text = prove.table([outcome], size="small", seed=7)
    assert "| a fault | 1,234 | 2 | 0 | 0 |" in text
    assert "- a fault: seed 7" in text
    assert not outcome.row.clean


def test_a_rig_that_cannot_run_here_is_counted_as_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = _plain_rig(monkeypatch, Missing("strace is not on this machine"))
    text = prove.table([outcome], size="small", seed=7)
    assert "| kills | left out |" in text
    assert "strace is not on this machine" in text


def test_a_rig_that_breaks_is_a_failure_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = _plain_rig(monkeypatch, RuntimeError("a child ended"))
    assert outcome.failed
    assert "| kills | FAILED |" in prove.table([outcome], size="small", seed=7)


def test_rigs_side_by_side_stand_in_the_order_they_were_asked_for() -> None:
    outcomes = prove.prove_all({"simulation": 1, "fuzz": 50}, 7, jobs=2)
    assert [outcome.failed or outcome.left_out for outcome in outcomes] == ["", ""]
    assert [outcome.row.fault.split()[0] for outcome in outcomes] == ["simulated", "mutated"]


def test_a_rig_ends_with_the_run_that_it_belongs_to(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.prove", "--only", "simulation", "--out", str(tmp_path / "table")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        assert run.stdout is not None
        assert any("simulation:" in line for line in run.stdout), "the rig is at work"
        run.kill()
        run.stdout.read()  # comes to its end when the rig, which writes there too, has ended
