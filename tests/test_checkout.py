"""What a person types first in a checkout: `make`, and the search for a Python that it begins with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FIND = ROOT / ".ci" / "find-python"


def fake_python(folder: Path, name: str, *, version: tuple[int, int], has_venv: bool = True) -> None:
    """A program that answers as a Python of that version would, on the three questions that are asked."""
    old, lacking = (int(version < (3, 11)), int(not has_venv))
    number = ".".join(map(str, version))
    folder.mkdir(exist_ok=True)
    script = (
        f'case "$2" in *version_info\\ \\<*) exit {old};; *ensurepip*) exit {lacking};; *print*) echo {number};; esac'
    )
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def find(folder: Path, *asked: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    shell = shutil.which("sh") or "/bin/sh"
    return subprocess.run(
        [shell, str(FIND), *asked], env={"PATH": str(folder)}, capture_output=True, text=True, timeout=30, check=False
    )


def test_the_newest_python_that_works_is_taken(tmp_path: Path) -> None:
    bin_folder = tmp_path / "bin"
    fake_python(bin_folder, "python3", version=(3, 9))
    fake_python(bin_folder, "python3.11", version=(3, 11))
    fake_python(bin_folder, "python3.13", version=(3, 13), has_venv=False)
    assert find(bin_folder).stdout == "python3.11\n"
    fake_python(bin_folder, "python3.12", version=(3, 12))
    assert find(bin_folder).stdout == "python3.12\n"
    assert find(bin_folder, "python3.11").stdout == "python3.11\n"


def test_a_python_that_cannot_make_environments_is_named_with_what_to_install(tmp_path: Path) -> None:
    fake_python(tmp_path / "bin", "python3", version=(3, 11), has_venv=False)
    done = find(tmp_path / "bin")
    assert done.returncode == 1
    assert "python3 cannot make virtual environments" in done.stderr
    assert "apt install python3.11-venv" in done.stderr


def test_no_python_is_said_with_what_to_install(tmp_path: Path) -> None:
    fake_python(tmp_path / "bin", "python3", version=(3, 10))
    done = find(tmp_path / "bin")
    assert done.returncode == 1
    assert "3.11 or newer" in done.stderr
    assert "/nowhere/python" in find(tmp_path / "bin", "/nowhere/python").stderr


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_alone_lists_what_there_is_with_a_line_each() -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    listed = re.findall(r"^make (\w+) +\S.+$", done.stdout, flags=re.MULTILINE)
    assert {"demo", "test", "lint", "bench", "prove", "clean"} <= set(listed)
    assert len(listed) == len(done.stdout.splitlines())
