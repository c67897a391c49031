"""When the supernode's pins are listed in place of being asked about, and what such a listing answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from encoder_hookspecs.events import CompletedJob, Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.lazy import listing
from encoder_pin_plugin.lazy.listing import AT_MOST, ENOUGH, FRESH, LATER, TOO_LONG, Listing
from encoder_pin_plugin.lazy.pins import LazyPin, State
from encoder_pin_plugin.nodes.kubo import KuboNode
from tests.cids import cid_of
from tests.fakes.memory_node import MemoryNode


def untried(name: str) -> LazyPin:
    job = CompletedJob(cid=cid_of(name), job_id=name)
    return LazyPin(key="k", job=job, state=State.PENDING, waiting_since=0, next_at=0, attempts=0, tries=0, turn_at=0)


class Clock:
    """Stands still until it is told the time."""

    now = 1000.0

    def steady(self) -> float:
        return self.now


@dataclass
class Supernode:
    """A Kubo node that lists `pins`, or does what it is told to in place of that."""

    pins: set[str]
    node: KuboNode
    listings: int = 0
    instead: Callable[[], set[str] | None] | None = None

    def listed(self, node: KuboNode, *, at_most: int, seconds: float) -> set[str] | None:
        assert (node, at_most, seconds) == (self.node, AT_MOST, TOO_LONG)
        self.listings += 1
        return self.instead() if self.instead else set(self.pins)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def supernode(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supernode]:
    node = KuboNode("http://127.0.0.1:1")
    supernode = Supernode({cid_of("there")}, node)
    monkeypatch.setattr(listing, "every_pin", supernode.listed)
    yield supernode
    node.close()


@pytest.fixture
def pins(supernode: Supernode, clock: Clock) -> Listing:
    return Listing(supernode.node, clock)  # type: ignore[arg-type]


def noes(pins: Listing, count: int = ENOUGH) -> None:
    for _ in range(count):
        pins.answered_no()


def test_nothing_is_listed_before_many_questions_were_answered_by_no(supernode: Supernode, pins: Listing) -> None:
    noes(pins, ENOUGH - 1)
    assert supernode.listings == 0
    assert not pins.lacks(untried("new"))
    noes(pins, 1)
    assert supernode.listings == 1
    assert pins.lacks(untried("new"))
    assert not pins.lacks(untried("there"))


def test_a_job_that_was_tried_before_is_always_asked_about(pins: Listing) -> None:
    noes(pins)
    assert not pins.lacks(replace(untried("new"), tries=1))


def test_a_listing_is_believed_for_ten_seconds_from_its_begin(
    supernode: Supernode, pins: Listing, clock: Clock
) -> None:
    def slow() -> set[str]:
        clock.now += 2
        return set()

    supernode.instead = slow
    noes(pins)
    clock.now += FRESH - 2.1
    assert pins.lacks(untried("new"))
    clock.now += 0.1
    assert not pins.lacks(untried("new"))
    clock.now -= 5
    assert not pins.lacks(untried("new")), "what is out of date is forgotten"


def test_while_one_stands_no_other_is_made_and_after_it_one_is(
    supernode: Supernode, pins: Listing, clock: Clock
) -> None:
    noes(pins, 3 * ENOUGH)
    assert supernode.listings == 1
    clock.now += FRESH
    noes(pins, ENOUGH)
    assert supernode.listings == 2


def test_questions_that_come_slowly_are_never_worth_a_listing(
    supernode: Supernode, pins: Listing, clock: Clock
) -> None:
    for _ in range(3 * ENOUGH):
        clock.now += FRESH * 1.01 / (ENOUGH - 1)
        pins.answered_no()
    assert supernode.listings == 0


def test_questions_are_counted_for_ten_seconds_and_then_anew(supernode: Supernode, pins: Listing, clock: Clock) -> None:
    noes(pins, ENOUGH - 1)
    clock.now += FRESH
    noes(pins, 1)
    assert supernode.listings == 1
    noes(pins, ENOUGH - 1)
    assert supernode.listings == 1, "those that led to a listing count no more"
    clock.now += FRESH
    noes(pins, ENOUGH - 1)
    assert supernode.listings == 1, "nor those of earlier seconds"
    noes(pins, 1)
    assert supernode.listings == 2


def test_questions_while_a_listing_stands_count_for_the_next(supernode: Supernode, pins: Listing, clock: Clock) -> None:
    noes(pins, ENOUGH)
    noes(pins, ENOUGH - 2)
    clock.now += FRESH  # it stands no more, and its seconds are not over
    noes(pins, 1)
    assert supernode.listings == 1
    noes(pins, 1)
    assert supernode.listings == 2


def test_what_is_pinned_after_the_listing_is_not_lacked(pins: Listing) -> None:
    noes(pins)
    assert pins.lacks(untried("new"))
    pins.has(cid_of("new"))
    assert not pins.lacks(untried("new"))


def test_what_is_pinned_while_the_listing_is_made_is_not_lacked(supernode: Supernode, pins: Listing) -> None:
    def meanwhile() -> set[str]:
        pins.has(cid_of("new"))
        assert not pins.lacks(untried("other")), "a listing that is not there yet answers nothing"
        noes(pins, 2 * ENOUGH)
        return set()

    supernode.instead = meanwhile
    noes(pins)
    assert supernode.listings == 1
    assert not pins.lacks(untried("new"))
    assert pins.lacks(untried("other"))


def test_nothing_is_kept_where_nothing_was_listed(pins: Listing, clock: Clock) -> None:
    """A worker that runs for years does not remember each pin it has made."""
    pins.has(cid_of("new"))
    noes(pins)
    assert pins.lacks(untried("new"))
    clock.now += FRESH
    assert not pins.lacks(replace(untried("other"), tries=1))
    pins.has(cid_of("other"))
    noes(pins)
    assert pins.lacks(untried("other"))


@pytest.mark.parametrize(("instead", "said"), [(set, []), (lambda: None, ["lists no pins, or too many"])])
def test_a_listing_that_there_is_not_is_said(
    supernode: Supernode, pins: Listing, log: list[str], instead: Callable[[], set[str] | None], said: list[str]
) -> None:
    supernode.instead = instead
    noes(pins)
    assert [text for text in said if text in "".join(log)] == said
    assert len(log) == len(said)


def _refuses() -> set[str]:
    raise NodeError("403: not for you", Reason.NOT_ALLOWED)


def _has_too_many() -> None:
    return None


@pytest.mark.parametrize("instead", [_refuses, _has_too_many])
def test_a_node_that_refuses_or_has_too_many_pins_is_left_alone_for_a_while(
    supernode: Supernode, pins: Listing, clock: Clock, instead: Callable[[], set[str] | None]
) -> None:
    supernode.instead = instead
    noes(pins, 2 * ENOUGH)
    clock.now += LATER - 1
    noes(pins)
    assert supernode.listings == 1
    assert not pins.lacks(untried("new"))
    supernode.instead = None
    clock.now += 1
    noes(pins)
    assert supernode.listings == 2
    assert pins.lacks(untried("new"))


def test_a_listing_that_breaks_off_in_an_unknown_way_leaves_the_next_one_possible(
    supernode: Supernode, pins: Listing, clock: Clock
) -> None:
    def broken() -> set[str]:
        raise ZeroDivisionError

    supernode.instead = broken
    with pytest.raises(ZeroDivisionError):
        noes(pins)
    assert not pins.lacks(untried("new"))
    supernode.instead = None
    clock.now += LATER
    noes(pins)
    assert pins.lacks(untried("new"))


def test_one_thread_makes_the_listing_while_the_others_go_on(supernode: Supernode, pins: Listing) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> set[str]:
        begun.set()
        assert go_on.wait(30)
        return set()

    supernode.instead = wait
    maker = threading.Thread(target=noes, args=(pins,))
    maker.start()
    assert begun.wait(30)
    noes(pins, ENOUGH)
    assert not pins.lacks(untried("new"))
    go_on.set()
    maker.join(30)
    assert pins.lacks(untried("new"))


def test_a_supernode_that_is_no_kubo_node_is_never_listed(clock: Clock, supernode: Supernode) -> None:
    pins = Listing(MemoryNode(), clock)  # type: ignore[arg-type]
    noes(pins, 2 * ENOUGH)
    assert supernode.listings == 0
    assert not pins.lacks(untried("new"))
