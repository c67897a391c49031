"""An audit of the archive's lines: what a node lost is named, mended where that can be, and no line is removed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive.audit import (
    Mender,
    audit_migrated,
    audit_waiting,
    lines_by_cid,
    merged,
    migrated_by_target,
)
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.migration_lock import LOCK_NAME, migration_lock
from encoder_pin_plugin.archive.record import ArchiveRecord
from encoder_pin_plugin.durable import SharedSync
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import PIN_NAME, Limits
from encoder_pin_plugin.nodes.exclusion import Exclusion
from encoder_pin_plugin.nodes.holding import BATCH, PATIENCE
from encoder_pin_plugin.nodes.local import LocalPinner
from tests.archive.former_files import cid
from tests.fakes.memory_node import MemoryNode

TARGET = "kubo+http://permanent:5001"


@pytest.fixture
def local() -> MemoryNode:
    return MemoryNode()


@pytest.fixture
def target() -> MemoryNode:
    return MemoryNode()


@pytest.fixture
def mender(tmp_path: Path, local: MemoryNode) -> Mender:
    pinner = LocalPinner(node=local, limits=Limits(), sync=SharedSync())
    return Mender(pinner=pinner, exclusion=Exclusion(tmp_path / "data"))


@pytest.fixture
def wait(archive: Archive, local: MemoryNode) -> Callable[..., ArchiveRecord]:
    """A line that waits, its content pinned here."""

    def add(number: int, job_id: str = "") -> ArchiveRecord:
        local.pins[cid(number)] = PIN_NAME
        stamp = "2025-10-28T10:30:00.000Z"
        return archive.append(
            ArchiveRecord(hash=cid(number), job_id=job_id or f"job-{number}", local_pin_timestamp=stamp)
        )

    return add


@pytest.fixture
def migrate(archive: Archive, wait: Callable[..., ArchiveRecord], local: MemoryNode, target: MemoryNode) -> Callable:
    """A line that was migrated: its content is pinned on the target, and here no more."""

    def add(number: int, url: str = TARGET) -> ArchiveRecord:
        record = wait(number)
        extra = {"migrated_to": url, "migration_proof": "whole", "migrated_at": "2025-10-29T10:30:00.000Z"}
        archive.compact({record.key}, [ArchiveRecord(**(vars(record) | {"extra": extra})).line()])
        del local.pins[cid(number)]
        target.pins[cid(number)] = PIN_NAME
        return record

    return add


def waiting_jobs(archive: Archive) -> list[str]:
    return [entry.record.job_id for entry in archive.entries() if entry.record]


def nobody_has(*numbers: int) -> Callable[[str, str], None]:
    gone = {cid(number) for number in numbers}

    def fail(call: str, asked: str) -> None:
        if call == "pin" and asked in gone:
            raise NodeError("memory: no providers", Reason.CONTENT_MISSING)

    return fail


def test_what_is_there_is_well(archive: Archive, local: MemoryNode, mender: Mender, wait) -> None:
    wait(1), wait(2), wait(2, "again")
    audited = audit_waiting(archive, local, lines_by_cid(archive.entries()), mender)
    assert audited.well
    assert (audited.tally.asked, audited.tally.held) == (2, 2)
    assert local.count("pin") == 0


def test_what_a_migration_has_unpinned_and_not_yet_moved_is_no_loss(
    archive: Archive, local: MemoryNode, mender: Mender, wait
) -> None:
    wait(1)
    del local.pins[cid(1)]
    keys = lines_by_cid(archive.entries())
    with migration_lock(archive.path.parent, f"to {TARGET}"):
        for who in (mender, None):
            audited = audit_waiting(archive, local, keys, who)
            assert (audited.losses, list(audited.tally.unknown)) == ([], [cid(1)])
            assert f"to {TARGET}" in audited.tally.unknown[cid(1)]
            assert not audited.well
    assert local.pins == {}
    (loss,) = audit_waiting(archive, local, keys, mender).losses
    assert loss.mended, "that migration ended, and the line still waits"


@pytest.mark.parametrize("repair", [True, False])
def test_where_nobody_can_tell_whether_a_migration_is_at_work_the_rest_is_audited_all_the_same(
    archive: Archive, tmp_path: Path, repair: bool
) -> None:
    local = Hollow()
    for number in (1, 2):
        archive.append(ArchiveRecord(hash=cid(number), job_id="a", local_pin_timestamp="2025-10-28T10:30:00.000Z"))
    local.pins[cid(2)], local.hollow = PIN_NAME, {cid(2)}
    (archive.path.parent / LOCK_NAME).mkdir()  # as a file system that became read-only: it cannot be opened
    pinner = LocalPinner(node=local, limits=Limits(), sync=SharedSync())
    mender = Mender(pinner=pinner, exclusion=Exclusion(tmp_path / "data")) if repair else None
    audited = audit_waiting(archive, local, lines_by_cid(archive.entries()), mender)
    assert [loss.cid for loss in audited.losses] == [cid(2)]
    assert list(audited.tally.unknown) == [cid(1)]
    assert LOCK_NAME in audited.tally.unknown[cid(1)]
    assert cid(1) not in local.pins


def test_what_our_node_lost_is_pinned_again(archive: Archive, local: MemoryNode, mender: Mender, wait, log) -> None:
    wait(1), wait(2)
    del local.pins[cid(1)]
    audited = audit_waiting(archive, local, lines_by_cid(archive.entries()), mender)
    (loss,) = audited.losses
    assert (loss.cid, loss.jobs, loss.mended) == (cid(1), ("job-1",), True)
    assert cid(1) in local.pins
    assert any("LOST AND FOUND" in line for line in log)
    assert waiting_jobs(archive) == ["job-1", "job-2"]
    assert audit_waiting(archive, local, lines_by_cid(archive.entries()), mender).well


def test_what_nobody_has_is_named_and_its_line_stays(
    archive: Archive, local: MemoryNode, mender: Mender, wait, log
) -> None:
    wait(1), wait(2)
    local.pins.clear()
    local.fail = nobody_has(1)
    audited = audit_waiting(archive, local, lines_by_cid(archive.entries()), mender)
    assert {loss.cid: loss.mended for loss in audited.losses} == {cid(1): False, cid(2): True}
    assert "no providers" in audited.losses[0].outcome
    assert waiting_jobs(archive) == ["job-1", "job-2"]
    assert any(f"LOST: {cid(1)}" in line for line in log)


class Hollow(MemoryNode):
    """Has pins whose blocks are gone, until somebody fetches them."""

    def __init__(self) -> None:
        super().__init__()
        self.hollow: set[str] = set()

    def _whole(self, cid: str):
        self.blocks, blocks = ({*self.pins} - self.hollow) if cid in self.hollow else self.blocks, self.blocks
        pins, self.pins = self.pins, {name: pin for name, pin in self.pins.items() if name not in self.hollow}
        try:
            return super()._whole(cid)
        finally:
            self.blocks, self.pins = blocks, pins


def test_a_pin_that_lost_blocks_is_no_migrations_doing(archive: Archive, tmp_path: Path) -> None:
    local, keys = Hollow(), {cid(1): [(cid(1), "job-1")]}
    local.pins[cid(1)] = PIN_NAME
    local.hollow.add(cid(1))
    with migration_lock(archive.path.parent, "to somewhere"):
        assert [loss.cid for loss in audit_waiting(archive, local, keys, None).losses] == [cid(1)]


def test_a_pin_that_lost_blocks_has_them_fetched_and_is_never_pinned_over(archive: Archive, tmp_path: Path) -> None:
    local = Hollow()
    local.pins[cid(1)] = PIN_NAME
    local.hollow.add(cid(1))
    archive.append(ArchiveRecord(hash=cid(1), job_id="job-1"))
    pinner = LocalPinner(node=local, limits=Limits(), sync=SharedSync())
    keys = lines_by_cid(archive.entries())
    mender = Mender(pinner=pinner, exclusion=Exclusion(tmp_path / "data"))
    (loss,) = audit_waiting(archive, local, keys, mender).losses
    assert not loss.mended
    fetching = Mender(pinner=pinner, exclusion=mender.exclusion, fetch=local.hollow.discard)
    (loss,) = audit_waiting(archive, local, keys, fetching).losses
    assert loss.mended
    assert local.count("pin") == 0, "a second pin/add drops the pin where its walk fails"


def test_a_line_that_was_migrated_meanwhile_is_not_pinned_here_again(
    archive: Archive, local: MemoryNode, mender: Mender, migrate
) -> None:
    record = migrate(1)
    assert audit_waiting(archive, local, {cid(1): [record.key]}, mender).losses == []
    assert local.pins == {}


def test_unknown_changes_nothing_and_a_dead_node_is_given_up(
    archive: Archive, local: MemoryNode, mender: Mender
) -> None:
    keys = {cid(number): [(cid(number), "job")] for number in range(BATCH * (PATIENCE + 2))}
    local.down()
    audited = audit_waiting(archive, local, keys, mender)
    assert audited.losses == []
    assert not audited.well
    assert len(audited.tally.unknown) == BATCH * PATIENCE
    assert "no answer 3 times in a row" in audited.tally.gave_up


def test_a_cid_that_another_command_is_at_work_on_is_left_to_the_next_audit(
    archive: Archive, local: MemoryNode, mender: Mender, wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait(1)
    local.pins.clear()
    patient = Exclusion.hold
    monkeypatch.setattr(Exclusion, "hold", lambda self, cids: patient(self, cids, timeout=0.1))
    with mender.exclusion.hold([cid(1)]):
        audited = audit_waiting(archive, local, lines_by_cid(archive.entries()), mender)
    assert audited.losses == []
    assert "held by another" in audited.tally.unknown[cid(1)]


def test_what_a_target_lost_goes_back_into_the_archive(
    archive: Archive, local: MemoryNode, target: MemoryNode, mender: Mender, migrate, log
) -> None:
    migrate(1), migrate(2)
    del target.pins[cid(1)]
    keys = migrated_by_target(archive.migrated())[TARGET]
    audited = audit_migrated(archive, target, keys, mender, blocks=True)
    (loss,) = audited.losses
    assert (loss.cid, loss.mended) == (cid(1), True)
    assert waiting_jobs(archive) == ["job-1"]
    assert local.pins == {cid(1): PIN_NAME}, "a line that waits says that the content is safe here"
    (entry,) = archive.entries()
    assert entry.record is not None
    assert entry.record.extra == {}
    assert entry.record.local_pin_timestamp > "2026"
    assert any("LOST BY THE TARGET" in line for line in log)
    assert archive.settle().removed == 0
    assert waiting_jobs(archive) == ["job-1"]
    again = migrated_by_target(archive.migrated())[TARGET]
    assert list(again) == [cid(2)], "what was taken back is no longer asked about there"


def test_what_neither_has_is_named_and_stays_among_the_migrated(
    archive: Archive, local: MemoryNode, target: MemoryNode, mender: Mender, migrate
) -> None:
    migrate(1)
    target.pins.clear()
    local.fail = nobody_has(1)
    keys = migrated_by_target(archive.migrated())[TARGET]
    (loss,) = audit_migrated(archive, target, keys, mender, blocks=True).losses
    assert not loss.mended
    assert waiting_jobs(archive) == []
    assert list(migrated_by_target(archive.migrated())[TARGET]) == [cid(1)]


def test_without_a_mender_nothing_is_done(
    archive: Archive, local: MemoryNode, target: MemoryNode, migrate, wait
) -> None:
    migrate(1), wait(2)
    target.pins.clear(), local.pins.clear()
    files = [path.read_bytes() for path in (archive.path, archive.migrated_path)]
    assert audit_waiting(archive, local, lines_by_cid(archive.entries()), None).losses
    keys = merged(migrated_by_target(archive.migrated()).values())
    assert audit_migrated(archive, target, keys, None, blocks=True).losses
    assert local.pins == {}
    assert [path.read_bytes() for path in (archive.path, archive.migrated_path)] == files


def test_lines_are_told_apart_by_their_targets_and_merged_for_another(archive: Archive, migrate) -> None:
    migrate(1), migrate(2, "psa+https://service"), migrate(3)
    found = migrated_by_target(archive.migrated())
    assert {url: list(keys) for url, keys in found.items()} == {
        TARGET: [cid(1), cid(3)], "psa+https://service": [cid(2)],
    }  # fmt: skip
    assert set(merged(found.values())) == {cid(1), cid(2), cid(3)}
