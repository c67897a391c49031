"""`plugins`: who is asked when something happens to a job, and who is not."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from encoder_pin_plugin.operate.context import Operator, json_option, pass_operator
from encoder_pin_plugin.operate.output import columns, one_line, say, say_json

if TYPE_CHECKING:
    from encoder_hookspecs import EncoderManager, PluginInfo

FIRST_RESULT = ("on_lazy_pin_attempt_failed", "on_lazy_pin_failed", "on_local_fallback")
"""The hooks of which one answer counts: the first acceptable one; all others tell everybody."""


@click.command()
@json_option
@pass_operator
def plugins(operator: Operator, as_json: bool) -> None:
    """List the plugins, and who is asked about what.

    Where each comes from, which hooks it implements, who is asked first, who is not loaded and why.

    \b
    Example:
      BLOCK_PLUGINS=noisy encoder-pin plugins
    """

    settings, wrong = operator.settings_or_why()
    manager, _ = operator.plugins(settings)
    found = _with_our_origin(manager.plugins())
    order = asked_in_order(manager)
    failed = [info for info in found if info.status == "failed"]
    if as_json:
        say_json({"plugins": [asdict(info) | {"origin": info.origin} for info in found], "order": order})
    else:
        _show(found, order)
        if wrong:
            say(f"BLOCK_PLUGINS is not looked at, because the settings are wrong: {wrong}", colour="yellow")
    if failed or wrong:
        raise click.exceptions.Exit(1)


def asked_in_order(manager: EncoderManager) -> dict[str, list[str]]:
    """For each hook that somebody implements, the plugins' names in the order in which they are called."""
    from encoder_hookspecs.calling import implementers
    from encoder_hookspecs.checks import HOOKS

    order = {hook: [it.name for it in implementers(manager.pluggy, hook)] for hook in HOOKS}
    for hook in ("on_job_complete", "on_encoder_start", "on_encoder_stop"):
        order[hook].sort(key=lambda name: name != "pin")
    return {hook: names for hook, names in order.items() if names}


def _with_our_origin(found: list[PluginInfo]) -> list[PluginInfo]:
    """Our own plugin is registered by hand, on the data folder of this call; its entry point stays out for that."""
    ours = next((info for info in found if info.name == "pin" and info.status == "blocked" and info.distribution), None)
    by_hand = next((info for info in found if info.name == "pin" and not info.distribution), None)
    if ours is None or by_hand is None:
        return found
    one = replace(by_hand, distribution=ours.distribution, version=ours.version)
    return [one if info is by_hand else info for info in found if info is not ours]


def _show(found: list[PluginInfo], order: dict[str, list[str]]) -> None:
    for info in found:
        say(f"{one_line(info.name)}  ({one_line(info.origin)})  {info.status}", bold=info.status == "active")
        if info.why:
            say(f"    {one_line(info.why, 600)}", colour="red" if info.status == "failed" else "yellow")
        if info.hooks:
            say(f"    {', '.join(info.hooks)}")
    say()
    say("In the order of a job's life, who is called:", bold=True)
    rows = []
    for hook, names in order.items():
        if hook in FIRST_RESULT:
            rows.append([hook, ", then ".join(names) + (": the first answer counts" if len(names) > 1 else "")])
        else:
            rows.append([hook, ", ".join(names)])
    for line in columns(rows):
        say(f"    {line}")
