"""Migrations under fault: what waits is pinned on the target, proved, unpinned here, and moved to what was migrated."""

from __future__ import annotations

import random
import time

from encoder_pin_plugin.archive.cleaning import Cleaner, Policy
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.migrate import Migration, Plan
from encoder_pin_plugin.archive.waiting import Waiting
from encoder_pin_plugin.errors import LockBusy
from encoder_pin_plugin.nodes.base import Limits
from encoder_pin_plugin.nodes.exclusion import Exclusion
from encoder_pin_plugin.nodes.proofs import Rule, Witness
from encoder_pin_plugin.operate.migrate_parts import jobs_that_need
from tests.archive.migrating import Carrying
from tests.faults.actors import NoSync, Place, place_at, quicken
from tests.faults.folder_node import FolderNode


def migrate_once(place: Place) -> None:
    """Settle the archive, migrate what waits, and clean."""
    archive, local, target = Archive(place.data), FolderNode(place.local), FolderNode(place.target)
    archive.settle()
    waiting = Waiting()
    waiting.read(archive.entries(), archive.path)
    sync = NoSync()
    witness = Witness(node=target, rule=Rule(whole=True), sync=sync, copy=local)  # type: ignore[arg-type]
    policy = Policy(target="kubo+http://permanent:5001", open_jobs=jobs_that_need(place.data))
    cleaner = Cleaner(archive, local, witness, Exclusion(place.data), policy=policy)
    items = list(waiting.items.values())
    Migration(Carrying(target, limits=Limits(), at_once=4), witness, cleaner, Plan()).run(items)  # type: ignore[arg-type]


def migrate(root: str, seed: int, *, data: str | None = None) -> None:
    """One migration after another, until killed."""
    quicken()
    place, dice = place_at(root, data), random.Random(seed)
    while True:
        try:
            migrate_once(place)
        except LockBusy:
            continue  # a frozen process holds the archive's lock
        time.sleep(dice.uniform(0, 0.05))
