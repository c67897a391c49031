"""From an error to what a person reads: its sentences on stderr, an exit code, no traceback for what we foresaw."""

from __future__ import annotations

from typing import IO, Any

import click

NOT_DONE = 1
WRONG_USAGE = 2


class Failure(click.ClickException):
    """A command cannot do what was asked.

    Args:
        message: what happened and what to do, perhaps in several lines.
        exit_code: `NOT_DONE` or `WRONG_USAGE`.
    """

    def __init__(self, message: str, exit_code: int = NOT_DONE) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message, without anything in it that a terminal would act on."""
        from encoder_pin_plugin.operate.output import harmless

        click.secho("error: ", err=True, fg="red", nl=False)
        click.echo(harmless(self.message), err=True)


def as_failure(error: Exception) -> Failure | None:
    """What to tell about `error`, None where it is none that we foresaw."""
    import sqlite3

    from encoder_hookspecs import InvalidEvent, JobNotRecorded
    from encoder_pin_plugin.errors import EncoderPinError, InvalidCid, InvalidSettings

    if isinstance(error, InvalidSettings | InvalidCid | InvalidEvent):
        return Failure(str(error), WRONG_USAGE)
    if isinstance(error, EncoderPinError | JobNotRecorded):
        return Failure(str(error))
    if isinstance(error, sqlite3.DatabaseError):
        return Failure(
            f'the ledger cannot be used: {error}; "encoder-pin work" sets a damaged one aside and rebuilds it'
        )
    if isinstance(error, PermissionError) and isinstance(error.filename, str):
        from encoder_pin_plugin.operate.closed import kept_out

        return Failure(f"{error.filename}: {error.strerror}; {kept_out(error.filename)}")
    return None
