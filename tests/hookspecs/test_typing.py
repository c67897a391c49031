"""The contract as a type checker sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_host_and_a_plugin_are_checked_by_their_types(tmp_path):
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "tests/typing/api.py"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert checked.stdout.startswith("Success"), checked.stdout + checked.stderr
