"""Whatever bytes come from outside: each reader of them answers or refuses in its own words, soon and in little memory.

Samples of each kind of input are mutated: bits, pieces, doublings, numbers, nesting. A reader may raise the errors of
ours that it names, and nothing else.
"""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from encoder_pin_plugin.archive.record import parse_line
from encoder_pin_plugin.errors import EncoderPinError
from encoder_pin_plugin.lazy.jobfile import read_submission
from encoder_pin_plugin.nodes.address import parse_address
from encoder_pin_plugin.nodes.cid import parse_cid
from encoder_pin_plugin.nodes.cluster_status import read_status
from encoder_pin_plugin.settings import load_settings
from tests.faults.rig import RigReport, Say, scratch

CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
V1 = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
LINE = (
    f'{{"hash":"{CID}","job_id":"job","size_mb":1.5,"type":"directory","failed_lazy_attempts":3,"local_pin_timestamp":'
    '"2026-11-24T10:00:00.000Z","source":"failed_lazy_pin_fallback","node_id":"encoder-1"}\n'
)
JOB = f'{{"cid":"{V1}","job_id":"job","size_mb":1.5,"type":"file","completed_at":"2026-11-24T10:00:00Z","raw":{{}}}}'
STATUS = f'{{"cid":"{CID}","allocations":[],"peer_map":{{"p":{{"peername":"x","status":"pinned","error":""}}}}}}'
ENV = "DATA_DIR=data\nLAZY_PIN_BACKOFF=60,300\nexport NODE_NAME='x'\nIPFS_API_AUTH=\"bearer:abc\"\n# comment\n"

SLOW, LARGE = 1.0, 64 << 20
"""Seconds, and bytes, that no input may cost."""

_NASTY = [
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\r\n", b"1e999", b"-0", b"NaN", b"9" * 5000, b"[" * 3000, b'{"a":' * 2000,
    b'"', b"\\u0000", b"\\ud800", b"\xe2\x80\xa8", b"\x1b[31m", b"null", b"true", b"{}", b"[]", b" " * 5000, b"${HOME}",
    b"=", b",",
]  # fmt: skip


def _settings(folder: Path) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        (folder / ".env").write_bytes(data)
        return load_settings({}, folder)

    return read


def _status(data: bytes) -> object:
    """The JSON itself is read, within limits, before: see the lies of the fake nodes."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return read_status(value).judged(1) if isinstance(value, dict) else None


def readers(folder: Path) -> dict[str, tuple[Callable[[bytes], object], list[bytes]]]:
    """Each reader, with samples of what it reads."""
    return {
        "CID": (lambda data: parse_cid(data.decode("utf-8", "replace")), [CID.encode(), V1.encode()]),
        "archive line": (parse_line, [LINE.encode()]),
        "job file": (lambda data: read_submission("job", data), [JOB.encode()]),
        "address": (lambda data: parse_address(data.decode("utf-8", "replace")),
                    [b"/ip4/127.0.0.1/tcp/5001", b"https://node.example:443/api", b"/dns4/x/tcp/443/https"]),
        ".env": (_settings(folder), [ENV.encode()]),
        "Cluster's reply": (_status, [STATUS.encode()]),
    }  # fmt: skip


def run(seed: int, count: int, say: Say) -> RigReport:
    """Have `count` inputs read; what crashed, was slow, or large."""
    dice, problems = random.Random(seed), list[str]()
    with scratch("fuzz", keep=lambda: bool(problems)) as folder:
        table = readers(folder)
        tracemalloc.start()
        try:
            for number in range(count):
                name = dice.choice(list(table))
                read, samples = table[name]
                problems += _try(name, read, _mutated(dice.choice(samples), dice))
                if number % 20_000 == 0:
                    say(f"{number:,} inputs, {len(problems)} problems")
        finally:
            tracemalloc.stop()
    return RigReport(fault="mutated inputs", tried=count, torn=len(problems), notes=(f"seed {seed}", *problems[:8]))


def _try(name: str, read: Callable[[bytes], object], data: bytes) -> list[str]:
    tracemalloc.reset_peak()
    before, began = tracemalloc.get_traced_memory()[0], time.process_time()
    try:
        read(data)
    except EncoderPinError:
        pass
    except Exception as error:  # noqa: BLE001 - that is the question
        return [f"{name}: {type(error).__name__}: {str(error)[:100]} for {data[:200]!r}"]
    taken, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1] - before
    return [f"{name}: {taken:.1f} s, {peak >> 20} MB for {data[:200]!r}"] if taken > SLOW or peak > LARGE else []


def _mutated(data: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.choice([0, 1, 1, 2, 4, 8])):
        data = _once(data, dice)
    return data[:200_000]


def _once(data: bytes, dice: random.Random) -> bytes:
    at, to = sorted((dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)))
    kind = dice.randrange(6)
    if kind == 0 and data:
        place = dice.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << dice.randrange(8)]) + data[place + 1 :]
    if kind == 1:
        return data[:at] + data[to:]
    if kind == 2:
        return data[:at] + dice.choice(_NASTY) + data[at:]
    if kind == 3:
        return data[:at] + dice.choice(_NASTY) + data[to:]
    if kind == 4:
        return data[:to] + data[at:to] * dice.choice([1, 2, 50]) + data[to:]
    return data[:at] + dice.randbytes(dice.randrange(20)) + data[at:]
