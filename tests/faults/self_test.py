"""Does a rig see? Each planted bug, with the rig that is there for it, run until it has caught the bug or given up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.faults import command_races, kills, pauses, powercuts, races, syscalls
from tests.faults.rig import Missing, RigReport, Say

_on_ext4 = partial(powercuts.run, kinds=["ext4"])


def _stepping(scenario: str) -> Callable[..., RigReport]:
    return partial(syscalls.run, names=[scenario], nested=0.0)


def _meeting(first: str, second: str) -> Callable[..., RigReport]:
    return partial(command_races.run, pairs=[(first, second)])


CAUGHT_BY: dict[str, tuple[Callable[..., RigReport], int]] = {
    "no file fsync": (_on_ext4, 200),
    "no folder fsync": (_on_ext4, 200),
    "no archive fsync": (partial(_on_ext4, load="archive"), 200),
    "fsync lies": (_on_ext4, 200),
    "synchronous=OFF": (_on_ext4, 200),
    "WAL and NORMAL": (_on_ext4, 200),
    "DELETE and FULL": (partial(_on_ext4, load="ledger"), 1000),
    "acknowledged before written": (kills.run, 1000),
    "done before appended": (kills.run, 1000),
    "claim believed": (kills.run, 1000),
    "no archive lock": (races.run, 1000),
    "removed without looking again": (races.run, 1000),
    "name before content": (_stepping("intake"), 1000),
    "unlinked before ingested": (_stepping("retry, new ledger"), 1000),
    "unlinked before committed": (_stepping("pinned"), 1000),
    "append without healing": (_stepping("append, torn tail"), 1000),
    "append without looking": (_stepping("append"), 1000),
    "line in two writes": (_stepping("append, new archive"), 1000),
    "target not asked": (_stepping("migration and cleaning"), 1000),
    "removed before migrated": (_stepping("compaction"), 1000),
    "lease not checked": (partial(pauses.run, names=["retry"]), 200),
    "repaired without the lock": (_meeting("archive repair", "work"), 1000),
    "taken back without looking again": (_meeting("audit", "audit"), 1000),
    "restored without looking again": (_meeting("archive repair --from-ledger", "import --apply"), 1000),
    "audited as if nobody migrated": (_meeting("migrate --clean", "audit"), 1000),
    "rejected with what came again": (_meeting("reject", "retry, taken in"), 1000),
}
"""Planted bug -> the rig that must see it, and within how many faults."""


def hunt(bug: str, seed: int, say: Say) -> RigReport:
    """Run the rig for a bug with the bug planted. Raises Missing where that rig cannot run here."""
    rig, count = CAUGHT_BY[bug]
    return rig(seed, count, say, planted=(bug,))


def run(seed: int, count: int, say: Say) -> RigReport:
    """Hunt for up to `count` of the planted bugs; one that is not caught counts as lost."""
    caught, missed, left_out = list[str](), list[str](), list[str]()
    for bug in list(CAUGHT_BY)[:count]:
        try:
            row = hunt(bug, seed, lambda text: None)
        except Missing as missing:
            left_out.append(f"{bug}: left out, {missing}")
            continue
        (missed if row.clean else caught).append(bug)
        say(f"{bug}: {'NOT caught' if row.clean else 'caught'} after {row.tried}")
    notes = (
        f"{len(caught)} of {len(caught) + len(missed)} caught",
        *(f"not caught: {bug}" for bug in missed),
        *left_out,
    )
    return RigReport(
        fault="planted bugs (lost: not caught)", tried=len(caught) + len(missed), lost=len(missed), notes=notes
    )
