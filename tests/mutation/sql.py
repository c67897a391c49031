"""Breaks the ledger's SQL, which no tool for Python looks into: it says who may claim a job, and what a step writes.

A statement is a text of `statements.py`, `timeline.py` or `mark.py`, or one inside a method of the ledger. Each mutant
is planted in a fork of this process, in memory alone, and the ledger's tests run on it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from encoder_pin_plugin.lazy import ledger, mark, statements, timeline

SECONDS = 60.0
"""After which a mutant has run out of time."""

SWAPS = (
    (r"\bAND\b", "OR"), (r"\bOR\b(?! REPLACE)", "AND"), ("<=", "<"), (r"(?<![<])>(?![=])", ">="), (r"<(?![=>])", "<="),
    ("<>", "="), (r"\bIS NULL", "IS NOT NULL"), (r"\bIS NOT NULL", "IS NULL"), (r"\bNOT EXISTS", "EXISTS"),
    (r"\bNOT IN\b", "IN"), (r"\bmin\(", "max("), (r"\+1\b", "+0"), (r"(?<=[+])[:?]\w*", "0"),
    (r"=0\b", "=1"), (r"=1\b", "=0"), (r"ORDER BY \w+", r"\g<0> DESC"), (r"LIMIT [:?]\w*", ""), (r"\bDISTINCT\b", ""),
)  # fmt: skip
"""What is found, one place at a time, and what is put there."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One text of the ledger, and what is put in its place."""

    place: str
    change: str
    plant: Callable[[], None]


def mutants() -> Iterator[Mutant]:
    """Every statement, broken in every way."""
    yield from _of_constants()
    for number, value in enumerate(statements.AGREE):
        for change, text in broken(value):
            yield Mutant(place=f"lazy.sql.AGREE[{number}]", change=change, plant=_agreement(number, text))
    yield from _of_methods()


def _of_constants() -> Iterator[Mutant]:
    for written, used in ((statements, ledger), (timeline, timeline), (mark, mark)):
        for name, value in vars(written).items():
            if isinstance(value, str) and name.isupper() and hasattr(used, name):
                for change, text in broken(value):
                    yield Mutant(place=f"lazy.sql.{name}", change=change, plant=_constant(used, name, text))


def _of_methods() -> Iterator[Mutant]:
    for name, method in vars(ledger.Ledger).items():
        for value in getattr(getattr(method, "__code__", None), "co_consts", ()):
            if isinstance(value, str) and re.search(r"\b(SELECT .* FROM|UPDATE \w+ SET|DELETE FROM)\b", value):
                for change, text in broken(value):
                    plant = _inline(method, value, text)
                    yield Mutant(place=f"lazy.sql.Ledger.{name}", change=change, plant=plant)


def broken(text: str) -> Iterator[tuple[str, str]]:
    """A statement in each way in which it can be wrong, with the words for it."""
    seen = set()
    for found, put in SWAPS:
        for match in re.finditer(found, text):
            mutant = text[: match.start()] + match.expand(put) + text[match.end() :]
            yield (
                f"{_around(text, match.start(), match.end())}  =>  {_around(mutant, match.start(), match.end())}",
                mutant,
            )
    for start, end in _assignments(text):
        mutant = text[:start] + text[end:]
        if mutant not in seen:
            yield f"{' '.join(text[start:end].split())}  =>  nothing", mutant
            seen.add(mutant)


def tried(mutant: Mutant, tests: list[str]) -> str:
    """What became of it."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        mutant.plant()
        os._exit(int(pytest.main(["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", *tests])))
    deadline = time.monotonic() + SECONDS
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return "timeout"
        time.sleep(0.01)
    return {0: "survived", 1: "killed"}.get(os.waitstatus_to_exitcode(done[1]), "could not be tried")


def _constant(module: types.ModuleType, name: str, text: str) -> Callable[[], None]:
    return lambda: setattr(module, name, text)


def _agreement(number: int, text: str) -> Callable[[], None]:
    return lambda: statements.AGREE.__setitem__(number, text)


def _inline(method: types.FunctionType, old: str, new: str) -> Callable[[], None]:
    def plant() -> None:
        constants = tuple(new if value == old else value for value in method.__code__.co_consts)
        method.__code__ = method.__code__.replace(co_consts=constants)

    return plant


def _around(text: str, start: int, end: int) -> str:
    return " ".join(text[max(0, start - 25) : end + 25].split())


def _assignments(text: str) -> Iterator[tuple[int, int]]:
    """Where the single assignments of an UPDATE stand, each with the comma that goes with it."""
    begin = re.search(r"\bSET\b", text)
    if not begin:
        return
    end = re.search(r"\bWHERE\b|$(?![\s\S])", text[begin.end() :])
    last = begin.end() + (end.start() if end else 0)
    cuts, depth = [begin.end()], 0
    for position in range(begin.end(), last):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if text[position] == "," and not depth:
            cuts.append(position)
    for number, start in enumerate(cuts[1:], start=1):
        yield start, cuts[number + 1] if number + 1 < len(cuts) else last
    if len(cuts) > 1:
        yield cuts[0], cuts[1] + 1


def main() -> None:
    tests = sys.argv[2:]
    pytest.main(["--collect-only", "-qqq", "-p", "no:cacheprovider", *tests])
    results = {
        f"{mutant.place}__mutmut_{number}": {"status": tried(mutant, tests), "change": mutant.change}
        for number, mutant in enumerate(mutants(), start=1)
    }
    Path(sys.argv[1]).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
