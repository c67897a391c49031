"""Nothing is unpinned that another job needs, and no local pin is called safe before its time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.lazy import manual
from encoder_pin_plugin.lazy.hold import Holder, holder_for
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.ports import Holds, Nodes, Released
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, Whole
from encoder_pin_plugin.nodes.exclusion import Exclusion
from tests.cids import cid_of
from tests.conftest import until


def _holder(bench, posted: list[object]) -> Holder:
    exclusion = Exclusion(bench.settings.data_dir)
    return Holder(local=bench.local, exclusion=exclusion, needed=lambda pin: False, post=posted.append)


def _open_jobs(bench, *names: str, **changes) -> list:
    for name in names:
        bench.complete(name, **changes)
    bench.supernode.down()
    bench.local.down()
    bench.drain()
    bench.local.up()
    return [bench.jobs()[name] for name in names]


def test_a_pin_that_another_job_releases_meanwhile_is_made_again(bench) -> None:
    (pin,) = _open_jobs(bench, "a")
    bench.local.pins[pin.job.cid] = PIN_NAME
    real = bench.local.pinned

    def pinned(cids, **options):
        told = real(cids, **options)
        bench.local.pins.pop(pin.job.cid, None)  # another job's release comes right after the answer
        bench.local.pinned = real
        return told

    bench.local.pinned = pinned
    posted: list[Holds] = []
    _holder(bench, posted).hold([pin])
    assert posted[0].holds == {pin.key: "ours"}
    assert bench.local.pins[pin.job.cid] == PIN_NAME


@pytest.mark.parametrize("call", ["pinned", "pin"])
def test_a_hold_that_nobody_answered_for_is_tried_again(bench, call: str) -> None:
    (pin,) = _open_jobs(bench, "a")

    def fail(name: str, cid: str) -> None:
        if name == call:
            raise NodeError("later", Reason.TIMEOUT)

    bench.local.fail = fail
    posted: list[Holds] = []
    _holder(bench, posted).hold([pin])
    assert (posted[0].holds, posted[0].complete) == ({}, False)


def test_content_that_nobody_can_look_at_keeps_no_other_from_being_held(bench, running, monkeypatch) -> None:
    monkeypatch.setattr("encoder_pin_plugin.lazy.dispatch.HOLDS_AT_ONCE", 3)
    monkeypatch.setattr("encoder_pin_plugin.lazy.dispatch.HOLD_AGAIN", 0.1)
    bench.supernode.down()
    bench.local._whole = lambda cid: Whole(answer=Answer.YES if cid == cid_of("good") else Answer.UNKNOWN)
    for number in range(7):
        bench.complete(f"huge-{number}")
    time.sleep(0.1)
    good = bench.complete("good")
    running(bench.worker())
    until(lambda: good.cid in bench.local.pins)


def test_what_another_open_job_needs_is_not_released(bench) -> None:
    (first,) = _open_jobs(bench, "a")
    worker = bench.worker()
    ledger = worker._ledger.get()
    assert worker._needed(first)  # for all that is known before files and ledger were compared
    worker._intake.reconcile(ledger)
    assert not worker._needed(first)
    _open_jobs(bench, "b", cid=first.job.cid)
    assert worker._needed(first)
    ledger.close()


def _blind(cids: Sequence[str]) -> dict[str, Whole]:
    """As a supernode answers that cannot look at its peers' blocks."""
    return dict.fromkeys(cids, Whole(answer=Answer.UNKNOWN, detail="its peers' Kubo nodes are not known"))


@pytest.mark.parametrize(
    ("cluster", "held"), [(True, "released"), (False, "ours")], ids=["a cluster", "a Kubo node that refuses"]
)
def test_a_supernode_that_cannot_tell_of_blocks_is_believed_where_it_counts_peers(
    make_bench, cluster: bool, held: str
) -> None:
    options = {"use_cluster_for_pins": True, "ipfs_cluster_endpoint": "http://127.0.0.1:9094"} if cluster else {}
    bench = make_bench(**options)
    (pin,) = _open_jobs(bench, "a")
    bench.supernode.up()
    bench.supernode.whole = _blind
    bench.local.pins[pin.job.cid] = PIN_NAME
    bench.supernode.pins[pin.job.cid] = PIN_NAME
    posted: list[Released] = []
    holder = holder_for(
        bench.settings,
        Nodes(supernode=bench.supernode, local=bench.local),
        exclusion=Exclusion(bench.settings.data_dir),
        needed=lambda pin: False,
        post=posted.append,
    )
    holder.release([pin])
    assert posted.pop().done == {pin.key: False if cluster else None}, "the first of two looks"
    assert pin.job.cid in bench.local.pins
    holder.release([replace(pin, whole_at=1)])
    assert posted.pop().done == {pin.key: True if held == "released" else None}
    assert (pin.job.cid in bench.local.pins) is (held == "ours")
    bench.supernode.pins.clear()
    bench.local.pins[pin.job.cid] = PIN_NAME
    holder.release([pin, replace(pin, key="again", whole_at=1)])
    assert posted.pop().done == {pin.key: None, "again": None}, "it has lost the pin"


def test_without_a_ledger_everything_is_needed(bench) -> None:
    (pin,) = _open_jobs(bench, "a")
    (bench.settings.data_dir / LEDGER_NAME).unlink()
    assert bench.worker()._needed(pin)


def test_a_local_pin_elsewhere_is_not_settled_by_haste(bench, running, monkeypatch) -> None:
    monkeypatch.setattr("encoder_pin_plugin.lazy.worker.SETTLE", 600.0)
    bench.local.on_this_machine = False
    bench.complete("a")
    bench.supernode.down()
    running(bench.worker())
    until(lambda: bench.lines() == ["a"])
    until(lambda: bench.jobs()["a"].whole_at)
    asked = bench.local.count("whole")
    with closing(bench.ledger()) as ledger:
        assert manual.hurry(ledger, bench.jobs()["a"].key, int(time.time() * 1000))
    until(lambda: bench.local.count("whole") > asked)
    until(lambda: bench.jobs()["a"].owner is None)
    job = bench.jobs()["a"]
    assert (job.state, len(bench.spool.opened())) == (State.FALLING_BACK, 1)
    assert job.next_at > time.time() * 1000 + 500_000


def test_a_local_pin_that_was_lost_before_it_settled_settles_anew(bench, running, monkeypatch) -> None:
    monkeypatch.setattr("encoder_pin_plugin.lazy.worker.SETTLE", 1.5)
    bench.local.on_this_machine = False
    bench.complete("a")
    bench.supernode.down()
    running(bench.worker())
    until(lambda: bench.lines() == ["a"])
    bench.local.fail = lambda call, cid: (_ for _ in ()).throw(NodeError("lost", Reason.CONTENT_MISSING))
    until(lambda: bench.jobs()["a"].fallbacks >= 1)
    bench.local.up()
    back = time.monotonic()
    until(lambda: bench.jobs()["a"].closed_at)
    assert time.monotonic() - back > 1.2
    assert bench.lines() == ["a"]


def test_a_fork_waits_for_the_end_of_a_transaction(bench) -> None:
    begun, ended = threading.Event(), []

    def write() -> None:
        with closing(bench.ledger()) as ledger, ledger.transaction():
            begun.set()
            time.sleep(0.5)
            ended.append(1)

    bench.drain()
    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(len(ended))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    thread.join()
