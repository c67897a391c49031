"""The options that take an address, checked before anything else is done.

A command writes down what it was asked for (who holds a lock, where a line went), so what looks like a secret has to
be refused before the first file is touched, also where nothing would have to be sent today.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from encoder_pin_plugin.nodes.targets import NamedTarget


def target_option(help: str, **more: Any) -> Callable[[Any], Any]:  # noqa: A002 - click's word for it
    """`--to URL`: a target as `read_target` reads it, which is what the command is given as `target`."""
    return click.option("--to", "target", metavar="URL", help=help, callback=_target, **more)


def gateway_option(help: str) -> Callable[[Any], Any]:  # noqa: A002 - click's word for it
    """`--gateway URL`: an http or https URL."""
    return click.option("--gateway", default="", metavar="URL", help=help, callback=_gateway)


def _target(_ctx: click.Context, _option: click.Parameter, url: str | None) -> NamedTarget | None:
    from encoder_pin_plugin.nodes.targets import read_target

    return None if url is None else read_target(url)


def _gateway(_ctx: click.Context, _option: click.Parameter, url: str) -> str:
    from encoder_pin_plugin.nodes.gateway import Gateway

    if url:
        Gateway(url)
    return url
