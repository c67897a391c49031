"""A pinning service's answers, read: one pin request, and a list of them.

The specification (Pinning Services API 1.0.0) is one thing, services another: `requestId` for `requestid`, 200 for 202,
no `delegates`, statuses of their own. Whatever is odd is read as absent, and an unknown status as unknown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import PIN_NAME
from encoder_pin_plugin.nodes.cid import comparable
from encoder_pin_plugin.nodes.sayings import said, word

if TYPE_CHECKING:
    from collections.abc import Mapping

WAITING = frozenset({"queued", "pinning"})
STATUSES = "queued,pinning,pinned,failed"
"""All of them, for a list: without `status` a service lists what is pinned and nothing else."""

_ID = re.compile(r"[A-Za-z0-9_~:=+@.-]{1,256}")


@dataclass(frozen=True, kw_only=True)
class PinRequest:
    """A request to pin, as the service has it.

    Args:
        requestid: its name for it; Cluster's is the CID itself.
        status: queued, pinning, pinned, failed, or whatever stood there.
        cid, name, meta: of the pin.
        created: as the service wrote it.
        delegates: multiaddresses of the service's nodes, to be dialled so that they find us.
        details: its own words on the status.
    """

    requestid: str
    status: str
    cid: str
    name: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    created: str = ""
    delegates: tuple[str, ...] = ()
    details: str = ""

    @property
    def pinned(self) -> bool:
        return self.status == "pinned"

    @property
    def says(self) -> tuple[str, str]:
        """What must be the same wherever the request stands in one answer."""
        return self.cid, self.status

    @property
    def of_cluster(self) -> bool:
        """IPFS Cluster's own service: one request for a CID, which it goes on trying after `failed`."""
        return comparable(self.requestid) == comparable(self.cid)

    @property
    def ours(self) -> bool:
        return self.meta.get("app") == PIN_NAME or self.name == PIN_NAME

    def in_words(self) -> str:
        """The request's status for a message."""
        why = f": {self.details}" if self.details else ""
        return f"{self.status or 'no status'} (request {self.requestid}){why}"


def read_request(answer: Mapping[str, Any], where: str) -> PinRequest:
    """One PinStatus. Raises `NodeError` (BAD_REPLY) for what names no request that could be asked about again."""
    requestid = answer.get("requestid", answer.get("requestId"))
    pin = answer.get("pin")
    if not isinstance(requestid, str) or not _ID.fullmatch(requestid) or requestid in (".", ".."):
        raise NodeError(f"{where}: the answer names no usable requestid", Reason.BAD_REPLY)
    if not isinstance(pin, dict) or not isinstance(pin.get("cid"), str):
        raise NodeError(f"{where}: the answer names no pin", Reason.BAD_REPLY)
    return PinRequest(
        requestid=requestid,
        status=word(_text(answer.get("status"))),
        cid=pin["cid"],
        name=_text(pin.get("name")),
        meta=_texts_by_name(pin.get("meta")),
        origins=_texts(pin.get("origins")),
        created=_text(answer.get("created")),
        delegates=_texts(answer.get("delegates"))[:20],
        details=_details(answer.get("info")),
    )


def _details(info: object) -> str:
    words = _texts_by_name(info)
    return said(words.get("status_details") or words.get("error") or "", 160)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _texts_by_name(value: object) -> Mapping[str, str]:
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}
