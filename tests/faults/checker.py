"""The oracle: reads what is on disk and on the nodes, and says what was lost, doubled or torn.

It shares no code with the program: plain json, sqlite3 and files, written from the documented formats. A job counts as
acknowledged when the harness wrote it down after `on_job_complete` had returned. Such a job is

- open: a whole job file in `spool/new` or `spool/open`, or an open row of the ledger; or
- pinned: the ledger says so and the supernode, asked itself, has the pin; or
- archived: exactly one whole line for its (hash, job_id), and the local node has the pin, or the target already has
  it; or migrated: the same among what was migrated, and the target has it; or
- given up by a person: a whole job file in `spool/rejected`, with that reason beside it.

Anything else is lost. Run it while nothing else runs.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

KEYS = ["hash", "job_id", "size_mb", "type", "failed_lazy_attempts", "local_pin_timestamp", "source", "node_id"]

Job = tuple[str, str]
"""CID and job id."""


@dataclass
class Verdict:
    """What was found. A problem names the job or file."""

    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    open: int = 0
    pinned: int = 0
    archived: int = 0
    migrated: int = 0
    given_up: int = 0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.torn)

    def add(self, earlier: Verdict) -> None:
        """Take over what was found earlier."""
        self.lost += earlier.lost
        self.doubled += earlier.doubled
        self.torn += earlier.torn

    def tell_where(self, where: str) -> None:
        """Add to each problem what was done, and in which folder."""
        for problems in (self.lost, self.doubled, self.torn):
            problems[:] = [f"{problem} [{where}]" for problem in problems]

    def places(self) -> str:
        """Where the acknowledged jobs are, in words."""
        return (
            f"{self.acknowledged} jobs: {self.open} open, {self.pinned} pinned, {self.archived} archived,"
            f" {self.migrated} migrated"
        )

    def problems(self) -> list[str]:
        return [
            f"{what}: {text}"
            for what, texts in (("LOST", self.lost), ("DOUBLED", self.doubled), ("TORN", self.torn))
            for text in texts
        ]


def check(
    data: Path, acks: Path, *, supernode: Collection[str], local: Collection[str], target: Collection[str] = (),
    drained: bool = False, tail_may_be_torn: bool = False, ends_are_final: bool = False, all_here: bool = False,
) -> Verdict:  # fmt: skip
    """Judge a data folder.

    Args:
        data: the data folder.
        acks: the folder in which the harness wrote down what was acknowledged.
        supernode, local, target: the CIDs that each node has pinned; `target` is where migrations went.
        drained: whether everything was given the time to end: then nothing may be open.
        tail_may_be_torn: whether a last line without its newline is what the fault leaves until the next append.
        ends_are_final: whether no job was reported twice, and no worker taken over, so that none is ever opened again.
        all_here: whether no migration was interrupted: then what waits is pinned here.
    """
    verdict = Verdict()
    archive = _lines(data / "local-fallback-pins.jsonl", verdict, tail_ok=tail_may_be_torn)
    migrated = _lines(data / "migrated-pins.jsonl", verdict, tail_ok=tail_may_be_torn)
    open_files, given_up = _job_files(data, verdict), _given_up(data)
    rows = _rows(data / "lazy-pins.db", verdict)
    for lines in (archive, migrated):
        verdict.doubled += [f"{count} lines for {job}" for job, count in lines.items() if count > 1]
    if drained:
        verdict.doubled += [f"{job} waits and is migrated" for job in archive.keys() & migrated.keys()]
        verdict.lost += [f"{job} is still open after a drain ({rows.get(job)})" for job in open_files]
    if all_here:
        waits = archive.keys() - migrated.keys()
        verdict.lost += [f"{job} waits, and is not pinned here" for job in waits if job[0] not in local]
    for job in _acknowledged(acks):
        verdict.acknowledged += 1
        if job in given_up and job not in open_files:
            verdict.given_up += 1
            continue
        _judge(verdict, job, rows.get(job), job in open_files, archive[job], migrated[job], supernode, local, target)
    if ends_are_final:
        _judge_closed(verdict, acks, rows)
    return verdict


def _judge(
    verdict: Verdict, job: Job, state: str | None, has_file: bool, waits: int, migrated: int,
    supernode: Collection[str], local: Collection[str], target: Collection[str],
) -> None:  # fmt: skip
    cid = job[0]
    if state == "archived" and not (waits or migrated):
        verdict.lost.append(f"{job} is archived by the ledger, and stands in no archive")
    elif state == "pinned" and cid not in supernode:
        verdict.lost.append(f"{job} is pinned by the ledger, and the supernode does not have it")
    elif has_file or state in ("pending", "falling_back"):
        verdict.open += 1
    elif (waits and (cid in local or cid in target)) or (migrated and cid in target):
        verdict.archived += not migrated
        verdict.migrated += bool(migrated)
    elif cid in supernode:
        verdict.pinned += 1
    else:
        where = f"ledger {state}, lines {waits}+{migrated}, local pin {cid in local}"
        verdict.lost.append(f"{job} is nowhere: {where}")


def _judge_closed(verdict: Verdict, acks: Path, rows: dict[Job, str]) -> None:
    """What was committed as finished stays so: a lost commit of the ledger is a lie of the disk or of SQLite."""
    for job in _journal(acks, "*.closed"):
        if rows.get(job) not in ("pinned", "archived"):
            verdict.lost.append(f"the committed end of {job} (the ledger says {rows.get(job)})")


def _acknowledged(acks: Path) -> set[Job]:
    return set(_journal(acks, "*.acks"))


def _journal(acks: Path, pattern: str) -> Iterator[Job]:
    for path in sorted(acks.glob(pattern)):
        whole, _, _ = path.read_bytes().rpartition(b"\n")  # the harness itself was killed while it wrote the last
        for line in whole.splitlines():
            entry = json.loads(line)
            yield entry["cid"], entry["job_id"]


def _lines(path: Path, verdict: Verdict, *, tail_ok: bool) -> Counter[Job]:
    found: Counter[Job] = Counter()
    content = path.read_bytes() if path.exists() else b""
    whole, _, tail = content.rpartition(b"\n")
    if tail and not tail_ok:
        verdict.torn.append(f"{path.name} ends with {len(tail)} bytes that are no line")
    for number, line in enumerate(whole.splitlines(), start=1):
        entry = read_line(line)
        if entry is None:
            verdict.torn.append(f"{path.name} line {number}: {line[:200]!r}")
        elif "withdrawn_at" in entry:  # an audit lets it wait again: the lines before count no more
            found.pop((entry["hash"], entry["job_id"]), None)
        else:
            found[entry["hash"], entry["job_id"]] += 1
    return found


def read_line(line: bytes) -> dict[str, str] | None:
    """A valid line of the archive as the operators' document defines it, else None."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or list(entry)[:8] != KEYS or entry["source"] != "failed_lazy_pin_fallback":
        return None
    return entry


def _job_files(data: Path, verdict: Verdict) -> set[Job]:
    jobs = set()
    for folder in ("new", "open"):
        for path in _files(data / "spool" / folder):
            try:
                fields = json.loads(path.read_bytes())
                jobs.add((fields["cid"], fields["job_id"]))
            except (ValueError, KeyError, TypeError):
                verdict.torn.append(f"job file {folder}/{path.name} holds {path.read_bytes()[:100]!r}")
    by_hand = {path.name for path in _rejected_by_hand(data)}
    names = [path.name for path in _files(data / "spool" / "rejected")]
    verdict.torn += [f"set aside as no job: {name}" for name in names if name.removesuffix(".why") not in by_hand]
    return jobs


def _rejected_by_hand(data: Path) -> list[Path]:
    """Files that a person has set aside, with the reason beside them."""
    reasons = [path for path in _files(data / "spool" / "rejected") if path.name.endswith(".why")]
    by_hand = [path for path in reasons if path.read_text("utf-8").startswith("rejected by hand")]
    return [file for path in by_hand if (file := path.with_name(path.name.removesuffix(".why"))).exists()]


def _given_up(data: Path) -> set[Job]:
    jobs = [json.loads(path.read_bytes()) for path in _rejected_by_hand(data)]
    return {(fields["cid"], fields["job_id"]) for fields in jobs}


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _rows(path: Path, verdict: Verdict) -> dict[Job, str]:
    """The ledger's states, from a copy: looking must not roll back a journal that the program has to roll back."""
    if not path.exists():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for suffix in ("", "-journal"):
            if path.with_name(path.name + suffix).exists():
                shutil.copyfile(path.with_name(path.name + suffix), copy.with_name(copy.name + suffix))
        try:
            return _read_rows(copy, verdict)
        except sqlite3.DatabaseError as error:
            verdict.torn.append(f"{path.name} cannot be read: {error}")
            return {}


def _read_rows(path: Path, verdict: Verdict) -> dict[Job, str]:
    with closing(sqlite3.connect(path)) as db:
        (found,) = db.execute("PRAGMA integrity_check").fetchone()
        if found != "ok":
            verdict.torn.append(f"{path.name}: {found}")
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name='job'").fetchone():
            return {}
        return {(cid, job_id): state for cid, job_id, state in db.execute("SELECT cid, job_id, state FROM job")}
