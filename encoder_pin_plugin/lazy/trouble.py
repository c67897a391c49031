"""What keeps a worker from going on: an alarm while it lasts, and an end for whoever waits for a drain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.errors import EncoderPinError

if TYPE_CHECKING:
    from encoder_pin_plugin.alarms import Alarms

IN_VAIN = 10
"""Rounds in a row that could not go on, after which a drain ends: nobody waits for ever for a drain."""


class Trouble:
    """The rounds in a row that a worker could not finish, and why.

    Args:
        alarms: where it is said.
    """

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._in_vain = 0
        self._last: Exception | None = None

    def met(self, error: Exception) -> None:
        """A round ended with `error`."""
        self._in_vain += 1
        self._last = error
        what = str(error) if isinstance(error, EncoderPinError) else f"{type(error).__name__}: {error}"
        self._alarms.begin("worker", f"the worker cannot go on for now, and tries again: {what}")
        if not isinstance(error, EncoderPinError):
            logger.opt(exception=error).debug("where that came from")

    def over(self) -> None:
        """A round was finished."""
        self._in_vain = 0
        self._alarms.end("worker", "the worker goes on")

    def raise_what_stays(self) -> None:
        """Raise the last error where nothing has gone on for IN_VAIN rounds."""
        if self._last is not None and self._in_vain >= IN_VAIN:
            raise self._last
