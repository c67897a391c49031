"""What is true of a data folder right now, gathered without changing anything, and what of it needs a person.

Each part is gathered alone: what cannot be had (a locked ledger, an unreadable archive) is named, and the rest is told.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.repeats import not_standing
from encoder_pin_plugin.archive.totals import total_of
from encoder_pin_plugin.errors import EncoderPinError
from encoder_pin_plugin.lazy.presence import live_workers
from encoder_pin_plugin.lazy.spool import Spool
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from encoder_pin_plugin.operate.closed import why_closed
from encoder_pin_plugin.operate.jobs_report import JobsReport, jobs_report
from encoder_pin_plugin.operate.ledger_view import view_ledger
from encoder_pin_plugin.operate.missing import missing_lines
from encoder_pin_plugin.operate.recordable import is_folder, why_not
from encoder_pin_plugin.operate.rejects import rejected_files
from encoder_pin_plugin.settings.table import TABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from encoder_pin_plugin.operate.reach import NodesReached
    from encoder_pin_plugin.settings import Settings

T = TypeVar("T")

FALLBACK_AFTER = float(TABLE["FALLBACK_AFTER"].default)
"""Seconds after which a job is shown as overdue where the settings cannot be read."""


@dataclass(frozen=True, kw_only=True)
class ArchiveReport:
    """The archive in numbers; `migrated_lines` are those that were not withdrawn since, `missing_lines` those that the
    ledger knows and neither file has."""

    path: str
    lines: int
    size_mb: float
    lines_without_size: int
    bad_lines: int
    migrated_lines: int
    missing_lines: int | None


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """A live worker, and how long ago its loop last turned."""

    name: str
    silent_seconds: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything `status` knows; None for what could not be had, and then `trouble` says why; `cannot_record` says
    why no job can be recorded, or soon not."""

    data_dir: str
    data_dir_exists: bool
    arrived: int | None
    open_files: int | None
    rejected: int | None
    rejected_by_hand: int | None
    jobs: JobsReport | None
    archive: ArchiveReport | None
    workers: tuple[WorkerReport, ...]
    nodes: NodesReached | None
    fallback_after: float
    local_fallback: bool | None
    cannot_record: tuple[str, ...] = field(default=())
    trouble: tuple[str, ...] = field(default=())

    @property
    def waiting(self) -> int | None:
        """Open jobs, those that no worker has seen yet included; by their files where the ledger cannot be read."""
        indexed = self.jobs.open if self.jobs is not None else self.open_files
        return None if indexed is None or self.arrived is None else self.arrived + indexed

    def as_dict(self) -> dict[str, Any]:
        """The report with keys that stay."""
        return asdict(self) | {"open": self.waiting}


class _Trouble:
    """Collects what could not be had. Where the whole folder is closed to us, that is said once."""

    def __init__(self, data_dir: Path) -> None:
        self.closed = why_closed(data_dir)
        self.texts = [str(self.closed)] if self.closed else []

    def spare(self, gather: Callable[[], T]) -> T | None:
        """What `gather` returns, or None and its error noted."""
        if self.closed:
            return None
        try:
            return gather()
        except EncoderPinError as error:
            self.texts.append(str(error))
        except OSError as error:
            self.texts.append(f"{error.filename or 'a file'}: {error.strerror or error}")
        return None


def gather(data_dir: Path, settings: Settings | None, nodes: NodesReached | None) -> Report:
    """Look at everything. Never raises for what it finds."""
    trouble = _Trouble(data_dir)
    spool, archive = Spool(data_dir), Archive(data_dir)
    fallback_after = settings.fallback_after if settings else FALLBACK_AFTER
    rejects = trouble.spare(lambda: rejected_files(spool))
    jobs = trouble.spare(lambda: jobs_report(data_dir / LEDGER_NAME, fallback_after))
    return Report(
        data_dir=str(data_dir),
        data_dir_exists=is_folder(data_dir),
        arrived=trouble.spare(lambda: len(spool.arrivals(1_000_000))),
        open_files=trouble.spare(lambda: len(spool.opened())),
        rejected=None if rejects is None else sum(not it.by_hand for it in rejects),
        rejected_by_hand=None if rejects is None else sum(it.by_hand for it in rejects),
        jobs=jobs,
        archive=trouble.spare(lambda: _archive(archive, trouble, data_dir, known=jobs is not None)),
        workers=trouble.spare(lambda: _workers(data_dir)) or (),
        nodes=nodes,
        fallback_after=fallback_after,
        local_fallback=settings.enable_local_fallback if settings else None,
        cannot_record=tuple(trouble.spare(lambda: why_not(data_dir)) or ()),
        trouble=tuple(trouble.texts),
    )


def _archive(archive: Archive, trouble: _Trouble, data_dir: Path, *, known: bool) -> ArchiveReport:
    waiting, migrated = archive.total(), total_of(archive.migrated_path)
    missing = None
    if known:
        missing = trouble.spare(lambda: _count_missing(archive, data_dir))
    return ArchiveReport(
        path=str(archive.path),
        lines=waiting.records,
        size_mb=round(waiting.size_mb, 3),
        lines_without_size=waiting.unknown_sizes,
        bad_lines=waiting.invalid,
        migrated_lines=migrated.records - not_standing(archive.migrated_path),
        missing_lines=missing,
    )


def _count_missing(archive: Archive, data_dir: Path) -> int:
    with view_ledger(data_dir / LEDGER_NAME) as ledger:
        return 0 if ledger is None else len(missing_lines(ledger, archive))


def _workers(data_dir: Path) -> tuple[WorkerReport, ...]:
    now = time.time()
    found = []
    for name in live_workers(data_dir):
        try:
            touched = (data_dir / "workers" / name).stat().st_mtime
        except FileNotFoundError:
            continue
        found.append(WorkerReport(name=name, silent_seconds=round(abs(now - touched), 1)))
    return tuple(found)
