"""Settings and plugins under the doctor's eyes: what they mean together, beyond each one being right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder_pin_plugin.operate.finding import Finding, look_at, ok, wrong
from encoder_pin_plugin.operate.output import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from encoder_hookspecs import PluginInfo
    from encoder_pin_plugin.settings import Settings

SETTINGS, PLUGINS = "settings", "plugins"


def check_settings(settings: Settings | None, why: str) -> Iterator[Finding]:
    """Look at the settings; `why` says what is wrong where there are none."""
    if settings is None:
        yield wrong(SETTINGS, why, "correct that: jobs are recorded, but the worker does not start")
        return
    yield ok(SETTINGS, "all can be read")
    for text in settings.warnings:
        yield look_at(SETTINGS, text, "encoder-pin settings shows where each one stands")
    if not settings.enable_local_fallback:
        yield look_at(SETTINGS, "ENABLE_LOCAL_FALLBACK is false: jobs wait for the supernode, however long it is down",
                      "set it to true, unless that is meant")  # fmt: skip
    if settings.hold_local == "off":
        yield look_at(SETTINGS, "HOLD_LOCAL is off: garbage collection may take a video before it is pinned",
                      "set it to auto, unless the encoder pins what it adds")  # fmt: skip
    yield from _times(settings)


def _times(settings: Settings) -> Iterator[Finding]:
    tries = sum(settings.lazy_pin_backoff[min(i, len(settings.lazy_pin_backoff) - 1)]
                for i in range(settings.local_fallback_threshold - 1))  # fmt: skip
    if settings.enable_local_fallback and tries > settings.fallback_after:
        yield look_at(
            SETTINGS,
            f"{settings.local_fallback_threshold} attempts take {duration(tries)} and more, but FALLBACK_AFTER is"
            f" {duration(settings.fallback_after)}: the last ones are never made",
            "write a shorter LAZY_PIN_BACKOFF, a smaller LOCAL_FALLBACK_THRESHOLD or a longer FALLBACK_AFTER",
        )


def check_plugins(found: Sequence[PluginInfo], settings: Settings | None) -> Iterator[Finding]:
    """Look at the plugins, and at the settings that name some."""
    active = [info for info in found if info.status == "active"]
    yield ok(
        PLUGINS, f"{', '.join(info.name for info in active) or 'none'} {'is' if len(active) == 1 else 'are'} active"
    )
    for info in found:
        if info.status == "failed":
            yield wrong(PLUGINS, f"{info.name} ({info.origin}) is not at work: {info.why}",
                        "correct it, or keep it out with BLOCK_PLUGINS")  # fmt: skip
    if "pin" not in {info.name for info in active}:
        why = next((info.why for info in found if info.name == "pin" and info.status == "blocked"), "not at work")
        yield wrong(PLUGINS, f"the plugin pin is {why}: nothing records, pins or archives by default",
                    "let it in, unless other plugins do all of that")  # fmt: skip
    if settings is not None:
        yield from _names(found, settings)


def _names(found: Sequence[PluginInfo], settings: Settings) -> Iterator[Finding]:
    known = {name for info in found for name in (info.name, info.distribution)}
    for setting, names in (("TRUST_PLUGINS", settings.trust_plugins), ("BLOCK_PLUGINS", settings.block_plugins)):
        for name in sorted(names - known):
            yield look_at(PLUGINS, f"{setting} names {name}, and no such plugin is installed",
                          "correct the name: encoder-pin plugins shows them")  # fmt: skip
