"""A migration with its parts in memory, or with lying nodes: what the tests of this folder put together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive.cleaning import Cleaner, Policy
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.migrate import Migration, Plan
from encoder_pin_plugin.archive.sightings import Sightings
from encoder_pin_plugin.archive.tally import Tally
from encoder_pin_plugin.archive.target import Carried
from encoder_pin_plugin.archive.waiting import Item, Waiting
from encoder_pin_plugin.durable import SharedSync
from encoder_pin_plugin.errors import EncoderPinError
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, Limits, PinNode, Whole
from encoder_pin_plugin.nodes.exclusion import Exclusion
from encoder_pin_plugin.nodes.proofs import Rule, Witness
from tests.archive.lines import record
from tests.cids import directory_cid
from tests.fakes.memory_node import MemoryNode

TO = "kubo+http://permanent:5001"
BOOT = "one"


@dataclass
class Carrying:
    """Has the target pin, one by one."""

    target: Any
    limits: Limits = field(default_factory=lambda: Limits(stall=0.5, total=0.8))
    at_once: int = 1024

    def take(self, waiting: deque[Item]) -> list[Item]:
        return [waiting.popleft()]

    def carry(self, items: Sequence[Item]) -> Carried:
        carried: Carried = {}
        for item in items:
            carried[item.cid] = None
            try:
                self.target.pin(item.cid, limits=self.limits)
            except EncoderPinError as error:
                carried[item.cid] = error
        return carried


class Bare(MemoryNode):
    """A node that cannot be asked about blocks, as a pinning service or a Kubo that refuses dag/stat."""

    def whole(self, cids: Sequence[str]) -> dict[str, Whole]:
        return dict.fromkeys(cids, Whole(answer=Answer.UNKNOWN, detail="refuses dag/stat", reason=Reason.NOT_ALLOWED))


@dataclass
class Bench:
    """An archive, the encoder's own node and a target."""

    data: Path
    local: PinNode
    target: PinNode
    rule: Rule = field(default_factory=lambda: Rule(whole=True))
    open_jobs: set[str] = field(default_factory=set)
    remove_others: bool = False
    retrieve: Callable[[str], object] | None = None

    @property
    def archive(self) -> Archive:
        return Archive(self.data, lock_timeout=10)

    def waits(self, number: int, *, pin: bool = True, name: str = PIN_NAME, **changes: Any) -> str:
        """A line, and its pin on the local node."""
        line = record(number, **{"hash": directory_cid(number), **changes})
        self.archive.append(line)
        if pin:
            self.local.pin(line.hash, name=name, limits=Limits())
        return line.hash

    def migrate(self, *, clean: bool = True, **plan: Any) -> Tally:
        waiting = Waiting()
        waiting.read(self.archive.entries(), self.archive.path)
        return self.migration(clean=clean, **plan).run(list(waiting.items.values()))

    def migration(self, *, clean: bool = True, **plan: Any) -> Migration:
        witness = Witness(node=self.target, rule=self.rule, sync=SharedSync(), copy=self.local, retrieve=self.retrieve)
        return Migration(Carrying(self.target), witness, self.cleaner(witness) if clean else None, Plan(**plan))

    def cleaner(self, witness: Witness) -> Cleaner:
        policy = Policy(
            target=TO,
            open_jobs=self._needed,
            remove_others=self.remove_others,
            sightings=Sightings(self.data, TO, BOOT) if self.rule.apart else None,
        )
        return Cleaner(self.archive, self.local, witness, Exclusion(self.data), policy=policy)

    def waiting(self) -> list[str]:
        return [entry.record.hash for entry in self.archive.entries() if entry.record]

    def migrated(self) -> list[str]:
        return [entry.record.hash for entry in self.archive.migrated() if entry.record]

    def _needed(self, cids: Collection[str]) -> set[str]:
        return self.open_jobs & set(cids)
