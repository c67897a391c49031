"""`archive`: the JSONL file of what waits to be migrated. Is it in order, heal it, how much is it, what is in it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from encoder_pin_plugin.operate.archive_list import lines_of_record, list_
from encoder_pin_plugin.operate.archive_words import (
    name_stranded,
    say_how_to_take_over,
    show_checked,
    show_plan,
    show_repaired,
    what_to_do,
)
from encoder_pin_plugin.operate.context import Operator, json_option, pass_operator
from encoder_pin_plugin.operate.output import busy, count, megabytes, say, say_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from encoder_pin_plugin.archive.checking import Checked
    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.archive.record import ArchiveRecord

_file = click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def archive() -> None:
    """Check, heal, sum up, list the archive of fallbacks.

    The archive is local-fallback-pins.jsonl in the data folder; what is migrated moves to migrated-pins.jsonl.

    \b
    Examples:
      encoder-pin archive total
      encoder-pin archive check
    """


@archive.command()
@_file
@json_option
@pass_operator
def check(operator: Operator, /, file: Path | None, as_json: bool) -> None:
    """Look at every line; change nothing.

    Of the archive and of what was migrated, or of FILE. Exit code 1 where something is not in order.

    \b
    Example:
      encoder-pin archive check
    """
    with busy("reading every line …"):
        found = [_checked(path) for path in ([file] if file else _own_files(operator))]
    elsewhere = file is not None and file.absolute().parent.resolve() != operator.data_dir().resolve()
    good = all(it.good for it in found)
    if as_json:
        say_json({"good": good, "files": [_as_dict(it) for it in found]})
    else:
        for it in found:
            show_checked(it)
        if todo := what_to_do(found, elsewhere=elsewhere):
            say(todo)
    if not good:
        raise click.exceptions.Exit(1)


@archive.command()
@click.option("--from-ledger", is_flag=True, help="Also write lines again that the ledger knows and neither file has.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@pass_operator
def repair(operator: Operator, from_ledger: bool, dry_run: bool) -> None:
    """Set bad lines aside, drop exact doubles.

    Every good line stays byte for byte; bad ones go to quarantine/. Among what was migrated doubles stay too: there
    the last line of a job counts.

    Lines that stand in no file here may have been collected (moved to another machine): only with --from-ledger are
    they written again, from what the ledger remembers. Exit code 1 where a line was set aside whose CID no other has.

    \b
    Examples:
      encoder-pin archive repair --dry-run
      encoder-pin archive repair --from-ledger
    """
    archive = _archive(operator)
    if dry_run:
        _show_plan(operator, archive, from_ledger=from_ledger)
        return
    with busy("repairing …"):
        done, migrated = archive.repair()
        lost = list(_lost(operator, archive)) if from_ledger else []  # what is set aside now stands no more
        restored = archive.restore(lost) if lost else ()
    show_repaired(archive.path, done)
    if migrated.quarantined or migrated.healed:
        show_repaired(archive.migrated_path, migrated)
    if from_ledger:
        say(f"wrote {count(len(restored), 'line')} again that the ledger knows and no file had")
    if name_stranded((*done.stranded, *migrated.stranded), restored, "was set aside"):
        say_how_to_take_over((*done.set_aside, *migrated.set_aside))
        raise click.exceptions.Exit(1)


@archive.command()
@_file
@json_option
@click.pass_obj  # no log is set up: nothing here writes to it, and it takes longer than adding up does
def total(operator: Operator, /, file: Path | None, as_json: bool) -> None:
    """Count the lines and sum their MB.

    Of the archive, or of FILE.

    \b
    Example:
      encoder-pin archive total
    """
    from encoder_pin_plugin.archive.files import ARCHIVE_NAME
    from encoder_pin_plugin.archive.totals import total_of
    from encoder_pin_plugin.operate.halves import total_in_halves

    path = file or operator.open_data_dir() / ARCHIVE_NAME
    found = total_of(path, total_in_halves)
    if as_json:
        say_json({"path": str(path)} | asdict(found))
        return
    unknown = f", {found.unknown_sizes} of unknown size" if found.unknown_sizes else ""
    invalid = f", and {count(found.invalid, 'bad line')}" if found.invalid else ""
    say(f"{path}: {count(found.records, 'line')}, {megabytes(found.size_mb)}{unknown}{invalid}")


archive.add_command(list_)


def _archive(operator: Operator) -> Archive:
    from encoder_pin_plugin.archive.jsonl import Archive

    return Archive(operator.open_data_dir())


def _own_files(operator: Operator) -> list[Path]:
    archive = _archive(operator)
    return [archive.path, archive.migrated_path]


def _checked(path: Path) -> Checked:
    """What is found; an append that is under way gets the time to end."""
    import time

    from encoder_pin_plugin.archive.checking import check as look

    found = look(path)
    if found.torn:
        time.sleep(0.5)
        found = look(path)
    return found


def _as_dict(found: Checked) -> dict[str, Any]:
    faults = [{"line": number, "fault": fault} for number, fault in found.faults]
    extra = {"path": str(found.path), "faults": faults, "invalid": found.invalid, "good": found.good}
    return asdict(found) | extra


def _show_plan(operator: Operator, archive: Archive, *, from_ledger: bool) -> None:
    """What a repair would do; changes nothing."""
    from encoder_pin_plugin.archive.stranded import would_strand

    files = (archive.path, archive.migrated_path)
    found = [_checked(path) for path in files]
    for it in found:
        show_plan(it)
    lost = list(_lost(operator, archive)) if from_ledger else []
    if from_ledger:
        _show_lost(lost)
    if any(it.invalid or it.torn for it in found):
        name_stranded(would_strand(files), lost, "would be set aside")


def _show_lost(lost: list[ArchiveRecord]) -> None:
    say(f"it would write {count(len(lost), 'line')} again from the ledger:" if lost else "no line is missing")
    for record in lost:
        for line in lines_of_record(record):
            say(f"  {line}")


def _lost(operator: Operator, archive: Archive) -> Iterator[ArchiveRecord]:
    """The lines that the ledger remembers and that stand nowhere. Raises Failure without a ledger."""
    from encoder_pin_plugin.lazy.worker import LEDGER_NAME
    from encoder_pin_plugin.operate.failures import Failure
    from encoder_pin_plugin.operate.ledger_view import view_ledger
    from encoder_pin_plugin.operate.missing import missing_lines, record_of

    path = operator.data_dir() / LEDGER_NAME
    with view_ledger(path) as ledger:
        if ledger is None:
            raise Failure(f"there is no ledger {path}, so nothing can be had from it; is this the data folder?")
        for key in missing_lines(ledger, archive):
            (row,) = ledger.rows("SELECT * FROM job WHERE key = :key", key=key)
            yield record_of(row)
