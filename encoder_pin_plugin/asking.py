"""Whom the worker asks: each site plugin in turn, its word checked, and the defaults last.

A site that pins or archives in its own way is believed when we can see the result ourselves: the local node is asked
about the pin, the line behind the receipt is read. Where we cannot see it the default does its own work as well,
unless TRUST_PLUGINS names the plugin: two safe places are better than a word.
"""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from loguru import logger

from encoder_hookspecs import normalise
from encoder_hookspecs.calling import PluginFailure, ask_plugins, tell_plugins
from encoder_hookspecs.events import ArchiveReceipt, GiveUp, LocalPin, Proof, RetryIn
from encoder_hookspecs.normalise import as_text
from encoder_pin_plugin.archive.lookup import line_stands, mentions
from encoder_pin_plugin.archive.record import from_fallback
from encoder_pin_plugin.errors import EncoderPinError
from encoder_pin_plugin.lazy.ports import Archived

if TYPE_CHECKING:
    from collections.abc import Callable

    import pluggy

    from encoder_hookspecs.events import LazyPinAttempt, LazyPinFailure, LazyPinSuccess, LocalFallback
    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.nodes.local import LocalPinner
    from encoder_pin_plugin.settings import Settings

T = TypeVar("T")

OURS = "pin"
"""The name under which the defaults are registered."""


class Plugins:
    """The plugins of one manager, as the worker's `Decisions`.

    Args:
        manager: where the plugins are registered, ours among them.
        settings: the time limit, and whose word is taken.
        archive: where receipts of ours are looked up.
        pinner: the local node, for checking pins.
    """

    def __init__(
        self, manager: pluggy.PluginManager, settings: Settings, archive: Archive, pinner: LocalPinner
    ) -> None:
        self._manager = manager
        self._settings = settings
        self._archive = archive
        self._pinner = pinner

    def begin(self) -> None:
        """Drop from the archive what a killed cleaning had already written down as migrated."""
        try:
            settled = self._archive.settle()
        except EncoderPinError as error:
            logger.error("the archive cannot be looked through: {}", error)
        else:
            if settled.removed:
                logger.info("dropped {} lines from the archive that stand among the migrated", settled.removed)

    def attempt_failed(self, attempt: LazyPinAttempt) -> RetryIn | GiveUp:
        """What to do after a failed attempt; the default's own answer cannot fail."""
        kinds: tuple[type[RetryIn | GiveUp], ...] = (RetryIn, GiveUp)
        decision = self._ask("on_lazy_pin_attempt_failed", kinds, _plain_decision, attempt=attempt)
        return decision or RetryIn(seconds=self._settings.lazy_pin_backoff[-1])

    def lazy_pin_failed(self, failure: LazyPinFailure) -> LocalPin:
        """Pin locally. Raises EncoderPinError where neither a plugin nor the default did."""

        def believed(pin: LocalPin, plugin: str) -> bool:
            if plugin == OURS or self._trusted(plugin):
                return True
            if pin.cid == failure.job.cid and self._pinner.holds(pin.cid):
                return True
            return self._doubted(plugin, f"its local pin of {failure.job.cid} on {pin.node} cannot be seen")

        plain = partial(_plain_pin, failure=failure)
        pinned = self._ask("on_lazy_pin_failed", LocalPin, plain, believed, failure=failure)
        if pinned is None:
            raise EncoderPinError("no plugin pins on a local node: is the plugin 'pin' blocked?")
        return pinned

    def local_fallback(self, fallback: LocalFallback) -> Archived:
        """Archive. Raises EncoderPinError where neither a plugin nor the default did."""
        record = from_fallback(fallback, self._settings.node_name)

        def believed(receipt: ArchiveReceipt, plugin: str) -> bool:
            if plugin == OURS or self._trusted(plugin):
                return True
            if self._stands(receipt, fallback):
                return True
            return self._doubted(plugin, f"no line for job {fallback.job.job_id} stands in {receipt.path}")

        receipt = self._ask("on_local_fallback", ArchiveReceipt, _plain_receipt, believed, fallback=fallback)
        if receipt is None:
            raise EncoderPinError("no plugin archives: is the plugin 'pin' blocked?")
        standing = self._archive.find(*record.key)
        return Archived(receipt=receipt, line=(standing or record).line())

    def succeeded(self, success: LazyPinSuccess) -> None:
        """Tell the observers."""
        limit = self._settings.plugin_timeout
        tell_plugins(self._manager, "on_lazy_pin_succeeded", limit=limit, report=report, pin=success)

    def needed(self, cid: str) -> bool:
        """Whether a line of the archive still waits for `cid`."""
        return mentions(self._archive.path, cid)

    def _ask(
        self, hook: str, expect: type[T] | tuple[type[T], ...], plain: Callable[[T, str], T],
        believed: Callable[[T, str], bool] = lambda *_: True, **arguments: object,
    ) -> T | None:  # fmt: skip
        """The first answer that is believed, made `plain` by then; one that falls over on the way is doubted."""
        answers: dict[str, T] = {}

        def accept(answer: T, plugin: str) -> bool:
            try:
                answers[plugin] = plain(answer, plugin)
                return believed(answers[plugin], plugin)
            except Exception as error:
                if plugin == OURS:
                    raise
                return self._doubted(plugin, f"its answer to {hook} cannot be checked ({type(error).__name__})")

        limit = self._settings.plugin_timeout
        answered = ask_plugins(
            self._manager, hook, expect=expect, limit=limit, report=report, accept=accept, last=OURS, **arguments
        )
        return answers[answered.plugin] if answered else None

    def _trusted(self, plugin: str) -> bool:
        return plugin in self._settings.trust_plugins

    def _doubted(self, plugin: str, what: str) -> bool:
        logger.warning("plugin {}: {}; the default does it as well (TRUST_PLUGINS would take its word)", plugin, what)
        return False

    def _stands(self, receipt: ArchiveReceipt, fallback: LocalFallback) -> bool:
        try:
            return line_stands(self._archive, Path(receipt.path), fallback.job.cid, fallback.job.job_id)
        except (EncoderPinError, OSError, TypeError, ValueError):
            return False  # an unreadable path is a doubt, not a failure of ours


def report(failure: PluginFailure) -> None:
    """Say in the log what a plugin did."""
    logger.opt(exception=failure.error).error("{}: the next plugin, or the default, takes its place", failure)


def _plain_decision(decision: RetryIn | GiveUp, _: str) -> RetryIn | GiveUp:
    """A plain record: one that falls over when the worker looks at it would keep the job in flight."""
    if isinstance(decision, GiveUp):
        return GiveUp(why=as_text(decision.why))
    return RetryIn(seconds=_plain_number(decision.seconds))


def _plain_number(seconds: object) -> float:
    """NaN for what is no number. Raises what a hostile one does."""
    return float(seconds) if isinstance(seconds, int | float) else math.nan


def _plain_receipt(receipt: ArchiveReceipt, _: str) -> ArchiveReceipt:
    """A path object says the same as its text. Raises what a hostile one does."""
    path: object = receipt.path
    return ArchiveReceipt(path=as_text(os.fspath(path) if isinstance(path, os.PathLike) else path))


def _plain_pin(pin: LocalPin, plugin: str, *, failure: LazyPinFailure) -> LocalPin:
    """`pin` as a plain record without what is odd in it, which would keep its line out of the archive for ever; with
    the host's size and type where the node told none."""
    odd: list[str] = []

    def keep(name: str, value: object, why: str) -> None:
        odd.append(f"{'pinned_at' if name == 'completed_at' else name} {as_text(value, 40)}")

    size, kind = normalise.size_mb(pin.size_mb, keep), normalise.content_type(pin.type, keep)
    moment = normalise.moment(pin.pinned_at, keep)
    for field in odd:
        logger.warning("plugin {}: its local pin of {} has an odd field, left out: {}", plugin, failure.job.cid, field)
    return LocalPin(
        cid=pin.cid,
        node=as_text(pin.node, 500),
        proof=_known_proof(pin.proof),
        size_mb=failure.job.size_mb if size is None else size,
        type=kind or failure.job.type,
        pinned_at=moment,
        made=pin.made is True,
    )


def _known_proof(proof: object) -> Proof:
    return proof if isinstance(proof, Proof) else Proof.PINNED
