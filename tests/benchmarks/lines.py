"""What a benchmark says: lines, each a number of ours beside its peer or limit, measured in the same run."""

from __future__ import annotations

import json
import operator
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table.

    Args:
        name: of the benchmark.
        what: is measured.
        ours, peer: the two numbers, in `unit`.
        unit: of both, such as `ms` or `pins/s`.
        against: what the peer or limit is.
        aim: what the ratio should be, such as `<= 3`; empty where there is no aim.
        note: anything a reader needs to judge the ratio.
        ratios: one for each round, where the two were measured in turns: their median then is the ratio, because
            what else the machine does changes from minute to minute.
    """

    name: str
    what: str
    ours: float
    peer: float
    unit: str
    against: str
    aim: str = ""
    note: str = ""
    ratios: tuple[float, ...] = ()

    @property
    def ratio(self) -> float:
        """Ours to the peer's."""
        if self.ratios:
            return statistics.median(self.ratios)
        return self.ours / self.peer if self.peer else float("inf")

    @property
    def reached(self) -> bool | None:
        """Whether the ratio is what it should be; None without an aim."""
        if not self.aim:
            return None
        sign, _, number = self.aim.partition(" ")
        return _SIGNS[sign](self.ratio, float(number))


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a benchmark gets.

    Args:
        folder: an empty folder of its own.
        quick: whether small sizes are wanted.
        say: tells a person what is being done.
    """

    folder: Path
    quick: bool
    say: Callable[[str], None]

    def sized(self, full: int, quick: int) -> int:
        """One of two sizes."""
        return quick if self.quick else full


Benchmark = Callable[[Run], Iterator[Line]]


def as_table(lines: Sequence[Line]) -> str:
    """The lines under their heads, in columns."""
    rows = [_HEADS, *(_cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    text = []
    for number, row in enumerate(rows):
        text.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number and (note := _note(lines[number - 1])):
            text.append(f"    {note}")
    return "\n".join(text)


def as_json(lines: Sequence[Line], command: str) -> str:
    """The same for programs."""
    rows = [asdict(line) | {"ratio": line.ratio, "reached": line.reached} for line in lines]
    return json.dumps({"command": command, "lines": rows}, indent=1)


_SIGNS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, "<": operator.lt, ">=": operator.ge}
_HEADS = ("benchmark", "what", "ours", "against", "peer", "ratio", "aim", "")


def _cells(line: Line) -> tuple[str, ...]:
    mark = {True: "reached", False: "MISSED", None: ""}[line.reached]
    ours, peer = (f"{_number(value)} {line.unit}" for value in (line.ours, line.peer))
    return (line.name, line.what, ours, line.against, peer, f"{line.ratio:.2f}", line.aim, mark)


def _note(line: Line) -> str:
    rounds = "by round " + " ".join(f"{ratio:.2f}" for ratio in line.ratios) if len(line.ratios) > 1 else ""
    return "; ".join(part for part in (rounds, line.note) if part)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
