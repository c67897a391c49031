"""What a migration deletes, what it keeps, and how it goes on: on nodes in memory that fail on command."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from encoder_hookspecs.events import Proof, Reason
from encoder_pin_plugin.archive import jsonl
from encoder_pin_plugin.archive.migrate import IN_A_ROW
from encoder_pin_plugin.archive.migration_lock import migration_lock
from encoder_pin_plugin.archive.waiting import Item, Waiting, WaitingLines
from encoder_pin_plugin.durable import SharedSync
from encoder_pin_plugin.errors import LockBusy, NodeError, StorageError
from encoder_pin_plugin.nodes.base import Answer, DagSize, Whole
from encoder_pin_plugin.nodes.exclusion import Exclusion
from encoder_pin_plugin.nodes.proofs import Rule, Witness, rule_for
from tests.archive.lines import record
from tests.archive.migrating import Bare, Bench
from tests.cids import directory_cid
from tests.conftest import failing
from tests.fakes.memory_node import MemoryNode


class Smaller(MemoryNode):
    """A node that says that it is whole, with fewer blocks."""

    def _whole(self, cid: str) -> Whole:
        return Whole(answer=Answer.YES, dag=DagSize(blocks=1, size=10))


def test_one_cid_of_many_lines_is_pinned_once_and_all_its_lines_move(bench: Bench) -> None:
    cid = bench.waits(1, job_id="first")
    bench.waits(2, hash=cid, job_id="second", node_id="encoder-2")
    tally = bench.migrate()
    assert (tally.pinned, tally.released, tally.cleaned_lines) == (1, 1, 2)
    assert bench.migrated() == [cid, cid]
    assert tally.complete


def test_a_line_that_came_meanwhile_keeps_the_local_pin(bench: Bench) -> None:
    cid = bench.waits(1)
    tally = bench.migrate(proved=lambda *_: bench.waits(2, hash=cid, job_id="late", pin=False))
    assert tally.kept == {cid: "the line of job 'late' still waits for it"}
    assert cid in bench.local.pins
    assert bench.waiting() == [cid], "the late one"
    assert bench.migrated() == [cid]
    assert bench.migrate().released == 1


def test_an_open_job_keeps_the_local_pin(bench: Bench) -> None:
    cid = bench.waits(1)
    bench.open_jobs.add(cid)
    assert bench.migrate().kept == {cid: "an open job still needs it"}
    assert cid in bench.local.pins


def test_somebody_elses_pin_stays_unless_the_settings_say_otherwise(bench: Bench) -> None:
    cid = bench.waits(1, name="theirs")
    assert bench.migrate().kept == {cid: "it is not ours: its name is 'theirs'"}
    assert cid in bench.local.pins
    again = bench.waits(2, name="theirs")
    bench.remove_others = True
    assert bench.migrate().released == 1
    assert again not in bench.local.pins


def test_a_target_that_tells_nothing_of_its_blocks_deletes_nothing(bench: Bench) -> None:
    bench.target = Bare()
    cid = bench.waits(1)
    tally = bench.migrate()
    assert tally.proofs == {cid: Proof.PINNED}
    assert tally.troubles[cid].reason == "held"
    assert cid in bench.local.pins
    bench.rule = rule_for("kubo+http://x", pinned_is_enough=True)
    assert bench.migrate().released == 1
    assert bench.migrated() == [cid]


def test_a_target_that_counts_fewer_blocks_than_we_do_is_not_believed(bench: Bench) -> None:
    bench.target = Smaller()
    cid = bench.waits(1)
    tally = bench.migrate()
    assert "counts 1 blocks of 10 bytes, our own node 4 blocks of 2500000 bytes" in tally.troubles[cid].detail
    assert cid in bench.local.pins


def test_bytes_that_do_not_come_back_delete_nothing(bench: Bench) -> None:
    def refuse(_: str) -> None:
        raise NodeError("a block that does not hash to its name", Reason.UNPROVED)

    bench.retrieve = refuse
    cid = bench.waits(1)
    tally = bench.migrate()
    assert "not read back: a block that does not hash to its name" in tally.troubles[cid].detail
    assert cid in bench.local.pins


def test_a_look_before_the_target_lost_it_is_no_first_look(bench: Bench) -> None:
    bench.target, bench.rule = Bare(), Rule(whole=False, apart=0.3)
    cid = bench.waits(1)
    assert bench.migrate().later == {cid}
    time.sleep(0.3)
    bench.target.pins.clear()
    assert bench.migrate().later == {cid}
    assert cid in bench.local.pins


def test_a_second_look_that_is_no_yes_makes_the_next_one_a_first(bench: Bench) -> None:
    bench.target, bench.rule = Bare(), Rule(whole=False, apart=0.001)
    cid = bench.waits(1)
    assert bench.migrate().later == {cid}
    time.sleep(0.001)
    item = Item(cid=cid, keys=[record(1, hash=cid).key])
    cleaner = bench.cleaner(Witness(node=Bare(), rule=bench.rule, sync=SharedSync()))
    assert cleaner.patience([item]) == {cid: 0}
    assert cleaner.clean([item]).failed
    assert cleaner.patience([item]) == {cid: pytest.approx(bench.rule.apart, rel=1e-3)}


def test_looks_that_must_lie_apart_are_remembered_by_the_next_run(bench: Bench) -> None:
    bench.target, bench.rule = Bare(), Rule(whole=False, apart=3600)
    cid = bench.waits(1)
    assert bench.migrate().later == {cid}
    assert bench.migrate().later == {cid}
    assert cid in bench.local.pins
    bench.rule = Rule(whole=False, apart=0.0001)
    assert bench.migrate().released == 1


def test_waiting_for_the_second_look(bench: Bench) -> None:
    bench.target, bench.rule = Bare(), Rule(whole=False, apart=0.6)
    bench.waits(1)
    assert bench.migrate().released == 0
    bench.waits(2)
    assert bench.migrate(wait=True).released == 2


def test_the_local_node_that_is_down_keeps_the_line(bench: Bench) -> None:
    cid = bench.waits(1)
    tally = bench.migrate(proved=lambda *_: bench.local.down())
    assert "whether the encoder's own node still pins it" in tally.troubles[cid].detail
    assert bench.waiting() == [cid]
    bench.local.up()
    assert bench.migrate().complete


def test_a_cid_that_a_worker_is_at_is_left_to_the_next_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    cid = bench.waits(1)
    monkeypatch.setattr("encoder_pin_plugin.archive.cleaning.LOCK_PATIENCE", 0.1)
    with Exclusion(bench.data).hold([cid]):
        tally = bench.migrate()
    assert tally.troubles[cid].reason == "busy"
    assert cid in bench.local.pins
    assert bench.migrate().released == 1


def test_ten_poisoned_cids_do_not_hold_up_the_rest(bench: Bench) -> None:
    poison = {bench.waits(number) for number in range(10)}
    good = {bench.waits(number) for number in range(10, 400)}

    def fail(call: str, cid: str) -> None:
        if call == "pin" and cid in poison:
            raise NodeError("nobody has it", Reason.STALLED)

    bench.target.fail = fail
    tally = bench.migrate()
    assert set(tally.troubles) == poison
    assert set(bench.waiting()) == poison
    assert set(bench.migrated()) == good
    assert not tally.gave_up


def test_a_target_that_refuses_everything_is_given_up_soon(bench: Bench) -> None:
    for number in range(200):
        bench.waits(number)
    bench.target.down()
    bench.target.pinned = lambda cids, **_: MemoryNode().pinned(cids)
    tally = bench.migrate(concurrency=2)
    assert "refused" in tally.gave_up
    assert IN_A_ROW <= bench.target.count("pin") < IN_A_ROW + 10
    assert len(bench.waiting()) == 200


def test_stopping_finishes_what_is_in_flight(bench: Bench) -> None:
    for number in range(300):
        bench.waits(number)
    bench.target.delay = 0.005
    waiting = Waiting()
    waiting.read(bench.archive.entries(), bench.archive.path)
    migration = bench.migration(concurrency=2, told=lambda tally: migration.stop() if tally.pinned > 20 else None)
    tally = migration.run(list(waiting.items.values()))
    assert tally.stopped
    assert 20 < len(tally.proofs) < 300
    assert tally.cleaned_lines == len(tally.proofs)
    assert bench.migrate().complete


def test_a_disk_that_fills_up_while_lines_move_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    cids = [bench.waits(number) for number in range(5)]
    with monkeypatch.context() as broken:
        broken.setattr("encoder_pin_plugin.archive.rewriting.write_all", failing(errno.ENOSPC))
        with pytest.raises(StorageError, match="free some space"):
            bench.migrate()
    assert bench.waiting() == cids
    assert bench.target.pins.keys() == set(cids)
    bench.archive.settle()
    bench.migrate()
    assert bench.waiting() == []
    assert sorted(bench.migrated()) == sorted(cids)


def test_encoders_go_on_appending_while_lines_move(bench: Bench) -> None:
    for number in range(600):
        bench.waits(number)
    over = threading.Event()
    added: list[str] = []

    def append() -> None:
        number = 10_000
        while not over.is_set():
            added.append(bench.waits(number))
            number += 1

    writer = threading.Thread(target=append)
    writer.start()
    try:
        tally = bench.migrate()
    finally:
        over.set()
        writer.join()
    assert not tally.troubles
    assert sorted(bench.waiting() + bench.migrated()) == sorted([*map(directory_cid, range(600)), *added])


def test_an_archive_that_was_collected_meanwhile_keeps_its_pins(bench: Bench, tmp_path: Path) -> None:
    """Its lines are somebody else's to finish now, by a report."""
    cid = bench.waits(1)
    bench.migrate(proved=lambda *_: bench.archive.path.rename(tmp_path / "collected.jsonl"))
    assert cid in bench.local.pins
    assert bench.migrated() == []


def test_the_second_migration_is_told_who_is_at_work(tmp_path: Path) -> None:
    said = pytest.raises(LockBusy, match=f"process {os.getpid()} has been")
    with migration_lock(tmp_path, "to kubo+http://x"), said, migration_lock(tmp_path, "again"):
        pass
    with migration_lock(tmp_path, "later"):
        pass


def test_lines_are_looked_at_anew_where_the_file_was_replaced(bench: Bench) -> None:
    cid = bench.waits(1)
    waiting = Waiting()
    waiting.read(bench.archive.entries(), bench.archive.path)
    lines = WaitingLines(bench.archive.path, waiting.items.values())
    lines.refresh()
    assert len(lines.keys(cid)) == 1
    bench.waits(2, hash=cid, job_id="other")
    lines.refresh()
    assert len(lines.keys(cid)) == 2
    with bench.archive.path.open("ab") as file:
        file.write(f'{{"hash":"{cid}" broken\n'.encode())
    lines.refresh()
    assert len(lines.keys(cid)) == 3, "what nobody understands counts as waiting"
    bench.archive.path.unlink()
    lines.refresh()
    assert lines.keys(cid) == set()
    assert bench.archive.path.name == jsonl.ARCHIVE_NAME
