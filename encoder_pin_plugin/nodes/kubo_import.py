"""Pushing CARs into a Kubo node that cannot fetch from us: many DAGs in one streamed request, nothing held in memory.

`dag/import` answers one JSON line a root, and a root that could not be pinned is a 200 with words in `PinErrorMsg`. It
pins after the last CAR has come, without fetching; its pins carry no name, for which Kubo has no option.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from typing import TYPE_CHECKING, Any

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import InvalidCid, NodeError
from encoder_pin_plugin.nodes.cid import canonical
from encoder_pin_plugin.nodes.sayings import said
from encoder_pin_plugin.settings.masking import without

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from encoder_pin_plugin.nodes.base import Limits
    from encoder_pin_plugin.nodes.kubo import KuboNode

_PIECE = 1 << 16


def import_cars(node: KuboNode, cars: Iterable[tuple[str, Iterable[bytes]]], *, limits: Limits) -> dict[str, str]:
    """Send CARs, each with the CID that is its root, and have the roots pinned.

    Returns:
        For each root that the node spoke of: an empty text where it is pinned, else the node's words. A claim, to be
        proved by `pinned` and `whole`.

    Raises:
        NodeError: the request failed; what reading a CAR raised passes as it is.
    """
    boundary, source = secrets.token_hex(16), _Source(cars)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": None}
    replies = node.wire.stream(
        "dag/import",
        lambda kubo: kubo._client.request(  # noqa: SLF001 - the library has no such call
            "dag/import", (), opts={"pin-roots": "true"}, decoder="json", stream=True,
            data=_larger(_multipart(source, boundary)), headers=headers,
        ),
        seconds=limits.total,
        silence=limits.stall,
    )  # fmt: skip
    try:
        with closing(replies):
            return dict(_root(reply, node) for reply in replies if not _is_about_nothing(reply))
    except NodeError:
        if source.error is not None:
            raise source.error from None
        raise


class _Source:
    """The caller's CARs; remembers what reading them raised, which must not pass for a fault of the target."""

    def __init__(self, cars: Iterable[tuple[str, Iterable[bytes]]]) -> None:
        self._cars = cars
        self.error: NodeError | None = None

    def __iter__(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        for cid, pieces in self._cars:
            yield cid, self._watched(pieces)

    def _watched(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        try:
            yield from pieces
        except NodeError as error:
            self.error = error
            raise OSError(str(error)) from error  # what the transport knows how to end a request for


def _multipart(source: _Source, boundary: str) -> Iterator[bytes]:
    for cid, pieces in source:
        yield (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{cid}.car"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode("ascii")
        yield from pieces
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode("ascii")


def _larger(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of some 64 KiB: each piece costs three writes; an empty one would end the body."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        if len(buffer) >= _PIECE:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _is_about_nothing(reply: Any) -> bool:
    return isinstance(reply, dict) and "Root" not in reply and "Stats" in reply


def _root(reply: Any, node: KuboNode) -> tuple[str, str]:
    root = reply.get("Root") if isinstance(reply, dict) else None
    cid = root.get("Cid") if isinstance(root, dict) else None
    text = cid.get("/") if isinstance(cid, dict) else cid
    words = root.get("PinErrorMsg", "") if isinstance(root, dict) else ""
    try:
        return canonical(text or ""), said(without(node.wire.auth, words))
    except InvalidCid as error:
        raise NodeError(f"{node.address} dag/import: not a Kubo node's answer: {error}", Reason.BAD_REPLY) from error
