"""What may be deleted, decided call by call: each reason to keep a pin or a line, and what is told of the rest."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive import cleaning
from encoder_pin_plugin.archive.cleaning import Cleaned, Cleaner, Policy
from encoder_pin_plugin.archive.sightings import NAME, Sightings
from encoder_pin_plugin.archive.waiting import Item, Waiting
from encoder_pin_plugin.durable import SharedSync
from encoder_pin_plugin.errors import LedgerError, LockBusy, NodeError
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, Limits, Told
from encoder_pin_plugin.nodes.exclusion import Exclusion
from encoder_pin_plugin.nodes.proofs import Rule, Witness
from tests.archive.migrating import BOOT, TO, Bare, Bench
from tests.cids import directory_cid


def items_of(bench: Bench) -> list[Item]:
    waiting = Waiting()
    waiting.read(bench.archive.entries(), bench.archive.path)
    return list(waiting.items.values())


def cleaner_of(bench: Bench) -> Cleaner:
    return bench.cleaner(Witness(node=bench.target, rule=bench.rule, sync=SharedSync(), copy=bench.local))


def ready(bench: Bench, *numbers: int, **changes: Any) -> list[str]:
    """Lines whose CIDs the target holds."""
    cids = [bench.waits(number, **changes) for number in numbers]
    for cid in cids:
        bench.target.pin(cid, limits=Limits())
    return cids


def clean(bench: Bench) -> Cleaned:
    """Clean everything that waits, and write it down."""
    cleaner = cleaner_of(bench)
    cleaned = cleaner.clean(items_of(bench))
    cleaned.lines += cleaner.finish().lines
    return cleaned


def test_what_the_target_holds_is_released_and_its_line_moves(bench: Bench) -> None:
    (cid,) = ready(bench, 1)
    assert clean(bench) == Cleaned(lines=1, released=1)
    assert cid not in bench.local.pins
    assert (bench.waiting(), bench.migrated()) == ([], [cid])


def test_a_line_that_moved_says_where_to_how_proved_and_when(bench: Bench) -> None:
    ready(bench, 1, extra={"x": 1})
    before = json.loads(bench.archive.path.read_bytes())
    clean(bench)
    after = json.loads(bench.archive.migrated_path.read_bytes())
    assert list(after) == [*before, "migrated_to", "migration_proof", "migrated_at"]
    assert {name: after[name] for name in before} == before
    assert (after["migrated_to"], after["migration_proof"]) == (TO, "whole")
    assert after["migrated_at"].endswith("Z")
    assert after["migrated_at"][:2] == "20"


def test_nothing_is_deleted_before_the_second_look_says_so_in_words(bench: Bench) -> None:
    (cid,) = ready(bench, 1)
    bench.target.unpin(cid)
    cleaned = clean(bench)
    (item,) = items_of(bench)
    assert cleaned == Cleaned(failed=[(item, Reason.UNPROVED, "on the second look: not pinned")])
    assert cid in bench.local.pins
    assert bench.waiting() == [cid]


def test_a_pin_that_is_not_enough_is_held(bench: Bench) -> None:
    bench.target = Bare()
    (cid,) = ready(bench, 1)
    ((_, reason, why),) = clean(bench).failed
    assert (reason, why) == (
        "held", "on the second look: whether memory has every block cannot be told: refuses dag/stat"
    )  # fmt: skip
    assert cid in bench.local.pins


def test_a_target_that_gives_no_reason_has_not_proved_it(bench: Bench) -> None:
    ready(bench, 1)
    bench.target.pinned = lambda cids, **_: dict.fromkeys(cids, Told(answer=Answer.UNKNOWN, detail="a riddle"))
    ((_, reason, why),) = clean(bench).failed
    assert (reason, why) == (Reason.UNPROVED, "on the second look: a riddle")
    bench.target.pinned = lambda cids, **_: dict.fromkeys(
        cids, Told(answer=Answer.UNKNOWN, detail="down", reason=Reason.REFUSED)
    )
    ((_, reason, _),) = clean(bench).failed
    assert reason is Reason.REFUSED


@pytest.mark.parametrize(("given", "told"), [(Reason.REFUSED, Reason.REFUSED), (None, Reason.NODE_ERROR)])
def test_a_local_node_that_cannot_tell_keeps_the_line(bench: Bench, given: Reason | None, told: Reason) -> None:
    (cid,) = ready(bench, 1)
    bench.local.pinned = lambda cids, **_: dict.fromkeys(cids, Told(answer=Answer.UNKNOWN, detail="busy", reason=given))
    ((_, reason, why),) = clean(bench).failed
    assert (reason, why) == (told, "whether the encoder's own node still pins it: busy")
    assert bench.waiting() == [cid]


def test_a_cid_that_is_no_longer_pinned_here_needs_no_unpin(bench: Bench) -> None:
    ready(bench, 1, pin=False)
    assert clean(bench) == Cleaned(lines=1)
    assert bench.local.count("unpin") == 0
    assert bench.waiting() == []


@pytest.mark.parametrize(("name", "others", "stays"), [
    (PIN_NAME, False, False), (PIN_NAME, True, False), ("theirs", False, True), ("theirs", True, False),
    ("", False, True),
])  # fmt: skip
def test_only_pins_of_ours_go_unless_the_settings_say_otherwise(
    bench: Bench, name: str, others: bool, stays: bool
) -> None:
    bench.remove_others = others
    (cid,) = ready(bench, 1, name=name)
    cleaned = clean(bench)
    assert (cid in bench.local.pins) is stays
    assert cleaned.kept == ({cid: f"it is not ours: its name is {name!r}"} if stays else {})
    assert (cleaned.lines, cleaned.released) == (1, int(not stays))


def test_the_name_of_a_pin_is_asked_for(bench: Bench) -> None:
    ready(bench, 1)
    pinned = bench.local.pinned

    def without_names(cids: Any, *, names: bool = False) -> Any:
        told = pinned(cids)
        return told if names else {cid: Told(answer=it.answer) for cid, it in told.items()}

    bench.local.pinned = without_names
    assert clean(bench).released == 1


def test_a_cid_that_an_open_job_needs_stays_pinned_whoever_pinned_it(bench: Bench) -> None:
    first, second = ready(bench, 1, 2)
    bench.remove_others = True
    bench.open_jobs = {first}
    cleaned = clean(bench)
    assert cleaned.kept == {first: "an open job still needs it"}
    assert (cleaned.lines, cleaned.released) == (2, 1)
    assert set(bench.local.pins) == {first}
    assert second not in bench.local.pins


def test_a_cid_that_another_line_waits_for_stays_pinned(bench: Bench) -> None:
    (cid,) = ready(bench, 1)
    items = items_of(bench)
    for job in ("late-2", "late-1"):
        bench.waits(2, hash=cid, job_id=job, pin=False)
    cleaner = cleaner_of(bench)
    cleaned = cleaner.clean(items)
    assert cleaned.kept == {cid: "the line of job 'late-1' still waits for it"}
    assert cleaner.finish() == Cleaned(lines=1)
    assert len(bench.waiting()) == 2


def test_all_lines_of_a_cid_move_together_and_those_that_are_gone_are_not_made_up(bench: Bench) -> None:
    (cid,) = ready(bench, 1)
    bench.waits(2, hash=cid, job_id="second")
    (item,) = items_of(bench)
    item.keys.append((cid, "collected meanwhile"))
    cleaner = cleaner_of(bench)
    assert cleaner.clean([item]).released == 1
    assert cleaner.finish() == Cleaned(lines=2)
    assert bench.migrated() == [cid, cid]


def test_an_archive_that_was_collected_keeps_its_pins_and_is_no_failure(bench: Bench) -> None:
    (cid,) = ready(bench, 1)
    items = items_of(bench)
    bench.archive.path.unlink()
    assert cleaner_of(bench).clean(items) == Cleaned()
    assert cid in bench.local.pins


def test_a_pin_that_cannot_be_removed_keeps_its_line_and_the_next_one_is_cleaned(bench: Bench) -> None:
    first, second = ready(bench, 1, 2)

    def fail(call: str, cid: str) -> None:
        if (call, cid) == ("unpin", first):
            raise NodeError("locked", Reason.TIMEOUT)

    bench.local.fail = fail
    items = items_of(bench)
    assert clean(bench) == Cleaned(
        lines=1, released=1, failed=[(items[0], Reason.TIMEOUT, "the local pin could not be removed: locked")]
    )
    assert bench.waiting() == [first]
    assert bench.migrated() == [second]


def test_a_failure_of_one_does_not_stop_the_others(bench: Bench) -> None:
    first, second, third = ready(bench, 1, 2, 3)
    bench.target.unpin(first)
    cleaned = clean(bench)
    assert [item.cid for item, _, _ in cleaned.failed] == [first]
    assert (cleaned.released, bench.migrated()) == (2, [second, third])


def test_a_cid_that_somebody_is_at_is_busy_and_nothing_of_the_batch_is_touched(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "LOCK_PATIENCE", 0.05)
    first, second = ready(bench, 1, 2)
    items = items_of(bench)
    with Exclusion(bench.data).hold([second]):
        cleaned = cleaner_of(bench).clean(items)
    assert [(item, reason) for item, reason, _ in cleaned.failed] == [(item, "busy") for item in items]
    assert all("is held by another worker or command" in why for _, _, why in cleaned.failed)
    assert {first, second} <= set(bench.local.pins)


def test_a_ledger_that_cannot_be_asked_keeps_everything(bench: Bench) -> None:
    (cid,) = ready(bench, 1)

    def refuse(_: object) -> set[str]:
        raise LedgerError("the ledger is locked")

    witness = Witness(node=bench.target, rule=bench.rule, sync=SharedSync(), copy=bench.local)
    policy = Policy(target=TO, open_jobs=refuse)
    cleaner = Cleaner(bench.archive, bench.local, witness, Exclusion(bench.data), policy=policy)
    (item,) = items_of(bench)
    assert cleaner.clean([item]).failed == [(item, "busy", "the ledger is locked")]
    assert cid in bench.local.pins


def test_the_second_look_is_taken_under_the_locks_of_the_cids(bench: Bench) -> None:
    (cid,) = ready(bench, 1)
    seen: list[bool] = []
    pinned = bench.target.pinned

    def look(cids: Any, **options: Any) -> Any:
        with pytest.raises(LockBusy), Exclusion(bench.data).hold([cid], timeout=0.01):
            pass
        seen.append(True)
        return pinned(cids, **options)

    bench.target.pinned = look
    assert clean(bench).released == 1
    assert seen == [True]


def test_the_second_look_needs_no_sync_of_all_disks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "sync", lambda: synced.append(1))
    ready(bench, 1)
    assert clean(bench).released == 1
    assert synced == []


def test_lines_move_in_large_batches_and_the_rest_at_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "LINES_AT_ONCE", 3)
    ready(bench, *range(8))
    items, cleaner = items_of(bench), cleaner_of(bench)
    cleaner.expect(items, 8)
    moved = [cleaner.clean([item]).lines for item in items]
    assert moved == [0, 0, 3, 0, 0, 3, 0, 0]
    assert cleaner.finish() == Cleaned(lines=2)
    assert cleaner.finish() == Cleaned(lines=0)
    assert len(bench.migrated()) == 8


@pytest.mark.parametrize(("lines", "moved"), [(79, [0, 0, 3, 0]), (80, [0, 0, 0, 4]), (99, [0, 0, 0, 4])])
def test_a_large_archive_is_rewritten_some_twenty_times_in_all(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, lines: int, moved: list[int]
) -> None:
    monkeypatch.setattr(cleaning, "LINES_AT_ONCE", 3)
    ready(bench, *range(4))
    items, cleaner = items_of(bench), cleaner_of(bench)
    cleaner.expect(items, lines)
    assert [cleaner.clean([item]).lines for item in items] == moved


def test_without_a_word_on_what_may_come_the_first_items_are_what_comes(bench: Bench) -> None:
    (cid,) = ready(bench, 1)
    items, cleaner = items_of(bench), cleaner_of(bench)
    bench.waits(2, hash=cid, job_id="late", pin=False)
    assert cleaner.clean(items).kept == {cid: "the line of job 'late' still waits for it"}


def test_a_line_that_comes_after_a_batch_has_moved_is_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "LINES_AT_ONCE", 1)
    first, second = ready(bench, 1, 2)
    items, cleaner = items_of(bench), cleaner_of(bench)
    cleaner.expect(items, 2)
    assert cleaner.clean([items[0]]) == Cleaned(lines=1, released=1)
    bench.waits(3, hash=second, job_id="late", pin=False)
    assert cleaner.clean([items[1]]).kept == {second: "the line of job 'late' still waits for it"}
    assert bench.migrated() == [first, second]


def test_a_file_that_took_the_place_of_another_is_read_anew_also_under_the_same_inode(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "LINES_AT_ONCE", 1)
    monkeypatch.setattr("encoder_pin_plugin.archive.waiting.identity", lambda _: (1, 1))
    _, second = ready(bench, 1, 2)
    items, cleaner = items_of(bench), cleaner_of(bench)
    cleaner.expect(items, 2)
    before = bench.archive.path.stat().st_size
    assert cleaner.clean([items[0]]).lines == 1
    bench.waits(3, hash=second, job_id="later than that", pin=False)
    assert bench.archive.path.stat().st_size >= before
    assert cleaner.clean([items[1]]).kept == {second: "the line of job 'later than that' still waits for it"}


@pytest.mark.parametrize(("apart", "remembered"), [(0, False), (0, True), (60, False)])
def test_looks_need_not_be_apart_where_the_rule_does_not_say_so(bench: Bench, apart: float, remembered: bool) -> None:
    ready(bench, 1)
    sightings = Sightings(bench.data, TO, BOOT) if remembered else None
    witness = Witness(node=bench.target, rule=Rule(whole=False, apart=apart), sync=SharedSync())
    policy = Policy(target=TO, open_jobs=lambda _: set(), sightings=sightings)
    cleaner = Cleaner(bench.archive, bench.local, witness, Exclusion(bench.data), policy=policy)
    assert cleaner.patience(items_of(bench)) == {}
    assert not (bench.data / NAME).exists()


def test_first_looks_are_kept_until_the_lines_have_moved(bench: Bench) -> None:
    bench.target, bench.rule = Bare(), Rule(whole=False, apart=60)
    first, second = ready(bench, 1, 2)
    cleaner = cleaner_of(bench)
    items = items_of(bench)
    patience = cleaner.patience(items)
    assert patience == {first: pytest.approx(60, abs=5), second: pytest.approx(60, abs=5)}
    cleaner.clean(items[:1])
    assert set(json.loads((bench.data / NAME).read_text())[BOOT][TO]) == {first, second}
    cleaner.finish()
    assert set(json.loads((bench.data / NAME).read_text())[BOOT][TO]) == {second}
    assert bench.migrated() == [directory_cid(1)]
