"""The nodes under the doctor's eyes: do they answer, do they allow the calls that pinning and proving need, and are the
two really two?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from encoder_hookspecs import Reason
from encoder_pin_plugin.errors import EncoderPinError, NodeError
from encoder_pin_plugin.nodes.base import EMPTY_DIRECTORY, Answer
from encoder_pin_plugin.operate.finding import Finding, look_at, ok, wrong
from encoder_pin_plugin.operate.no_supernode import what_then
from encoder_pin_plugin.operate.reach import NoAnswer, ask_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.settings import Settings

SUPERNODE, LOCAL = "supernode", "local node"

SECONDS = 15.0
"""For all questions to one node."""

_UNTOLD = "whether it is not the local node itself cannot be told"
_NO_ANSWER = "no answer within {:g} s"


def check_nodes(settings: Settings) -> Iterator[Finding]:
    """Ask both nodes, side by side."""
    from encoder_pin_plugin.service import Service

    service = Service(settings)
    then = what_then(settings.fallback_after, local_fallback=settings.enable_local_fallback)
    supernode = ask_beside(lambda: list(_check(SUPERNODE, service.supernode, then)))
    local = ask_beside(lambda: list(_check(LOCAL, service.local, then)))
    found = [*_answer(SUPERNODE, supernode), *_answer(LOCAL, local)]
    yield from found
    yield from _are_two(service, told=any(it.level == "wrong" for it in found))


def _answer(topic: str, answer: Callable[[float], list[Finding]]) -> list[Finding]:
    try:
        return answer(SECONDS)
    except NoAnswer:
        return [wrong(topic, _NO_ANSWER.format(SECONDS), "see whether it is up, and overloaded")]
    except Exception as error:  # noqa: BLE001 - the doctor tells what an adapter does, whatever it is
        text = str(error) if isinstance(error, EncoderPinError) else f"unexpected {type(error).__name__}: {error}"
        return [wrong(topic, text, "correct its address in the settings")]


def _check(topic: str, node: PinNode | None, without: str) -> Iterator[Finding]:
    if node is None:
        yield wrong(topic, f"none is configured: {without}",
                    "set THREESPEAK_IPFS_ENDPOINT, or USE_CLUSTER_FOR_PINS and IPFS_CLUSTER_ENDPOINT")  # fmt: skip
        return
    try:
        version = node.ping()
    except NodeError as error:
        yield wrong(topic, _without_doubling(str(error), node.address), _todo(topic, error.reason))
        return
    where = ", on this machine" if node.on_this_machine else ""
    yield ok(topic, f"{node.address} answers: {version}{where}")
    yield from _questions(topic, node)


def _questions(topic: str, node: PinNode) -> Iterator[Finding]:
    pinned = node.pinned([EMPTY_DIRECTORY])[EMPTY_DIRECTORY]
    if pinned.answer is Answer.UNKNOWN:
        yield wrong(topic, f"it does not say what is pinned (pin/ls): {pinned.detail}",
                    "allow that call, or correct the credentials: without it nothing counts as pinned")  # fmt: skip
    else:
        yield ok(topic, "it says what is pinned (pin/ls)")
    whole = node.whole([EMPTY_DIRECTORY])[EMPTY_DIRECTORY]
    if whole.answer is not Answer.UNKNOWN:
        yield ok(topic, "it says what it has whole (dag/stat)")
    elif topic == LOCAL:
        yield wrong(topic, f"it does not say what it has whole (dag/stat): {whole.detail}",
                    "allow that call: without it no local fallback counts as safe")  # fmt: skip
    else:
        yield look_at(topic, f"it does not say what it has whole (dag/stat): {whole.detail}",
                      "pinning works; allow that call if local copies should ever be released")  # fmt: skip


def _todo(topic: str, reason: Reason) -> str:
    setting = "IPFS_API_ADDR and IPFS_API_AUTH" if topic == LOCAL else "its endpoint and credentials"
    if reason is Reason.NOT_ALLOWED:
        return f"correct {setting} in the settings, or allow the call at the node"
    if reason is Reason.REFUSED:
        return (
            f"start it (ipfs daemon), or correct {setting}" if topic == LOCAL else f"tell who runs it; check {setting}"
        )
    return f"look at the node's own log; check {setting}: does something else answer there?"


def _without_doubling(text: str, address: str) -> str:
    return text if text.startswith(address) else f"{address}: {text}"


def _are_two(service: Any, *, told: bool) -> Iterator[Finding]:
    """The same node twice would prove nothing: a lazy pin there is a pin here. `told` where what is wrong with one of
    them was said."""
    from encoder_pin_plugin.nodes.apart import are_one
    from encoder_pin_plugin.nodes.kubo import KuboNode

    supernode, local = service.supernode, service.local
    if supernode is None:
        return
    try:
        one = ask_beside(lambda: are_one(supernode, local))(SECONDS)
    except (NoAnswer, NodeError) as error:
        if getattr(error, "reason", None) is Reason.NOT_ALLOWED:
            yield look_at(SUPERNODE, f"{_UNTOLD}: {error}",
                          "pinning works; allow that call if local copies should ever be released")  # fmt: skip
        elif isinstance(supernode, KuboNode) and not told:
            yield look_at(SUPERNODE, f"{_UNTOLD}: {error if str(error) else _NO_ANSWER.format(SECONDS)}",
                          "pinning works; see why one of them does not say who it is (ipfs id): no local copy is"
                          " released before")  # fmt: skip
        return
    if one and isinstance(supernode, KuboNode):
        yield wrong(SUPERNODE, f"it is the local node itself ({_identity(local)}): what is pinned there is in one"
                    " place only", "set THREESPEAK_IPFS_ENDPOINT to another node")  # fmt: skip
    elif one:
        yield look_at(SUPERNODE, f"the local node ({_identity(local)}) is one of its nodes: what the cluster keeps"
                      " there is never released, and is no second copy", "let the cluster pin on other nodes as"
                      " well (replication-min)")  # fmt: skip


def _identity(node: Any) -> str:
    """A Kubo node's peer id; its address where it does not tell."""
    from encoder_pin_plugin.nodes.kubo_transfer import peer_id

    try:
        return peer_id(node)
    except NodeError:
        return str(node.address)
