"""The encoder's own memory: one folder per job, with a small file that says how far it came.

Every encoder has something like this, and it is all that the contract asks of it: a job is reported until the
report was taken. A crash in between makes it report twice, which is harmless: CID and job id tell who it is.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from examples.encoder_harness.errors import HarnessError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Job:
    """One video to encode.

    Args:
        source: the video; empty for one that the harness makes when its turn comes.
        cid: of the encoded folder, once the job is reported complete; empty before.
    """

    job_id: str
    source: str = ""
    cid: str = ""

    @property
    def reported(self) -> bool:
        return bool(self.cid)


class Jobs:
    """The jobs below one folder, in the order in which they came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, source: Path | None = None) -> Job:
        """A new job, for `source` or for a video to be made."""
        stem = source.stem if source else "test-video"
        name = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in stem)[:40]
        job = Job(job_id=f"{len(self.all()) + 1:03}-{name}", source=str(source.absolute()) if source else "")
        self._save(job)
        return job

    def all(self) -> list[Job]:
        return [_read(path) for path in sorted(self.folder.glob("*/job.json"))]

    def reported(self, job: Job, *, cid: str) -> Job:
        """Remember that the plugins took the report."""
        job = replace(job, cid=cid)
        self._save(job)
        return job

    def folder_of(self, job: Job) -> Path:
        return self.folder / job.job_id

    def _save(self, job: Job) -> None:
        """A kill at any instant leaves the old file or the new one."""
        path = self.folder_of(job) / "job.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(".job.json.part")
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(asdict(job), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)


def _read(path: Path) -> Job:
    try:
        return Job(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise HarnessError(f"{path} holds no job of ours ({error}): remove its folder, or mend it") from error
