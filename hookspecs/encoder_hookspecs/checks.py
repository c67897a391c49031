"""What keeps a plugin from being called as its author meant: found when it is loaded, said in words.

pluggy takes a class in the place of an instance, a misspelt hook and an `async def` without a word; each then fails
at the first job, or is silently never called.
"""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING

import pluggy

from encoder_hookspecs.specs import PROJECT, EncoderSpecs

if TYPE_CHECKING:
    from collections.abc import Iterator


class InvalidPlugin(Exception):
    """A plugin cannot be used as it is.

    Args:
        plugin: its name.
        faults: what is wrong with it, in words.
    """

    def __init__(self, plugin: str, faults: list[str]) -> None:
        super().__init__(f"plugin {plugin!r} cannot be used: {'; '.join(faults)}")
        self.plugin = plugin
        self.faults = faults


HOOKS = {
    name: tuple(inspect.signature(spec).parameters)[1:]  # without self
    for name, spec in vars(EncoderSpecs).items()
    if name.startswith("on_")
}
"""Every hook of the contract with the names of its parameters, in the order of a job's life."""


def find_faults(plugin: object, manager: pluggy.PluginManager) -> list[str]:
    """Everything that is wrong with `plugin`, without calling it; an empty list where nothing is.

    Args:
        plugin: an instance or a module.
        manager: knows the hooks; the plugin is not registered in it.
    """
    if plugin is None:
        return ["it is None: a plugin is a module or an instance"]
    if inspect.isclass(plugin):
        return [f"it is the class {plugin.__name__}: give an instance, {plugin.__name__}()"]
    if type(plugin).__hash__ is None:
        return [f"{type(plugin).__name__} has no hash: a dataclass needs eq=False, or frozen=True"]
    marked = dict(implementations(plugin))
    faults = [fault for hook, impl in marked.items() for fault in _faults_of(hook, impl, manager)]
    unmarked = [hook for hook in HOOKS if hook not in marked and callable(inspect.getattr_static(plugin, hook, None))]
    return faults + [f"{hook} is not marked: put encoder_hookspecs' @hookimpl above it" for hook in unmarked]


def implementations(plugin: object) -> Iterator[tuple[str, pluggy.HookImpl]]:
    """The functions of `plugin` that are marked with `@hookimpl`, each with the name of the hook it claims."""
    alone = pluggy.PluginManager(PROJECT)  # knows no hook, so it takes every name and every parameter
    alone.register(plugin, "plugin")
    for caller in alone.get_hookcallers(plugin) or ():
        for impl in caller.get_hookimpls():
            yield caller.name, impl


def _faults_of(hook: str, impl: pluggy.HookImpl, manager: pluggy.PluginManager) -> Iterator[str]:
    caller = getattr(manager.hook, hook, None)
    if caller is None or not caller.has_spec():
        if not impl.optionalhook:
            yield f"there is no hook {hook!r}{_did_you_mean(hook)}"
    elif inspect.iscoroutinefunction(impl.function) or inspect.isasyncgenfunction(impl.function):
        yield f"{hook} is async: hooks are called, never awaited"
    elif hook in HOOKS:
        yield from _faults_of_parameters(hook, impl)
        yield from _faults_of_kind(hook, impl)


def _did_you_mean(hook: str) -> str:
    near = difflib.get_close_matches(hook, HOOKS, n=1)
    return f": did you mean {near[0]!r}?" if near else f"; the hooks are {', '.join(HOOKS)}"


def _faults_of_parameters(hook: str, impl: pluggy.HookImpl) -> Iterator[str]:
    known = HOOKS[hook]
    method = getattr(impl.function, "__func__", None)
    if method is not None and next(iter(inspect.signature(method).parameters), None) in known:
        yield f"{hook} lacks self: def {hook}(self, {', '.join(known)})"
    for name in (*impl.argnames, *impl.kwargnames):
        if name not in known:
            yield f"{hook} has no parameter {name!r}: it offers {', '.join(known)}"
    for name, parameter in inspect.signature(impl.function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            yield f"{hook} takes {name!r} by keyword only: drop the * before it"


def _faults_of_kind(hook: str, impl: pluggy.HookImpl) -> Iterator[str]:
    yields = inspect.isgeneratorfunction(impl.function)
    if impl.wrapper and impl.hookwrapper:
        yield f"{hook} is marked both wrapper=True and hookwrapper=True: keep wrapper=True"
    elif yields and not (impl.wrapper or impl.hookwrapper):
        yield f"{hook} yields, so its body would never run: return instead, or mark it @hookimpl(wrapper=True)"
    elif (impl.wrapper or impl.hookwrapper) and not yields:
        yield f"{hook} is marked as a wrapper and does not yield"
