"""The worker: takes job files in, claims what is due, has it attempted or fallen back, and writes down the result.

One thread owns the ledger and never waits for a node; a pool of daemon threads talks to nodes and plugins and posts
what it found out. Several workers, in one process or many, may serve one data folder: leases keep them apart.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
from contextlib import closing, suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.alarms import Alarms
from encoder_pin_plugin.clock import EvenClock, SystemClock
from encoder_pin_plugin.errors import EncoderPinError, LedgerError, StorageError
from encoder_pin_plugin.lazy.attempt import Attempts
from encoder_pin_plugin.lazy.dispatch import Dispatch
from encoder_pin_plugin.lazy.fallback import SETTLE, Fallbacks
from encoder_pin_plugin.lazy.hold import holder_for
from encoder_pin_plugin.lazy.intake import AT_ONCE, Intake
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.opening import OpenLedger
from encoder_pin_plugin.lazy.presence import Presence
from encoder_pin_plugin.lazy.results import Results
from encoder_pin_plugin.lazy.retry import Breaker
from encoder_pin_plugin.lazy.rounds import Rounds
from encoder_pin_plugin.lazy.spool import Spool
from encoder_pin_plugin.lazy.timetable import Timetable
from encoder_pin_plugin.lazy.trouble import Trouble
from encoder_pin_plugin.nodes.exclusion import Exclusion

if TYPE_CHECKING:
    from encoder_pin_plugin.clock import Clock
    from encoder_pin_plugin.lazy.pins import LazyPin
    from encoder_pin_plugin.lazy.ports import Decisions, Nodes
    from encoder_pin_plugin.settings import Settings

LEDGER_NAME = "lazy-pins.db"

POLL = 1.0
"""Seconds after which other processes' job files and due times are looked for."""

GATHER = 0.1
"""Seconds for which results may gather, so that a transaction writes many: each keeps Kubo's disk waiting as well."""


SOON = 60.0
"""Seconds for which a drain waits in any case; as long as LAZY_PIN_BACKOFF where that is longer."""

_LEFT = "SELECT key FROM job WHERE closed_at IS NULL AND NOT (state='pending' AND waiting_since > ?) LIMIT ?"


class Worker:
    """Works on one data folder.

    Args:
        settings: of this encoder.
        nodes: the supernode and the local node.
        decisions: who answers the questions of the contract.
        clock, random: given by tests.
    """

    def __init__(
        self, settings: Settings, nodes: Nodes, decisions: Decisions, *, clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:  # fmt: skip
        self._settings, self._decisions = settings, decisions
        self._clock = EvenClock(clock or SystemClock())
        self._spool = Spool(settings.data_dir)
        self._alarms = Alarms(self._clock)
        self._intake = Intake(self._spool, self._alarms, self._clock)
        self._rounds = Rounds(self._spool, self._alarms)
        self._presence = Presence(settings.data_dir)
        self._breaker = Breaker(random or Random())  # noqa: S311 - spreads load, guards nothing
        self._ledger = OpenLedger(settings.data_dir / LEDGER_NAME, self._prepare)
        self._has_supernode = nodes.supernode is not None
        self._wake, self._stop, self._stopped = threading.Event(), threading.Event(), threading.Event()
        self._results = Results(settings, self._breaker, alarms=self._alarms, clock=self._clock, wake=self._wake.set)
        self._every, self._trouble = Timetable(self._clock).every, Trouble(self._alarms)
        self._patience = 30.0
        self._more = self._begun = False
        self._dispatch = self._make_dispatch(nodes, decisions)

    def _make_dispatch(self, nodes: Nodes, decisions: Decisions) -> Dispatch:
        settings, clock, post = self._settings, self._clock, self._results.post
        exclusion, supernode, local = Exclusion(settings.data_dir), nodes.supernode, nodes.local
        settle = 0.0 if local is None or local.on_this_machine else SETTLE
        return Dispatch(
            settings, supernode, self._breaker, clock=clock, owner=self._presence.name, post=post,
            attempts=Attempts(supernode, settings, decisions, clock, post) if supernode else None,
            fallbacks=Fallbacks(settings, decisions, exclusion, alarms=self._alarms, post=post, settle=settle),
            holder=holder_for(settings, nodes, exclusion=exclusion, needed=self._needed, post=post),
        )  # fmt: skip

    def _needed(self, pin: LazyPin) -> bool:
        """Whether another job, or a line of the archive, needs a CID: asked beside the work, right before an unpin."""
        with closing(Ledger(self._ledger.path)) as ledger:
            unsure = ledger.new or not self._intake.agrees(self._ledger.current)
            return unsure or ledger.needs(pin) or self._decisions.needed(pin.job.cid)

    def wake(self) -> None:
        """There is something to do: a job was recorded in this process."""
        self._wake.set()

    def stop(self, *, patience: float = 30.0) -> None:
        """Claim nothing more; `run` returns when what is in flight has ended, or after `patience` seconds."""
        self._patience = patience
        self._stop.set()
        self._wake.set()

    @property
    def runs(self) -> bool:
        """Whether it has not ended, nor been told to."""
        return not (self._stop.is_set() or self._stopped.is_set())

    def wait(self, timeout: float) -> bool:
        """Wait until `run` has returned; False where it has not within `timeout` seconds."""
        return self._stopped.wait(timeout)

    def run(self, *, drain: bool = False) -> int:
        """Work until stopped.

        Args:
            drain: end when nothing is left that a further try could finish soon: every remaining job has failed its
                fallback once, or may not fall back, or, without a supernode, waits for that longer than the backoff.

        Returns:
            How many jobs are still open.

        Raises:
            Exception: only of a drain, which ends when it cannot go on time and again: what keeps it from it.
        """
        try:
            while not self._stop.is_set():
                self._turn()
                if drain:
                    self._trouble.raise_what_stays()
                    if self._drained():
                        break
                self._pause()
            self._finish()
            return self._open_jobs()
        finally:
            self._leave()

    def _turn(self) -> None:
        """One round; whatever fails in it is said, and tried again in the next."""
        try:
            self._live()
            ledger = self._ledger.get()
            self._every(1.0, "clock", lambda: self._dispatch.mind_the_clock(ledger))
            self._every(5.0, "others", lambda: self._take_over(ledger))
            self._every(30.0, "leases", lambda: self._dispatch.renew(ledger))
            self._take_in(ledger)
            self._results.write_down(ledger, self._dispatch)
            self._dispatch.claim(ledger)
            self._keep_house(ledger)
        except sqlite3.DatabaseError as error:
            self._recover(error)
        except Exception as error:  # noqa: BLE001 - nothing may end the one thread that all jobs depend on
            self._cannot_go_on(error)
        else:
            self._trouble.over()

    def _live(self) -> None:
        """Show that there is a worker. Raises StorageError."""
        if not self._begun:
            self._presence.begin()
            self._decisions.begin()
            self._begun = True
        self._every(5.0, "presence", self._presence.touch)

    def _take_in(self, ledger: Ledger) -> None:
        """Take job files in; where their folders cannot be used, work on the jobs that are known."""
        self._more = False
        try:
            self._more = len(self._intake.take_in(ledger)) == AT_ONCE
        except StorageError as error:
            self._alarms.begin("intake", f"job files cannot be taken in for now: {error}")
        else:
            self._alarms.end("intake", "job files are taken in again")

    def _recover(self, error: sqlite3.DatabaseError) -> None:
        try:
            self._ledger.recover(error)
        except LedgerError as trouble:
            self._cannot_go_on(trouble)
        else:
            self._stop.wait(POLL)

    def _cannot_go_on(self, error: Exception) -> None:
        self._trouble.met(error)
        self._stop.wait(POLL)

    def _pause(self) -> None:
        if self._more:
            return
        self._wake.wait(min(POLL, self._until_due()))
        self._wake.clear()
        if self._dispatch.awaits(self._results.waiting):
            self._stop.wait(GATHER)

    def _until_due(self) -> float:
        """Seconds until the next job becomes due."""
        with suppress(EncoderPinError, sqlite3.Error):
            ledger = self._ledger.current
            due = ledger.next_due(self._clock.wall()) if ledger else None
            return POLL if due is None else max(due - self._clock.wall(), 0) / 1000
        return POLL

    def _prepare(self, ledger: Ledger) -> None:
        self._dispatch.mind_the_clock(ledger)  # before anything is compared with its times, or written beside them
        self._intake.begin(ledger, told=self._ledger.set_aside)

    def _keep_house(self, ledger: Ledger) -> None:
        """What can wait until jobs are at work. Nothing is unpinned before files and ledger were seen to agree."""
        self._every(3600.0 if self._intake.agrees(ledger) else 0.0, "reconcile", lambda: self._reconcile(ledger))
        self._dispatch.claim_releases(ledger)
        self._every(1.0, "sweep", lambda: self._dispatch.sweep(ledger, self._intake))
        self._every(10.0, "rounds", lambda: self._rounds.walk(ledger))
        self._every(3600.0, "check", lambda: ledger.check(whole=True))

    def _reconcile(self, ledger: Ledger) -> None:
        if self._intake.reconcile(ledger):
            self._wake.set()  # what was found is claimed at once

    def _take_over(self, ledger: Ledger) -> None:
        for name in self._presence.dead(ledger.owners()):
            count = ledger.release(name)
            logger.warning("worker {} is gone: its {} jobs in flight are taken over", name, count)

    def _drained(self) -> bool:
        with suppress(EncoderPinError, sqlite3.Error):
            ledger = self._ledger.current
            if not (ledger and self._intake.agrees(ledger)) or self._results.waiting or self._intake.waiting():
                return False
            if not self._has_supernode and self._dispatch.holding:
                return False  # what waits for long is to be safe from garbage collection
            if self._hopeless:
                return not self._dispatch.busy
            open_jobs = ledger.read(_LEFT, (self._young, len(self._results.exhausted) + 1))
            return all(row["key"] in self._results.exhausted for row in open_jobs)
        return False

    @property
    def _hopeless(self) -> bool:
        """Whether nothing may fall back, and there is no supernode, or it is down."""
        return not self._settings.enable_local_fallback and (self._breaker.is_open or not self._has_supernode)

    @property
    def _young(self) -> int:
        """Since when jobs wait that no try comes for and that fall back later than soon: not before they are old."""
        if self._has_supernode:
            return sys.maxsize
        soon = max(SOON, *self._settings.lazy_pin_backoff)
        return self._clock.wall() + int((soon - self._settings.fallback_after) * 1000)

    def _finish(self) -> None:
        until = self._clock.steady() + self._patience
        while self._dispatch.busy and self._clock.steady() < until:
            self._wake.wait(0.1)
            self._wake.clear()
            with suppress(Exception):
                ledger = self._ledger.get()
                self._results.write_down(ledger, self._dispatch)
                self._every(30.0, "leases", partial(self._dispatch.renew, ledger))
        with suppress(Exception):  # what is not written down now is found out again at the next start
            ledger = self._ledger.get()
            self._results.write_down(ledger, self._dispatch)
            self._intake.sweep(ledger)

    def _open_jobs(self) -> int:
        """How many are left, those that could not be taken in included; by their files where the ledger is closed."""
        with suppress(EncoderPinError, sqlite3.Error, OSError):
            indexed = int(self._ledger.get().read("SELECT count(*) FROM job WHERE closed_at IS NULL")[0][0])
            return indexed + len(self._spool.arrivals(10_000))
        with suppress(EncoderPinError):
            return max(1, len(self._spool.opened()) + len(self._spool.arrivals(10_000)))
        return 1

    def _leave(self) -> None:
        try:
            with suppress(EncoderPinError, sqlite3.Error):
                if self._ledger.current is not None:
                    self._ledger.current.release(self._presence.name)
            self._ledger.close()
            self._dispatch.close()
            self._presence.end()
        finally:
            self._stopped.set()
