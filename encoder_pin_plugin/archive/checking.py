"""Is the archive in order? Read-only, for `archive check`."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.files import MIGRATED_NAME, reading
from encoder_pin_plugin.archive.reading import entries_in, read_blocks
from encoder_pin_plugin.archive.repeats import line_numbers, repeats
from encoder_pin_plugin.archive.totals import plain_sizes

if TYPE_CHECKING:
    from pathlib import Path

    from encoder_pin_plugin.archive.reading import Block, Entry
    from encoder_pin_plugin.archive.repeats import Repeat

_TOLD = 100
"""Bad lines that are told one by one: a file that is none of ours could have millions."""

_REPEATS_TOLD = 10

Pair = tuple[int, int]
"""The number of a line, and that of the first one with its key."""

_GOOD_TIME = re.compile(rb'"local_pin_timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"')


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What is found in an archive.

    Args:
        path: of the file.
        lines: complete lines.
        records: those that hold a record.
        odd: records of which something had to be normalised.
        faults: number and fault of the first bad lines, at most 100.
        doubles: lines that stand before, byte for byte, and that a repair drops; none of what was migrated, where the
            last line of a key decides and all stay.
        double_lines: the numbers of the first of them, at most 10, each with that of the line that stood before.
        variants: other lines whose key stood before and was not withdrawn since. They stay, and there is nothing to do.
        variant_lines: likewise.
        torn: bytes after the last newline: an append under way, or a torn one that the next append heals.
        warnings: what is wrong with the file itself, in words.
    """

    path: Path
    lines: int
    records: int
    odd: int
    faults: tuple[tuple[int, str], ...]
    doubles: int
    double_lines: tuple[Pair, ...]
    variants: int
    variant_lines: tuple[Pair, ...]
    torn: int
    warnings: tuple[str, ...]

    @property
    def invalid(self) -> int:
        """How many lines hold no record."""
        return self.lines - self.records

    @property
    def repairable(self) -> bool:
        """Whether a repair has something to do."""
        return bool(self.invalid or self.doubles or self.torn)

    @property
    def good(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.repairable or self.warnings)


def check(path: Path) -> Checked:
    """Look at every line of `path`; a missing file is in order. Raises `StorageError`, `ArchiveError`."""
    found = _Found()
    with reading(path) as descriptor:
        if descriptor is not None:
            _look(descriptor, found)
            _look_for_repeats(descriptor, found, all_stay=path.name == MIGRATED_NAME)
            found.warnings = _warnings(os.fstat(descriptor), path)
    return Checked(
        path=path,
        lines=found.lines,
        records=found.records,
        odd=found.odd,
        faults=tuple(found.faults),
        doubles=found.doubles.count,
        double_lines=found.doubles.numbers,
        variants=found.variants.count,
        variant_lines=found.variants.numbers,
        torn=found.torn,
        warnings=tuple(found.warnings),
    )


class _Repeats:
    """How many there are, and the first of them in the order of the file."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Repeat] = []
        self.numbers: tuple[Pair, ...] = ()

    def add(self, repeat: Repeat) -> None:
        self.count += 1
        self.first = sorted((*self.first, repeat))[:_REPEATS_TOLD]

    def find_numbers(self, descriptor: int) -> None:
        numbers = line_numbers(descriptor, {offset for it in self.first for offset in (it.first, it.later)})
        self.numbers = tuple((numbers[it.later], numbers[it.first]) for it in self.first)


class _Found:
    lines = 0
    records = 0
    odd = 0
    torn = 0

    def __init__(self) -> None:
        self.doubles, self.variants = _Repeats(), _Repeats()
        self.faults: list[tuple[int, str]] = []
        self.warnings: list[str] = []

    def add(self, entry: Entry) -> None:
        self.lines += 1
        if entry.record is not None:
            self.records += 1
            self.odd += bool(entry.record.flags)
        elif len(self.faults) < _TOLD:
            self.faults.append((entry.number, entry.problem))


def _look(descriptor: int, found: _Found) -> None:
    end = 0
    for block in read_blocks(descriptor):
        _look_at(block, found)
        end = block.end
    found.torn = os.fstat(descriptor).st_size - end


def _look_for_repeats(descriptor: int, found: _Found, *, all_stay: bool) -> None:
    for repeat in repeats(descriptor):
        (found.doubles if repeat.exact and not all_stay else found.variants).add(repeat)
    for kind in (found.doubles, found.variants):
        kind.find_numbers(descriptor)


def _look_at(block: Block, found: _Found) -> None:
    sizes = None if block.too_long else plain_sizes(block.data)
    if sizes is not None and b"null" not in sizes and len(_GOOD_TIME.findall(block.data)) == len(sizes):
        found.lines += len(sizes)
        found.records += len(sizes)
        return
    for entry in entries_in(block, found.lines + 1):
        found.add(entry)


def _warnings(status: os.stat_result, path: Path) -> list[str]:
    warnings = []
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        warnings.append(f"others may write to {path}: chmod go-w {path}")
    owner = path.parent.stat().st_uid
    if status.st_uid != owner:
        warnings.append(f"{path} belongs to user {status.st_uid}, its folder to user {owner}: chown {owner} {path}")
    return warnings
