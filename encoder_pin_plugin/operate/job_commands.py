"""`jobs`: single jobs, as many as a person can look at."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from encoder_pin_plugin.operate.context import Operator, json_option, pass_operator
from encoder_pin_plugin.operate.failures import Failure
from encoder_pin_plugin.operate.output import count, duration, megabytes, one_line, say, say_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from encoder_pin_plugin.operate.rows import JobRow, Wanted

STATES = ("open", "arrived", "pending", "falling_back", "overdue", "pinned", "archived", "rejected", "all")
_IN_FILES = ("open", "arrived", "rejected", "all")


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
    from encoder_pin_plugin.operate.no_supernode import wait_of
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
    found = _find(operator.open_data_dir(), wanted, with_rejected=state is None)
    shown = found.rows[:limit]
    if as_json:
        rows = [asdict(row) for row in shown]
        say_json({"jobs": rows, "total": found.total, "left_out": found.total - len(shown), "trouble": found.trouble})
    else:
        _show(shown, found.total, wait_of(settings))
    if found.trouble:
        raise Failure(found.trouble)


@dataclass(kw_only=True)
class _Found:
    """The rows, how many there are in all, and why they are not from the ledger where they are not."""

    rows: list[JobRow]
    total: int = 0
    trouble: str | None = None

    def add(self, rows: list[JobRow], wanted: Wanted, files: int) -> None:
        """Add the first rows of so many files; where a CID is wanted, those that have it are all that count."""
        self.rows += rows
        self.total += len(rows) if wanted.cid else max(len(rows), files)


def _find(data_dir: Path, wanted: Wanted, *, with_rejected: bool) -> _Found:
    """What is wanted, from the ledger and the files. Raises LedgerError where only a ledger would know it."""
    from encoder_pin_plugin.errors import LedgerError
    from encoder_pin_plugin.lazy.spool import Spool
    from encoder_pin_plugin.operate.rows import arrived_jobs, first, opened_jobs, rejected_jobs

    spool = Spool(data_dir)
    try:
        found = _indexed(data_dir, wanted)
    except LedgerError as error:
        if wanted.state not in _IN_FILES:
            raise
        found = _Found(rows=[], trouble=f"{error}\nListed are the job files; their states are not known")
        if wanted.state in ("open", "all"):
            found.add(first(opened_jobs(spool), wanted), wanted, len(spool.opened_names()))
    if wanted.state in ("open", "arrived", "all"):
        found.add(first(arrived_jobs(spool), wanted), wanted, len(spool.arrivals(1_000_000)))
    if wanted.state in ("rejected", "all") or with_rejected:
        found.add(first(rejected_jobs(spool), wanted), wanted, len(spool.rejects()))
    return found


def _indexed(data_dir: Path, wanted: Wanted) -> _Found:
    from encoder_pin_plugin.lazy.worker import LEDGER_NAME
    from encoder_pin_plugin.operate.ledger_view import view_ledger
    from encoder_pin_plugin.operate.rows import indexed_jobs

    with view_ledger(data_dir / LEDGER_NAME) as ledger:
        rows, total = ([], 0) if ledger is None else indexed_jobs(ledger, wanted)
    return _Found(rows=rows, total=total)


def _show(rows: list[JobRow], total: int, wait: float | None) -> None:
    now = time.time() * 1000
    for row in rows:
        for line in lines_of(row, now, wait):
            say(line)
    if not rows:
        say("no such job")
    elif total > len(rows):
        say(f"… and {count(total - len(rows), 'more job')}: --limit {total} shows all")


def lines_of(row: JobRow, now: float, wait: float | None = None) -> Iterator[str]:
    """A job for a person, in two or three lines; `wait` says how many seconds it waits where nobody attempts it."""
    name = one_line(row.job_id if row.job_id is not None else row.file or "?", 80)
    yield f"{row.key[:12]}  {name}  {row.state}{_details(row, now, wait)}"
    if row.cid:
        size = "" if row.size_mb is None else f"  {megabytes(row.size_mb)}"
        yield f"{'':12}  {row.cid}{size}{f'  {row.type}' if row.type else ''}"
    if row.error:
        yield f"{'':12}  {row.reason + ': ' if row.reason else ''}{one_line(row.error, 400)}"
    if row.file and row.job_id is not None and row.state == "rejected":
        yield f"{'':12}  {one_line(row.file)}"


def _details(row: JobRow, now: float, wait: float | None) -> str:
    parts = []
    if row.attempts or (row.open and row.state != "open"):  # of what a file alone tells, nobody knows how often
        parts.append(count(row.attempts, "failed attempt") if row.open else count(row.attempts, "attempt"))
    if row.fallbacks:
        parts.append(count(row.fallbacks, "failed fallback"))
    if row.open and row.waiting_since is not None:
        parts.append(f"open for {duration((now - row.waiting_since) / 1000)}")
    elif row.closed_at is not None:
        parts.append(f"{duration((now - row.closed_at) / 1000)} ago")
    elif row.waiting_since is not None:
        parts.append(f"{duration((now - row.waiting_since) / 1000)} old")
    parts.append(_next(row, now, wait))
    return "".join(f", {part}" for part in parts if part)


def _next(row: JobRow, now: float, wait: float | None) -> str:
    if row.in_flight and row.open:
        return "in flight"
    if row.next_at is None or not row.open:
        return ""
    if wait is not None and row.state == "pending":
        return _waits(now, (row.waiting_since or 0) + wait * 1000)
    return f"next try in {duration((row.next_at - now) / 1000)}" if row.next_at > now else "due now"


def _waits(now: float, until: float) -> str:
    """For what a job waits that nobody attempts: no supernode is configured."""
    if math.isinf(until):
        return "waits for a supernode to be configured"
    return f"falls back in {duration((until - now) / 1000)} (FALLBACK_AFTER)" if until > now else "falls back now"
