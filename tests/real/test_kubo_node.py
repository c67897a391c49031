"""The adapter on real Kubo nodes, of the current and of an older line; and the fake's honest answers beside theirs."""

from __future__ import annotations

import http.client
import json
import os
import re
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import EMPTY_DIRECTORY, PIN_NAME, Answer, Limits
from encoder_pin_plugin.nodes.cid import parse_cid
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.kubo_listing import every_pin
from examples.nodes import KUBO_VERSION, OLD_KUBO_VERSION, KuboDaemon
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_node import FakeKubo
from tests.nodes.cid_vectors import in_base

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

NOBODY_HAS = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
LIMITS = Limits(stall=60, total=120)


@pytest.fixture(scope="module", params=[KUBO_VERSION, OLD_KUBO_VERSION])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[KuboDaemon]]:
    """Two connected nodes of one version: the first is asked, the second holds content."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("pair")
        nodes = [stack.enter_context(KuboDaemon(folder / name, version=request.param)) for name in ("asked", "other")]
        nodes[0].connect(nodes[1])
        yield nodes


@pytest.fixture(scope="module")
def daemon(pair: list[KuboDaemon]) -> KuboDaemon:
    return pair[0]


@pytest.fixture
def node(daemon: KuboDaemon) -> Iterator[KuboNode]:
    kubo = KuboNode(daemon.api_multiaddr)
    yield kubo
    kubo.close()


def content(seed: object = None) -> dict[str, bytes]:
    mark = str(seed).encode() if seed is not None else os.urandom(8)
    return {"a.txt": b"a" * 900 + mark, "b.txt": b"b" * 900 + mark, "same.txt": b"s" * 500, "as-well.txt": b"s" * 500}


def test_it_says_its_version(node: KuboNode) -> None:
    assert node.ping() in (f"Kubo {KUBO_VERSION}", f"Kubo {OLD_KUBO_VERSION}")


def test_a_pin_goes_from_no_to_pinned_and_whole_and_back(node: KuboNode, pair: list[KuboDaemon]) -> None:
    cid = pair[1].add_files(content())
    assert node.pinned([cid])[cid].answer is Answer.NO
    assert node.whole([cid])[cid].answer is Answer.NO
    assert node.describe(cid) == (None, None)
    counts: list[int] = []
    node.pin(cid, limits=LIMITS, progress=counts.append)
    assert node.pinned([cid])[cid].yes
    whole = node.whole([cid])[cid]
    assert whole.yes
    assert whole.dag is not None
    assert whole.dag.blocks == 4  # the directory, a, b, and one block for the two that are the same
    assert 2300 < whole.dag.size < 2700
    assert counts == sorted(counts)
    assert node.describe(cid) == (whole.dag, "directory")
    node.unpin(cid)
    assert node.pinned([cid])[cid].answer is Answer.NO
    node.unpin(cid)  # a second time is no error


def test_a_pin_of_ours_carries_our_name_where_the_node_tells_names(node: KuboNode, pair: list[KuboDaemon]) -> None:
    cid = pair[1].add_files(content())
    node.pin(cid, limits=LIMITS)
    assert node.pinned([cid], names=True)[cid].name == PIN_NAME
    assert node.pinned([EMPTY_DIRECTORY], names=True)[EMPTY_DIRECTORY].name == ""


def test_a_hundred_pins_are_asked_about_in_one_call(node: KuboNode, daemon: KuboDaemon) -> None:
    cids = [daemon.add_files({"n": str(number).encode()}) for number in range(100)]
    assert all(told.yes for told in node.pinned(cids).values())
    assert all(whole.yes for whole in node.whole(cids).values())
    for cid in cids[::7]:
        node.unpin(cid)
    answers = [told.answer for told in node.pinned(cids).values()]
    assert answers == [Answer.NO if number % 7 == 0 else Answer.YES for number in range(100)]
    assert every_pin(node, at_most=1000, seconds=60) == daemon.pins()


def test_an_indirect_pin_and_a_twin_are_no_pins_of_the_cid(node: KuboNode, daemon: KuboDaemon) -> None:
    child = _child_of(daemon, b"a child that only its parent pins")
    assert node.pinned([child])[child].answer is Answer.NO
    twin = in_base("b", b"\x01\x70\x12\x20" + parse_cid(EMPTY_DIRECTORY).digest)
    told = node.pinned([EMPTY_DIRECTORY, twin])
    assert told[EMPTY_DIRECTORY].yes
    assert told[twin].answer is Answer.NO


def _child_of(daemon: KuboDaemon, text: bytes) -> str:
    parent = daemon.add_files({"child": text})
    return str(daemon.rpc("dag/get", parent)[0]["Links"][0]["Hash"]["/"])


def test_a_cid_in_another_base_is_the_same_pin(node: KuboNode, daemon: KuboDaemon) -> None:
    cid = daemon.add_files(content())
    written = cid.upper()
    assert node.pinned([written, cid]) == node.pinned([cid]) | {written: node.pinned([cid])[cid]}
    assert node.whole([written])[written].yes


def test_a_lost_block_is_seen_by_whole_alone_and_never_fetched(node: KuboNode, pair: list[KuboDaemon]) -> None:
    cid = pair[1].add_files(content("lost"))
    node.pin(cid, limits=LIMITS)
    child = str(pair[0].rpc("dag/get", cid)[0]["Links"][0]["Hash"]["/"])
    pair[0].remove_block(child)
    assert node.pinned([cid])[cid].yes
    for _ in range(3):
        whole = node.whole([cid])[cid]
        assert whole.answer is Answer.NO  # the other node has the block, and is connected
        assert child in whole.detail
    assert node.describe(cid) == (None, None)


def test_describing_what_is_not_there_never_fetches_it(node: KuboNode, pair: list[KuboDaemon]) -> None:
    cid = pair[1].add_files(content("elsewhere"))
    assert node.describe(cid) == (None, None)
    assert node._content_type(cid) is None
    assert node.whole([cid])[cid].answer is Answer.NO


def test_a_file_is_a_file(node: KuboNode, daemon: KuboDaemon) -> None:
    child = _child_of(daemon, b"just bytes")
    dag, kind = node.describe(child)
    assert (dag.blocks if dag else 0, kind) == (1, "file")


def test_content_that_nobody_has_stalls_or_runs_out_of_time(node: KuboNode) -> None:
    with pytest.raises(NodeError) as caught:
        node.pin(NOBODY_HAS, limits=Limits(stall=1.2, total=60))
    assert caught.value.reason is Reason.STALLED
    began = time.monotonic()
    with pytest.raises(NodeError) as caught:
        node.pin(NOBODY_HAS, limits=Limits(stall=60, total=2))
    assert caught.value.reason is Reason.TIMEOUT
    assert time.monotonic() - began < 30
    assert node.pinned([NOBODY_HAS])[NOBODY_HAS].answer is Answer.NO


def test_the_node_s_own_timeout_is_heard_from_its_trailer(node: KuboNode) -> None:
    options = {"progress": "true", "timeout": "1200ms"}
    items = node.wire.stream(
        "pin/add", lambda kubo: kubo.pin.add(NOBODY_HAS, opts=options, stream=True), seconds=60, silence=60
    )
    with pytest.raises(NodeError, match="context deadline exceeded") as caught:
        list(items)
    assert caught.value.reason is Reason.TIMEOUT


def test_many_threads_use_one_node_at_once(node: KuboNode, pair: list[KuboDaemon]) -> None:
    cids = [pair[1].add_files(content(("thread", number))) for number in range(16)]
    failed: list[BaseException] = []

    def pin(cid: str) -> None:
        try:
            node.pin(cid, limits=LIMITS)
            assert node.pinned([cid])[cid].yes
        except BaseException as error:  # noqa: BLE001 - shown below
            failed.append(error)

    threads = [threading.Thread(target=pin, args=(cid,)) for cid in cids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_node_that_comes_back_is_spoken_to_again(daemon: KuboDaemon, node: KuboNode) -> None:
    node.ping()
    daemon.stop()
    told = node.pinned([EMPTY_DIRECTORY])[EMPTY_DIRECTORY]
    assert (told.answer, told.reason) == (Answer.UNKNOWN, Reason.REFUSED)
    daemon.start()
    assert node.pinned([EMPTY_DIRECTORY])[EMPTY_DIRECTORY].yes


CALLS = [
    "id",
    "version",
    "no/such/command",
    "pin/add",
    "pin/ls?type=recursive&arg={whole}",
    "pin/ls?type=recursive&names=true&arg={whole}",
    "pin/ls?type=recursive&arg={absent}",
    "pin/ls?type=recursive&arg={whole}&arg={absent}",
    "pin/ls?type=recursive&stream=true&arg={whole}",
    "pin/rm?arg={absent}",
    "pin/add?arg={whole}",
    "pin/add?arg={whole}&progress=true",
    "pin/add?arg={absent}&timeout=abc",
    "pin/add?arg={absent}&timeout=200ms&progress=true",
    "pin/add?arg={absent}&timeout=700ms",
    "pin/add?arg={absent}&timeout=900ms&progress=true",
    "dag/stat?arg={whole}&offline=true&progress=false",
    "dag/stat?arg={absent}&offline=true&progress=false",
    "dag/stat?arg={whole}&arg={absent}&offline=true&progress=false",
    "files/stat?arg=/ipfs/{whole}&offline=true",
    "files/stat?arg=/ipfs/{absent}&offline=true",
    "pin/rm?arg={whole}",
]


THEIR_OWN = (
    "Version",
    "Commit",
    "Repo",
    "Golang",
    "System",
    "ID",
    "PublicKey",
    "Addresses",
    "AgentVersion",
    "Protocols",
)
"""What each node says of itself."""


def test_the_fake_says_what_a_real_node_says(make_kubo: type[KuboDaemon]) -> None:
    daemon = make_kubo()
    cid = daemon.add_files({"a": b"a" * 1000})
    node = KuboNode(daemon.api_url)
    dag = node.whole([cid])[cid].dag
    node.close()
    assert dag is not None
    with FakeKubo() as fake:
        fake.content[cid] = Content(blocks=dag.blocks, size=dag.size)
        fake.pins[cid] = ""
        for call in CALLS:
            path = call.format(whole=cid, absent=NOBODY_HAS)
            assert _answer(fake.url, path) == _answer(daemon.api_url, path), call


def _answer(url: str, path: str) -> tuple[int, str | None, str | None, object]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("POST", f"/api/v0/{path}", headers={"Content-Length": "0"})
    reply = connection.getresponse()
    body = reply.read().decode()
    connection.close()
    kind, trailer = reply.getheader("Content-Type"), reply.getheader("Trailer")
    if kind != "application/json":
        return reply.status, kind, trailer, body
    items = [json.loads(line) for line in body.splitlines()]
    for item in items:
        item.update({key: "…" for key in THEIR_OWN if key in item})
    return reply.status, kind, trailer, [re.sub(r"\s+", " ", json.dumps(item)) for item in items]
