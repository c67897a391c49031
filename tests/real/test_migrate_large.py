"""A video of a gigabyte is pushed through this process without being held in it, and read back likewise."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.nodes import KuboDaemon
from tests.real.migrating import Encoder

pytestmark = [pytest.mark.real, pytest.mark.slow]

MB = int(os.environ.get("MIGRATION_VIDEO_MB", "300"))
IDLE_KB = 60_000
"""What the command needs with nothing to do, its libraries included."""


@pytest.mark.parametrize("options", [[], ["--proof", "retrieved"]], ids=["pushed", "and read back"])
def test_memory_stays_bounded_whatever_the_size(
    make_kubo: Callable[..., KuboDaemon], tmp_path: Path, options: list[str]
) -> None:
    encoder = Encoder(tmp_path / "data", make_kubo(), make_kubo())
    video = tmp_path / "video.ts"
    with video.open("wb") as file:
        for _ in range(MB):
            file.write(os.urandom(1_000_000))
    cid = encoder.video(1, cid=encoder.local.add(video, pin=False))
    with encoder.start("migrate", "--to", encoder.to, "--clean", "--transfer", "push", *options) as running:
        most = 0
        while running.poll() is None:
            most = max(most, resident_kb(running.pid))
        out, err = running.communicate()
    assert running.returncode == 0, out + err
    assert cid in encoder.target.pins()
    assert most < IDLE_KB + 100_000, f"{most} KB resident"


def resident_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)
