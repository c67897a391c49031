"""Sending a CAR to a cluster that cannot fetch from us: one streamed upload, whatever the size.

Cluster 1.1.6 answers 200 with an empty body for half a CAR and for garbage; the error stands in a trailer only. So an
upload has succeeded when a line of the answer names our CID as added, and by nothing else.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.cid import comparable
from encoder_pin_plugin.nodes.cluster_status import read_cid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from encoder_pin_plugin.nodes.base import Limits
    from encoder_pin_plugin.nodes.http import Http
    from encoder_pin_plugin.nodes.http_reply import Reply


def push_car(
    http: Http,
    cid: str,
    car: Iterable[bytes],
    *,
    options: Sequence[tuple[str, str]],
    limits: Limits,
) -> None:
    """Upload `car` and have it pinned. `limits.stall` is the longest silence, `limits.total` the time in all."""
    boundary = secrets.token_hex(16)
    source = _Source(car)
    try:
        reply = http.call(
            "POST",
            "/add",
            query=[("format", "car"), *options],
            body=_multipart(source, boundary),
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
            seconds=limits.total,
            silence=limits.stall,
        )
    except NodeError:
        if source.error is not None:
            raise source.error from None
        raise
    if reply.late_error:
        raise NodeError(f"{reply.where} of {cid}: the CAR was not taken{reply.words()}", reply.failure().reason)
    _check_added(reply, cid)


def _check_added(reply: Reply, cid: str) -> None:
    added = [comparable(read_cid(line.get("cid"))) for line in reply.lines()]
    if comparable(cid) not in added:
        what = f"it added {', '.join(added)[:200]}" if added else "an empty answer: the CAR is cut or damaged"
        raise NodeError(f"{reply.where} of {cid}: {what}", Reason.BAD_REPLY)


class _Source:
    """The caller's pieces; remembers what reading them raised, which must not pass for a fault of the connection."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces
        except Exception as error:
            self.error = error
            raise


def _multipart(pieces: Iterable[bytes], boundary: str) -> Iterator[bytes]:
    yield (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="content.car"\r\n'
        "Content-Type: application/vnd.ipld.car\r\n\r\n"
    ).encode("ascii")
    yield from (piece for piece in pieces if piece)  # an empty piece would end the chunked body
    yield f"\r\n--{boundary}--\r\n".encode("ascii")
