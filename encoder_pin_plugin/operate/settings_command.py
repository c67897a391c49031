"""`settings`: every setting, its value, and where that stands."""

from __future__ import annotations

from dataclasses import asdict

import click

from encoder_pin_plugin.operate.context import Operator, json_option, pass_operator
from encoder_pin_plugin.operate.failures import WRONG_USAGE, Failure
from encoder_pin_plugin.operate.output import columns, say, say_json, warn


@click.command()
@json_option
@pass_operator
def settings(operator: Operator, as_json: bool) -> None:
    """Show every setting, its value and its source.

    Secrets are masked. Exit code 2 where a setting is wrong.

    \b
    Example:
      encoder-pin settings | grep -v default
    """
    from encoder_pin_plugin.settings import sources

    found = sources(**operator.overrides())
    checked, wrong = operator.settings_or_why()
    warnings = list(checked.warnings) if checked else []
    if as_json:
        say_json({"settings": [asdict(it) for it in found], "wrong": wrong.splitlines(), "warnings": warnings})
    else:
        for line in columns([[it.name, it.value or "-", it.source] for it in found]):
            say(line)
        for text in warnings:
            warn(text)
    if wrong:
        raise Failure(wrong, WRONG_USAGE)
