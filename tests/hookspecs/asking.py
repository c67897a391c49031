"""Plugins made of functions, and the question that these tests ask them."""

from __future__ import annotations

import pluggy

from encoder_hookspecs import PROJECT, EncoderSpecs, LocalPin, ask_plugins, hookimpl
from encoder_hookspecs.testing import a_failure, a_local_pin

LIMIT = 20.0
SHORT = 0.3


class Asked:
    """Answers the two questions and the fact of these tests through functions."""

    def __init__(self, answer=None, *, told=None):
        self.answer, self.told = answer, told

    @hookimpl
    def on_lazy_pin_failed(self, failure):
        return self.answer(failure) if self.answer else None

    @hookimpl
    def on_lazy_pin_succeeded(self, pin):
        if self.told:
            self.told(pin)


def manager_of(**plugins):
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(EncoderSpecs)
    for name, plugin in plugins.items():
        manager.register(plugin, name)
    return manager


class Asking:
    """`ask_plugins` about one failure, its reports kept."""

    def __init__(self, manager, failure=None):
        self.manager, self.failure, self.reports = manager, failure or a_failure(), []

    def __call__(self, *, limit=LIMIT, **options):
        return ask_plugins(
            self.manager,
            "on_lazy_pin_failed",
            expect=LocalPin,
            limit=limit,
            report=self.reports.append,
            failure=self.failure,
            **options,
        )


def raising(error):
    def answer(_):
        raise error

    return answer


def default():
    return Asked(lambda failure: a_local_pin(cid=failure.job.cid, node="default"))


def site_pin(_):
    return a_local_pin(node="site")
