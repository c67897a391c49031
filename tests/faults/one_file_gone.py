"""One file of the data folder damaged, emptied, deleted, made unreadable or swapped with its older copy.

The folder holds jobs in every state: open, pinned, archived. One file is damaged while nothing runs; then
a worker starts, as it would after a reboot, and works off what is there. Nothing may be lost, and a damage that matters
must be told. The archive itself is alarmed, and healed by a person's `archive repair --from-ledger`.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import damages
from tests.faults.actors import place_at
from tests.faults.checker import Verdict
from tests.faults.damages import Damage
from tests.faults.forkserver import ForkServer
from tests.faults.judging import look, raise_nodes
from tests.faults.rig import RigReport, Say, scratch, spread

ARCHIVE, LEDGER = "local-fallback-pins.jsonl", "lazy-pins.db"
NOBODY = 65534

SHARES = ((LEDGER, 0.4), ("job file", 0.35), (ARCHIVE, 0.15), ("other", 0.1))
"""How often each kind of file is chosen."""


@dataclass
class _Told:
    """What became of some cases."""

    lost: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    hints: int = 0
    healed: list[float] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)


def run(seed: int, count: int, say: Say) -> RigReport:
    """Damage one file, `count` times over."""
    dice, told = random.Random(seed), _Told()
    with scratch("one-file", memory=True, keep=lambda: bool(told.lost or told.unseen)) as folder:
        folder.chmod(0o755)
        jobs = [(number, dice.randrange(2**32)) for number in range(count)]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda half: _half(folder / str(half), jobs[half::2], told, say), range(2)))
    kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(told.kinds.items()))
    notes = [f"seed {seed}; {kinds}"]
    if told.hints:
        notes.append(f"{told.hints} flips in a size, time or message that nothing depends on")
    notes += [f"UNSEEN {text}" for text in told.unseen[:5]] + [f"LOST {text}" for text in told.lost[:5]]
    return RigReport(
        fault="one file damaged or gone", tried=count, lost=len(told.lost), torn=len(told.unseen),
        healed_in=spread(told.healed), notes=tuple(notes),
    )  # fmt: skip


def _half(folder: Path, jobs: list[tuple[int, int]], told: _Told, say: Say) -> None:
    (folder / "results").mkdir(parents=True)
    (folder / "results").chmod(0o777)
    template = folder / "template"
    with ForkServer(folder / "children.log") as server:
        server.run("tests.faults.damages:prepare", root=str(template))
        routine = set(_recover(server, shutil.copytree(template, folder / "routine", symlinks=True), None)["said"])
        for done, (number, seed) in enumerate(jobs, start=1):
            root = shutil.copytree(template, folder / str(number), symlinks=True)
            if _case(server, root, random.Random(seed), routine, told):
                shutil.rmtree(root)
            if done % 50 == 0:
                say(f"{done} of {len(jobs)} files of this half; {len(told.lost)} lost, {len(told.unseen)} unseen")


def _case(server: ForkServer, root: Path, dice: random.Random, routine: set[str], told: _Told) -> bool:
    """Damage one file, recover, judge; whether all was well."""
    data = root / "data"
    path = _choose(data, dice)
    before = _meaning(path)
    damage = dice.choice(damages.fitting(path, root / "older" / path.relative_to(data)))
    uid = NOBODY if damage.name == "unreadable" else None
    damage.do(path, dice)
    what = f"{damage.name} {path.relative_to(data)} [{root}]"
    changed = damage.name == "unreadable" or _meaning(path) != before
    told.kinds[damage.name] += 1
    try:
        result = _recover(server, root, uid)
    except (RuntimeError, TimeoutError) as error:
        told.lost.append(f"{what}: {error}")
        return False
    told.healed.append(result["healed"])
    verdict = look(place_at(str(root)), drained=True)
    if path.name == ARCHIVE and not verdict.clean and "bit" in damage.name and _stand(path, verdict):
        told.hints += 1
        return True
    if not verdict.clean:
        told.lost.append(f"{what}: {verdict.problems()[:2]}")
        return False
    if changed and not (set(result["said"]) - routine) and not result["alarmed"]:
        return _unseen(path, damage, what, told)
    return True


def _stand(path: Path, verdict: Verdict) -> bool:
    """Whether the lines that the checker misses stand there, with a flip in their time or source."""
    lines = path.read_text(errors="replace").splitlines()
    return not verdict.doubled and all(
        any(f'"job_id":"{job_id}"' in line for line in lines)
        for job_id in re.findall(r"'([a-z]+-\d)'", str(verdict.lost))
    )


def _unseen(path: Path, damage: Damage, what: str, told: _Told) -> bool:
    """A flip in a size, a time or a text changes nothing that anything depends on, and is only counted."""
    if damage.name in ("one bit", "ten bits", "stale") and path.name in (LEDGER, ARCHIVE):
        told.hints += 1
        return True
    if path.name.endswith((".lock", "-journal")) or path.parent.name in ("workers", "locks"):
        return True
    told.unseen.append(what)
    return False


def _choose(data: Path, dice: random.Random) -> Path:
    kind = dice.choices([name for name, _ in SHARES], [share for _, share in SHARES])[0]
    files = sorted(path for path in data.rglob("*") if path.is_file())
    chosen = [path for path in files if _kind(path) == kind]
    return dice.choice(chosen or files)


def _kind(path: Path) -> str:
    if path.parent.name in ("open", "new"):
        return "job file"
    return path.name if path.name in (LEDGER, ARCHIVE) else "other"


def _meaning(path: Path) -> object:
    """What a file says: of the ledger its rows, for a bit in a free page means nothing."""
    if not path.exists():
        return None
    if path.name != LEDGER:
        return path.read_bytes()
    try:
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as db:
            sound = db.execute("PRAGMA integrity_check").fetchall()
            return [sound, *(db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
                             for table in ("job", "submission", "meta"))]  # fmt: skip
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return str(error)


def _recover(server: ForkServer, root: Path, uid: int | None) -> Any:
    raise_nodes(place_at(str(root)))
    if uid is not None:
        for path in [root, *root.rglob("*")]:
            os.chown(path, uid, uid, follow_symlinks=False)
    return server.run("tests.faults.damages:recover", root=str(root), uid=uid, within=60)
