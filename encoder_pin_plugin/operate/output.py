"""How things are written for people: one line each, in words and units, nothing in it that a terminal would act on."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def say(text: str = "", *, colour: str | None = None, bold: bool = False, end: str = "\n") -> None:
    """A line, or several, on stdout."""
    click.secho(harmless(text), fg=colour, bold=bold or None, nl=False)
    click.echo(end, nl=False)


def warn(text: str) -> None:
    """A warning on stderr."""
    click.secho("warning: ", err=True, fg="yellow", nl=False)
    click.echo(harmless(text), err=True)


def say_json(document: object) -> None:
    """The one JSON document of a command."""
    click.echo(json.dumps(document, indent=2))


def harmless(text: str) -> str:
    """`text` with everything escaped that a terminal would act on; its own line breaks stay."""
    if all(map(str.isprintable, text.split("\n"))):
        return text
    from encoder_pin_plugin.settings.values import plain  # not before it is needed

    return "\n".join(plain(line) for line in text.split("\n"))


def one_line(text: str, limit: int = 300) -> str:
    """A text from outside on one line of bounded length."""
    line = harmless(" ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Show a person that something takes its time; nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(harmless(text)):
        yield


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines of aligned columns."""
    safe = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*safe, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in safe]


def duration(seconds: float) -> str:
    """A time span in its two largest units: "2 h 10 min"."""
    left = max(round(seconds), 0)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def megabytes(mb: float | None) -> str:
    """A size in MB (10^6 bytes)."""
    return "? MB" if mb is None else f"{mb:,.1f} MB"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: "1 job", "2 jobs"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
