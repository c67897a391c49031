"""Reading a DAG back through an HTTP gateway: the proof `retrieved` for what has no Kubo API that we may call.

The gateway is not trusted. It sends a CAR, of which every block is hashed and every link followed, and the CAR ends
where the DAG does. `Cache-Control: only-if-cached` keeps a gateway that knows it (Kubo does) from fetching the root
from us for the occasion; below a root that is there it may still fetch what is missing. So name a gateway of the
target's own node: what that fetches it holds under its pin afterwards, and it is asked again before anything is
deleted. `Gateway.NoFetch` in that node's configuration closes the rest.

Sources: the Trustless Gateway specification and IPIP-412 (order and duplicates in a CAR) of specs.ipfs.tech.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import InvalidSettings, NodeError
from encoder_pin_plugin.nodes.car import BadCar, check_car
from encoder_pin_plugin.nodes.cid import parse_cid
from encoder_pin_plugin.nodes.http import Http, service_address

if TYPE_CHECKING:
    from encoder_pin_plugin.nodes.base import Limits

HEADERS = {
    "Accept": "application/vnd.ipld.car; version=1; order=dfs; dups=n",
    "Cache-Control": "only-if-cached",
}
MISSING = (404, 410, 412)
"""What says that the gateway has not got it; 412 is the answer to `only-if-cached`."""


class Gateway:
    """One gateway. Safe for many threads.

    Args:
        url: http or https, without credentials. Raises `InvalidSettings` for anything else.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidSettings("--gateway is no http or https URL: write --gateway http://gateway:8080")
        self._http = Http(service_address(url, 80))
        self.address = self._http.address.text

    def read_back(self, cid: str, *, limits: Limits) -> int:
        """Read the whole DAG and check it; its number of blocks.

        Raises:
            NodeError: CONTENT_MISSING where the gateway does not have it, UNPROVED where what came is not this DAG
                whole; else as any call.
        """
        path = f"/ipfs/{parse_cid(cid)}"
        pieces = self._http.stream(
            path,
            query=[("format", "car")],
            headers=HEADERS,
            seconds=limits.total,
            silence=limits.stall,
            missing=MISSING,
        )
        with closing(pieces):
            try:
                return check_car(pieces, cid)
            except BadCar as error:
                raise NodeError(f"{self.address} GET {path}: {error}", Reason.UNPROVED) from error
