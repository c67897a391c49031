"""Archives collected from encoders: migrated where no encoder can be reached, finished where they came from."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.nodes.base import limits_of
from encoder_pin_plugin.operate.failures import WRONG_USAGE, Failure
from encoder_pin_plugin.operate.migrate_parts import Wanted, observers, open_target, witness_of
from encoder_pin_plugin.operate.migrate_plan import dry_run
from encoder_pin_plugin.operate.migrating import chosen, cleaner_of, note_rest, read_waiting, run, show
from encoder_pin_plugin.operate.output import count, one_line, say, warn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.archive.migration_report import MigrationReport, ReportLine
    from encoder_pin_plugin.archive.record import ArchiveRecord
    from encoder_pin_plugin.archive.tally import Tally
    from encoder_pin_plugin.archive.waiting import Item, Waiting
    from encoder_pin_plugin.nodes.proofs import Look
    from encoder_pin_plugin.nodes.targets import NamedTarget
    from encoder_pin_plugin.operate.context import Operator
    from encoder_pin_plugin.service import Service


def migrate_collected(operator: Operator, wanted: Wanted) -> int:
    """Pin and prove what stands in collected files, and write a report beside each; the exit code."""
    from encoder_pin_plugin.archive.carrying import Transfer
    from encoder_pin_plugin.archive.meeting import choose

    if wanted.clean:
        raise InvalidSettings(
            "--clean with a FILE: nothing of the encoder is reachable here, so nothing can be unpinned. Leave it out,"
            " take FILE.migrated.json back to the encoder, and run encoder-pin clean FILE.migrated.json there"
        )
    waiting, wanted = _read(wanted)
    settings = operator.settings()
    manager, ours = operator.plugins(settings)
    items, left = chosen(waiting, wanted)
    target = open_target(wanted, settings)
    local = ours.service.local if wanted.transfer == "push" else None
    carrier = choose(target, local, Transfer(wanted.transfer), limits_of(settings))
    if wanted.dry_run:
        return dry_run(carrier, items, wanted, settings.data_dir, left=left)
    moments: dict[str, str] = {}
    with observers(manager, wanted.to) as tell:

        def proved(item: Item, look: Look) -> None:
            moments[item.cid] = _now()
            tell(item, look)

        tally = run(carrier, witness_of(target, None, wanted, settings), None, items, wanted=wanted, told=proved)
    note_rest(tally, waiting, left)
    _write_reports(wanted, tally, moments)
    return show(tally, wanted)


def _read(wanted: Wanted) -> tuple[Waiting, Wanted]:
    """What stands in the files, and what is wanted of those that hold anything: of a fleet's archives, some may be
    empty. Raises Failure for one that is no archive, and where all are empty."""
    from encoder_pin_plugin.archive.reading import read_entries
    from encoder_pin_plugin.archive.waiting import Waiting

    waiting = Waiting()
    used: list[Path] = []
    for file in wanted.files:
        lines, faults = waiting.lines, len(waiting.faults)
        waiting.read(read_entries(file, follow=True), file)
        if waiting.lines > lines:
            used.append(file)
        elif len(waiting.faults) > faults:
            place, problem = waiting.faults[faults]
            words = f"no line of {file} is an archive line; is it the right file? {place}: {one_line(problem)}"
            raise Failure(words, WRONG_USAGE)
    if not used:
        raise Failure(f"nothing stands in {', '.join(map(str, wanted.files))}; is it the right file?", WRONG_USAGE)
    for file in wanted.files:
        if file not in used:
            warn(f"nothing stands in {file}: it is left out")
    return waiting, replace(wanted, files=tuple(used))


def clean_report(operator: Operator, path: Path, report: MigrationReport, wanted: Wanted) -> int:
    """Ask the target itself about what the report in `path` says is there, then unpin and move the lines; the exit
    code."""
    from encoder_pin_plugin.archive.migration_lock import migration_lock

    operator.open_data_dir()
    settings = operator.settings()
    manager, ours = operator.plugins(settings)
    archive = ours.service.archive
    with migration_lock(settings.data_dir, f"clean {path.name}", wait=wanted.wait):
        if archive.path.exists():
            archive.settle()
        waiting = read_waiting(archive)
        items, gone = _reported(waiting, report), _moved_away(archive, report, settings.data_dir)
        code = 1 if gone else 0
        if gone:
            _say_moved_away(archive, gone)
        elif not items:
            say(f"no line of {path} waits in {archive.path}: it was cleaned before, or belongs to another encoder")
        if items:
            with observers(manager, wanted.to) as told:
                code = max(code, show(_finish(ours.service, items, waiting.lines, wanted, told), wanted))
        return code


def _finish(
    service: Service, items: list[Item], lines: int, wanted: Wanted, told: Callable[[Item, Look], None]
) -> Tally:
    from encoder_pin_plugin.archive.carrying import Refusing
    from encoder_pin_plugin.archive.meeting import refuse_itself

    target = open_target(wanted, service.settings)
    refuse_itself(target, service.local)
    witness = witness_of(target, service.local, wanted, service.settings)
    cleaner = cleaner_of(service, service.settings, wanted.to, witness)
    cleaner.expect(items, lines)
    return run(Refusing(target), witness, cleaner, items, wanted=wanted, told=told)


def _say_moved_away(archive: Archive, gone: int) -> None:
    was, stands = ("was", "stands") if gone == 1 else ("were", "stand")
    warn(
        f"{count(gone, 'line')} of it {was} written here, and {stands} in no file any more, so that nothing of it is"
        f" cleaned: was {archive.path} moved away? Put it back, or run encoder-pin archive repair --from-ledger; then"
        " run this again"
    )


def target_of(report: MigrationReport, path: Path) -> NamedTarget:
    """The target that the report in `path` names. Raises Failure where that is another one from here, InvalidSettings
    for what is none."""
    from encoder_pin_plugin.nodes.targets import read_target
    from encoder_pin_plugin.settings.address import is_loopback
    from encoder_pin_plugin.settings.masking import visible

    host = urlsplit(report.target.partition("+")[2]).hostname or ""
    if is_loopback(host) and report.made_on != os.uname().nodename:
        raise Failure(
            f"{path} was made on {report.made_on}, for a target on its loopback ({visible(report.target)}), which is"
            " another machine from here. Give its address as it is seen from here with --to, or open a tunnel"
            f" (ssh -L 5001:127.0.0.1:5001 {report.made_on}) and give --to the tunnel's end"
        )
    return read_target(report.target)


def _reported(waiting: Waiting, report: MigrationReport) -> list[Item]:
    from encoder_pin_plugin.nodes.cid import canonical, is_cid

    cids = {canonical(hash_) for hash_ in report.migrated if is_cid(hash_)}
    return [item for item in waiting.items.values() if item.cid in cids]


def _moved_away(archive: Archive, report: MigrationReport, data_dir: Path) -> int:
    """How many lines of the report the ledger remembers to have been written here that stand in no file. Raises
    LedgerError, StorageError, ArchiveError."""
    from encoder_pin_plugin.lazy.worker import LEDGER_NAME
    from encoder_pin_plugin.operate.ledger_view import view_ledger
    from encoder_pin_plugin.operate.missing import missing_lines

    migrated = report.migrated
    with view_ledger(data_dir / LEDGER_NAME) as ledger:
        keys = missing_lines(ledger, archive) if ledger is not None else []
        rows = (row for key in keys if ledger for row in ledger.rows("SELECT cid FROM job WHERE key = :key", key=key))
        return sum(row["cid"] in migrated for row in rows)


def _write_reports(wanted: Wanted, tally: Tally, moments: dict[str, str]) -> None:
    from encoder_pin_plugin.archive import migration_report as reports
    from encoder_pin_plugin.archive.reading import read_entries

    for file in wanted.files:
        entries = list(read_entries(file, follow=True))
        report = reports.MigrationReport(
            target=wanted.to,
            made_at=_now(),
            made_on=os.uname().nodename,
            lines=tuple(_line(entry.record, wanted.to, tally, moments) for entry in entries if entry.record),
            faults=tuple((f"line {entry.number}", entry.problem) for entry in entries if entry.record is None),
        )
        path = reports.report_path(file)
        if path.exists():
            report = reports.merged(report, reports.read_report(path))
        reports.write_report(path, report)
        if not wanted.as_json:
            number = count(len(report.migrated), "CID") if report.migrated else "no CID yet"
            say(f"{path}: {number} to finish with encoder-pin clean on the encoder")


def _line(record: ArchiveRecord, to: str, tally: Tally, moments: dict[str, str]) -> ReportLine:
    from encoder_pin_plugin.archive import migration_report as kinds
    from encoder_pin_plugin.nodes.cid import canonical, is_cid

    who = {"hash": record.hash, "job_id": record.job_id, "node_id": record.node_id}
    cid = canonical(record.hash) if is_cid(record.hash) else ""
    if cid in tally.proofs:
        proof = tally.proofs[cid].value
        return kinds.ReportLine(**who, status=kinds.MIGRATED, target=to, proof=proof, at=moments.get(cid, ""))
    trouble = tally.troubles.get(cid)
    if trouble is not None:
        return kinds.ReportLine(**who, status=kinds.FAILED, reason=trouble.reason, detail=trouble.detail)
    return kinds.ReportLine(**who, status=kinds.UNTRIED if cid else kinds.FAILED, reason="" if cid else "bad line")


def _now() -> str:
    from encoder_pin_plugin.archive.record import utc_text

    return utc_text(datetime.now(UTC))
