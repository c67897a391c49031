"""What an audit says of each loss, whom it asks for what, and which lines it goes by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive.audit import (
    Audited,
    Loss,
    Mender,
    audit_migrated,
    audit_waiting,
    lines_by_cid,
    merged,
    migrated_by_target,
)
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.reading import Entry
from encoder_pin_plugin.archive.record import WITHDRAWN
from encoder_pin_plugin.durable import SharedSync
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, Limits, Whole
from encoder_pin_plugin.nodes.exclusion import Exclusion
from encoder_pin_plugin.nodes.holding import Tally
from encoder_pin_plugin.nodes.local import LocalPinner
from tests.archive.lines import record
from tests.cids import directory_cid
from tests.fakes.memory_node import MemoryNode

A, B = directory_cid(1), directory_cid(2)
KEYS = {A: [(A, "job-1"), (A, "again")], B: [(B, "job-2")]}


class Node(MemoryNode):
    """A node with an address; `holes` are the CIDs whose pins have lost blocks, with its words about them."""

    def __init__(self, address: str, *pins: str) -> None:
        super().__init__()
        self.address = address
        self.pins = dict.fromkeys(pins, PIN_NAME)
        self.holes: dict[str, str] = {}

    def whole(self, cids: Sequence[str]) -> dict[str, Whole]:
        said = dict(super().whole(cids))
        return said | {cid: Whole(answer=Answer.NO, detail=self.holes[cid]) for cid in cids if cid in self.holes}


@pytest.fixture
def local() -> Node:
    return Node("ours")


@pytest.fixture
def target() -> Node:
    return Node("theirs")


@pytest.fixture
def mender(tmp_path: Path, local: Node) -> Callable[..., Mender]:
    def make(**more: Any) -> Mender:
        pinner = LocalPinner(node=local, limits=Limits(), sync=SharedSync())
        return Mender(pinner=pinner, exclusion=Exclusion(tmp_path / "data"), **more)

    return make


def wait(archive: Archive, *keys: tuple[str, str]) -> None:
    for cid, job_id in keys:
        archive.append(record(hash=cid, job_id=job_id))


def migrate(archive: Archive, *keys: tuple[str, str]) -> None:
    wait(archive, *keys)
    lines = [record(hash=cid, job_id=job_id, extra={"migrated_to": "theirs"}).line() for cid, job_id in keys]
    archive.compact(set(keys), lines)


def nobody(call: str, _: str) -> None:
    if call == "pin":
        raise NodeError("nobody has it", Reason.CONTENT_MISSING)


UNTOUCHED = [
    Loss(cid=A, jobs=("job-1", "again"), detail="not pinned", outcome="nothing was done", mended=False),
    Loss(cid=B, jobs=("job-2",), detail="not pinned", outcome="nothing was done", mended=False),
]


def test_without_a_mender_each_loss_is_told_and_nothing_done(archive: Archive, local: Node, target: Node) -> None:
    waiting = audit_waiting(archive, local, KEYS, None)
    assert (waiting.what, waiting.node, waiting.losses) == ("waiting in the archive", "ours", UNTOUCHED)
    migrated = audit_migrated(archive, target, KEYS, None, blocks=True)
    assert (migrated.what, migrated.node, migrated.losses) == ("migrated", "theirs", UNTOUCHED)
    assert not migrated.well


def test_a_node_that_was_given_up_is_not_well_whatever_it_said() -> None:
    assert Audited(what="migrated", node="theirs").well
    assert not Audited(what="migrated", node="theirs", tally=Tally(gave_up="no answer")).well


@pytest.mark.parametrize(
    ("words", "told"), [("block 7 is missing", "block 7 is missing"), ("", "its pin has lost blocks")]
)
def test_blocks_count_on_our_node_and_on_a_target_that_tells_of_them(
    archive: Archive, words: str, told: str
) -> None:  # fmt: skip
    node = Node("theirs", A, B)
    node.holes[A] = words
    assert [(it.cid, it.detail) for it in audit_waiting(archive, node, KEYS, None).losses] == [(A, told)]
    assert [it.detail for it in audit_migrated(archive, node, KEYS, None, blocks=True).losses] == [told]
    assert audit_migrated(archive, node, KEYS, None, blocks=False).well
    assert node.count("whole") == 4, "two for each that was to ask about blocks"


def test_our_node_is_led_to_a_copy_before_it_pins(archive: Archive, local: Node, mender: Any, log: list[str]) -> None:
    wait(archive, *KEYS[A])
    local.fail = nobody
    (loss,) = audit_waiting(archive, local, {A: KEYS[A]}, mender(meet=local.up)).losses
    assert loss == Loss(
        cid=A, jobs=("job-1", "again"), detail="not pinned", outcome="pinned again here, whole", mended=True
    )
    assert any("LOST AND FOUND" in line and " on ours any more" in line for line in log)


def test_what_nobody_has_is_told_with_why_and_the_rest_is_mended(
    archive: Archive, local: Node, mender: Any, log: list[str]
) -> None:
    wait(archive, *KEYS[A])
    local.fail = nobody
    (loss,) = audit_waiting(archive, local, {A: KEYS[A]}, mender()).losses
    assert (loss.detail, loss.mended) == ("not pinned", False)
    assert loss.outcome.startswith("no copy can be found now (nobody has it); its line stays")
    assert any(f"LOST: {A}" in line and loss.outcome in line for line in log)


def test_what_is_taken_back_says_why(
    archive: Archive, local: Node, target: Node, mender: Any, log: list[str]
) -> None:  # fmt: skip
    migrate(archive, *KEYS[A], *KEYS[B])
    local.fail = nobody
    target.pins[A] = PIN_NAME
    target.holes[A] = "block 7 is missing"
    losses = audit_migrated(archive, target, KEYS, mender(meet=local.up), blocks=True).losses
    assert [(loss.jobs, loss.detail, loss.mended) for loss in losses] == [
        (("job-1", "again"), "block 7 is missing", True),
        (("job-2",), "not pinned", True),
    ]
    assert {loss.outcome for loss in losses} == {"pinned here, and back in the archive: migrate it again"}
    assert [it.record.job_id for it in archive.entries() if it.record] == ["job-1", "again", "job-2"]
    whys = [it.record.extra.get("why") for it in archive.migrated() if it.record and WITHDRAWN in it.record.extra]
    assert whys == ["theirs does not hold it any more: block 7 is missing"] * 2 + [
        "theirs does not hold it any more: not pinned"
    ]
    assert any(f"theirs does not hold {A} any more: pinned here" in line for line in log)


def test_what_neither_has_stays_among_the_migrated_and_says_so(
    archive: Archive, local: Node, target: Node, mender: Any, log: list[str]
) -> None:
    migrate(archive, *KEYS[A])
    local.fail = nobody
    (loss,) = audit_migrated(archive, target, {A: KEYS[A]}, mender(), blocks=True).losses
    assert (loss.detail, loss.mended) == ("not pinned", False)
    assert loss.outcome == "no copy can be found now (nobody has it); its lines stay among the migrated"
    assert any("LOST: theirs does not hold" in line and loss.outcome in line for line in log)


def test_a_migrated_cid_that_another_command_is_at_work_on_is_left_to_the_next_audit(
    archive: Archive, target: Node, mender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(archive, *KEYS[A])
    patient = Exclusion.hold
    monkeypatch.setattr(Exclusion, "hold", lambda self, cids: patient(self, cids, timeout=0.1))
    with patient(mender().exclusion, [A]):
        audited = audit_migrated(archive, target, {A: KEYS[A]}, mender(), blocks=True)
    assert (audited.losses, audited.well) == ([], False)
    assert "held by another" in audited.tally.unknown[A]


def test_a_pin_whose_blocks_were_fetched_is_proved(local: Node, mender: Any) -> None:
    local.pins[A], local.holes[A] = PIN_NAME, "block 7 is missing"
    pin = mender(fetch=lambda cid: local.holes.pop(cid)).mend(A)
    assert (pin.cid, pin.node) == (A, "ours")
    local.holes[A] = "block 8 is missing"
    with pytest.raises(NodeError, match="block 8 is missing"):
        mender(fetch=lambda cid: None).mend(A)


# Lines


def entries(*lines: tuple[str, str, dict[str, Any]] | None) -> list[Entry]:
    """As reading gives them; None is a bad line."""
    return [
        Entry(number, 0, b"", record=it and record(hash=it[0], job_id=it[1], extra=it[2]))
        for number, it in enumerate(lines, start=1)
    ]


def torn() -> Entry:
    return Entry(9, 0, b"", record=record(hash=directory_cid(9)), torn=True)


def test_lines_are_told_by_cid_without_what_cannot_be_read() -> None:
    lines = entries((A, "job-1", {}), None, (B, "job-2", {}), (A, "again", {}))
    assert lines_by_cid([*lines, torn()]) == KEYS


def test_migrated_lines_are_told_by_target_without_what_cannot_be_read() -> None:
    lines = entries((A, "job-1", {"migrated_to": "one"}), None, (B, "job-2", {"migrated_to": "two"}), (B, "more", {}))
    assert migrated_by_target([torn(), *lines]) == {
        "one": {A: [(A, "job-1")]}, "two": {B: [(B, "job-2")]}, "": {B: [(B, "more")]},
    }  # fmt: skip


def test_the_last_word_on_a_migrated_line_counts() -> None:
    one, two, back = {"migrated_to": "one"}, {"migrated_to": "two"}, {WITHDRAWN: "2026"}
    lines = entries(
        (A, "a", back), (A, "b", one), (A, "b", back), (A, "c", one), (A, "c", two), (A, "d", back), (A, "d", one)
    )
    assert migrated_by_target(lines) == {"two": {A: [(A, "c")]}, "one": {A: [(A, "d")]}}


def test_parts_are_merged_line_by_line() -> None:
    assert merged([{A: KEYS[A][:1]}, {B: KEYS[B]}, {A: KEYS[A][1:]}]) == KEYS
