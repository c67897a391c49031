"""The data folder: private, and no link in it leads the program to write, read or empty a file that is not its own.

Hard links are let be: the kernel keeps others from making one to a file of ours, and backups make them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from encoder_pin_plugin.errors import EncoderPinError
from tests.faults.acting import complete, work_off
from tests.faults.actors import Place, place_at


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_at(str(tmp_path / "run"))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_everything_is_private_whatever_the_umask(place: Place, umask: int) -> None:
    before = os.umask(umask)
    try:
        complete(place, "job")
        (place.supernode / "down").touch()
        work_off(place, local_fallback_threshold=1)
        complete(place, "another")
    finally:
        os.umask(before)
    for path in [place.data, *place.data.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def _links(place: Place, victim: Path) -> dict[str, Callable[[], object]]:
    data = place.data
    return {
        "archive": lambda: (data / "local-fallback-pins.jsonl").symlink_to(victim),
        "its lock": lambda: (data / "local-fallback-pins.jsonl.lock").symlink_to(victim),
        "ledger": lambda: (data / "lazy-pins.db").symlink_to(victim),
        "job file": lambda: (data / "spool" / "new" / "job").symlink_to(victim),
    }


@pytest.mark.parametrize("which", ["archive", "its lock", "ledger", "job file"])
def test_a_planted_link_reaches_no_file_of_somebody_else(place: Place, tmp_path: Path, which: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious\n")
    mode = victim.stat().st_mode
    for folder in ("new", "tmp"):
        (place.data / "spool" / folder).mkdir(parents=True)
    _links(place, victim)[which]()
    complete(place, "job")
    (place.supernode / "down").touch()
    plugin_errors: list[str] = []
    try:
        _a_few_turns(place)
    except EncoderPinError as error:
        plugin_errors.append(str(error))
    assert victim.read_bytes() == b"precious\n", plugin_errors
    assert victim.stat().st_mode == mode


def _a_few_turns(place: Place) -> None:
    from tests.faults.actors import manager_of, plugin_at

    plugin = plugin_at(place, local_fallback_threshold=1)
    worker = plugin.service.worker(manager_of(plugin))
    worker._presence.begin()
    try:
        for _ in range(10):
            worker._turn()
    finally:
        worker._leave()
