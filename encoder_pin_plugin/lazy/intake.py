"""From job files to open jobs: taking in what arrived, and bringing files and ledger to agree after a crash.

The job file is the truth, the ledger its index: a file whose nonce the ledger has closed goes, an unknown nonce is an
open job, an open row without a file gets its file back.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.errors import InvalidJobFile, StorageError
from encoder_pin_plugin.lazy.jobfile import nonce_of

if TYPE_CHECKING:
    from pathlib import Path

    from encoder_pin_plugin.alarms import Alarms
    from encoder_pin_plugin.clock import EvenClock
    from encoder_pin_plugin.lazy.jobfile import Submission
    from encoder_pin_plugin.lazy.ledger import Ledger
    from encoder_pin_plugin.lazy.spool import Spool

AT_ONCE = 100
"""Files taken in per transaction: few enough that those before can be started soon."""

GRACE = 5.0
"""Seconds for which a file that holds no job may still be in the making, by a program that does not rename."""


class Intake:
    """Takes job files in.

    Args:
        spool: the files.
        alarms: for rejected jobs and unreadable files.
        clock: the time.
    """

    def __init__(self, spool: Spool, alarms: Alarms, clock: EvenClock) -> None:
        self._spool = spool
        self._alarms = alarms
        self._clock = clock
        self._doubtful: dict[Path, float] = {}
        self._stuck: set[Path] = set()
        self._agreed: Ledger | None = None

    def take_in(self, ledger: Ledger) -> list[Submission]:
        """Index what arrived in `new/`; returns it. Raises StorageError, LedgerError."""
        self._forget_gone()
        taken: list[tuple[Path, Submission]] = []
        for path in self._spool.arrivals(5 * AT_ONCE + len(self._stuck)):  # some may be there that cannot be taken
            submission = self._read(path)
            if submission is not None:
                taken.append((path, submission))
            if len(taken) == AT_ONCE:
                break
        if taken:
            self._index(ledger, [submission for _, submission in taken])
            self._spool.move_to_open(taken)
        return [submission for _, submission in taken]

    def waiting(self) -> bool:
        """Whether a file waits in `new/` that may still be taken in. Raises StorageError."""
        return any(path not in self._stuck for path in self._spool.arrivals(len(self._stuck) + 1))

    def sweep(self, ledger: Ledger) -> None:
        """Unlink the files of finished jobs. Raises StorageError, LedgerError."""
        if closed := ledger.closed_submissions():
            ledger.forget(self.unlink(closed))

    def unlink(self, closed: list[tuple[str, str]]) -> tuple[str, ...]:
        """Unlink the files of these (key, nonce); returns the nonces, none where the disk refuses."""
        try:
            self._spool.close(f"{key}.{nonce}" for key, nonce in closed)
        except StorageError as error:
            self._alarms.begin("sweep", f"files of finished jobs stay: {error}")
            return ()
        self._alarms.end("sweep", "files of finished jobs are removed again")
        return tuple(nonce for _, nonce in closed)

    def begin(self, ledger: Ledger, *, told: bool = False) -> None:
        """Make the folders, and say it where an earlier ledger is gone, unless that was `told`. Raises StorageError.

        Only a worker makes `open/`, and puts files there, once it has a ledger: where they are, there was one.
        """
        if ledger.new and not told and self._spool.open.is_dir():
            if self._spool.opened_names():
                logger.error("the ledger {} was gone or empty: made anew, from the job files", ledger.path)
            else:
                text = "the ledger {} was gone or empty: made anew; no job was open, what it knew of others is gone"
                logger.warning(text, ledger.path)
        self._spool.create()

    def reconcile(self, ledger: Ledger) -> int:
        """Bring `open/` and the ledger to agree; returns how many jobs or files had to be restored."""
        self._spool.create()
        self._spool.recover_unfinished()
        if count := ledger.agree(self._clock.wall()):
            logger.error("{} rows of the ledger {} contradicted others: damaged, and opened again", count, ledger.path)
        known = ledger.nonces()
        names = self._spool.opened_names()
        found = {nonce: name for name in names if (nonce := nonce_of(name))}
        strange = [self._spool.open / name for name in names if nonce_of(name) is None]
        unknown = [self._spool.open / name for nonce, name in found.items() if nonce not in known]
        lost = [nonce for nonce, closed in known.items() if not closed and nonce not in found]
        for start in range(0, len(unknown), AT_ONCE):
            self._reopen(ledger, unknown[start : start + AT_ONCE])
        lost = [nonce for nonce in lost if self._restore(ledger, nonce)]
        for path in strange:
            self._reject(path, "its name is not that of a job file, and it did not come through new/")
        self._say(len(unknown), len(lost))
        self.sweep(ledger)
        self._agreed = ledger
        return len(unknown) + len(lost)

    def agrees(self, ledger: Ledger | None) -> bool:
        """Whether `open/` and this ledger were brought to agree since it was opened."""
        return ledger is not None and ledger is self._agreed

    def _reopen(self, ledger: Ledger, paths: list[Path]) -> None:
        submissions = [submission for path in paths if (submission := self._read(path, grace=0.0))]
        self._index(ledger, submissions)

    def _index(self, ledger: Ledger, submissions: list[Submission]) -> None:
        ledger.ingest(submissions, self._clock.wall(), wall=self._clock.stepped())

    def _restore(self, ledger: Ledger, nonce: str) -> bool:
        """Write a lost file again; False where another worker has finished its job meanwhile, or its copy is bad."""
        if not ledger.is_open(nonce):
            return False
        key, body = ledger.body(nonce)
        try:
            self._spool.restore(f"{key}.{nonce}", body)
        except InvalidJobFile as error:
            logger.error("the lost job file {}.{} cannot be written again from the ledger: {}", key, nonce, error)
            return False
        return True

    def _say(self, unknown: int, lost: int) -> None:
        if unknown and lost:
            logger.error("the ledger is not that of these job files: is it an older copy? Both are brought to agree")
        if unknown:
            logger.warning("{} open jobs were not in the ledger: taken from their files again", unknown)
        if lost:
            logger.warning("{} open jobs had lost their files: written again from the ledger (an older copy?)", lost)

    def _read(self, path: Path, grace: float = GRACE) -> Submission | None:
        try:
            submission = self._spool.read(path)
        except FileNotFoundError:
            self._taken(path)
            return None
        except StorageError as error:
            self._leave(path, error)
            return None
        except InvalidJobFile as error:
            if self._clock.steady() - self._doubtful.setdefault(path, self._clock.steady()) >= grace:
                self._reject(path, str(error))
            return None
        self._taken(path)
        return submission

    def _forget_gone(self) -> None:
        """What somebody else took or removed may come again under its name, and is another file then."""
        for path in [it for it in {*self._doubtful, *self._stuck} if not os.path.lexists(it)]:
            self._taken(path)

    def _taken(self, path: Path) -> None:
        self._doubtful.pop(path, None)
        self._stuck.discard(path)
        self._alarms.end(f"stuck {path.name}", f"the job file {path} is dealt with")

    def _leave(self, path: Path, error: StorageError) -> None:
        """A file that can be neither read nor set aside holds up no other."""
        self._stuck.add(path)
        self._alarms.begin(f"stuck {path.name}", f"{error}; it is left in its place and tried again")

    def _reject(self, path: Path, why: str) -> None:
        try:
            target = self._spool.reject(path, why)
        except FileNotFoundError:
            self._taken(path)  # another worker was quicker
            return
        except StorageError as error:
            self._leave(path, error)
            return
        self._taken(path)
        logger.error("REJECTED the job file {}: {}; it is kept as {}", path.name, why, target)
