"""Migrating a data folder's own archive: what `encoder-pin migrate --to URL` does."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from encoder_pin_plugin.nodes.base import limits_of
from encoder_pin_plugin.operate.failures import Failure
from encoder_pin_plugin.operate.migrate_parts import Wanted, jobs_that_need, observers, open_target, witness_of
from encoder_pin_plugin.operate.migrate_plan import dry_run, remember_rate
from encoder_pin_plugin.operate.migrate_progress import Progress, Stopping, summary
from encoder_pin_plugin.operate.migrate_words import BAD_LINE, advice, left_in_words, troubles_in_words
from encoder_pin_plugin.operate.output import count, say, say_json, warn

if TYPE_CHECKING:
    from encoder_pin_plugin.archive.carrying import Carrier
    from encoder_pin_plugin.archive.cleaning import Cleaner
    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.archive.migrate import Carries
    from encoder_pin_plugin.archive.tally import Tally
    from encoder_pin_plugin.archive.waiting import Item, Waiting
    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.nodes.proofs import Witness
    from encoder_pin_plugin.operate.context import Operator
    from encoder_pin_plugin.service import Service
    from encoder_pin_plugin.settings import Settings


def migrate_own(operator: Operator, wanted: Wanted) -> int:
    """Migrate the node's own archive; the exit code."""
    from encoder_pin_plugin.archive.migration_lock import migration_lock
    from encoder_pin_plugin.archive.waiting import Waiting

    operator.open_data_dir()
    settings = operator.settings()
    manager, ours = operator.plugins(settings)
    archive = ours.service.archive
    if not archive.path.exists():
        return _nothing(Waiting(), wanted, archive)
    with migration_lock(settings.data_dir, f"to {wanted.to}", wait=wanted.wait):
        if not wanted.dry_run:
            archive.settle()
        waiting = read_waiting(archive)
        items, left = chosen(waiting, wanted)
        if not items:
            return _nothing(waiting, wanted, archive)
        target = open_target(wanted, settings, ours.service.local)
        parts = _parts(ours.service, settings, wanted, target)
        if wanted.dry_run:
            return dry_run(parts[0], items, wanted, settings.data_dir, left=left)
        carrier, witness, cleaner = parts
        if cleaner is not None:
            cleaner.expect(items, waiting.lines)
        with observers(manager, wanted.to) as told:
            tally = run(carrier, witness, cleaner, items, wanted=wanted, told=told)
        note_rest(tally, waiting, left)
        remember_rate(settings.data_dir, wanted.to, tally)
        return _show_own(tally, wanted)


def _parts(
    service: Service, settings: Settings, wanted: Wanted, target: Any
) -> tuple[Carrier, Witness, Cleaner | None]:
    from encoder_pin_plugin.archive.carrying import Transfer
    from encoder_pin_plugin.archive.meeting import choose

    carrier = choose(target, service.local, Transfer(wanted.transfer), limits_of(settings))
    witness = witness_of(target, service.local, wanted, settings)
    return carrier, witness, cleaner_of(service, settings, wanted.to, witness) if wanted.clean else None


def cleaner_of(service: Service, settings: Settings, to: str, witness: Witness) -> Cleaner:
    """What deletes here. Raises Failure where the local node does not answer: nothing could be unpinned; and where it
    may be the target's own, which then proves nothing but the pins that would go."""
    from encoder_pin_plugin.archive.cleaning import Cleaner, Policy
    from encoder_pin_plugin.archive.sightings import Sightings
    from encoder_pin_plugin.clock import SystemClock
    from encoder_pin_plugin.errors import NodeError
    from encoder_pin_plugin.nodes.exclusion import Exclusion

    try:
        service.local.ping()
    except NodeError as error:
        raise Failure(
            f"the encoder's own node does not answer, so nothing can be unpinned: {error}\nStart it, or leave --clean"
            " out to pin and prove only"
        ) from error
    _see_that_they_are_two(witness.node, service.local, to)
    policy = Policy(
        target=to,
        open_jobs=jobs_that_need(settings.data_dir),
        remove_others=settings.remove_local_after_sync,
        sightings=Sightings(settings.data_dir, to, SystemClock().boot()) if witness.rule.apart else None,
    )
    return Cleaner(service.archive, service.local, witness, Exclusion(settings.data_dir), policy=policy)


def _see_that_they_are_two(target: PinNode, local: PinNode, to: str) -> None:
    from encoder_pin_plugin.errors import InvalidSettings, NodeError
    from encoder_pin_plugin.nodes.apart import are_one

    try:
        one = are_one(target, local)
    except NodeError as error:
        raise Failure(
            f"whether the target is not the encoder's own node cannot be told now, so nothing is unpinned: {error}\nRun"
            " this again when both say who they are, or leave --clean out to pin and prove only"
        ) from error
    if one:
        raise InvalidSettings(
            f"the target {to} is the encoder's own node ({local.address}), or a cluster that names it among its nodes:"
            " what it proves are the pins that would go; migrate to another one"
        )


def read_waiting(archive: Archive) -> Waiting:
    """What stands in an archive."""
    from encoder_pin_plugin.archive.waiting import Waiting

    waiting = Waiting()
    waiting.read(archive.entries(), archive.path)
    return waiting


def chosen(waiting: Waiting, wanted: Wanted) -> tuple[list[Item], int]:
    """The items that are wanted, in the order that is, and how many more --limit leaves out.
    Raises InvalidCid for an --only that is none."""
    from encoder_pin_plugin.nodes.cid import canonical

    items = list(waiting.items.values())
    if wanted.only:
        only = {canonical(cid) for cid in wanted.only}
        for cid in only - waiting.items.keys():
            warn(f"no line waits for {cid}")
        items = [item for item in items if item.cid in only]
    if wanted.order == "smallest":
        items = sorted(items, key=lambda item: float("inf") if item.size_mb is None else item.size_mb)
    elif wanted.order == "oldest":
        items = sorted(items, key=lambda item: item.since)
    return items[: wanted.limit], max(0, len(items) - (wanted.limit or len(items)))


def run(
    carrier: Carries, witness: Witness, cleaner: Cleaner | None, items: list[Item], *, wanted: Wanted, told: Any
) -> Tally:
    """Run a migration, shown and stoppable."""
    from encoder_pin_plugin.archive.migrate import Migration, Plan

    with Progress() as progress:
        plan = Plan(concurrency=wanted.concurrency, wait=wanted.wait, told=progress.told, proved=told)
        migration = Migration(carrier, witness, cleaner, plan)
        migration.tally.lines = sum(len(item.keys) for item in items)
        with Stopping(migration.stop):
            return migration.run(items)


def note_rest(tally: Tally, waiting: Waiting, left: int = 0) -> None:
    """Note what was not tried: `left` CIDs beyond --limit; and bad lines, which are troubles too: they are counted,
    named, and stay where they are."""
    from encoder_pin_plugin.archive.tally import Trouble

    tally.left = left
    for place, problem in waiting.faults:
        tally.troubles[place] = Trouble(cid=place, reason=BAD_LINE, detail=problem)


def show(tally: Tally, wanted: Wanted) -> int:
    """Say what became of a migration; the exit code."""
    done = tally.complete and not tally.stopped
    if wanted.as_json:
        say_json(as_document(tally, wanted) | {"complete": done})
        return 0 if done else 1
    for line in summary(tally, wanted.to):
        say(line)
    if tally.later:
        say(
            f"{count(len(tally.later), 'CID waits', 'CIDs wait')} for a second look, ten minutes after the first: run"
            " this again then, or with --wait"
        )
    for line in troubles_in_words(tally, wanted.files):
        say(line, colour="red")
    if tally.gave_up:
        say(f"gave up on the target: {tally.gave_up}", colour="red")
    if tally.untried:
        say(f"{count(tally.untried, 'CID was', 'CIDs were')} not tried; run this again to go on")
    if tally.left:
        say(left_in_words(tally.left, wanted))
    return 0 if done else 1


def _show_own(tally: Tally, wanted: Wanted) -> int:
    code = show(tally, wanted)
    if tally.proofs and not (wanted.clean or wanted.as_json):
        say("nothing was removed here: run this again with --clean, and the local pins of what is proved go")
    return code


def as_document(tally: Tally, wanted: Wanted) -> dict[str, Any]:
    """A migration's outcome for programs."""
    failed = [asdict(trouble) | {"advice": advice(trouble.reason, wanted.files)} for trouble in tally.troubles.values()]
    return {
        "target": wanted.to,
        "cids": tally.total, "lines": tally.lines, "mb": round(tally.mb, 3),
        "already_there": tally.there, "pinned": tally.pinned, "proved": len(tally.proofs),
        "proved_mb": round(tally.proved_mb, 3),
        "cleaned_lines": tally.cleaned_lines, "local_pins_removed": tally.released, "local_pins_kept": tally.kept,
        "second_look_later": sorted(tally.later), "not_tried": tally.untried,
        "seconds": round(tally.seconds, 3), "cids_per_second": round(tally.rate, 3),
        "failed": failed, "left_by_limit": tally.left,
        "stopped": tally.stopped, "gave_up": tally.gave_up,
    }  # fmt: skip


def _nothing(waiting: Waiting, wanted: Wanted, archive: Archive) -> int:
    from encoder_pin_plugin.archive.tally import Tally

    tally = Tally()
    note_rest(tally, waiting)
    if wanted.as_json or waiting.faults:
        return show(tally, wanted)
    say(f"nothing waits in {archive.path}" if not waiting.items else "nothing that was asked for waits")
    return 0
