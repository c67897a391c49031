"""`archive list`: the lines of an archive for people, or filtered as they stand for programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from encoder_pin_plugin.operate.context import Operator, pass_operator
from encoder_pin_plugin.operate.output import count, megabytes, one_line, say, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from encoder_pin_plugin.archive.reading import Entry
    from encoder_pin_plugin.archive.record import ArchiveRecord

_AT_ONCE = 200
"""Records printed with one write."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which lines: None for any. `since` in the archive's own form of a time."""

    cids: frozenset[str] | None
    job_id: str | None
    node_id: str | None
    since: str | None

    def takes(self, record: ArchiveRecord) -> bool:
        """Whether `record` is one of them."""
        return (
            (self.cids is None or record.hash in self.cids)
            and (self.job_id is None or record.job_id == self.job_id)
            and (self.node_id is None or record.node_id == self.node_id)
            and (self.since is None or record.local_pin_timestamp >= self.since)
        )


@click.command("list")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--cid", metavar="CID", help="Only lines with this CID.")
@click.option("--job-id", metavar="ID", help="Only lines of this job.")
@click.option("--node-id", metavar="N", help="Only lines of this encoder.")
@click.option("--since", metavar="TIME", help="Only lines from this time on (UTC): 2025-10-28, or 2025-10-28T10:30.")
@click.option("--migrated", is_flag=True, help="What was migrated, in place of what waits.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, as they stand in the file.")
@pass_operator
def list_(
    operator: Operator, /, file: Path | None, migrated: bool, limit: int | None, as_json: bool, **wanted: str | None
) -> None:
    """List the lines in their order.

    Of the archive, of what was migrated, or of FILE.

    \b
    Examples:
      encoder-pin archive list --since 2025-10-28
      encoder-pin archive list --json --node-id encoder-1 > encoder-1.jsonl
    """
    from itertools import islice

    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.archive.reading import read_entries

    if file is None:
        archive = Archive(operator.open_data_dir())
    path = file or (archive.migrated_path if migrated else archive.path)
    bad: list[int] = []
    chosen = islice(_chosen(read_entries(path, follow=file is not None), _wanted(**wanted), bad), limit)
    while some := list(islice(chosen, _AT_ONCE)):
        if as_json:
            click.echo(b"".join(entry.raw for entry, _ in some), nl=False)
        else:
            say("\n".join(line for _, record in some for line in lines_of_record(record)))
    if bad:
        warn(f"left out {count(len(bad), 'bad line')} of {path}, first line {bad[0]}: encoder-pin archive check")


def lines_of_record(record: ArchiveRecord) -> Iterator[str]:
    """A line of the archive for a person, in two lines."""
    from encoder_pin_plugin.archive.record import WITHDRAWN

    kind = record.type or "unknown type"
    yield f"{record.local_pin_timestamp}  {one_line(record.job_id, 80)}  {megabytes(record.size_mb)}  {kind}"
    target = record.extra.get("migrated_to")
    where = f", now on {one_line(str(target), 80)}" if target else ""
    if WITHDRAWN in record.extra:
        where = f"; waits again since {one_line(str(record.extra[WITHDRAWN]), 40)}"
    attempts = count(record.failed_lazy_attempts, "failed attempt")
    yield f"{'':24}  {record.hash}  on {one_line(record.node_id, 60)}, after {attempts}{where}"


def _chosen(entries: Iterator[Entry], wanted: Wanted, bad: list[int]) -> Iterator[tuple[Entry, ArchiveRecord]]:
    """The entries that are wanted; the numbers of bad lines go into `bad`."""
    for entry in entries:
        if entry.record is None and not entry.torn:
            bad.append(entry.number)
        if entry.record is not None and not entry.torn and wanted.takes(entry.record):
            yield entry, entry.record


def _wanted(*, cid: str | None, job_id: str | None, node_id: str | None, since: str | None) -> Wanted:
    """Raises InvalidCid, and BadParameter for what is no time."""
    from encoder_pin_plugin.nodes.cid import canonical

    cids = None if cid is None else frozenset({cid, canonical(cid)})
    return Wanted(cids=cids, job_id=job_id, node_id=node_id, since=None if since is None else _moment(since))


def _moment(text: str) -> str:
    from datetime import UTC, datetime

    from encoder_pin_plugin.archive.record import utc_text

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time: write 2025-10-28 or 2025-10-28T10:30", param_hint="--since"
        ) from None
    return utc_text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
