"""An encoded folder becomes a CID: added to the encoder's own Kubo through its RPC, as `ipfs add -r` does.

And how a node is asked what it has of one.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from examples.encoder_harness.errors import HarnessError
from examples.nodes import NodeError

if TYPE_CHECKING:
    from pathlib import Path

    from examples.nodes import KuboDaemon

_TIMEOUT = 600.0


def add_folder(folder: Path, *, api: str) -> str:
    """Add `folder` to the Kubo at the multiaddr `api` and return its CID.

    It is not pinned: to keep it is what the plugins are for. Raises `HarnessError` where the node does not take it.
    """
    import ipfshttpclient
    import requests

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of urllib3, about an argument of ipfshttpclient's
            with ipfshttpclient.Client(api, timeout=_TIMEOUT) as client:
                added = client.add(folder, recursive=True, pin=False, cid_version=1)
    except (ipfshttpclient.exceptions.Error, requests.RequestException) as error:
        raise HarnessError(
            f"cannot add {folder} to the Kubo node at {api}: {error}; is it running, and has its disk space left?"
        ) from error
    return str(added[-1]["Hash"])  # the folder itself comes last, after all that is in it


def blocks(node: KuboDaemon, cid: str) -> int:
    """How many blocks a whole DAG has on this node, without fetching any; 0 where one is missing."""
    try:
        return int(node.rpc("dag/stat", cid, offline=True, progress=False)[-1].get("UniqueBlocks", 0))
    except NodeError:
        return 0
