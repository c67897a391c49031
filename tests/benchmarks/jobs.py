"""Hosts, and data folders with many open jobs in them, made in bulk through the program's own spool and ledger."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pluggy

from encoder_hookspecs.events import CompletedJob
from encoder_hookspecs.specs import EncoderSpecs
from encoder_pin_plugin import durable
from encoder_pin_plugin.lazy.jobfile import new_submission
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.spool import Spool
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from encoder_pin_plugin.plugin import PinPlugin
from encoder_pin_plugin.settings import Settings, load_settings
from tests.cids import directory_cid

AT_ONCE = 5000


def job_of(name: str) -> CompletedJob:
    """A finished job as hosts report them."""
    return CompletedJob(cid=directory_cid(name), job_id=name, size_mb=42.5, type="directory")


def settings_for(folder: Path, **options: object) -> Settings:
    """Settings of an encoder whose nodes are nowhere, unless `options` say where."""
    nowhere = {"ipfs_api_addr": "/ip4/127.0.0.1/tcp/9", "threespeak_ipfs_endpoint": "http://127.0.0.1:9"}
    return load_settings({}, folder, **({"data_dir": folder, **nowhere} | options))


def host(settings: Settings) -> tuple[pluggy.PluginManager, PinPlugin]:
    """What a host has: plain pluggy with our plugin in it."""
    manager = pluggy.PluginManager("encoder")
    manager.add_hookspecs(EncoderSpecs)
    plugin = PinPlugin(settings)
    manager.register(plugin, "pin")
    return manager, plugin


def open_jobs(folder: Path, count: int) -> None:
    """Let `count` jobs be open in a data folder, as if a worker had taken them in: files in `open/`, rows in the
    ledger; only the fsync of each file is left out."""
    spool, ledger = Spool(folder), Ledger(folder / LEDGER_NAME)
    spool.create()
    now = time.time_ns() // 10**6
    for start in range(0, count, AT_ONCE):
        batch = [new_submission(job_of(f"open-{start + n}")) for n in range(min(AT_ONCE, count - start))]
        for submission in batch:
            (spool.open / submission.name).write_bytes(submission.body)
        ledger.ingest(batch, now)
    ledger.close()
    os.sync()


def record_bare(folder: Path, name: str, content: bytes) -> None:
    """What nobody can do without who wants a file to survive a power cut: write, fsync, rename, fsync the folder."""
    temporary = folder / f".{name}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, content)
    os.fsync(descriptor)
    os.close(descriptor)
    temporary.rename(folder / name)
    durable.fsync_folder(folder)
