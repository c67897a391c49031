"""The index of open lazy pins: attempts, due times, states, leases. The job files are the truth; this makes them quick.

Every write is one `BEGIN IMMEDIATE` transaction without I/O of another kind in it. A job leaves a state only through
`commit`, which re-checks the lease: each claim raises the row's epoch, and a step that carries an older one is dropped.
Times are wall-clock milliseconds on the time line of `timeline`, so that a clock that jumps delays and hastens nothing.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from encoder_pin_plugin.errors import LedgerError
from encoder_pin_plugin.lazy import schema
from encoder_pin_plugin.lazy.pins import LARGE_MB, State
from encoder_pin_plugin.lazy.statements import (
    AGREE,
    DUE,
    DUE_BY_AGE,
    FINISHED,
    LEASE,
    NEXT_DUE,
    OPEN,
    RELEASE,
    STEP,
    job_row,
    lazy_pin,
    step_row,
    submission_row,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from encoder_pin_plugin.lazy.jobfile import Submission
    from encoder_pin_plugin.lazy.mark import Mark
    from encoder_pin_plugin.lazy.pins import LazyPin, Step


class Ledger:
    """One connection to the ledger, for the thread that made it; `new` where it made the ledger as well. `mark` is
    where the rows' time line lay when `timeline` last looked: the `now` that its methods are given is on it.

    Raises, from every method: LedgerError where the database is busy for too long, full or unreadable;
    sqlite3.DatabaseError where it is damaged (see `schema.set_aside`).
    """

    def __init__(self, path: Path, *, busy_timeout: float = 5.0) -> None:
        self.path = path
        self._connection, self.new = schema.connect(path, busy_timeout=busy_timeout)
        self._inode = path.stat().st_ino
        self.mark: Mark | None = None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def check(self, *, whole: bool = False) -> None:
        """Read the structure, and where `whole`, or where that is quick, also whether each index agrees with its
        table. Raises sqlite3.DatabaseError where it is damaged beyond what can be made again from the rows."""
        schema.check(self._connection, self.path, whole=whole or self.path.stat().st_size <= schema.QUICK_TO_READ)

    def agree(self, now: int) -> int:
        """Open what is neither open nor closed, as only damage leaves it; returns how many rows."""
        with self.at(now) as (db, moment):
            return sum(db.execute(statement, {"now": moment}).rowcount for statement in AGREE)

    def replaced(self) -> bool:
        """Whether the file at our path is no longer the one that is open here (set aside, deleted, swapped)."""
        try:
            return self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction; rolled back on any error."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with _fork_waits():
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                    raise
        except sqlite3.OperationalError as error:
            if schema.is_damaged(error):
                raise
            raise LedgerError(f"the ledger {self.path} cannot be written: {error}") from error

    @contextmanager
    def at(self, now: int) -> Iterator[tuple[sqlite3.Connection, int]]:
        """One write transaction, and `now` where the rows' time line lies in it: another worker may have noticed a step
        of the clock that we have not, and moved every row."""
        with self.transaction() as db:
            yield db, now + (self.mark.moved(db) if self.mark else 0)

    def read(self, sql: str, parameters: Sequence[object] | dict[str, object] = ()) -> list[sqlite3.Row]:
        """Rows of one query."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if schema.is_damaged(error):
                raise
            raise LedgerError(f"the ledger {self.path} cannot be read: {error}") from error

    def ingest(self, submissions: Iterable[Submission], now: int, *, wall: int | None = None) -> list[Submission]:
        """Index submissions. An unknown nonce opens its job, or opens it again; a known one changes nothing.

        Args:
            submissions: what has arrived.
            now: wall-clock milliseconds.
            wall: the same with the steps that nobody has followed yet: what the jobs' own times are compared with.

        Returns:
            The submissions whose nonce was closed before: their files are to be unlinked.
        """
        closed = []
        with self.at(now) as (db, moment):
            for submission in submissions:
                known = db.execute("SELECT closed FROM submission WHERE nonce=?", (submission.nonce,)).fetchone()
                if known is None:
                    db.execute(OPEN, job_row(submission, moment, now if wall is None else wall))
                    db.execute("INSERT INTO submission VALUES (?, ?, ?, 0)", submission_row(submission))
                elif known["closed"]:
                    closed.append(submission)
        return closed

    def claim(
        self, owner: str, state: State, now: int, *, limit: int, lease: int, waited: int | None = None,
        small_only: bool = False,
    ) -> list[LazyPin]:  # fmt: skip
        """Lease up to `limit` due jobs in `state` to `owner` for `lease` milliseconds, the longest due first, never
        two with one CID.

        Args:
            owner: who claims.
            state: of the jobs.
            now: wall-clock milliseconds.
            limit: how many at most.
            lease: milliseconds.
            waited: only jobs that have waited for so many milliseconds, and these whether due or not.
            small_only: leave out those that may keep a slot for long.
        """
        parameters = {"owner": owner, "state": state, "limit": limit, "waited": waited,
                      "large": LARGE_MB, "any": not small_only}  # fmt: skip
        with self.at(now) as (db, moment):
            parameters |= {"now": moment, "until": moment + lease}
            rows = db.execute(DUE if waited is None else DUE_BY_AGE, parameters).fetchall()
            cids: set[str] = set()
            chosen = [row for row in rows if not (row["cid"] in cids or cids.add(row["cid"]))]  # type: ignore[func-returns-value]
            claimed = []
            for row in chosen:
                claimed += db.execute(LEASE, parameters | {"key": row["key"]}).fetchall()
        return [lazy_pin(row, turn_at=moment) for row in claimed]

    def renew(self, owner: str, keys: Iterable[str], now: int, lease: int) -> None:
        """Prolong the leases of `owner` on the jobs `keys`."""
        with self.at(now) as (db, moment):
            rows = [(moment + lease, key, owner) for key in keys]
            db.executemany("UPDATE job SET lease_until=? WHERE key=? AND owner=?", rows)

    def owners(self) -> set[str]:
        """Who holds leases."""
        return {row["owner"] for row in self.read("SELECT DISTINCT owner FROM job WHERE owner IS NOT NULL")}

    def release(self, owner: str) -> int:
        """End all leases of `owner`, which is gone or stops; returns how many."""
        with self.transaction() as db:
            return db.execute("UPDATE job SET owner=NULL, lease_until=NULL WHERE owner=?", (owner,)).rowcount

    def commit(self, steps: Iterable[Step], now: int) -> list[Step]:
        """Write steps in one transaction, each only while its lease is still the claimer's.

        Returns:
            The steps that took effect. A missing one was overtaken: its job belongs to another worker now.
        """
        done = []
        with self.at(now) as (db, moment):
            for step in steps:
                if db.execute(STEP, step_row(step, moment)).rowcount == 1:
                    done.append(step)
                    if step.state.final:
                        db.execute("UPDATE submission SET closed=1 WHERE key=?", (step.pin.key,))
        return done

    def set_hold(self, holds: dict[str, str], now: int) -> None:
        """Note who pinned jobs' CIDs on the local node: key -> "ours" or "theirs"."""
        with self.at(now) as (db, moment):
            rows = [{"key": key, "hold": hold, "now": moment} for key, hold in holds.items()]
            db.executemany(
                "UPDATE job SET hold=:hold,"
                " release_at=CASE WHEN state='pinned' AND :hold='ours' THEN :now ELSE release_at END WHERE key=:key",
                rows,
            )

    def needs(self, pin: LazyPin) -> bool:
        """Whether another job needs the CID of `pin` on the local node: one that is open, or archived."""
        sql = "SELECT 1 FROM job WHERE cid=? AND key<>? AND (closed_at IS NULL OR state='archived') LIMIT 1"
        return bool(self.read(sql, (pin.job.cid, pin.key)))

    def releases(self, now: int, *, limit: int, again: int) -> list[LazyPin]:
        """Jobs whose held CID may be released at `now`; each is handed out again after `again` milliseconds."""
        with self.at(now) as (db, moment):
            rows = db.execute(RELEASE, {"now": moment, "later": moment + again, "limit": limit}).fetchall()
        return [lazy_pin(row) for row in rows]

    def released(self, steps: dict[str, bool | None], now: int, *, again: int) -> None:
        """Note steps of releases: done, proved once (to be proved again after `again` ms), or not safe yet."""
        with self.at(now) as (db, moment):
            for key, done in steps.items():
                if done is None:
                    db.execute("UPDATE job SET whole_at=NULL WHERE key=?", (key,))
                elif done:
                    db.execute("UPDATE job SET hold='released', release_at=NULL WHERE key=?", (key,))
                else:
                    db.execute("UPDATE job SET whole_at=?, release_at=? WHERE key=?", (moment, moment + again, key))

    def next_due(self, now: int) -> int | None:
        """When the next job that waits becomes due, later than `now`; None where none waits."""
        (row,) = self.read(NEXT_DUE, {"now": now})
        return None if row["at"] is None else int(row["at"])

    def nonces(self) -> dict[str, bool]:
        """Every submission that may have a file, by nonce: whether it is closed."""
        return {row["nonce"]: bool(row["closed"]) for row in self.read("SELECT nonce, closed FROM submission")}

    def body(self, nonce: str) -> tuple[str, bytes]:
        """Key and file content of a submission."""
        (row,) = self.read("SELECT key, body FROM submission WHERE nonce=?", (nonce,))
        return row["key"], row["body"]

    def closed_submissions(self, limit: int = 10_000) -> list[tuple[str, str]]:
        """(key, nonce) of finished submissions whose files are to be unlinked."""
        return [(row["key"], row["nonce"]) for row in self.read(FINISHED, (limit,))]

    def open_submissions(self, after: str, limit: int) -> list[tuple[str, str, bytes]]:
        """(nonce, key, file content) of up to `limit` open submissions, in order, beginning after the nonce `after`."""
        rows = self.read(
            "SELECT nonce, key, body FROM submission WHERE closed=0 AND nonce > ? ORDER BY nonce LIMIT ?",
            (after, limit),
        )
        return [(row["nonce"], row["key"], row["body"]) for row in rows]

    def is_open(self, nonce: str) -> bool:
        """Whether this submission is open still."""
        return bool(self.read("SELECT 1 FROM submission WHERE nonce=? AND closed=0", (nonce,)))

    def correct(self, nonce: str, body: bytes) -> None:
        """Write down a submission's file content anew: ours was damaged."""
        with self.transaction() as db:
            db.execute("UPDATE submission SET body=? WHERE nonce=?", (body, nonce))

    def forget(self, nonces: Iterable[str]) -> None:
        """Drop finished submissions whose files are unlinked."""
        with self.transaction() as db:
            db.executemany("DELETE FROM submission WHERE nonce=? AND closed=1", [(nonce,) for nonce in nonces])

    def select(self, where: str = "1", parameters: Sequence[object] = ()) -> list[LazyPin]:
        """Jobs that match a condition of ours (never of a user's)."""
        return [lazy_pin(row) for row in self.read(f"SELECT * FROM job WHERE {where}", parameters)]  # noqa: S608


@functools.cache
def _fork_waits() -> threading.RLock:
    """Held during a transaction, and by whoever forks: a child that exits would roll back what its copy of the
    connection believes to be under way, in the file that its parent writes to."""
    lock = threading.RLock()
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock
