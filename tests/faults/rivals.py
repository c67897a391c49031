"""The same load on what people would use instead: how much of what each acknowledged is left by kills and power cuts.

A process records jobs one after the other, and writes down each that its store has taken; it is killed at random, or
the unsynced data of its disk vanishes. Then the store is opened as its users would open it, and what is missing is
counted. Ours is in the same table, through the same few lines, and is the only one whose losses count as ours.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.cut_disk import KINDS, CutDisk, cut_disk
from tests.faults.forkserver import ForkServer
from tests.faults.rig import Missing, RigReport, Say, scratch
from tests.faults.stores import STORES


def run(seed: int, count: int, say: Say) -> RigReport:
    """Kill each store's writer `count` times, and cut its power a fifth as often."""
    dice, notes, ours = random.Random(seed), [f"seed {seed}"], 0
    with scratch("rivals", keep=lambda: ours > 0) as folder, ForkServer(folder / "children.log") as server:
        libraries = _persist_queue(folder)
        for name in STORES:
            if name == "persist-queue" and libraries is None:
                notes.append(f"{name}: left out, it cannot be downloaded here")
                continue
            rig = _Rig(server, folder, name, dice, libraries or "")
            killed, cut = rig.kills(count), rig.cuts(max(2, count // 5))
            ours += (killed[0] + (cut[0] if cut else 0)) * (name == "ours")
            text = f"{name}: {killed[0]:,} of {killed[1]:,} acknowledged jobs lost to kills"
            notes.append(text + (f", {cut[0]:,} of {cut[1]:,} to power cuts" if cut else ", no power cuts here"))
            say(notes[-1])
    return RigReport(
        fault="the same load on the alternatives", tried=count * (len(notes) - 1), lost=ours, notes=tuple(notes)
    )


class _Rig:
    """One store under the load."""

    def __init__(self, server: ForkServer, folder: Path, name: str, dice: random.Random, libraries: str) -> None:
        self._server, self._dice, self._libraries, self._name = server, dice, libraries, name
        self._folder = folder / name.replace(" ", "-")
        self._folder.mkdir()

    def kills(self, count: int) -> tuple[int, int]:
        """(lost, acknowledged) over so many kills of the writer, all on one store."""
        store, acks = self._folder / "store", self._folder / "acks"
        store.mkdir()
        for _ in range(count):
            self._write_for_a_while(store, acks)
        return self._missing(store, acks)

    def cuts(self, count: int) -> tuple[int, int] | None:
        """(lost, acknowledged) over so many power cuts, each on a store of its own; None where there are none."""
        lost = acknowledged = 0
        try:
            with cut_disk(KINDS["ext4"], self._folder) as disk:
                for number in range(count):
                    acks = self._folder / f"acks-{number}"
                    missing, told = self._cut(disk, disk.path / f"store-{number}", acks)
                    lost, acknowledged = lost + missing, acknowledged + told
        except (Missing, OSError, subprocess.CalledProcessError):
            return None
        return lost, acknowledged

    def _cut(self, disk: CutDisk, store: Path, acks: Path) -> tuple[int, int]:
        store.mkdir()
        os.sync()
        self._write_for_a_while(store, acks, then=disk.cut)
        disk.restore()
        return self._missing(store, acks)

    def _write_for_a_while(self, store: Path, acks: Path, then: object = None) -> None:
        child = self._server.start(
            "tests.faults.stores:write", name=self._name, store=str(store), acks=str(acks), libraries=self._libraries
        )
        time.sleep(self._dice.uniform(0.05, 0.3))
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(0.02)  # a call under way ends before its process stops
        if callable(then):
            then()
        child.kill()

    def _missing(self, store: Path, acks: Path) -> tuple[int, int]:
        told = set(acks.read_text().split("\n")[:-1]) if acks.exists() else set()
        there = self._server.run(
            "tests.faults.stores:read", name=self._name, store=str(store), libraries=self._libraries
        )
        return len(told - set(there)), len(told)


def _persist_queue(folder: Path) -> str | None:
    """The library, as its users would get it; None where there is no registry."""
    target = folder / "libraries"
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(target), "persist-queue==1.1.0"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    return str(target) if done.returncode == 0 else None
