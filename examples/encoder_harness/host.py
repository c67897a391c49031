"""The encoder: encode, add to IPFS, report complete, next job. Everything about pinning is left to the plugins.

This is all that a host has to do: load the plugins, call `on_encoder_start`, `on_job_complete` for every finished
job and `on_encoder_stop`, and have a log. Everything else in this folder is there to watch it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from loguru import logger

from encoder_hookspecs import CompletedJob, EncoderManager
from examples.encoder_harness.board import Board, BoardPlugin, State
from examples.encoder_harness.earlier import earlier_jobs
from examples.encoder_harness.encode import encode, make_video, measure
from examples.encoder_harness.ipfs import add_folder
from examples.encoder_harness.jobs import Job, Jobs

if TYPE_CHECKING:
    from types import TracebackType

    from examples.encoder_harness.board import Listener

ARCHIVE = "local-fallback-pins.jsonl"
STOP_TIMEOUT = 20.0
LOG_LINE = "{time:YYYY-MM-DDTHH:mm:ss.SSS!UTC}Z {level: <7} {message}"


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A job that was reported complete, and how long the report took."""

    job: Job
    size_mb: float
    milliseconds: float


class Encoder:
    """`with Encoder(folder, api=…) as encoder:` runs the plugins' worker beside whatever happens in the block.

    Args:
        folder: holds `jobs/` and `logs/`.
        api: multiaddr of the encoder's own Kubo.
        data: the plugin's data folder, DATA_DIR, for the board.
        backoff: LAZY_PIN_BACKOFF, for the board.
        listener: hears of every change on the board.
    """

    def __init__(
        self,
        folder: Path,
        *,
        api: str,
        data: Path,
        backoff: tuple[float, ...] = (),
        listener: Listener | None = None,
    ) -> None:
        self.jobs = Jobs(folder / "jobs")
        self.manager = EncoderManager(report=lambda failure: logger.warning("{}", failure))
        self.board = Board(data / ARCHIVE, backoff, listener=listener)
        self._api = api
        self._data = data
        self._log = folder / "logs" / "encoder.log"

    def __enter__(self) -> Self:
        log_to(self._log)
        self.manager.load_entry_points()
        self.manager.register(BoardPlugin(self.board), name="board")
        self._show_earlier_jobs()
        self.manager.on_encoder_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.manager.on_encoder_stop(timeout=STOP_TIMEOUT)
        logger.complete()

    def work(self, job: Job) -> Finished:
        """Encode a job, add it, report it. Raises `HarnessError`; the job stays, and is taken up by the next start."""
        folder = self.jobs.folder_of(job)
        self.board.change(job.job_id, state=State.ENCODING)
        source = folder / "source.mp4" if not job.source else Path(job.source)
        if not job.source and not source.exists():
            make_video(source)
        hls = encode(source, folder / "hls", progress=lambda done: self._progress(job, done)).folder
        return self.report(job, cid=add_folder(hls, api=self._api))

    def report(self, job: Job, *, cid: str) -> Finished:
        """Tell every plugin that the job is complete; raises `JobNotRecorded` where nobody wrote that down."""
        size = measure(self.jobs.folder_of(job) / "hls").size_mb
        event = CompletedJob(cid=cid, job_id=job.job_id, size_mb=size, type="directory")
        started = time.perf_counter()
        self.manager.on_job_complete(event)
        milliseconds = (time.perf_counter() - started) * 1000
        job = self.jobs.reported(job, cid=cid)
        self.board.reported(job.job_id, cid=cid, milliseconds=milliseconds)
        logger.info("job {} is complete: {} ({:.3f} MB), reported in {:.1f} ms", job.job_id, cid, size, milliseconds)
        return Finished(job=job, size_mb=size, milliseconds=milliseconds)

    def _progress(self, job: Job, done: float) -> None:
        self.board.change(job.job_id, done=done)

    def _show_earlier_jobs(self) -> None:
        """After a restart: what was reported goes on by itself, and the board shows it as it stands."""
        reported = [job for job in self.jobs.all() if job.reported]
        known = earlier_jobs(self._data) if reported else {}
        for job in reported:
            now = known.get(job.job_id, {"state": State.REPORTED})
            self.board.earlier(job.job_id, cid=job.cid, **now)


def log_to(path: Path) -> None:
    """The host owns the log's handlers: everything into one file, without secrets; only alarms reach the terminal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    logger.remove()
    logger.add(path, format=LOG_LINE, level="INFO", backtrace=False, diagnose=False)
    logger.add(lambda line: print(line, end="", file=sys.stderr), format=_alarm, level="ERROR")


def _alarm(_record: object) -> str:
    """Without the traceback that would follow a plain format: it stands in the log."""
    return "{level}: {message}\n"
