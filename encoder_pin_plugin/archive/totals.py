"""How many lines wait and how many MB they are: `wc -l` and `jq '.size_mb' | awk`, several times as fast.

A line that is written exactly as we write it is matched by one expression; every other line is parsed. Both ways give
the same numbers, and a line that is no record is counted, not summed, where `jq` would stop.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.files import open_to_read
from encoder_pin_plugin.archive.index import PLAIN_PREFIX
from encoder_pin_plugin.archive.reading import lines_of, read_blocks
from encoder_pin_plugin.archive.record import InvalidLine, parse_line
from encoder_pin_plugin.durable import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from encoder_pin_plugin.archive.reading import Block

_TEXT = rb'"[ !#-\[\]-~]{1,4096}"'
_PLAIN_LINE = re.compile(
    rb"(?m)^" + PLAIN_PREFIX + rb',"size_mb":((?:0|[1-9]\d{0,10})(?:\.\d{1,17})?|null)'
    rb',"type":"(?:directory|file)","failed_lazy_attempts":(?:0|[1-9]\d{0,8})'
    rb',"local_pin_timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"'
    rb',"source":' + _TEXT + rb',"node_id":' + _TEXT + rb"\}\n"
)


@dataclass(frozen=True, kw_only=True)
class Total:
    """What an archive adds up to.

    Args:
        records: lines that hold a record, duplicates included, as `wc -l` counts them.
        size_mb: the sum of the known sizes, MB.
        unknown_sizes: records without a size.
        invalid: lines that hold none.
    """

    records: int
    size_mb: float
    unknown_sizes: int
    invalid: int


class _Count:
    records = 0
    unknown_sizes = 0
    invalid = 0


def total_of(path: Path) -> Total:
    """The total of a file; of nothing, zero. Raises `StorageError`, `ArchiveError` where it cannot be read."""
    descriptor = open_to_read(path)
    if descriptor is None:
        return Total(records=0, size_mb=0.0, unknown_sizes=0, invalid=0)
    count = _Count()
    try:
        with storage_errors("read", path):
            size = math.fsum(chain.from_iterable(_sizes(read_blocks(descriptor), count)))
    finally:
        os.close(descriptor)
    return Total(records=count.records, size_mb=size, unknown_sizes=count.unknown_sizes, invalid=count.invalid)


def plain_sizes(lines: bytes) -> list[bytes] | None:
    """The sizes in some complete lines, as written, if each line is exactly as we write it, without escapes and
    further keys: then all are records with nothing odd but a size of `null`. None where any is not."""
    sizes = _PLAIN_LINE.findall(lines)
    return sizes if len(sizes) == lines.count(b"\n") else None


def _sizes(blocks: Iterable[Block], count: _Count) -> Iterator[Iterable[float]]:
    for block in blocks:
        if block.too_long:
            count.invalid += 1
            continue
        found = plain_sizes(block.data)
        if found is None:
            yield _sizes_one_by_one(block, count)
            continue
        unknown = found.count(b"null")
        count.records += len(found)
        count.unknown_sizes += unknown
        yield map(float, (size for size in found if size != b"null") if unknown else found)


def _sizes_one_by_one(block: Block, count: _Count) -> Iterator[float]:
    for _, line in lines_of(block):
        size = _size(line, count)
        if size is not None:
            yield size


def _size(line: bytes, count: _Count) -> float | None:
    plain = _PLAIN_LINE.fullmatch(line)
    try:
        size = float(plain[1]) if plain and plain[1] != b"null" else parse_line(line).size_mb
    except InvalidLine:
        count.invalid += 1
        return None
    count.records += 1
    count.unknown_sizes += size is None
    return size
