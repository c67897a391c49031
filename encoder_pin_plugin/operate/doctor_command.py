"""`doctor`: everything that could be wrong, looked at one by one, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from encoder_pin_plugin.operate.context import Operator, json_option, pass_operator
from encoder_pin_plugin.operate.output import busy, count, one_line, say, say_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from encoder_pin_plugin.operate.finding import Finding

_COLOURS = {"ok": "green", "look at": "yellow", "wrong": "red"}
_WIDTH = 13


@click.command()
@json_option
@click.option("--no-nodes", is_flag=True, help="Do not ask the nodes.")
@pass_operator
def doctor(operator: Operator, as_json: bool, no_nodes: bool) -> None:
    """Find what is wrong, and say what to do.

    Settings, data folder, disk, locks, clock, software, ledger, archive, worker, nodes, plugins. Exit code 1 where
    something is wrong. Writes one small file into the data folder, and removes it.

    \b
    Example:
      encoder-pin doctor
    """

    with busy("looking at everything …"):
        found = list(_examine(operator, with_nodes=not no_nodes))
    bad = sum(it.level == "wrong" for it in found)
    if as_json:
        say_json({"ok": not bad, "findings": [asdict(it) for it in found]})
    else:
        _show(found, bad)
    if bad:
        raise click.exceptions.Exit(1)


def _examine(operator: Operator, *, with_nodes: bool) -> Iterator[Finding]:
    from encoder_pin_plugin.operate.check_folder import check_folder
    from encoder_pin_plugin.operate.check_nodes import check_nodes
    from encoder_pin_plugin.operate.check_settings import check_plugins, check_settings
    from encoder_pin_plugin.operate.check_state import check_state
    from encoder_pin_plugin.operate.finding import look_at

    settings, why = operator.settings_or_why()
    yield from check_settings(settings, why)
    yield from _as_far_as_it_goes("data folder", check_folder(operator.data_dir()))
    yield from _as_far_as_it_goes("data folder", check_state(operator.data_dir()))
    if settings is not None and with_nodes:
        yield from check_nodes(settings)
    elif with_nodes:
        yield look_at("nodes", "not asked: the settings cannot be read", "correct them, then run doctor again")
    manager, _ = operator.plugins(settings)
    yield from check_plugins(manager.plugins(), settings)


def _as_far_as_it_goes(topic: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings until the system keeps us out: that is one more."""
    from encoder_pin_plugin.durable import advice
    from encoder_pin_plugin.operate.finding import wrong

    try:
        yield from findings
    except OSError as error:
        text = f"{error.filename or topic}: {error.strerror or error}; what comes after it was not looked at"
        yield wrong(topic, text, advice(error))


def _show(found: Sequence[Finding], bad: int) -> None:
    topic = ""
    for it in found:
        head = it.topic if it.topic != topic else ""
        topic = it.topic
        text = one_line(it.text, 600) if it.topic != "settings" else it.text.replace("\n", f"\n{'':{_WIDTH + 9}}")
        say(f"{head:<{_WIDTH}}", end="")
        say(f"{it.level:<9}", colour=_COLOURS[it.level], end="")
        say(text)
        if it.todo:
            say(f"{'':<{_WIDTH + 9}}-> {it.todo}", bold=True)
    look = sum(it.level == "look at" for it in found)
    wrong = count(bad, "thing is", "things are") if bad else "nothing is"
    say()
    say(f"{wrong} wrong{f', {look} to look at' if look else ''}", bold=True)
