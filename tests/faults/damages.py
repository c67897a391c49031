"""What can happen to one file, and the children of the rig that damages them: who prepares, and who recovers."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from tests.faults import actors
from tests.faults.actors import Place, place_at
from tests.faults.scenarios import _complete, _one_failed_attempt, _work, single_threaded

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
    _complete(place, "pinned-1")
    _work(place)
    _open(place, "open-3", "open-4", "open-5")


def _archived(place: Place, *names: str) -> None:
    (place.supernode / "down").touch()
    for name in names:
        _complete(place, name)
    _work(place, local_fallback_threshold=1)
    (place.supernode / "down").unlink()


def _open(place: Place, *names: str) -> None:
    (place.supernode / "down").touch()
    for name in names:
        _complete(place, name)
    _one_failed_attempt(place)
    (place.supernode / "down").unlink()


def recover(root: str, uid: int | None) -> dict[str, Any]:
    """Start as after a reboot, work everything off, look at the archive and mend it as a person would.

    Returns:
        The beginnings of what was logged as a warning or worse, whether status or check alarmed, seconds to heal.
    """
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    said: list[str] = []
    told = _worked(root, said)
    alarmed = _cli(root, "archive", "check") != 0 or _missing(root)
    if alarmed:
        _cli(root, "archive", "repair", "--from-ledger")
        told = _worked(root, said) | {"healed": told["healed"]}
    return {"said": sorted({text[:40] for text in said}), "alarmed": alarmed, "healed": told["healed"]}


def _worked(root: str, said: list[str]) -> dict[str, float]:
    quicken = actors.quicken
    sink: list[int] = []

    def quicken_and_listen() -> None:
        quicken()
        sink.append(logger.add(lambda message: said.append(message.record["message"]), level="WARNING"))

    actors.quicken = quicken_and_listen
    try:
        return actors.recover(root)
    finally:
        actors.quicken = quicken
        for number in sink:
            logger.remove(number)


def _missing(root: str) -> bool:
    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.operate.ledger_view import view_ledger
    from encoder_pin_plugin.operate.missing import missing_lines

    data = Path(root) / "data"
    with view_ledger(data / "lazy-pins.db") as ledger:
        return bool(ledger and missing_lines(ledger, Archive(data)))


def _cli(root: str, *words: str) -> int:
    from click.testing import CliRunner

    from encoder_pin_plugin.operate.cli import cli

    return CliRunner().invoke(cli, ["--data-dir", str(Path(root) / "data"), *words], env={"HOME": root}).exit_code
