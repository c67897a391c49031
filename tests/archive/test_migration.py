"""A migration's own part, step by step: what is counted, what goes on after a failure, when it stops or gives up."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest

from encoder_hookspecs.events import Proof, Reason
from encoder_pin_plugin.archive import migrate
from encoder_pin_plugin.archive.cleaning import Cleaned
from encoder_pin_plugin.archive.migrate import IN_A_ROW, Migration, Plan, listing
from encoder_pin_plugin.archive.tally import Tally, Trouble
from encoder_pin_plugin.archive.waiting import Item
from encoder_pin_plugin.errors import EncoderPinError, NodeError, StorageError
from encoder_pin_plugin.nodes.base import Answer, Told
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.proofs import BATCH, Look

WHOLE = Look(proof=Proof.WHOLE, enough=True)


class Target:
    """A target and everything around it: carries, proves and cleans as it is told to, and notes who asked for what."""

    def __init__(self, *, there: Collection[str] = (), together: int = 1) -> None:
        self.there, self.together, self.at_once = set(there), together, 1024
        self.target = self.node = self
        self.answers: dict[str, Told] = {}
        self.errors: dict[str, EncoderPinError] = {}
        self.looks: dict[str, Look] = {}
        self.waits: dict[str, float] = {}
        self.failed: list[tuple[Item, str, str]] = []
        self.calls: list[tuple[str, list[str], str]] = []
        self.running = self.most_running = 0
        self.meet: Callable[[], object] = lambda: None
        self.lock = threading.Lock()

    def note(self, call: str, cids: Sequence[str]) -> None:
        with self.lock:
            self.calls.append((call, list(cids), threading.current_thread().name))

    def made(self, call: str) -> list[list[str]]:
        return [cids for name, cids, _ in self.calls if name == call]

    def pinned(self, cids: Sequence[str]) -> Mapping[str, Told]:
        self.note("ask", cids)
        return {cid: self.answers.get(cid, Told(answer=Answer.YES if cid in self.there else Answer.NO)) for cid in cids}

    def take(self, waiting: deque[Item]) -> list[Item]:
        return [waiting.popleft() for _ in range(min(self.together, len(waiting)))]

    def carry(self, items: Sequence[Item]) -> dict[str, EncoderPinError | None]:
        with self.lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self.note("pin", [item.cid for item in items])
        self.meet()
        with self.lock:
            self.running -= 1
        return {item.cid: self.errors.get(item.cid) for item in items}

    def look(self, cids: Sequence[str]) -> dict[str, Look]:
        self.note("prove", cids)
        return {cid: self.looks.get(cid, WHOLE) for cid in cids}

    def patience(self, items: Sequence[Item]) -> dict[str, float]:
        return {item.cid: self.waits[item.cid] for item in items if item.cid in self.waits}

    def forget(self, items: Sequence[Item]) -> None:
        self.note("forget", [item.cid for item in items])

    def clean(self, items: Sequence[Item]) -> Cleaned:
        self.note("clean", [item.cid for item in items])
        failed = [it for it in self.failed if it[0] in items]
        return Cleaned(lines=len(items), released=1, kept={items[0].cid: "needed"}, failed=failed)

    def finish(self) -> Cleaned:
        self.note("finish", [])
        return Cleaned(lines=1000)

    def migration(self, *, clean: bool = True, **plan: Any) -> Migration:
        return Migration(self, self, self if clean else None, Plan(**plan))  # type: ignore[arg-type]


def items(*cids: str, mb: float | None = None) -> list[Item]:
    return [Item(cid=cid, size_mb=mb, node_id=f"node of {cid}") for cid in cids]


def many(number: int) -> list[Item]:
    return items(*[f"c{it:04}" for it in range(number)])


def test_everything_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(there={"a", "b"})
    waiting = [*items("a", mb=1.5), *items("b"), *items("c", mb=2.0), *items("d", mb=4.0), *items("e")]
    tally = target.migration().run(waiting)
    assert (tally.total, tally.mb, tally.there, tally.pinned, tally.pinned_mb) == (5, 7.5, 2, 3, 6.0)
    assert tally.proofs == dict.fromkeys("abcde", Proof.WHOLE)
    assert tally.proved_mb == 7.5
    cleaned = target.made("clean")
    assert sorted(cid for cids in cleaned for cid in cids) == list("abcde")
    assert (tally.cleaned_lines, tally.released) == (1005, len(cleaned))
    assert tally.kept == {cids[0]: "needed" for cids in cleaned}
    assert target.calls[-1][0] == "finish"
    assert tally.complete
    assert not tally.stopped


def test_what_is_there_is_not_pinned_again() -> None:
    target = Target(there={"a"})
    target.migration().run(items("a", "b"))
    assert target.made("pin") == [["b"]]


def test_each_stage_has_its_own_threads_and_groups() -> None:
    target = Target(together=3)
    tally = target.migration(concurrency=2).run(many(250))
    assert tally.pinned == 250
    names = {
        call: {thread.rpartition("_")[0] for it, _, thread in target.calls if it == call} for call in ("ask", "pin")
    }
    assert names == {"ask": {"encoder-pin-ask"}, "pin": {"encoder-pin-pin"}}
    assert {thread[:15] for call, _, thread in target.calls if call == "prove"} == {"encoder-pin-pro"}
    assert {thread for call, _, thread in target.calls if call == "clean"} == {"encoder-pin-clean_0"}
    assert max(len(cids) for cids in target.made("pin")) == 3
    for call in ("ask", "prove", "clean"):
        sizes = [len(cids) for cids in target.made(call)]
        assert sum(sizes) == 250
        assert max(sizes) <= BATCH
        assert len(sizes) < 60


def test_stages_have_as_many_threads_as_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that clean at once would rewrite the archive against each other."""
    works: dict[str, int] = {}
    stage = migrate.Stage
    monkeypatch.setattr(
        migrate, "Stage", lambda work, inbox: (works.update({work.name: work.at_once}), stage(work, inbox))[1]
    )
    Target().migration(concurrency=5).run(items("a"))
    assert works == {"ask": 2, "pin": 5, "prove": 2, "clean": 1}


@pytest.mark.parametrize(("concurrency", "at_once", "most"), [(3, 1024, 3), (16, 2, 2)])
def test_no_more_is_carried_at_once_than_is_wanted_and_worth_it(concurrency: int, at_once: int, most: int) -> None:
    target = Target()
    target.at_once, target.meet = at_once, lambda: together.wait(20)
    together = threading.Barrier(most)
    target.migration(concurrency=concurrency).run(many(18))
    assert target.most_running == most


def test_each_failure_is_told_and_the_others_go_on() -> None:
    target = Target(together=10)
    target.answers["unknown"] = Told(answer=Answer.UNKNOWN, detail="a page of HTML", reason=Reason.BAD_REPLY)
    target.errors = {"stalled": NodeError("nobody has it", Reason.STALLED), "ours": StorageError("our own disk")}
    target.looks["unproved"] = Look(detail="it is not there", reason=Reason.UNPROVED)
    target.looks["held"] = Look(proof=Proof.PINNED, detail="refuses dag/stat", reason=Reason.NOT_ALLOWED)
    waiting = items("unknown", "stalled", "ours", "unproved", "held", "good")
    target.failed = [(waiting[5], "busy", "somebody is at it")]
    proved: list[tuple[str, Look]] = []
    tally = target.migration(proved=lambda item, look: proved.append((item.cid, look))).run(waiting)
    told = {
        "unknown": ("bad_reply", "a page of HTML"), "stalled": ("stalled", "nobody has it"),
        "ours": ("refused by us", "our own disk"), "unproved": ("unproved", "it is not there"),
        "held": ("held", "refuses dag/stat"), "good": ("busy", "somebody is at it"),
    }  # fmt: skip
    assert tally.troubles == {
        cid: Trouble(cid=cid, reason=reason, detail=detail, node_id=f"node of {cid}")
        for cid, (reason, detail) in told.items()
    }
    assert tally.by_reason()["held"] == 1
    assert proved == [("held", target.looks["held"]), ("good", WHOLE)]
    assert tally.proofs == {"held": Proof.PINNED, "good": Proof.WHOLE}
    assert target.made("clean") == [["good"]]
    assert (tally.pinned, tally.untried, tally.complete) == (3, 0, False)


def test_without_a_cleaner_nothing_is_deleted_and_nothing_held() -> None:
    target = Target()
    target.looks["a"] = Look(proof=Proof.PINNED)
    tally = target.migration(clean=False).run(items("a", "b"))
    assert (tally.cleaned_lines, tally.troubles, tally.complete) == (0, {}, True)
    assert {call for call, _, _ in target.calls} == {"ask", "pin", "prove"}


def test_everybody_is_told_after_each_step_and_at_the_end() -> None:
    seen: list[tuple[Tally, int]] = []
    migration = Target().migration(told=lambda tally: seen.append((tally, tally.cleaned_lines)))
    tally = migration.run(items("a"))
    assert {id(it) for it, _ in seen} == {id(tally)}
    assert len(seen) >= 4
    assert seen[-1] == (tally, 1001)


def failures(*reasons: Reason | str | None) -> Migration:
    migration = Target().migration()
    for number, reason in enumerate(reasons):
        migration._failed(items(str(number))[0], reason, f"detail {number}")
    return migration


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.NOT_ALLOWED, Reason.NODE_FULL])
def test_a_target_that_refuses_again_and_again_is_given_up_with_the_last_word(reason: Reason) -> None:
    assert failures(*[reason] * (IN_A_ROW - 1)).tally.gave_up == ""
    migration = failures(*[reason] * (IN_A_ROW + 3))
    assert migration.tally.gave_up == f"detail {IN_A_ROW - 1}"
    assert migration._stop.is_set()
    assert migration.tally.by_reason() == {reason.value: IN_A_ROW + 3}


def test_a_failure_of_one_cid_begins_the_row_anew() -> None:
    row = [Reason.REFUSED] * (IN_A_ROW - 1)
    for other in (Reason.STALLED, None, "busy"):
        migration = failures(*row, other, *row)
        assert migration.tally.gave_up == ""
        assert not migration._stop.is_set()
    assert failures(*row, Reason.STALLED, *row, Reason.REFUSED).tally.gave_up


def test_a_pin_that_works_begins_the_row_anew() -> None:
    migration = failures(*[Reason.REFUSED] * (IN_A_ROW - 1))
    migration._pin = migration._prove = deque_stage()
    migration._after_pinning(items("good"), {"good": None})
    for number in range(IN_A_ROW - 1):
        migration._failed(items(str(number))[0], Reason.REFUSED, "again")
    assert migration.tally.gave_up == ""
    migration._failed(items("last")[0], Reason.REFUSED, "enough")
    assert migration.tally.gave_up == "enough"


def deque_stage() -> Any:
    class Stage:
        def add(self, items: Sequence[Item]) -> None:
            pass

    return Stage()


def test_what_was_given_up_was_not_stopped_by_anybody() -> None:
    target = Target()
    waiting = many(300)
    target.errors = {item.cid: NodeError("no", Reason.REFUSED) for item in waiting}
    tally = target.migration(concurrency=1).run(waiting)
    assert tally.gave_up == "no"
    assert not tally.stopped
    assert IN_A_ROW <= len(tally.troubles) < IN_A_ROW + 10
    assert tally.untried == 300 - len(tally.troubles)


def test_who_stops_it_finishes_what_is_in_flight_and_begins_nothing() -> None:
    target = Target()
    target.meet = lambda: time.sleep(0.005)
    migration = target.migration(concurrency=1, told=lambda tally: migration.stop() if tally.pinned >= 3 else None)
    tally = migration.run(many(250))
    assert tally.stopped
    assert 3 <= tally.pinned < 20
    assert len(tally.proofs) == tally.pinned
    assert sum(len(cids) for cids in target.made("clean")) == tally.pinned
    assert tally.untried == 250 - tally.pinned


def test_a_second_look_that_must_come_later_is_left_to_the_next_run() -> None:
    target = Target()
    target.waits = {"a": 0.4, "b": 0.0}
    tally = target.migration().run(items("a", "b", "c"))
    assert tally.later == {"a"}
    assert sorted(cid for cids in target.made("clean") for cid in cids) == ["b", "c"]
    assert not tally.complete


def test_what_the_target_does_not_hold_or_prove_loses_its_first_look() -> None:
    target = Target()
    target.there = {"there", "unproved"}
    target.looks = {"unproved": Look(proof=None, reason=Reason.UNPROVED)}
    target.answers = {"unknown": Told(answer=Answer.UNKNOWN, reason=Reason.TIMEOUT)}
    target.migration().run(items("there", "unproved", "new", "unknown"))
    assert sorted(cid for cids in target.made("forget") for cid in cids) == ["new", "unproved"]


def test_it_waits_for_second_looks_where_that_is_wanted() -> None:
    target = Target()
    target.waits = {"a": 0.1, "b": 0.3}
    began = time.monotonic()
    tally = target.migration(wait=True).run(items("a", "b", "c"))
    assert time.monotonic() - began >= 0.3
    assert tally.later == set()
    assert sorted(cid for cids in target.made("clean") for cid in cids) == ["a", "b", "c"]
    assert sum(len(cids) for cids in target.made("clean")) == 3
    assert tally.complete


def test_who_stops_it_does_not_wait_for_second_looks() -> None:
    target = Target()
    target.waits = {"a": 3600.0}
    migration = target.migration(wait=True, told=lambda tally: migration.stop() if tally.proofs else None)
    assert migration.run(items("a")).later == {"a"}


def test_what_is_wrong_with_our_own_disk_ends_it() -> None:
    target = Target()

    def fail(_: Sequence[Item]) -> Cleaned:
        raise StorageError("the disk is full")

    target.clean = fail
    with pytest.raises(StorageError, match="the disk is full"):
        target.migration().run(items("a"))
    assert [thread for thread in threading.enumerate() if thread.name.startswith("encoder-pin-")] == []


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[str] | None]:
    """A listing of three CIDs from a node that lists two of them."""
    monkeypatch.setattr(migrate, "LISTING_FROM", 3)

    def answer(target: object, wanted: set[str]) -> set[str]:
        assert isinstance(target, KuboNode)
        return wanted & {"a", "b", "z"}

    monkeypatch.setattr(migrate, "listed_pins", answer)
    return lambda target, *cids: listing(target, items(*cids))


def test_one_listing_is_asked_for_where_that_is_cheaper(
    listed: Callable[..., set[str] | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kubo = object.__new__(KuboNode)
    assert listed(kubo, "a", "b", "c") == {"a", "b"}
    assert listed(kubo, "a", "b") is None
    assert listed(Target(), "a", "b", "c") is None

    def refuse(*_: object) -> set[str]:
        raise NodeError("too large", Reason.BAD_REPLY)

    monkeypatch.setattr(migrate, "listed_pins", refuse)
    assert listed(kubo, "a", "b", "c") is None


@pytest.mark.parametrize("number", [5, 950])
def test_what_was_listed_is_not_asked_about(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    target = Target()
    waiting = many(number)
    there = {item.cid for item in waiting[::2]}
    given: list[tuple[object, object]] = []
    monkeypatch.setattr(migrate, "listing", lambda *arguments: given.append(arguments) or there)
    tally = target.migration().run(waiting)
    assert given == [(target, waiting)]
    assert target.made("ask") == []
    assert (tally.there, tally.pinned) == (len(there), number - len(there))
    assert {cid for cids in target.made("pin") for cid in cids}.isdisjoint(there)
    assert tally.complete
