"""The contract between a video encoder and its plugins.

An encoder makes an `EncoderManager` (or a plain `pluggy.PluginManager(PROJECT)`), loads the plugins of the entry-point
group `encoder` and calls the hooks of `EncoderSpecs`; a site marks its own implementations with `@hookimpl`. This
package imports pluggy and the standard library only.
"""

from __future__ import annotations

from encoder_hookspecs.calling import Answered, PluginFailure, ask_plugins, tell_plugins
from encoder_hookspecs.checks import InvalidPlugin
from encoder_hookspecs.events import (
    ArchiveReceipt,
    CompletedJob,
    ContentType,
    GiveUp,
    InvalidEvent,
    LazyPinAttempt,
    LazyPinFailure,
    LazyPinSuccess,
    LocalFallback,
    LocalPin,
    Migrated,
    Proof,
    Reason,
    RetryIn,
)
from encoder_hookspecs.loading import PluginInfo
from encoder_hookspecs.manager import EncoderManager, JobNotRecorded
from encoder_hookspecs.specs import ENTRY_POINT_GROUP, PROJECT, EncoderSpecs, hookimpl

__all__ = [
    "ENTRY_POINT_GROUP",
    "PROJECT",
    "Answered",
    "ArchiveReceipt",
    "CompletedJob",
    "ContentType",
    "EncoderManager",
    "EncoderSpecs",
    "GiveUp",
    "InvalidEvent",
    "InvalidPlugin",
    "JobNotRecorded",
    "LazyPinAttempt",
    "LazyPinFailure",
    "LazyPinSuccess",
    "LocalFallback",
    "LocalPin",
    "Migrated",
    "PluginFailure",
    "PluginInfo",
    "Proof",
    "Reason",
    "RetryIn",
    "ask_plugins",
    "hookimpl",
    "tell_plugins",
]
