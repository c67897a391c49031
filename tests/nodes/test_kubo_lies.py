"""No lie and no failure of a node is ever read as a yes, escapes as anything but a NodeError, or holds or fills us."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer, Limits
from encoder_pin_plugin.nodes.kubo import KuboNode, Patience
from tests.conftest import until
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_lies import LIES
from tests.fakes.kubo_node import FakeKubo

CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
QUICK = Limits(stall=0.5, total=0.8)


@pytest.fixture
def fake():
    with FakeKubo() as node:
        node.content[CID] = Content()
        yield node


@pytest.fixture
def node(fake: FakeKubo):
    kubo = KuboNode(fake.url, patience=Patience(ask=0.5, walk=0.5))
    yield kubo
    kubo.close()


def lies_to(command: str) -> list[str]:
    return [name for name, lie in LIES.items() if lie.fits(command)]


@pytest.mark.parametrize("name", lies_to("pin/add"))
def test_a_lied_pin_ends_as_what_it_means(fake: FakeKubo, node: KuboNode, name: str) -> None:
    fake.lie(name)
    began = time.monotonic()
    if LIES[name].means is None:
        node.pin(CID, limits=QUICK)  # believed until asked about
        _back_to_honesty(fake, node)
        assert node.pinned([CID])[CID].answer is Answer.NO
        return
    with pytest.raises(NodeError) as caught:
        node.pin(CID, limits=QUICK)
    assert time.monotonic() - began < 20
    assert _close_enough(caught.value.reason, LIES[name].means), str(caught.value)
    _check_message(str(caught.value), fake)
    _back_to_honesty(fake, node)
    assert node.pinned([CID])[CID].answer is Answer.NO  # the node can be spoken to at once


@pytest.mark.parametrize("name", lies_to("pin/ls"))
def test_a_lie_about_a_pin_is_unknown(fake: FakeKubo, node: KuboNode, name: str) -> None:
    fake.pins[CID] = ""
    fake.lie(name)
    told = node.pinned([CID, CID.upper()])
    assert {answer.answer for answer in told.values()} == {Answer.UNKNOWN}
    assert told[CID].detail
    assert told[CID].reason is not None
    _back_to_honesty(fake, node)
    assert node.pinned([CID])[CID].yes


@pytest.mark.parametrize("name", lies_to("dag/stat"))
def test_a_lie_about_wholeness_is_unknown(fake: FakeKubo, node: KuboNode, name: str) -> None:
    fake.lie(name)
    whole = node.whole([CID])[CID]
    assert whole.answer is Answer.UNKNOWN
    assert whole.dag is None
    assert whole.detail
    _back_to_honesty(fake, node)
    assert node.whole([CID])[CID].yes


@pytest.mark.parametrize("name", [name for name, lie in LIES.items() if not lie.only])
def test_a_lie_to_unpin_describe_and_ping_is_a_node_error_or_nothing(fake: FakeKubo, node: KuboNode, name: str) -> None:
    fake.lie(name)
    assert node.describe(CID) == (None, None)
    for call in (lambda: node.unpin(CID), node.ping):
        with pytest.raises(NodeError) as caught:
            call()
        _check_message(str(caught.value), fake)


@pytest.mark.parametrize(
    "name", ["endless_line", "endless_string", "endless_newlines", "endless_headers", "huge_length"]
)
def test_a_flood_does_not_fill_our_memory(fake: FakeKubo, node: KuboNode, name: str) -> None:
    fake.lie(name)
    tracemalloc.start()
    try:
        node.pinned([CID])
        with pytest.raises(NodeError):
            node.pin(CID, limits=QUICK)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6


def test_a_redirect_never_carries_credentials_away(fake: FakeKubo) -> None:
    from encoder_pin_plugin.settings import Credentials, Secret

    node = KuboNode(fake.url, auth=Credentials("bearer", "", Secret("s3cret")))
    fake.lie("redirect_elsewhere")
    assert "s3cret" not in node.pinned([CID])[CID].detail
    assert [call.command for call in fake.calls] == ["pin/ls"]
    node.close()


def test_nobody_there_is_refused() -> None:
    with FakeKubo() as gone:
        url = gone.url
    node = KuboNode(url)
    with pytest.raises(NodeError) as caught:
        node.pin(CID, limits=QUICK)
    assert caught.value.reason is Reason.REFUSED
    assert "Connection refused" in str(caught.value)
    assert "object at 0x" not in str(caught.value)
    told = node.pinned([CID])[CID]
    assert (told.answer, told.reason) == (Answer.UNKNOWN, Reason.REFUSED)


@pytest.mark.parametrize("address", ["http://no-such-host.invalid:5001", "/unix/nowhere/kubo.sock"])
def test_an_address_that_leads_nowhere_is_refused(address: str) -> None:
    with pytest.raises(NodeError) as caught:
        KuboNode(address).ping()
    assert caught.value.reason is Reason.REFUSED
    assert "object at 0x" not in str(caught.value)


def test_tls_towards_a_plain_port_is_a_node_error(fake: FakeKubo) -> None:
    with pytest.raises(NodeError) as caught:
        KuboNode(f"https://127.0.0.1:{fake.port}").ping()
    assert caught.value.reason in (Reason.REFUSED, Reason.CUT)


def _back_to_honesty(fake: FakeKubo, node: KuboNode) -> None:
    until(lambda: fake.calls)  # on a busy machine the client may have hung up before the lie was begun
    fake.honest()
    node.patience = Patience()


def _close_enough(reason: Reason, meant: Reason | None) -> bool:
    """A server that floods us may be cut off by us or seen to be cut off: what counts is that it is no yes."""
    flood = {Reason.CUT, Reason.BAD_REPLY, Reason.TIMEOUT}
    return reason is meant or {reason, meant} <= flood


def _check_message(message: str, fake: FakeKubo) -> None:
    assert message.startswith(fake.url)
    assert message.isprintable()
    assert len(message) < 600
