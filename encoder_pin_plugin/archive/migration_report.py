"""What a migration of a collected file writes beside it, for the encoder to finish: FILE.migrated.json.

On the permanent server nothing of the encoder can be reached, so nothing is deleted there. The report says of each line
what became of it; `encoder-pin clean` on the encoder takes it as a list of what to ask the target about, never as
proof. It holds no secrets, and a checksum against a cut or edited copy.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from encoder_pin_plugin.durable import read_regular, replace_file, storage_errors
from encoder_pin_plugin.errors import ArchiveError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "encoder-pin migration report 1"
LARGEST = 1 << 30
MIGRATED, FAILED, UNTRIED = "migrated", "failed", "not tried"


@dataclass(frozen=True, kw_only=True)
class ReportLine:
    """What became of one line of the collected file.

    Args:
        hash, job_id, node_id: as they stand there.
        status: `migrated`, `failed` or `not tried`.
        target, proof, at: where it is, how strongly that was proved, and when; empty where it is not.
        reason, detail: why it is not, in one word and in more.
    """

    hash: str
    job_id: str
    node_id: str
    status: str
    target: str = ""
    proof: str = ""
    at: str = ""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class MigrationReport:
    """A report.

    Args:
        target: as it was given after --to.
        made_at: UTC.
        made_on: name of the machine; an address of its loopback means nothing elsewhere.
        lines: in the order of the file.
        faults: lines that could not be used: (where, why).
    """

    target: str
    made_at: str
    made_on: str
    lines: tuple[ReportLine, ...]
    faults: tuple[tuple[str, str], ...] = field(default=())

    @property
    def migrated(self) -> set[str]:
        """The hashes that the report says are migrated."""
        return {line.hash for line in self.lines if line.status == MIGRATED}


def report_path(file: Path) -> Path:
    """Where the report of a collected file stands."""
    return file.with_name(f"{file.name}.migrated.json")


def write_report(path: Path, report: MigrationReport) -> None:
    """Write it in the place of an earlier one. Raises StorageError."""
    content = {"format": FORMAT} | asdict(report)
    with storage_errors("write", path):
        replace_file(path, json.dumps(content | {"checksum": _checksum(content)}, indent=1).encode("ascii") + b"\n")


def read_report(path: Path) -> MigrationReport:
    """Read it. Raises StorageError, and ArchiveError where it is none, or not as it was written."""
    with storage_errors("read", path):
        raw = read_regular(path, LARGEST)
    try:
        content = json.loads(raw)
        checksum = content.pop("checksum")
        if content.pop("format") != FORMAT or checksum != _checksum({"format": FORMAT} | content):
            raise ArchiveError(f"{path} is not as it was written: copy it again from where it was made")
        lines = tuple(ReportLine(**_texts(line)) for line in content.pop("lines"))
        faults = tuple((str(where), str(why)) for where, why in content.pop("faults"))
        return MigrationReport(lines=lines, faults=faults, **_texts(content))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        words = "is no migration report: name the file that ends in .migrated.json"
        raise ArchiveError(f"{path} {words}") from error


def _texts(content: dict[str, Any]) -> dict[str, str]:
    """The fields, which are texts all of them. Raises TypeError."""
    for name, value in content.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} is no text")
    return content


def merged(report: MigrationReport, earlier: MigrationReport) -> MigrationReport:
    """`report`, and of an earlier one about the same target what this run did not try."""
    if earlier.target != report.target:
        return report
    known = {(line.hash, line.job_id): line for line in earlier.lines if line.status == MIGRATED}
    lines = [known.get((line.hash, line.job_id), line) if line.status == UNTRIED else line for line in report.lines]
    return replace(report, lines=tuple(lines))


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
