"""`jobs`: single jobs, as many as a person can look at."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from encoder_pin_plugin.operate.context import Operator, json_option, pass_operator
from encoder_pin_plugin.operate.output import count, duration, megabytes, one_line, say, say_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from encoder_pin_plugin.operate.rows import JobRow, Wanted

STATES = ("open", "arrived", "pending", "falling_back", "overdue", "pinned", "archived", "rejected", "all")


@click.command()
@click.option("--state", type=click.Choice(STATES), help="Only these; default: the open and the rejected ones.")
@click.option("--cid", metavar="CID", help="Only jobs with this CID, in whatever state.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="At most so many.")
@json_option
@pass_operator
def jobs(operator: Operator, as_json: bool, state: str | None, cid: str | None, limit: int) -> None:
    """List jobs, the one that waits longest first.

    What happened to each, and what comes next. A job is "arrived" until a worker has seen its file, and "overdue" when
    it is open for longer than FALLBACK_AFTER.

    \b
    Examples:
      encoder-pin jobs
      encoder-pin jobs --state overdue --json | jq -r '.jobs[].cid'
    """
    from encoder_pin_plugin.nodes.cid import canonical
    from encoder_pin_plugin.operate.report import FALLBACK_AFTER
    from encoder_pin_plugin.operate.rows import Wanted

    settings, _ = operator.settings_or_why()
    old = settings.fallback_after if settings else FALLBACK_AFTER
    wanted = Wanted(
        state=state or ("all" if cid else "open"),
        cid=canonical(cid) if cid else None,
        overdue=int((time.time() - old) * 1000),
        limit=limit,
    )
    rows, total = _find(operator, wanted, with_rejected=state is None)
    shown = rows[:limit]
    if as_json:
        say_json({"jobs": [asdict(row) for row in shown], "total": total, "left_out": total - len(shown)})
    else:
        _show(shown, total)


def _find(operator: Operator, wanted: Wanted, *, with_rejected: bool) -> tuple[list[JobRow], int]:
    """The rows, and how many there are in all."""
    from encoder_pin_plugin.lazy.spool import Spool
    from encoder_pin_plugin.lazy.worker import LEDGER_NAME
    from encoder_pin_plugin.operate.ledger_view import view_ledger
    from encoder_pin_plugin.operate.rows import arrived_jobs, first, indexed_jobs, rejected_jobs

    data_dir = operator.open_data_dir()
    spool = Spool(data_dir)
    rows: list[JobRow] = []
    total = 0
    with view_ledger(data_dir / LEDGER_NAME) as ledger:
        if ledger is not None:
            rows, total = indexed_jobs(ledger, wanted)
    files: list[JobRow] = []
    if wanted.state in ("open", "arrived", "all"):
        files += first(arrived_jobs(spool), wanted)
    if wanted.state in ("rejected", "all") or with_rejected:
        files += first(rejected_jobs(spool), wanted)
    return rows + files, total + len(files)


def _show(rows: list[JobRow], total: int) -> None:
    now = time.time() * 1000
    for row in rows:
        for line in lines_of(row, now):
            say(line)
    if not rows:
        say("no such job")
    elif total > len(rows):
        say(f"… and {count(total - len(rows), 'more job')}: --limit {total} shows all")


def lines_of(row: JobRow, now: float) -> Iterator[str]:
    """A job for a person, in two or three lines."""
    name = one_line(row.job_id if row.job_id is not None else row.file or "?", 80)
    yield f"{row.key[:12]}  {name}  {row.state}{_details(row, now)}"
    if row.cid:
        size = "" if row.size_mb is None else f"  {megabytes(row.size_mb)}"
        yield f"{'':12}  {row.cid}{size}{f'  {row.type}' if row.type else ''}"
    if row.error:
        yield f"{'':12}  {row.reason + ': ' if row.reason else ''}{one_line(row.error, 400)}"
    if row.file and row.job_id is not None and row.state == "rejected":
        yield f"{'':12}  {one_line(row.file)}"


def _details(row: JobRow, now: float) -> str:
    parts = []
    if row.attempts or row.open:
        parts.append(count(row.attempts, "failed attempt") if row.open else count(row.attempts, "attempt"))
    if row.fallbacks:
        parts.append(count(row.fallbacks, "failed fallback"))
    if row.open and row.waiting_since is not None:
        parts.append(f"open for {duration((now - row.waiting_since) / 1000)}")
    elif row.closed_at is not None:
        parts.append(f"{duration((now - row.closed_at) / 1000)} ago")
    elif row.waiting_since is not None:
        parts.append(f"{duration((now - row.waiting_since) / 1000)} old")
    parts.append(_next(row, now))
    return "".join(f", {part}" for part in parts if part)


def _next(row: JobRow, now: float) -> str:
    if row.in_flight and row.open:
        return "in flight"
    if row.next_at is None or not row.open:
        return ""
    return f"next try in {duration((row.next_at - now) / 1000)}" if row.next_at > now else "due now"
