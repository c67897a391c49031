"""The contract as it is written down: every hook documented, every example run, every exported name meant."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import typing
from pathlib import Path

import pluggy
import pytest

import encoder_hookspecs
from encoder_hookspecs import EncoderSpecs, ask_plugins, hookimpl
from encoder_hookspecs.checks import HOOKS
from encoder_hookspecs.testing import RecordingHost, a_job

DESIGNED = {
    "on_encoder_start": ("manager",),
    "on_job_complete": ("job",),
    "on_lazy_pin_attempt_failed": ("attempt",),
    "on_lazy_pin_failed": ("failure",),
    "on_local_fallback": ("fallback",),
    "on_lazy_pin_succeeded": ("pin",),
    "on_migrated": ("record",),
    "on_encoder_stop": ("timeout",),
}
FIRST_RESULT_WINS = {"on_lazy_pin_attempt_failed", "on_lazy_pin_failed", "on_local_fallback"}
MODULES = [
    importlib.import_module(f"encoder_hookspecs.{it.name}") for it in pkgutil.iter_modules(encoder_hookspecs.__path__)
]


def spec_of(hook):
    manager = pluggy.PluginManager("encoder")
    manager.add_hookspecs(EncoderSpecs)
    return getattr(manager.hook, hook).spec


def test_the_hooks_are_those_of_the_design():
    assert HOOKS == DESIGNED


@pytest.mark.parametrize("hook", DESIGNED)
def test_pluggy_sees_each_hook_with_its_parameters_and_kind(hook):
    spec = spec_of(hook)
    assert tuple(spec.argnames) == DESIGNED[hook]
    assert bool(spec.opts["firstresult"]) is (hook in FIRST_RESULT_WINS)


@pytest.mark.parametrize("hook", DESIGNED)
def test_each_hook_tells_its_implementer_what_there_is_to_know(hook):
    text = " ".join(inspect.getdoc(getattr(EncoderSpecs, hook)).split())
    told = {
        "when": r"Fires \w+",
        "when not": r"\b(not|never)\b",
        "in which thread": r"Called in .*thread",
        "how often": r"[Oo]nce|again",
        "what a result means": "first plugin that answers" if hook in FIRST_RESULT_WINS else "returns is ignored",
        "what raising does": "Raising, or" if hook in FIRST_RESULT_WINS else "raises is logged",
        "parameters": f"Args: {DESIGNED[hook][0]}: ",
        "example": "Example: >>> ",
    }
    assert [what for what, pattern in told.items() if not re.search(pattern, text)] == []


@pytest.mark.parametrize("module", [encoder_hookspecs, *MODULES], ids=lambda it: it.__name__)
def test_every_example_runs(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("hook", DESIGNED)
def test_each_hook_has_an_example_that_ran(hook):
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(EncoderSpecs, hook), hook, globs={})
    assert doctest.DocTestRunner().run(example) == (0, len(example.examples))
    assert any("RecordingHost(" in it.source for it in example.examples)


def test_exported_names_are_sorted_complete_and_documented():
    public = encoder_hookspecs.__all__
    imported = {
        alias.asname or alias.name
        for node in ast.parse(Path(encoder_hookspecs.__file__).read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    assert set(public) == imported
    assert len(public) == len(set(public))
    for name in public:
        value = getattr(encoder_hookspecs, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


def test_every_event_is_exported():
    known = vars(encoder_hookspecs) | {"pluggy": pluggy}
    hints = [typing.get_type_hints(getattr(EncoderSpecs, hook), known) for hook in HOOKS]
    used = {it for hint in hints for value in hint.values() for it in (typing.get_args(value) or (value,))}
    events = {it.__name__ for it in used if it.__module__ == "encoder_hookspecs.events"}
    assert events <= set(encoder_hookspecs.__all__)
    assert len(events) == 10


@pytest.mark.parametrize("module", MODULES, ids=lambda it: it.__name__)
def test_the_contract_imports_pluggy_and_the_standard_library(module):
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        names = [it.name for it in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            root = name.partition(".")[0]
            assert root in {"pluggy", "encoder_hookspecs"} or root in sys.stdlib_module_names, name


@pytest.mark.parametrize("module", MODULES, ids=lambda it: it.__name__)
def test_only_what_pluggy_publishes_is_used(module):
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = ast.unparse(node.value)
            assert owner in {"self", "self._host", "os"}, f"{owner}.{node.attr}"


def test_the_contract_can_grow_a_parameter_under_yesterdays_plugins_and_hosts():
    class Tomorrow:
        @pluggy.HookspecMarker("encoder")
        def on_job_complete(self, job, priority=0): ...

    class Yesterdays:
        @hookimpl
        def on_job_complete(self, job):
            seen.append(job)

    class Todays:
        @hookimpl
        def on_job_complete(self, job, priority):
            seen.append(priority)

    seen = []
    manager = pluggy.PluginManager("encoder")
    manager.add_hookspecs(Tomorrow)
    manager.register(Yesterdays())
    manager.register(Todays())
    manager.hook.on_job_complete(job=a_job())
    assert seen == [0, a_job()]


def test_false_is_an_answer_for_pluggy_and_a_fault_for_us():
    class Says:
        @hookimpl
        def on_lazy_pin_failed(self, failure):
            return False

    host = RecordingHost(Says())
    assert host.pluggy.hook.on_lazy_pin_failed(failure=None) is False
    reports = []
    options = {"expect": encoder_hookspecs.LocalPin, "limit": 5, "report": reports.append, "last": "none"}
    ask_plugins(host.pluggy, "on_lazy_pin_failed", failure=encoder_hookspecs.testing.a_failure(), **options)
    assert reports[0].what == "returned bool, not LocalPin"


def test_importing_the_contract_brings_in_pluggy_and_nothing_else():
    script = """
import sys
before = set(sys.modules)
import encoder_hookspecs, encoder_hookspecs.testing
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(new - set(sys.stdlib_module_names)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["encoder_hookspecs", "pluggy"]
    assert done.stderr == ""
