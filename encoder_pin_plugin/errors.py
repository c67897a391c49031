"""Every error that this plugin raises, and what each one asks of the person who reads it.

    EncoderPinError
    ├── InvalidSettings       a setting is wrong: nothing was started        (exit 2)
    ├── InvalidCid            a text that should be a CID is none
    ├── InvalidJobFile        a job file holds no job: it is set aside as rejected
    ├── StorageError          the disk said no: full, read-only, failing
    │   └── NotRecorded       … while recording a finished job (also a `JobNotRecorded` of the contract)
    ├── LedgerError           the ledger cannot be used: busy for too long, corrupt, of a newer version
    ├── ArchiveError          the archive cannot be appended to, read or replaced
    ├── LockBusy              another process holds what we need
    └── NodeError             a node did not do, or does not prove, what was asked: see its `reason`

A message says what happened, where (path, CID, node) and what to do; none carries a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder_hookspecs.manager import JobNotRecorded

if TYPE_CHECKING:
    from encoder_hookspecs.events import Reason


class EncoderPinError(Exception):
    """The base of all our errors."""


class InvalidSettings(EncoderPinError):
    """One or more settings are unknown, unusable or contradict each other; the message says what to write instead."""


class Unusable(EncoderPinError, ValueError):
    """A text that cannot be the value of a setting; the message says what to write instead.

    Args:
        advice: what to write instead.
        secret: whether the text may hold a secret, so that nobody shows it.
    """

    def __init__(self, advice: str, *, secret: bool = False) -> None:
        super().__init__(advice)
        self.secret = secret


class InvalidCid(EncoderPinError, ValueError):
    """A text that should be a CID is none."""


class InvalidJobFile(EncoderPinError):
    """A job file holds no job that could be worked on."""


class StorageError(EncoderPinError):
    """A file operation failed: the message names the path, the system's reason and what to do."""


class NotRecorded(StorageError, JobNotRecorded):
    """A finished job could not be recorded durably. The host must keep it and submit it again."""


class LedgerError(EncoderPinError):
    """The ledger cannot be used."""


class ArchiveError(EncoderPinError):
    """The archive cannot be appended to, read or replaced."""


class LockBusy(EncoderPinError):
    """Another process, or another thread, holds a lock for longer than we may wait."""


class NodeError(EncoderPinError):
    """A node did not do, or does not prove, what was asked.

    Args:
        message: what happened, with the node's address, without secrets.
        reason: the same in one word.
    """

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason
