"""What the plugin owns in one process: the spool, the nodes, the archive and the worker, each made when first needed.

Nothing is opened at import or registration. A forked child starts afresh: threads and connections do not survive a
fork, the files on disk do.
"""

from __future__ import annotations

import os
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from encoder_hookspecs.events import ArchiveReceipt
from encoder_pin_plugin.alarms import REPEAT
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import from_fallback
from encoder_pin_plugin.clock import SystemClock
from encoder_pin_plugin.durable import SharedSync
from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.lazy.presence import seems_alive
from encoder_pin_plugin.lazy.spool import Spool, not_recorded
from encoder_pin_plugin.nodes.base import limits_of
from encoder_pin_plugin.nodes.local import LocalPinner
from encoder_pin_plugin.settings import data_dir, load_settings

if TYPE_CHECKING:
    import pluggy

    from encoder_hookspecs.events import CompletedJob, LocalFallback
    from encoder_pin_plugin.lazy.worker import Worker
    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.nodes.kubo import KuboNode
    from encoder_pin_plugin.settings import Settings


class Service:
    """The plugin's parts in one process.

    Args:
        settings: read already, or None to read them when needed.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._given = settings
        self._worker: Worker | None = None
        self._worker_pid = 0
        self._said_no_worker = -REPEAT
        self._clock = SystemClock()
        self._process = os.getpid()

    @cached_property
    def settings(self) -> Settings:
        """The settings, with the data folder that jobs are recorded in already. Raises InvalidSettings."""
        return self._given or load_settings(folder=self._folder, data_dir=self.data_dir)

    @cached_property
    def data_dir(self) -> Path:
        """The data folder; needs no other setting, and never raises for nonsense in one."""
        return self._given.data_dir if self._given else data_dir(folder=self._folder)

    @cached_property
    def _folder(self) -> Path:
        """Where `.env` stands and relative paths begin: one for recording and working, wherever the host goes later."""
        try:
            return Path.cwd()
        except FileNotFoundError:  # it was deleted, and every path may be absolute
            return Path()

    @cached_property
    def spool(self) -> Spool:
        """The job files."""
        return Spool(self.data_dir)

    @cached_property
    def archive(self) -> Archive:
        """The JSONL archive."""
        return Archive(self.data_dir)

    @cached_property
    def local(self) -> KuboNode:
        """The encoder's own node."""
        from encoder_pin_plugin.nodes.kubo import KuboNode  # the host's import must not pay for the IPFS client

        return KuboNode(self.settings.ipfs_api_addr, auth=self.settings.ipfs_api_auth)

    @cached_property
    def supernode(self) -> PinNode | None:
        """The supernode: a Cluster or a Kubo node; None where none is configured."""
        settings = self.settings
        if settings.use_cluster_for_pins and settings.ipfs_cluster_endpoint:
            from encoder_pin_plugin.nodes.targets import read_target

            return read_target(f"cluster+{settings.ipfs_cluster_endpoint}").open(settings.ipfs_cluster_auth)
        if settings.threespeak_ipfs_endpoint is None:
            return None
        from encoder_pin_plugin.nodes.kubo import KuboNode

        return KuboNode(settings.threespeak_ipfs_endpoint, auth=settings.threespeak_ipfs_auth)

    @cached_property
    def pinner(self) -> LocalPinner:
        """Pins on the local node."""
        return LocalPinner(node=self.local, limits=limits_of(self.settings), sync=SharedSync())

    def record(self, job: CompletedJob) -> None:
        """Record a finished job durably. Raises NotRecorded."""
        self._renew_after_fork()
        try:
            spool = self.spool
        except (InvalidSettings, OSError) as error:  # OSError: the current folder was deleted
            raise not_recorded(job, str(error)) from error
        spool.record(job)
        logger.info("recorded job {} with CID {}", job.job_id, job.cid)
        for flag in job.flags:
            logger.warning("job {}: {}", job.job_id, flag)
        worker = self._worker  # another thread may be stopping it
        if worker is not None and self._worker_pid == os.getpid() and worker.runs:
            worker.wake()
        else:
            self._warn_if_nobody_works()

    def archive_line(self, fallback: LocalFallback) -> ArchiveReceipt:
        """Append a fallback's line. Raises ArchiveError, LockBusy, StorageError."""
        self.archive.append(from_fallback(fallback, self.settings.node_name))
        return ArchiveReceipt(path=str(self.archive.path))

    def worker(self, manager: pluggy.PluginManager) -> Worker:
        """A worker that asks the plugins of `manager`. Raises InvalidSettings."""
        from encoder_pin_plugin.asking import Plugins
        from encoder_pin_plugin.lazy.ports import Nodes
        from encoder_pin_plugin.lazy.worker import Worker

        self._renew_after_fork()
        plugins = Plugins(manager, self.settings, self.archive, self.pinner)
        for text in self.settings.warnings:
            logger.warning("{}", text)
        return Worker(self.settings, Nodes(supernode=self.supernode, local=self.local), plugins)

    def foreground(self, manager: pluggy.PluginManager) -> Worker:
        """A worker that the caller runs itself; `start` starts no second one beside it. Raises InvalidSettings."""
        self._worker, self._worker_pid = self.worker(manager), os.getpid()
        return self._worker

    def start(self, manager: pluggy.PluginManager) -> None:
        """Start the worker in a daemon thread of this process; wrong settings are said, and stop only the worker."""
        if self._worker is not None and self._worker_pid == os.getpid() and self._worker.runs:
            return
        try:
            worker = self.worker(manager)
        except InvalidSettings as error:
            logger.error("the worker does not start, jobs are recorded all the same: {}", error)
            return
        threading.Thread(target=worker.run, name="encoder-pin-worker", daemon=True).start()
        self._worker, self._worker_pid = worker, os.getpid()
        logger.info("the worker of {} runs in this process", self.data_dir)

    def stop(self, timeout: float) -> None:
        """Stop the worker, waiting at most `timeout` seconds for what is in flight."""
        worker, self._worker = self._worker, None
        if worker is None or self._worker_pid != os.getpid():
            return
        worker.stop(patience=max(timeout - 0.5, 0.0))
        if not worker.wait(min(timeout, threading.TIMEOUT_MAX)):
            logger.warning("the worker is still busy after {:.0f} s; the next start goes on with the rest", timeout)

    def _renew_after_fork(self) -> None:
        """A forked child makes its own nodes: connections and locks of its parent would be shared, or held for ever."""
        if os.getpid() != self._process:
            self._process, self._worker = os.getpid(), None
            for name in ("local", "supernode", "pinner", "archive"):
                self.__dict__.pop(name, None)

    def _warn_if_nobody_works(self) -> None:
        now = self._clock.steady()
        if now - self._said_no_worker >= REPEAT and not seems_alive(self.data_dir):
            self._said_no_worker = now
            logger.warning('nobody works on {}: jobs are recorded and wait; run "encoder-pin work"', self.data_dir)
