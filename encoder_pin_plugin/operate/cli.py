"""The command line `encoder-pin`: what an operator types, at three in the morning and in a service file.

Exit codes: 0 done; 1 not all done, or something needs a person, who is told what; 2 wrong usage or wrong settings.
What costs time to import is imported by the command that needs it: `--help` stays quick.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from encoder_pin_plugin import __version__
from encoder_pin_plugin.operate.context import Operator
from encoder_pin_plugin.operate.failures import Failure, as_failure
from encoder_pin_plugin.operate.streams import make_usable

COMMANDS = (
    ("submit", "intake_commands:submit"),
    ("work", "work_command:work"),
    ("status", "status_command:status"),
    ("jobs", "job_commands:jobs"),
    ("retry", "act_commands:retry"),
    ("reject", "act_commands:reject"),
    ("archive", "archive_commands:archive"),
    ("migrate", "migrate_commands:migrate"),
    ("clean", "migrate_commands:clean"),
    ("audit", "audit_command:audit"),
    ("import", "import_command:import_"),
    ("plugins", "plugin_commands:plugins"),
    ("doctor", "doctor_command:doctor"),
    ("settings", "settings_command:settings"),
)
"""Every command in the order of the help page: its name, and the module of this package and the object in it."""


class Commands(click.Group):
    """The commands of `COMMANDS`, each imported when it is needed, and one way for all errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, _ in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for name, place in COMMANDS:
            if name == cmd_name:
                module, _, attribute = place.partition(":")
                found: click.Command = getattr(import_module(f"encoder_pin_plugin.operate.{module}"), attribute)
                return found
        return None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            failure = as_failure(error)
            if failure is None:
                raise
            raise failure from error


class Folder(click.Path):
    """A path to a folder. One without a name is refused: it would be the working folder, and nobody means that."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not value.strip():
            self.fail("it is empty: name the data folder, or leave the option out", param, ctx)
        return super().convert(value, param, ctx)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--data-dir", type=Folder(readable=False, path_type=Path), metavar="DIR",
    help="The data folder; default: the setting DATA_DIR, else ./data.",
)  # fmt: skip
@click.option("-v", "--verbose", count=True, help="Show what is done on stderr; twice for every detail.")
@click.version_option(__version__, prog_name="encoder-pin", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, data_dir: Path | None, verbose: int) -> None:
    """Pin what the encoder has finished, or keep it safe locally: never lose it.

    Settings come from the environment, over .env.local, over .env in the working folder; "encoder-pin settings" shows
    them. Exit codes: 0 done; 1 not all done, or something needs a person; 2 wrong usage or settings.

    \b
    Examples:
      encoder-pin status
      encoder-pin --data-dir /srv/encoder/data work
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    ctx.obj = Operator(data_dir_option=data_dir, verbose=verbose)


def main() -> None:
    """The console script."""
    make_usable()
    cli.main(prog_name="encoder-pin")


__all__ = ["COMMANDS", "Failure", "cli", "main"]
