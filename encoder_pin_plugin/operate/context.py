"""What every command knows about who called it: which data folder, which settings, how talkative."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from encoder_hookspecs import EncoderManager
    from encoder_pin_plugin.plugin import PinPlugin
    from encoder_pin_plugin.settings import Settings


P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Operator:
    """The global options.

    Args:
        data_dir_option: of `--data-dir`, None where it was not given.
        verbose: how often `-v` was given.
    """

    data_dir_option: Path | None
    verbose: int

    def overrides(self) -> dict[str, Any]:
        """What the options say about settings."""
        return {} if self.data_dir_option is None else {"data_dir": self.data_dir_option}

    def settings(self) -> Settings:
        """The settings. Raises InvalidSettings."""
        from encoder_pin_plugin.settings import load_settings

        return load_settings(**self.overrides())

    def settings_or_why(self) -> tuple[Settings | None, str]:
        """The settings, or None and the sentences that say what is wrong with them."""
        from encoder_pin_plugin.errors import InvalidSettings

        try:
            return self.settings(), ""
        except InvalidSettings as error:
            return None, str(error)

    def data_dir(self) -> Path:
        """The data folder, absolute, whatever is wrong with other settings. Raises InvalidSettings."""
        from encoder_pin_plugin.settings import data_dir

        option = self.data_dir_option
        return data_dir() if option is None else data_dir({"DATA_DIR": str(option)})

    def open_data_dir(self) -> Path:
        """The data folder as `data_dir`, which can be looked into or is not there yet. Raises StorageError too."""
        from encoder_pin_plugin.errors import StorageError
        from encoder_pin_plugin.operate.closed import why_closed

        folder = self.data_dir()
        if closed := why_closed(folder):
            raise StorageError(str(closed))
        return folder

    def plugins(self, settings: Settings | None) -> tuple[EncoderManager, PinPlugin]:
        """Every plugin of this machine, our own one working on our data folder.

        Args:
            settings: None where they are wrong: recording a job needs the data folder alone.
        """
        from encoder_hookspecs import EncoderManager
        from encoder_pin_plugin.asking import OURS, report
        from encoder_pin_plugin.plugin import PinPlugin

        ours = PinPlugin(settings)
        ours.service.data_dir = self.data_dir()
        if settings is None:
            manager = EncoderManager(report=report)
        else:
            manager = EncoderManager(
                block=settings.block_plugins,
                blocked_by="BLOCK_PLUGINS",
                plugin_timeout=settings.plugin_timeout,
                report=report,
            )
        manager.register(ours, OURS)
        manager.load_entry_points()
        return manager, ours


def pass_operator(command: Callable[Concatenate[Operator, P], R]) -> Callable[P, R]:
    """Give a command the `Operator` as its first argument, and a log that says little."""

    @wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        from encoder_pin_plugin.operate.logs import log_of_a_command  # not for --help

        operator = click.get_current_context().find_object(Operator)
        if operator is None:
            raise click.UsageError("this is a command of encoder-pin")
        log_of_a_command(operator.verbose)
        return command(operator, *arguments, **options)

    return run


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, for programs.")
