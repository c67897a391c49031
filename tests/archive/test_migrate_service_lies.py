"""A pinning service can be asked for nothing but its word: whatever it says of a pin that it does not have, nothing is
deleted here, at no look, and no line is moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from encoder_hookspecs.events import Proof
from encoder_pin_plugin.nodes.pinning_service import PinningService
from encoder_pin_plugin.nodes.proofs import Rule, rule_for
from tests.archive.migrating import Bench
from tests.fakes.kubo_lies import LIES
from tests.fakes.memory_node import MemoryNode
from tests.fakes.pinning_lies import PINNING_LIES
from tests.fakes.pinning_service import FakePinningService

WIRE = sorted(name for name, lie in LIES.items() if not lie.only)
CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"


@pytest.fixture
def service() -> Iterator[FakePinningService]:
    with FakePinningService(becomes=["queued"]) as service:
        yield service


@pytest.fixture
def bench(service: FakePinningService, tmp_path: Path) -> Bench:
    assert (
        rule_for("psa+http://x", pinned_is_enough=False).apart >= 600
    )  # shortened below, so that both looks are tried
    return Bench(
        tmp_path / "data", MemoryNode(), PinningService(service.url, ask_seconds=0.4), Rule(whole=False, apart=0.01)
    )


def untouched(bench: Bench, cid: str) -> bool:
    return cid in bench.local.pins and bench.waiting() == [cid] and bench.migrated() == []  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("name", PINNING_LIES)
def test_no_lie_in_words_deletes_anything(bench: Bench, service: FakePinningService, name: str) -> None:
    cid = bench.waits(1)
    service.lie(PINNING_LIES[name].tell, to=PINNING_LIES[name].to)
    for _ in range(2):
        tally = bench.migrate(wait=True)
        assert untouched(bench, cid), "deleted on a lie"
        assert cid in tally.troubles


@pytest.mark.slow
@pytest.mark.parametrize("name", WIRE)
def test_no_lie_on_the_wire_does(bench: Bench, service: FakePinningService, name: str) -> None:
    cid = bench.waits(1)
    service.lie(name)
    bench.migrate(wait=True)
    assert untouched(bench, cid), "deleted on a lie"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PINNING_LIES if name.startswith(("the list", "one request"))])
def test_a_lie_at_the_second_look_keeps_everything(bench: Bench, service: FakePinningService, name: str) -> None:
    """The service pins, and is no longer to be believed right before the deletion."""
    cid = bench.waits(1)
    service._becomes = ["pinned"]
    lie = PINNING_LIES[name]
    bench.migrate(wait=True, proved=lambda _item, _look: service.lie(lie.tell, to=lie.to))
    assert untouched(bench, cid), "deleted on a lie"


def test_an_honest_service_is_believed_at_its_second_word(bench: Bench, service: FakePinningService) -> None:
    cid = bench.waits(1)
    service._becomes = ["queued", "pinned"]
    tally = bench.migrate(wait=True)
    assert tally.proofs[cid] is Proof.PINNED
    assert cid not in bench.local.pins  # type: ignore[attr-defined]
    assert bench.migrated() == [cid]


@pytest.mark.parametrize("name", PINNING_LIES)
def test_a_lie_is_not_what_an_honest_service_says_that_has_it_queued(service: FakePinningService, name: str) -> None:
    lie, answers = PINNING_LIES[name], []
    method, _, path = lie.to.partition(" ")
    service.add(CID)
    address = (
        f"{service.url}{path}req-1" if path.endswith("/") else f"{service.url}{path}?cid={CID}&status=queued,pinned"
    )
    for tell in (None, lie.tell):
        if tell is not None:
            service.lie(tell, to=lie.to)
        body = {"cid": CID} if method == "POST" else None
        reply = requests.request(method, address, json=body, timeout=10)
        answers.append((reply.status_code, reply.text.replace("req-2", "req-1") if method == "POST" else reply.text))
    assert answers[0][0] in (200, 202)
    assert '"pinned"' not in answers[0][1]
    assert answers[0] != answers[1]
