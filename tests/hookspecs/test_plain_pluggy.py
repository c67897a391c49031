"""A host without our manager: the recorder, a `wrapper=True, tryfirst=True`, comes before whatever a site registers."""

from __future__ import annotations

import itertools

import pluggy
import pytest

from encoder_hookspecs import PROJECT, EncoderSpecs, hookimpl
from encoder_hookspecs.testing import a_job


class Recorder:
    """Records as the default implementation does."""

    def __init__(self):
        self.jobs = []

    @hookimpl(wrapper=True, tryfirst=True)
    def on_job_complete(self, job):
        self.jobs.append(job)
        return (yield)


class Raises:
    @hookimpl(tryfirst=True)
    def on_job_complete(self, job):
        raise SystemExit(1)


class RaisesAroundBefore:
    @hookimpl(wrapper=True)
    def on_job_complete(self, job):
        raise ValueError("before")
        yield


class RaisesAroundAfter:
    @hookimpl(wrapper=True, tryfirst=True)
    def on_job_complete(self, job):
        yield
        raise ValueError("after")


class OldStyle:
    @hookimpl(hookwrapper=True)
    def on_job_complete(self, job):
        raise ValueError("old")
        yield


class RaisesAroundBeforeAll:
    @hookimpl(wrapper=True, tryfirst=True)
    def on_job_complete(self, job):
        raise ValueError("before all")
        yield


SITE = [Raises(), RaisesAroundBefore(), RaisesAroundAfter(), OldStyle()]


def fire(*plugins):
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(EncoderSpecs)
    for plugin in plugins:
        manager.register(plugin)
    manager.hook.on_job_complete(job=a_job())


@pytest.mark.parametrize("site", [*itertools.combinations(SITE, 1), *itertools.combinations(SITE, 2)])
@pytest.mark.parametrize("recorder_is_registered", ["first", "last"])
def test_the_job_is_recorded_whatever_a_site_registers_around_it(site, recorder_is_registered):
    recorder = Recorder()
    plugins = [recorder, *site] if recorder_is_registered == "first" else [*site, recorder]
    with pytest.raises((ValueError, SystemExit)):  # pluggy's rule: the host hears of it
        fire(*plugins)
    assert recorder.jobs == [a_job()]


def test_the_one_exception_is_heard_by_the_host():
    recorder = Recorder()
    with pytest.raises(ValueError, match="before all"):
        fire(RaisesAroundBeforeAll(), recorder)
    assert recorder.jobs == [a_job()]
    with pytest.raises(ValueError, match="before all"):
        fire(recorder, RaisesAroundBeforeAll())
    assert recorder.jobs == [a_job()]  # not twice: pluggy called nobody before that wrapper, and the host knows
