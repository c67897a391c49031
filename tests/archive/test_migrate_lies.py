"""Whatever a target says or does: what is deleted here is on the target, and what is not proved stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_pin_plugin.nodes.kubo import KuboNode, Patience
from tests.archive.migrating import Bench
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_lies import LIES
from tests.fakes.kubo_node import FakeKubo
from tests.fakes.memory_node import MemoryNode

CALLS = ("pin/add", "pin/ls", "dag/stat")
CASES = [(call, name) for call in CALLS for name, lie in LIES.items() if lie.fits(call)]


@pytest.fixture
def fake() -> Iterator[FakeKubo]:
    with FakeKubo() as node:
        yield node


@pytest.fixture
def bench(fake: FakeKubo, tmp_path: Path) -> Iterator[Bench]:
    target = KuboNode(fake.url, patience=Patience(ask=0.4, walk=0.4))
    local = MemoryNode()
    yield Bench(tmp_path / "data", local, target)
    target.close()


@pytest.mark.slow
@pytest.mark.parametrize(("call", "name"), CASES)
def test_no_lie_deletes_anything_that_is_not_there(bench: Bench, fake: FakeKubo, call: str, name: str) -> None:
    """The target has nothing, never gets anything, and tells one kind of lie about it."""
    cid = bench.waits(1)
    fake.lie(name, only={call})
    bench.migrate()
    assert cid in bench.local.pins  # type: ignore[attr-defined]
    assert bench.waiting() == [cid]
    assert bench.migrated() == []


@pytest.mark.slow
@pytest.mark.parametrize(("call", "name"), [case for case in CASES if case[0] != "pin/add"])
def test_a_lie_on_the_second_look_keeps_everything(bench: Bench, fake: FakeKubo, call: str, name: str) -> None:
    """The target pins and proves, and is no longer to be believed right before the deletion."""
    bench.local.blocks = set()  # type: ignore[attr-defined]  # our own count of blocks is not compared
    cid = bench.waits(1)
    fake.content[cid] = Content()
    tally = bench.migrate(proved=lambda _item, _look: fake.lie(name, only={call}))
    gone = cid not in bench.local.pins  # type: ignore[attr-defined]
    assert not gone, "deleted on a lie"
    assert bench.waiting() == [cid]
    assert cid in tally.troubles
