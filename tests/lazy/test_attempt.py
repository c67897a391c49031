"""One attempt, without a worker: what is asked, what is believed, and what comes of it, word by word."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from encoder_hookspecs.events import CompletedJob, GiveUp, LazyPinAttempt, LazyPinSuccess, Proof, Reason, RetryIn
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.lazy import attempt as attempting
from encoder_pin_plugin.lazy.attempt import RECENT, policy_of
from encoder_pin_plugin.lazy.pins import State, to_moment
from encoder_pin_plugin.lazy.retry import Policy
from encoder_pin_plugin.nodes.base import Answer, Limits, Told
from encoder_pin_plugin.settings import load_settings
from tests.cids import cid_of
from tests.conftest import until
from tests.lazy.trying import JOB, NOW, PIN, Try, answering, provers_end  # noqa: F401 - an autouse fixture


def test_a_pin_is_made_with_the_settings_limits_and_believed_when_it_is_seen(tmp_path: Path) -> None:
    one = Try(tmp_path, lazy_pin_stall_timeout=7, lazy_pin_timeout=99)
    given: list[Limits] = []
    pin = one.node.pin
    one.node.pin = lambda cid, *, limits: (given.append(limits), pin(cid, limits=limits))[1]
    outcome = one.run()
    assert given == [Limits(stall=7, total=99)]
    assert [call for call, _ in one.node.calls] == ["pinned", "pin", "pinned"]
    assert (outcome.asked, outcome.reason) == (True, None)
    step = outcome.step
    assert (step.pin, step.state, step.attempts, step.tries, step.took) == (PIN, State.PINNED, 2, 5, 1000)
    assert one.decisions.told == []
    assert outcome.before is not None
    outcome.before()
    moment = to_moment(NOW + 9_000)
    assert one.decisions.told == [
        LazyPinSuccess(job=JOB, node="memory", proof=Proof.PINNED, attempts=2, pinned_at=moment)
    ]


def test_what_is_pinned_already_is_not_pinned_again(tmp_path: Path) -> None:
    one = Try(tmp_path)
    one.node.pins[JOB.cid] = "theirs"
    assert one.run().step.state is State.PINNED
    assert one.node.count("pin") == 0


def waits_for_a_slot(one: Try, meanwhile: Callable[[], object]) -> None:
    """An attempt has asked, and gets its slot when something else has happened."""
    one.attempts._slots = _Slot(meanwhile)
    one.attempts.run(PIN)


class _Slot:
    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = meanwhile

    def __enter__(self) -> None:
        self._meanwhile()

    def __exit__(self, *_: object) -> None:
        pass


def test_a_stopped_worker_begins_no_pin(tmp_path: Path) -> None:
    """Its successor may have pinned and proved it meanwhile, and a second pin can undo that."""
    one = Try(tmp_path)
    waits_for_a_slot(one, one.attempts.close)
    assert [call for call, _ in one.node.calls] == ["pinned"]
    assert (one.posted, one.attempts._prover) == ([], None)


@pytest.mark.parametrize(("looks", "asked"), [(19, 1), (20, 2)])
def test_who_has_waited_long_for_a_slot_asks_again(tmp_path: Path, looks: int, asked: int) -> None:
    assert RECENT == 10.0
    one = Try(tmp_path)
    clock = one.attempts._clock
    waits_for_a_slot(one, lambda: [clock.steady() for _ in range(looks)])
    until(lambda: one.posted)
    assert [call for call, _ in one.node.calls] == ["pinned"] * asked + ["pin", "pinned"]


def test_what_somebody_else_has_pinned_meanwhile_is_not_pinned_again(tmp_path: Path) -> None:
    one = Try(tmp_path)

    def meanwhile() -> None:
        one.node.pins[JOB.cid] = "theirs"
        for _ in range(20):
            one.attempts._clock.steady()

    waits_for_a_slot(one, meanwhile)
    until(lambda: one.posted)
    assert one.node.count("pin") == 0
    assert one.posted[0].step.state is State.PINNED


def test_a_failed_pin_is_decided_on_with_all_that_is_known(tmp_path: Path) -> None:
    one = Try(tmp_path)
    one.node.down(Reason.TIMEOUT)
    outcome = one.run()
    assert one.decisions.asked == [
        LazyPinAttempt(
            job=JOB, number=2, error="memory: pinned refused", reason=Reason.TIMEOUT, counts=True,
            started_at=to_moment(NOW + 8_500), ended_at=to_moment(NOW + 9_000),
        )
    ]  # fmt: skip
    step = outcome.step
    assert (outcome.asked, outcome.reason, outcome.before) == (True, Reason.TIMEOUT, None)
    assert (step.state, step.delay, step.attempts, step.tries, step.took) == (State.PENDING, 42_000, 2, 5, 1000)
    assert (step.reason, step.error, step.pin) == (Reason.TIMEOUT, "memory: pinned refused", PIN)


def test_a_failure_of_the_pin_itself_is_told(tmp_path: Path) -> None:
    one = Try(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise NodeError("the disk is full", Reason.NODE_FULL)

    one.node.pin = fail
    outcome = one.run()
    assert (outcome.reason, outcome.step.error) == (Reason.NODE_FULL, "the disk is full")


def test_a_try_that_does_not_count_keeps_the_number(tmp_path: Path) -> None:
    one = Try(tmp_path)
    one.node.down(Reason.NOT_ALLOWED)
    step = one.run().step
    (asked,) = one.decisions.asked
    assert (asked.number, asked.counts, step.attempts, step.tries) == (1, False, 1, 5)


@pytest.mark.parametrize(("given", "told"), [(Reason.CUT, Reason.CUT), (None, Reason.NODE_ERROR)])
def test_an_unknown_answer_is_neither_yes_nor_no(tmp_path: Path, given: Reason | None, told: Reason) -> None:
    unknown = Told(answer=Answer.UNKNOWN, detail="a page of HTML", reason=given)
    first, second = Try(tmp_path), Try(tmp_path)
    first.node.pinned = answering(unknown)
    second.node.pinned = answering(Told(answer=Answer.NO), unknown)
    for one, pins in ((first, 0), (second, 1)):
        outcome = one.run()
        assert (outcome.reason, outcome.step.error) == (told, "a page of HTML")
        assert one.node.count("pin") == pins


def test_a_yes_that_is_taken_back_is_unproved(tmp_path: Path) -> None:
    one = Try(tmp_path)
    one.node.pinned = answering(Told(answer=Answer.NO))
    outcome = one.run()
    assert outcome.reason is Reason.UNPROVED
    assert outcome.step.error == f"memory said that it pinned {JOB.cid}, and then that it did not"


def test_whatever_an_adapter_does_the_job_goes_on(tmp_path: Path, log: list[str]) -> None:
    one = Try(tmp_path)
    one.node.fail = lambda *_: {}.popitem()
    outcome = one.run()
    assert (outcome.reason, outcome.step.error) == (Reason.NODE_ERROR, "unexpected KeyError")
    assert log[0].startswith("ERROR an attempt on memory ended unexpectedly")
    assert log[1] == (
        f"WARNING lazy pin attempt 2 of job job-1 ({JOB.cid}) failed: unexpected KeyError (node_error);"
        " next attempt in 42 s\n"
    )


@pytest.mark.parametrize(
    ("error", "reason"), [(NodeError("cut", Reason.CUT), Reason.CUT), (ValueError("cut"), Reason.NODE_ERROR)]
)
def test_a_proof_that_fails_fails_every_claim_of_its_batch(tmp_path: Path, error: Exception, reason: Reason) -> None:
    one = Try(tmp_path)
    pins = [replace(PIN, key=name, job=CompletedJob(cid=cid_of(name), job_id=name)) for name in "abc"]
    claims = [attempting._Claim(pin=pin, began=0.0) for pin in pins]

    def fail(*_: object, **__: object) -> Mapping[str, Told]:
        raise error

    one.node.pinned = fail
    one.attempts._prove_batch(claims)
    assert [(it.step.pin, it.reason, it.step.error) for it in one.posted] == [(pin, reason, "cut") for pin in pins]


def test_what_a_node_leaves_out_of_its_answer_is_unknown(tmp_path: Path) -> None:
    one = Try(tmp_path)
    other = replace(PIN, key="b", job=CompletedJob(cid=cid_of("b"), job_id="b"))
    one.node.pinned = lambda cids: {JOB.cid: Told(answer=Answer.YES)}
    one.attempts._prove_batch([attempting._Claim(pin=pin, began=0.0) for pin in (other, PIN)])
    left, proved = one.posted
    assert (left.reason, left.step.error) == (Reason.NODE_ERROR, "memory left it out of its answer")
    assert proved.step.state is State.PINNED


def test_claims_gather_for_one_question_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempting, "PROOFS_AT_ONCE", 3)
    one = Try(tmp_path)
    one.attempts._prover = threading.current_thread()  # nobody proves
    for number in range(5):
        one.attempts.run(replace(PIN, key=str(number)))
    assert [len(one.attempts._gathered()) for _ in range(3)] == [3, 2, 0]


def test_one_prover_proves_all_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    one = Try(tmp_path)
    one.run()
    prover = one.attempts._prover
    assert prover is not None
    assert (prover.name, prover.daemon) == ("lazy-pin-prover", True)
    one.posted.clear()
    one.run()
    assert one.attempts._prover is prover
    one.attempts.close()
    prover.join(30)
    one.posted.clear()
    assert one.run().step.state is State.PINNED
    assert one.attempts._prover is not prover


def test_who_has_a_prover_proves_nothing_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Try(tmp_path)
    provers: list[str] = []
    monkeypatch.setattr(one.attempts, "_prove_batch", lambda _: provers.append(threading.current_thread().name))
    for _ in range(2):  # the first starts the prover, the second finds it
        one.attempts._have_proved()
    assert provers == []


def test_the_prover_ends_with_the_worker_and_proves_first_what_was_claimed(tmp_path: Path) -> None:
    one = Try(tmp_path)
    one.run()
    prover = one.attempts._prover
    assert prover is not None
    for number in range(3):
        one.attempts._claims.put(attempting._Claim(pin=replace(PIN, key=str(number)), began=0.0))
    one.attempts.close()
    prover.join(30)
    assert not prover.is_alive()
    assert len(one.posted) == 4


def test_where_no_thread_can_be_had_the_attempt_proves_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Try(tmp_path)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    one.attempts.run(PIN)
    assert [it.step.state for it in one.posted] == [State.PINNED]
    assert one.attempts._prover is None


def test_no_more_pins_at_once_than_the_settings_allow(tmp_path: Path) -> None:
    one = Try(tmp_path, lazy_pin_concurrency=2)
    one.node.delay = 0.05
    pins = [replace(PIN, job=CompletedJob(cid=cid_of(str(it)), job_id=str(it))) for it in range(6)]
    threads = [threading.Thread(target=one.attempts.run, args=(pin,)) for pin in pins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert one.node.most_running == 2


GAVE_UP = GiveUp(why="enough")


@pytest.mark.parametrize(
    ("decision", "fallback", "waited", "state", "delay", "why"),
    [
        (RetryIn(seconds=42.5), True, 0, State.PENDING, 42_500, "next attempt in 42 s"),
        (RetryIn(seconds=9e9), True, 0, State.PENDING, 3_600_000, "next attempt in 3600 s"),
        (GAVE_UP, True, 0, State.FALLING_BACK, 0, "giving up, the local fallback is next"),
        (RetryIn(seconds=42), True, 59_999, State.PENDING, 42_000, "next attempt in 42 s"),
        (RetryIn(seconds=42), True, 60_000, State.FALLING_BACK, 0, "older than FALLBACK_AFTER (60 s), the local"),
        (GAVE_UP, True, 60_000, State.FALLING_BACK, 0, "older than FALLBACK_AFTER (60 s), the local fallback is next"),
        (ValueError("x"), True, 0, State.PENDING, 900_000, "next attempt in 900 s"),
        (GAVE_UP, False, 0, State.PENDING, 900_000, "next attempt in 900 s (the local fallback is disabled)"),
        (RetryIn(seconds=42), False, 10**9, State.PENDING, 42_000, "next attempt in 42 s (the local fallback is dis"),
    ],
)  # fmt: skip
def test_what_comes_after_a_failure(
    tmp_path: Path, log: list[str], decision: Any, fallback: bool, waited: int, state: State, delay: int, why: str
) -> None:
    one = Try(tmp_path, decision, enable_local_fallback=fallback, fallback_after=60, lazy_pin_backoff="60,300,900")
    one.node.down()
    took = 500
    step = one.run(replace(PIN, waiting_since=NOW - waited + took)).step
    assert (step.state, step.delay) == (state, delay)
    assert f"(refused); {why}" in log[-1]
    if isinstance(decision, ValueError):
        assert log[0].startswith("ERROR nobody could decide what comes after the attempt")


def test_an_endless_error_is_cut(tmp_path: Path) -> None:
    one = Try(tmp_path)
    one.node.pinned = answering(Told(answer=Answer.UNKNOWN, detail="x" * 5000))
    assert one.run().step.error == "x" * 2000


def test_the_policy_is_that_of_the_settings(tmp_path: Path) -> None:
    settings = load_settings(
        {}, tmp_path, data_dir=tmp_path, local_fallback_threshold=7, lazy_pin_backoff="1,2", lazy_pin_max_backoff=99,
        enable_local_fallback=False,
    )  # fmt: skip
    assert policy_of(settings) == Policy(threshold=7, backoff=(1.0, 2.0), max_backoff=99.0, fallback=False)
