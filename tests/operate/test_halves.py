"""Adding up in two processes: the same as in one, whatever is in the file, and whatever happens to the child."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.files import ARCHIVE_NAME
from encoder_pin_plugin.archive.totals import total_of
from encoder_pin_plugin.operate import halves
from tests.archive.lines import record

PROGRAM = """
import os, random, signal, sys
from pathlib import Path
from encoder_pin_plugin.archive.totals import total_of
from encoder_pin_plugin.operate import halves
from tests.archive.lines import record

path, accident, times = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
parent, halves.LARGE, total_in = os.getpid(), 1, halves.total_in

def counting(*part):
    if os.getpid() != parent:
        {"raises": lambda: 1 / 0, "exits": sys.exit,
         "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL)}.get(accident, int)()
    elif accident == "is waited for by nobody":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    return total_in(*part)

halves.total_in = counting
for seed in range(times):
    rng = random.Random(seed)
    kinds = [record(seed).line(), record(seed, size_mb=None).line(), b"no record\\n", b"\\n", b'{"hash":"torn',
             record(seed, job_id="\\u00fc").line(), b"x" * 70_000, b"y" * 200_000 + b"\\n", b"\\0" * 5000]
    path.write_bytes(b"".join(rng.choices(kinds, [50, 5, 2, 2, 1, 2, 1, 1, 1], k=rng.randrange(2000))))
    one, two = total_of(path), total_of(path, halves.total_in_halves)
    assert one.size_mb == two.size_mb or abs(one.size_mb - two.size_mb) < 1e-6, (seed, one, two)
    assert (one.records, one.unknown_sizes, one.invalid) == (two.records, two.unknown_sizes, two.invalid), seed
print(os.getpid() == parent)
"""


@pytest.mark.parametrize(
    ("accident", "times"), [("none", 40), ("raises", 3), ("exits", 3), ("is killed", 3), ("is waited for by nobody", 3)]
)
def test_two_halves_are_the_whole(tmp_path: Path, accident: str, times: int) -> None:
    command = [sys.executable, "-c", PROGRAM, tmp_path / "lines.jsonl", accident, str(times)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


def test_the_command_adds_up_a_large_archive(tmp_path: Path) -> None:
    lines = b"".join(record(number).line() for number in range(1000))
    times = halves.LARGE // len(lines) + 1
    path = tmp_path / ARCHIVE_NAME
    path.write_bytes(lines * times)
    command = [sys.executable, "-m", "encoder_pin_plugin", "--data-dir", tmp_path, "archive", "total"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == f"{path}: {1000 * times:,} lines, {total_of(path).size_mb:,.1f} MB\n"
    assert (done.stderr, done.returncode) == ("", 0)
