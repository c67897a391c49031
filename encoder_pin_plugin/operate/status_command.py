"""`status`: what an operator asks first, on one screen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from encoder_pin_plugin.operate.context import Operator, json_option, pass_operator
from encoder_pin_plugin.operate.output import count, duration, megabytes, one_line, say, say_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from encoder_pin_plugin.operate.jobs_report import JobsReport
    from encoder_pin_plugin.operate.reach import Reached
    from encoder_pin_plugin.operate.report import ArchiveReport, Report

_WIDTH = 11


@click.command()
@json_option
@click.option("--no-nodes", is_flag=True, help="Do not ask the nodes whether they answer.")
@pass_operator
def status(operator: Operator, as_json: bool, no_nodes: bool) -> None:
    """Say how things stand, and what needs a person.

    Jobs, archive, worker, nodes. Exit code 1 where something needs a person. Changes nothing; works while the worker
    runs, and without one.

    \b
    Examples:
      encoder-pin status
      encoder-pin status --json | jq .open
    """
    from encoder_pin_plugin.operate.reach import reach_nodes
    from encoder_pin_plugin.operate.report import gather
    from encoder_pin_plugin.operate.verdict import needs_a_person

    settings, wrong = operator.settings_or_why()
    nodes = reach_nodes(settings) if settings and not no_nodes else None
    report = gather(operator.data_dir(), settings, nodes)
    problems = ([f"the worker will not start: {wrong}"] if wrong else []) + needs_a_person(report)
    if as_json:
        say_json({"ok": not problems, "needs_a_person": problems, "checked_at": int(time.time())} | report.as_dict())
    else:
        _show(report, problems)
    if problems:
        raise click.exceptions.Exit(1)


def _show(report: Report, problems: list[str]) -> None:
    new = "" if report.data_dir_exists or report.trouble else " (no such folder yet)"
    say(f"encoder-pin on {report.data_dir}{new}", bold=True)
    for name, lines in _parts(report):
        for index, line in enumerate(lines):
            say(f"{'' if index else name:<{_WIDTH}}{line}")
    if problems:
        say()
        say("Needs a person:", colour="red", bold=True)
        for text in problems:
            say("  - " + text.replace("\n", "\n    "), colour="red")
    else:
        say(f"{'':<{_WIDTH}}nothing needs a person", colour="green")


def _parts(report: Report) -> Iterator[tuple[str, list[str]]]:
    yield "jobs", list(_job_lines(report))
    yield "archive", list(_archive_lines(report.archive))
    if report.jobs is not None and report.jobs.held.cids:
        held = report.jobs.held
        unknown = f" ({held.without_size:,} of unknown size)" if held.without_size else ""
        size = f"{count(held.cids, 'CID')}, {megabytes(held.size_mb)}{unknown}"
        yield "held", [f"{size}, pinned on the local node until the supernode has all of each"]
    none = "none" if report.open_files is not None else "not known"
    yield "worker", [_worker(it.name, it.silent_seconds) for it in report.workers] or [none]
    if report.nodes is not None:
        yield "supernode", [_node(report.nodes.supernode)]
        yield "local node", [_node(report.nodes.local)]


def _job_lines(report: Report) -> Iterator[str]:
    jobs, arrived = report.jobs, report.arrived or 0
    if jobs is None:
        waiting = "not known how many are" if report.waiting is None else f"about {report.waiting:,}"
        yield f"{waiting} open (the ledger cannot be read)"
    else:
        states = _some(arrived=arrived, pending=jobs.pending, falling_back=jobs.falling_back)
        marks = _some(in_flight=jobs.in_flight, overdue=jobs.overdue)
        yield (
            f"{arrived + jobs.open:,} open"
            + (f": {states}" if states else "")
            + (f"; of these {marks}" if marks else "")
        )
        yield from _open_lines(jobs)
    by_hand = f" (and {report.rejected_by_hand} by hand)" if report.rejected_by_hand else ""
    rejected = "?" if report.rejected is None else report.rejected
    done = "" if jobs is None else f"{jobs.pinned:,} pinned, {jobs.archived:,} archived, "
    yield f"finished: {done}{rejected} rejected{by_hand}{_last_pinned(jobs)}"


def _some(**numbers: int) -> str:
    """Those that are not zero: "2 pending, 1 falling back"."""
    return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in numbers.items() if number)


def _open_lines(jobs: JobsReport) -> Iterator[str]:
    if jobs.oldest is not None:
        oldest = jobs.oldest
        error = f": {one_line(oldest.error, 120)}" if oldest.error else ""
        yield (
            f"oldest: {one_line(oldest.job_id, 60)}, {duration(oldest.age_seconds)},"
            f" {count(oldest.attempts, 'failed attempt')}{error}"
        )
    tried = {int(number): jobs_ for number, jobs_ in jobs.attempts.items()}
    if any(tried):
        yield "failed attempts: " + ", ".join(f"{number} for {count(many, 'job')}" for number, many in tried.items())
    if jobs.last_errors:
        by_number = sorted(jobs.last_errors.items(), key=lambda it: -it[1])
        yield "last errors: " + ", ".join(f"{reason} {many}x" for reason, many in by_number)


def _last_pinned(jobs: JobsReport | None) -> str:
    if jobs is None or jobs.last_pinned_at is None:
        return ""
    return f"; last pinned {duration(time.time() - jobs.last_pinned_at / 1000)} ago"


def _archive_lines(archive: ArchiveReport | None) -> Iterator[str]:
    if archive is None:
        yield "cannot be read"
        return
    unknown = f" ({archive.lines_without_size:,} of unknown size)" if archive.lines_without_size else ""
    yield f"{count(archive.lines, 'line waits', 'lines wait')} to be migrated, {megabytes(archive.size_mb)}{unknown}"
    if archive.migrated_lines:
        yield f"{archive.migrated_lines:,} migrated"
    if archive.missing_lines:
        yield (
            f"{count(archive.missing_lines, 'line that we wrote stands', 'lines that we wrote stand')} in no file here:"
            " right if the file was collected; if not, encoder-pin archive repair --from-ledger"
        )


def _worker(name: str, silent: float) -> str:
    return f"{name} is alive" if silent < 30 else f"{name} lives, its loop last turned {duration(silent)} ago"


def _node(reached: Reached | None) -> str:
    if reached is None:
        return "none is configured"
    return f"{reached.address} {'answers' if reached.reachable else 'DOES NOT ANSWER'} ({one_line(reached.detail, 80)})"
