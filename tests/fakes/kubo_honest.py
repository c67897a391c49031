"""What the fake Kubo node says when it is honest: the words, shapes and status codes of Kubo 0.43.0, from memory.

tests/real/test_kubo_node.py asks a real node and the fake the same questions and compares the answers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.kubo_node import Talk


@dataclass(frozen=True)
class Content:
    """A DAG that the fake node holds: `missing` means that it waits for a provider for ever."""

    blocks: int = 4
    size: int = 6153
    kind: str = "directory"
    links: int = 1
    missing: bool = False


def _version(talk: Talk) -> None:
    talk.json({"Version": "0.43.0", "Commit": "", "Repo": "18", "System": "amd64/linux", "Golang": "go1.26.5"})


def _id(talk: Talk) -> None:
    peer = f"12D3KooWFake{talk.node.port}"
    talk.json({"ID": peer, "PublicKey": "", "Addresses": [], "AgentVersion": "kubo/0.43.0", "Protocols": []})


def _pin_ls(talk: Talk) -> None:
    pins, keys = talk.node.pins, {}
    for arg in talk.call.args or pins:
        cid = arg.removeprefix("/ipfs/")
        if cid == talk.node.poison:
            return talk.error("poisoned")
        if cid not in pins:
            return talk.error(f"path '{arg}' is not pinned")
        name = pins[cid] if talk.call.options.get("names") == "true" else ""
        keys[cid] = {"Type": talk.node.types.get(cid, "recursive"), "Name": name}
    if talk.call.options.get("stream") == "true":
        talk.start_stream()
        for cid, row in keys.items():
            talk.item({"Cid": cid} | {key: value for key, value in row.items() if value})
        return talk.end()
    return talk.json({"Keys": keys})


def _pin_add(talk: Talk) -> None:
    content = talk.node.content.get(talk.cid)
    if content is None or content.missing:
        return _pin_add_missing(talk)
    talk.node.pins[talk.cid] = talk.call.options.get("name", "")
    talk.start_stream()
    if talk.call.options.get("progress") == "true":
        talk.item({"Progress": content.blocks, "Bytes": content.size})
    talk.item({"Pins": [talk.cid]})
    return talk.end()


def _pin_add_missing(talk: Talk) -> None:
    """Wait for a provider until the server's own timeout, with a heartbeat each half second."""
    talk.node.pins.pop(talk.cid, None)  # an existing pin is dropped before the walk
    match = re.fullmatch(r"(\d+)(ms|s)", talk.call.options.get("timeout", "3600s"))
    if not match:
        return talk.send(200, b"", "")
    seconds = int(match[1]) / (1000 if match[2] == "ms" else 1)
    if talk.call.options.get("progress") != "true":
        return None if talk.wait(seconds) else talk.error("pin: context deadline exceeded")
    if seconds < 0.5:
        return None if talk.wait(seconds) else talk.error("context deadline exceeded")
    return _heartbeats(talk, seconds)


def _heartbeats(talk: Talk, seconds: float) -> None:
    for beat in range(math.ceil(2 * seconds) - 1):
        if talk.wait(0.5):
            return None
        if beat == 0:
            talk.start_stream()
        talk.item({})
    return None if talk.wait(0.3) else talk.end("context deadline exceeded")


def _pin_rm(talk: Talk) -> None:
    if talk.node.pins.pop(talk.cid, None) is None:
        return talk.error("not pinned or pinned indirectly")
    return talk.json({"Pins": [talk.cid]})


def _dag_stat(talk: Talk) -> None:
    rows: list[dict[str, object]] = []
    for cid in talk.call.args:
        content = talk.node.content.get(cid, Content(missing=True))
        if content.missing:
            return talk.error(f"block was not found locally (offline): ipld: could not find {cid}")
        rows.append({"Cid": cid, "Size": content.size, "NumBlocks": content.blocks})
    size = sum(int(str(row["Size"])) for row in rows)
    blocks = sum(int(str(row["NumBlocks"])) for row in rows)
    return talk.json({"UniqueBlocks": blocks, "TotalSize": size, "Ratio": 1, "DagStats": rows})


def _files_stat(talk: Talk) -> None:
    content = talk.node.content.get(talk.cid, Content(missing=True))
    if content.missing:
        return talk.error(f"block was not found locally (offline): ipld: could not find {talk.cid}")
    return talk.json(
        {"Hash": talk.cid, "Size": 0, "CumulativeSize": content.size, "Blocks": content.links, "Type": content.kind}
    )


COMMANDS: dict[str, Callable[[Talk], None]] = {
    "version": _version,
    "id": _id,
    "pin/ls": _pin_ls,
    "pin/add": _pin_add,
    "pin/rm": _pin_rm,
    "dag/stat": _dag_stat,
    "files/stat": _files_stat,
}
