"""Intake: one file per submission, with no lock, no database and no network between a finished job and the disk.

`tmp/` is where a file is written, `new/` where it becomes durable under its name and waits for the worker, `open/`
where it stays, indexed by the ledger, until its job is finished, `rejected/` where what cannot be worked on is kept
with the reason beside it. Another program may drop job files into `new/` too: written under a name that begins with a
dot, or in `tmp/`, then renamed.
"""

from __future__ import annotations

import errno
import os
import shlex
import time
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin import durable
from encoder_pin_plugin.errors import InvalidJobFile, NotRecorded, StorageError
from encoder_pin_plugin.lazy.jobfile import MAX_BYTES, Submission, new_submission, read_submission

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from encoder_hookspecs.events import CompletedJob

_FOLDERS = ("tmp", "new", "open", "rejected")
_LEFT_BEHIND = 600.0
"""Seconds after which a file in tmp/ has no writer any more."""

_LONGEST_NAME = 120
"""Bytes that are kept of a rejected file's name, so that there is room for what is put to it."""

_NO_JOB = {errno.ELOOP: "it is a symbolic link", errno.EINVAL: "it is no regular file", errno.EISDIR: "it is a folder",
           errno.EFBIG: f"it is larger than {MAX_BYTES} bytes: a job file is a small JSON object",
           errno.EACCES: "it cannot be read: its owner or mode keeps us out",
           errno.ENXIO: "it is no regular file"}  # fmt: skip


class Spool:
    """The folder of job files below one data folder. Holds no state of its own: any number may exist."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "spool"
        self.tmp, self.new, self.open, self.rejected = (self.folder / name for name in _FOLDERS)

    def record(self, job: CompletedJob) -> Submission:
        """Record `job` durably. When this returns, it survives kill -9 and a power cut.

        Raises:
            NotRecorded: it is not on disk; the host must keep the job and submit it again.
        """
        submission = new_submission(job)
        try:
            self._write(submission)
        except OSError as error:
            why = f"cannot write below {self.folder}: {error.strerror or error}; {durable.advice(error)}"
            raise not_recorded(job, why, self.folder.parent) from error
        return submission

    def create(self) -> None:
        """Create the folders, durably. Raises StorageError."""
        for folder in (self.tmp, self.new, self.open, self.rejected):
            with durable.storage_errors("create the folder", folder):
                durable.make_folder(folder)

    def arrivals(self, limit: int) -> list[Path]:
        """Up to `limit` files that wait in `new/`, in no particular order. Raises StorageError."""
        return self._list(self.new, limit)

    def opened(self) -> list[Path]:
        """All files in `open/`. Raises StorageError."""
        return self._list(self.open, None)

    def opened_names(self) -> list[str]:
        """The names of all files in `open/`: a fifth of the time that paths take. Raises StorageError."""
        return list(self._names(self.open, None))

    def rejects(self) -> list[Path]:
        """All files that were set aside. Raises StorageError."""
        return [path for path in self._list(self.rejected, None) if not path.name.endswith(".why")]

    def read(self, path: Path) -> Submission:
        """The submission in the file at `path`.

        Raises:
            InvalidJobFile: it holds no job, and never will.
            StorageError: it cannot be read now.
            FileNotFoundError: it is gone, another worker took it.
        """
        try:
            body = durable.read_regular(path, MAX_BYTES)
            status = path.lstat()
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in _NO_JOB:
                raise InvalidJobFile(_NO_JOB[error.errno]) from error
            raise StorageError(f"cannot read the job file {path}: {error.strerror or error}") from error
        return read_submission(path.name, body, fingerprint=f"{status.st_ino} {status.st_mtime_ns}")

    def move_to_open(self, taken: Iterable[tuple[Path, Submission]]) -> None:
        """Move files that the ledger has indexed from `new/` to `open/`, durably. Raises StorageError."""
        with durable.storage_errors("move job files into", self.open):
            for path, submission in taken:
                with suppress(FileNotFoundError):
                    path.rename(self.open / submission.name)
            durable.fsync_folder(self.open)
            durable.fsync_folder(self.new)

    def restore(self, name: str, body: bytes) -> None:
        """Write a lost file of `open/` again from what the ledger remembers.

        Raises:
            InvalidJobFile: that is not the job of this name: the ledger's copy is damaged too.
            StorageError: it cannot be written now.
        """
        read_submission(name, body)
        with durable.storage_errors("write again the job file", self.open / name):
            durable.replace_file(self.open / name, body)

    def close(self, names: Iterable[str]) -> None:
        """Unlink the files of finished submissions, durably. Raises StorageError."""
        with durable.storage_errors("remove finished job files from", self.open):
            for name in names:
                with suppress(FileNotFoundError):
                    (self.open / name).unlink()
            durable.fsync_folder(self.open)

    def reject(self, path: Path, why: str) -> Path:
        """Set the file at `path` aside with the reason beside it, durably.

        Raises: StorageError; FileNotFoundError where it is gone, another worker took it.
        """
        name = os.fsdecode(os.fsencode(path.name)[:_LONGEST_NAME]).removesuffix(".why")
        target = self.rejected / name
        while os.path.lexists(target):
            target = target.with_name(f"{name}.{os.urandom(3).hex()}")
        reason = target.with_name(f"{target.name}.why")
        try:
            with durable.storage_errors("set aside the job file", path):
                durable.make_folder(self.rejected)
                durable.replace_file(reason, f"{why}\n".encode("utf-8", "replace"))
                durable.move(path, target)
        except StorageError:
            if not os.path.lexists(target):
                with suppress(OSError):
                    reason.unlink()
            if not os.path.lexists(path):
                raise FileNotFoundError(path) from None
            raise
        return target

    def submit_again(self, path: Path) -> Submission:
        """Move the rejected file at `path` back to `new/`, durably, as a new submission of its job.

        Raises: as `read`.
        """
        submission = new_submission(self.read(path).job)
        target = self.new / submission.name
        try:
            with durable.storage_errors("submit again the job file", path):
                durable.make_folder(self.new)
                durable.move(path, target)
                path.with_name(f"{path.name}.why").unlink(missing_ok=True)
        except StorageError:
            if not (os.path.lexists(path) or os.path.lexists(target)):
                raise FileNotFoundError(path) from None
            raise
        return submission

    def why(self, path: Path) -> str:
        """Why the file at `path` was rejected."""
        try:
            return path.with_name(f"{path.name}.why").read_text("utf-8", "replace").strip()
        except OSError:
            return "no reason was kept"

    def recover_unfinished(self) -> None:
        """See to files that a killed writer left in `tmp/`: a whole one becomes a submission, a torn one, which was
        never acknowledged, goes; what cannot be seen to stays. Raises StorageError where `tmp/` cannot be listed."""
        for path in self._list(self.tmp, None):
            try:
                with suppress(FileNotFoundError):
                    if abs(time.time() - path.lstat().st_mtime) > _LEFT_BEHIND:
                        self._recover(path)
            except StorageError as error:
                logger.warning("{}; it stays where it is", error)

    def _recover(self, path: Path) -> None:
        try:
            submission = self.read(path)
        except InvalidJobFile as error:
            logger.warning("removed {}, which a killed process left half-written: {}", path, error)
            with durable.storage_errors("remove", path):
                path.unlink(missing_ok=True)
            return
        with durable.storage_errors("recover", path):
            durable.move(path, self.new / submission.name)
        logger.warning("recovered job {} from {}, left there by a killed process", submission.job.job_id, path)

    def _write(self, submission: Submission) -> None:
        temporary, final = self.tmp / submission.name, self.new / submission.name
        try:
            durable.write_new(temporary, submission.body)
        except FileNotFoundError:
            for folder in (self.tmp, self.new):
                durable.make_folder(folder)
            durable.write_new(temporary, submission.body)
        try:
            self._rename(temporary, final)
        except OSError:
            with suppress(OSError):  # the host is told, and submits again: no copies are to pile up
                temporary.unlink()
            raise
        durable.fsync_folder(self.new)

    def _rename(self, temporary: Path, final: Path) -> None:
        try:
            temporary.rename(final)
        except FileNotFoundError:
            durable.make_folder(self.new)
            temporary.rename(final)

    def _list(self, folder: Path, limit: int | None) -> list[Path]:
        return [folder / name for name in self._names(folder, limit)]

    @staticmethod
    def _names(folder: Path, limit: int | None) -> Iterator[str]:
        with durable.storage_errors("list", folder), suppress(FileNotFoundError), os.scandir(folder) as entries:
            yield from islice((entry.name for entry in entries if not entry.name.startswith(".")), limit)


def not_recorded(job: CompletedJob, why: str, data_dir: Path | None = None) -> NotRecorded:
    """The error to raise, logged already: it must not go unseen where a host takes no notice of it.

    Args:
        why: what happened, and what to do.
        data_dir: the data folder, None where there is none.
    """
    command = _submit_command(job, data_dir)
    text = f"job {job.job_id} with CID {job.cid} is not recorded: {why}, then submit it again with: {command}"
    logger.critical("NOT RECORDED: {}", text)
    return NotRecorded(text)


def _submit_command(job: CompletedJob, data_dir: Path | None) -> str:
    """What records the job in the same folder, wherever it is typed."""
    options = {"--size-mb": job.size_mb, "--type": job.type, "--node-id": job.node_id,
               "--completed-at": job.completed_at.isoformat(timespec="milliseconds")}  # fmt: skip
    folder = [] if data_dir is None else ["--data-dir", str(data_dir.absolute())]
    words = ["encoder-pin", *folder, "submit", job.cid, "--job-id", job.job_id]
    words += [str(word) for name, value in options.items() if value is not None for word in (name, value)]
    return shlex.join(words)
