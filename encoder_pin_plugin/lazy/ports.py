"""What the worker needs from the rest of the house: decisions that plugins may take, and where to post results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from encoder_hookspecs.events import (
        ArchiveReceipt,
        GiveUp,
        LazyPinAttempt,
        LazyPinFailure,
        LazyPinSuccess,
        LocalFallback,
        LocalPin,
        Reason,
        RetryIn,
    )
    from encoder_pin_plugin.lazy.pins import Step
    from encoder_pin_plugin.nodes.base import PinNode


@dataclass(frozen=True, kw_only=True)
class Archived:
    """A local fallback stands in the archive.

    Args:
        receipt: of whoever archived it, checked.
        line: the line, for the ledger to remember.
    """

    receipt: ArchiveReceipt
    line: bytes


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """The nodes of one encoder; None for what is not configured."""

    supernode: PinNode | None
    local: PinNode | None


class Decisions(Protocol):
    """The questions of the contract, each answered by a site's plugin or by the default, its answer checked."""

    def begin(self) -> None:
        """A worker starts: finish what a killed one left half done. Never raises."""

    def attempt_failed(self, attempt: LazyPinAttempt) -> RetryIn | GiveUp:
        """What to do after a failed attempt."""

    def lazy_pin_failed(self, failure: LazyPinFailure) -> LocalPin:
        """Pin locally and prove it. Raises EncoderPinError where it could not be done."""

    def local_fallback(self, fallback: LocalFallback) -> Archived:
        """Archive. Raises EncoderPinError where it could not be done."""

    def succeeded(self, success: LazyPinSuccess) -> None:
        """Tell the observers. Never raises."""

    def needed(self, cid: str) -> bool:
        """Whether a line of the archive still waits for `cid`."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a thread found out about a claimed job.

    Args:
        step: what becomes of the job.
        asked: whether the supernode was asked at all, so that the breaker learns from it.
        reason: why it failed, None for success.
        before: what is to be told before the step is committed, so that a crash in between tells it again.
    """

    step: Step
    asked: bool = False
    reason: Reason | None = None
    before: Callable[[], None] | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Holds:
    """Who pinned some jobs' CIDs on the local node: key -> "ours", "theirs" or "none".

    Args:
        holds: the answers.
        complete: whether the node answered for all that were asked about.
    """

    holds: dict[str, str]
    complete: bool = True


@dataclass(frozen=True, kw_only=True)
class Released:
    """What became of held CIDs, by key: True when it is unpinned, False when it was proved once and is to be proved
    again, None when it is not safe yet."""

    done: dict[str, bool | None]


@dataclass(frozen=True, kw_only=True)
class Swept:
    """Files of finished jobs are unlinked: the ledger may forget these nonces."""

    nonces: tuple[str, ...]


Note = Holds | Released | Swept
Result = Outcome | Note


class Post(Protocol):
    """Where threads put what they found out, for the worker's own thread to write down."""

    def __call__(self, result: Result, /) -> None: ...
