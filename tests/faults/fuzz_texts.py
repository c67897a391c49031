"""Targets that read one text: CIDs, addresses, a line, a job file, the settings, a CAR."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from encoder_pin_plugin.archive.record import InvalidLine, parse_line
from encoder_pin_plugin.archive.totals import plain_sizes
from encoder_pin_plugin.errors import ArchiveError, InvalidCid, InvalidJobFile, InvalidSettings
from encoder_pin_plugin.lazy.jobfile import new_submission, read_submission
from encoder_pin_plugin.nodes.car import BadCar, check_car, cid_bytes, links_of, split_cid
from encoder_pin_plugin.nodes.cid import parse_cid
from encoder_pin_plugin.nodes.multibase import BadBase, decode_multibase
from encoder_pin_plugin.nodes.targets import read_target
from encoder_pin_plugin.settings import data_dir, load_settings, sources
from encoder_pin_plugin.settings.address import parse_address
from tests.faults.fuzz_targets import Defect, Target
from tests.nodes.cars import car, folder, node, raw, text

CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
V1 = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
OTHERS = (
    "zdj7WhuEjrB52m1BisYCtmjH1hSKa7yZ3jEZ9JcXaFRD51wVz",
    "k2jmtxu61bnhrtj301lw7zizknztocdbeqhxgv76l2q9t36fn9jbzipo",
    "f01551220c3c4733ec8affd06cf9e9ff50ffc6bcd2ec85a6170004bb709669c31de94391a",
    "bafkqabdxn5zgy",
)
LINE = (
    f'{{"hash":"{CID}","job_id":"job","size_mb":1.5,"type":"directory","failed_lazy_attempts":3,"local_pin_timestamp":'
    '"2026-11-24T10:00:00.000Z","source":"failed_lazy_pin_fallback","node_id":"encoder-1"}\n'
)
JOB = f'{{"cid":"{V1}","job_id":"job","size_mb":1.5,"type":"file","completed_at":"2026-11-24T10:00:00Z","raw":{{}}}}'
ENV = "DATA_DIR=data\nLAZY_PIN_BACKOFF=60,300\nexport NODE_NAME='x'\nIPFS_API_AUTH=\"bearer:abc\"\n# comment\n"
TARGET = "cluster+http://c.example:9094?replication-min=2&quorum=2&peer=p1@http://10.0.0.1:5001"
ADDRESSES = ("/ip4/127.0.0.1/tcp/5001", "https://node.example:443/api", "/dns4/x/tcp/443/https", "/unix/run%2Fkubo")


def text_targets(folder: Path) -> dict[str, Target]:
    """By name; `folder` is for the settings' files."""
    line, job = LINE.encode(), JOB.encode()
    return {
        "cid": Target(read=_cid, samples=tuple(text.encode() for text in (CID, V1, *OTHERS)), refuses=(InvalidCid,)),
        "address": Target(
            read=_address, samples=tuple(text.encode() for text in (*ADDRESSES, TARGET)), refuses=(InvalidSettings,)
        ),
        "archive-line": Target(read=_line, samples=(line, line.replace(b"1.5", b"null")), refuses=(InvalidLine,)),
        "job-file": Target(read=_job, samples=(job, _sealed(job)), refuses=(InvalidJobFile,)),
        "settings": Target(read=_settings(folder), samples=(ENV.encode(), *map(_setting, ADDRESSES))),
        "car": Target(read=_car, samples=_CARS, refuses=(BadCar,)),
    }


def _cid(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(BadBase):
        decode_multibase(text or "-")
    found = parse_cid(text)
    if parse_cid(found.text) != found:
        raise Defect(f"{found.text} is read as another CID than what it was written for")
    if split_cid(cid_bytes(found.text))[1]:
        raise Defect(f"{found.text} has bytes after its end")


def _address(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(InvalidSettings):
        read_target(text).open()
    parse_address(text)


def _line(data: bytes) -> None:
    """Both ways to read lines agree on them; and what was read and written is read as the same."""
    quick = plain_sizes(data) if data.endswith(b"\n") else None
    if quick is not None:
        sizes = [parse_line(line + b"\n").size_mb for line in data[:-1].split(b"\n")]
        if sizes != [None if size == b"null" else float(size) for size in quick]:
            raise Defect("the quick way to add up sizes finds others than reading line by line")
    record = parse_line(data)
    try:
        line = record.line()
    except ArchiveError:
        return
    if parse_line(line) != record:
        raise Defect("a line is not read back as it was written")


def _job(data: bytes) -> None:
    found = read_submission("job", data)
    again = new_submission(found.job)
    if read_submission(again.name, again.body).key != found.key:
        raise Defect("a job file is not read back as the job that was written")


def _sealed(job: bytes) -> bytes:
    return new_submission(read_submission("job", job).job).body


def _no_object(data: bytes) -> None:
    try:
        read_submission("job", data)
    except InvalidJobFile as error:
        if "no object" in str(error):
            raise Defect("a planted one") from error


PLANTED = Target(read=_no_object, samples=(JOB.encode(),))
"""A defect that is none, some steps away from the sample: by it the guided rig shows that it sees."""


def _settings(folder: Path) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        (folder / ".env").write_bytes(data)
        sources({}, folder)
        for reader in (data_dir, load_settings):
            with contextlib.suppress(InvalidSettings):
                reader({}, folder)

    return read


def _setting(address: str) -> bytes:
    return f"IPFS_API_ADDR={address}\nTHREESPEAK_IPFS_ENDPOINT={address}\nLAZY_PIN_TIMEOUT=1e3\n".encode()


def _car(data: bytes) -> None:
    """As what a node sends for a folder, and as the block of a folder, which a node sends right."""
    root = node(data)
    for content, name in ((data, _FOLDER[0]), (car(root[0], [root, _FILE]), root[0])):
        with contextlib.suppress(BadCar):
            check_car([content], text(name))
    list(links_of(data[:40], data))
    split_cid(data)


_FILE = raw(b"a segment")
_FOLDER = folder(_FILE[0])
_WIDE = folder(_FILE[0], b"\x01\x55\x00\x03abc", _FOLDER[0])
_CARS = (car(_FOLDER[0], [_FOLDER, _FILE]), _FOLDER[1], _WIDE[1], _FOLDER[0] + _FOLDER[1])
