"""What can happen to one file, and the children of the rig that damages them: who prepares, and who recovers."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from loguru import logger

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.operate.cli import cli
from encoder_pin_plugin.operate.ledger_view import view_ledger
from encoder_pin_plugin.operate.missing import missing_lines
from tests.faults.acting import complete, fail_once, work_off
from tests.faults.actors import Place, manager_of, place_at, plugin_at, quicken
from tests.faults.scenarios import single_threaded

PAGE = 4096


@dataclass(frozen=True)
class Damage:
    """One way to damage a file."""

    name: str
    do: Callable[[Path, random.Random], object]


def fitting(path: Path, older: Path) -> list[Damage]:
    """The damages that can be done to a file, given where its older copy would be."""
    damages = [Damage("deleted", lambda path, dice: path.unlink())]
    if path.stat().st_size:
        damages += _DAMAGES
    if older.exists() and older.read_bytes() != path.read_bytes():
        damages.append(Damage("stale", lambda path, dice: shutil.copyfile(older, path)))
    if os.geteuid() == 0:
        damages.append(Damage("unreadable", lambda path, dice: path.chmod(0)))
    return damages


def _flip(count: int) -> Callable[[Path, random.Random], object]:
    def do(path: Path, dice: random.Random) -> None:
        content = bytearray(path.read_bytes())
        for _ in range(count):
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(content)

    return do


def _zero_page(path: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    begin = PAGE * dice.randrange(-(-len(content) // PAGE))
    length = min(PAGE, len(content) - begin)
    content[begin : begin + length] = bytes(length)
    path.write_bytes(content)


def _garbage(path: Path, dice: random.Random) -> None:
    path.write_bytes(dice.randbytes(path.stat().st_size))


def _truncate(path: Path, dice: random.Random) -> None:
    os.truncate(path, dice.randrange(path.stat().st_size))


_DAMAGES = [
    Damage("one bit", _flip(1)),
    Damage("ten bits", _flip(10)),
    Damage("a page of zeros", _zero_page),
    Damage("garbage", _garbage),
    Damage("truncated", _truncate),
    Damage("emptied", lambda path, dice: path.write_bytes(b"")),
]


def prepare(root: str) -> None:
    """A folder with archived, pinned and open jobs, and beside it, in `older`, what it was before the last few."""
    single_threaded()
    place = place_at(root)
    _archived(place, "archived-1", "archived-2", "archived-3")
    _open(place, "open-1", "open-2")
    shutil.copytree(place.data, place.root / "older")
    _archived(place, "archived-4")
    complete(place, "pinned-1")
    work_off(place)
    _open(place, "open-3", "open-4", "open-5")


def _archived(place: Place, *names: str) -> None:
    (place.supernode / "down").touch()
    for name in names:
        complete(place, name)
    work_off(place, local_fallback_threshold=1)
    (place.supernode / "down").unlink()


def _open(place: Place, *names: str) -> None:
    (place.supernode / "down").touch()
    for name in names:
        complete(place, name)
    fail_once(place)
    (place.supernode / "down").unlink()


def recover(root: str, uid: int | None) -> dict[str, Any]:
    """Start as after a reboot, work everything off, look at the archive and mend it as a person would.

    Returns:
        The beginnings of what was logged as a warning or worse, whether status or check alarmed, seconds to heal.
    """
    if uid is not None:
        _load_everything(root)
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    said: list[str] = []
    healed = _worked(root, said)
    alarmed = _cli(root, "archive", "check") != 0 or _missing(root)
    if alarmed:
        _cli(root, "archive", "repair", "--from-ledger")
        _worked(root, said)
    return {"said": sorted({text[:40] for text in said}), "alarmed": alarmed, "healed": healed}


def _load_everything(root: str) -> None:
    """Do it all on a copy first: whoever is nobody may not read the interpreter's own files."""
    warm = Path(f"{root}.warm")
    shutil.copytree(root, warm, symlinks=True)
    recover(str(warm), None)
    shutil.rmtree(warm)
    logger.remove()


def _worked(root: str, said: list[str]) -> float:
    quicken()
    logger.add(lambda message: said.append(message.record["message"]), level="WARNING")
    plugin = plugin_at(place_at(root))
    began = time.perf_counter()
    plugin.service.worker(manager_of(plugin)).run(drain=True)
    return time.perf_counter() - began


def _missing(root: str) -> bool:
    data = Path(root) / "data"
    with view_ledger(data / "lazy-pins.db") as ledger:
        return bool(ledger and missing_lines(ledger, Archive(data)))


def _cli(root: str, *words: str) -> int:
    return CliRunner().invoke(cli, ["--data-dir", str(Path(root) / "data"), *words], env={"HOME": root}).exit_code
