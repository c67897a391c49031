"""The board as a person sees it: a table that is redrawn in place on a terminal, quiet lines with a time elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from examples.encoder_harness.board import Board, Row, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

_BRIEF = 110
_COLOURS = {
    State.REPORTED: "cyan",
    State.RETRYING: "yellow",
    State.FALLING_BACK: "magenta",
    State.PINNED: "green",
    State.ARCHIVED: "blue",
    State.FAILED: "red",
}


def print_news(before: Row, after: Row) -> None:
    """A listener for the board: one line for each step of a job."""
    now = datetime.now(UTC).strftime("%H:%M:%S")
    click.echo(f"{now}  {after.job_id}  {in_words(before, after)}")


def in_words(before: Row, after: Row) -> str:
    """What happened to a job, in a line."""
    if after == before:
        tries = f" after {_attempts(after.attempts)}" if after.attempts else ""
        return f"reported complete before this run: {short(after.cid)}, {after.state}{tries}"
    match after.state:
        case State.REPORTED:
            return f"reported complete in {after.told_ms:.1f} ms: {short(after.cid)}"
        case State.RETRYING:
            return f"attempt {after.attempts} failed: {brief(after)}"
        case State.FALLING_BACK if before.state is not State.FALLING_BACK:
            return (
                f"falling back after {_attempts(after.attempts)}: pinning {short(after.cid)} on the encoder's own node"
            )
        case State.PINNED:
            return f"pinned on the supernode, proved ({_attempts(max(after.attempts, 1))})"
        case State.ARCHIVED:
            return "archived: safe on the encoder's own node, its line stands in the archive"
        case State.FAILED:
            return f"not encoded: {after.error}"
    return after.state.value


@contextmanager
def shown(board: Board) -> Iterator[None]:
    """Show the board while the block runs. Elsewhere than on a terminal `print_news` does it, as the news come."""
    if not sys.stdout.isatty():
        yield
        return
    from rich.live import Live

    with Live(get_renderable=lambda: table(board.rows()), refresh_per_second=4):
        yield


def table(rows: list[Row]) -> Table:
    """The board as a table."""
    from rich.table import Table
    from rich.text import Text

    view = Table(expand=True, header_style="bold")
    for name, options in _COLUMNS.items():
        view.add_column(name, **options)  # type: ignore[arg-type]
    now = time.monotonic()
    for row in rows:
        cells = (row.job_id, short(row.cid), _state(row), str(row.attempts or ""), _due(row, now), brief(row))
        # Text, never markup: what a node said may look like markup.
        view.add_row(*(Text(cell, style=_COLOURS.get(row.state, "") if cell == _state(row) else "") for cell in cells))
    return view


_COLUMNS: dict[str, dict[str, object]] = {
    "job": {"no_wrap": True},
    "CID": {"no_wrap": True},
    "state": {"no_wrap": True},
    "attempts": {"justify": "right"},
    "next try": {"justify": "right", "no_wrap": True},
    "last error": {"overflow": "ellipsis", "no_wrap": True, "ratio": 1},
}


def short(cid: str) -> str:
    """A CID that a person can still tell from others: its end is what differs most."""
    return cid if len(cid) <= 16 else f"{cid[:6]}…{cid[-8:]}"


def brief(row: Row) -> str:
    """The last error of a job, short enough for a line; the log has all of it."""
    text = " ".join(row.error.split())
    text = text.replace(row.cid, short(row.cid)) if row.cid else text
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}…"


def _state(row: Row) -> str:
    return f"encoding {row.done:4.0%}" if row.state is State.ENCODING else row.state.value


def _due(row: Row, now: float) -> str:
    if row.next_try is None or row.state is not State.RETRYING:
        return ""
    return f"~{row.next_try - now:.0f} s" if row.next_try > now else "now"


def _attempts(number: int) -> str:
    return f"{number} attempt{'' if number == 1 else 's'}"
