"""Which plugins are at work in a host, which are not, and why.

One broken plugin never keeps another out: each is imported, looked at and registered on its own, and what cannot be
used is reported and skipped.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from encoder_hookspecs.calling import PluginFailure, Report, in_words
from encoder_hookspecs.checks import HOOKS, InvalidPlugin, find_faults
from encoder_hookspecs.loading import Choice, Offer, PluginInfo, find_offers

if TYPE_CHECKING:
    import pluggy


class Registry:
    """The plugins of one `pluggy.PluginManager`.

    Args:
        manager: where plugins are registered.
        choice: what may come in.
        recorder: the plugin that an allow list does not keep out.
        report: told of each plugin that cannot be used.
    """

    def __init__(self, manager: pluggy.PluginManager, choice: Choice, recorder: str, report: Report) -> None:
        self._pluggy = manager
        self._choice = choice
        self._recorder = recorder
        self._report = report
        self._origins: dict[str, PluginInfo] = {}
        self._absent: list[PluginInfo] = []

    def load_entry_points(self) -> None:
        """Load every plugin that installed distributions offer, but those that an earlier call has seen."""
        known = {(it.name, it.distribution) for it in self.plugins()}
        for offer in find_offers():
            if (offer.name, offer.distribution) not in known:
                self._load(offer)

    def register(self, plugin: object, name: str) -> PluginInfo:
        """Register a plugin of the host's own."""
        info = PluginInfo(name=name, status="active")
        if refusal := self._choice.refusal(name, None, always=name):
            return self._block(info, refusal)
        if self._pluggy.has_plugin(name):
            return self._fail(info, f"the name {name!r} is taken by a plugin of {self._origin(name).origin}")
        return self._register(plugin, info)

    def plugins(self) -> list[PluginInfo]:
        """Every plugin: the active ones in the order of registration, then the blocked and the failed."""
        active = [
            self._describe(name, plugin)
            for name, plugin in self._pluggy.list_name_plugin()
            if plugin is not None  # a name that the host blocked through pluggy itself
        ]
        return active + self._absent

    def _load(self, offer: Offer) -> PluginInfo:
        info = PluginInfo(name=offer.name, status="active", distribution=offer.distribution, version=offer.version)
        if refusal := self._choice.refusal(offer.name, offer.distribution, always=self._recorder):
            return self._block(info, refusal)
        if self._pluggy.has_plugin(offer.name):
            return self._taken(info)
        try:
            plugin = offer.entry_point.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an import runs foreign code: anything may come
            return self._fail(info, f"{in_words(error)} while {offer.entry_point.value} was imported", error)
        return self._register(plugin, info)

    def _register(self, plugin: object, info: PluginInfo) -> PluginInfo:
        try:
            faults = find_faults(plugin, self._pluggy)
            if not faults and (other := self._pluggy.get_name(plugin)) is not None:
                faults = [f"it is registered already, as {other!r}"]
            if not faults and self._pluggy.register(plugin, info.name) is None:
                return self._block(info, "blocked through pluggy by the host")
        except Exception as error:  # noqa: BLE001 - even looking at a plugin runs its code
            return self._fail(info, in_words(error), error)
        if faults:
            return self._fail(info, "; ".join(faults))
        self._origins[info.name] = info
        return self._describe(info.name, plugin)

    def _taken(self, info: PluginInfo) -> PluginInfo:
        holder = self._origin(info.name)
        if holder.distribution is None:
            return self._block(info, f"the host registered its own plugin {info.name!r}")
        return self._fail(
            info,
            f"the name {info.name!r} is taken by {holder.origin}: block one of {holder.distribution} and"
            f" {info.distribution}",
        )

    def _block(self, info: PluginInfo, why: str) -> PluginInfo:
        self._absent.append(replace(info, status="blocked", why=why))
        return self._absent[-1]

    def _fail(self, info: PluginInfo, why: str, error: BaseException | None = None) -> PluginInfo:
        self._absent.append(replace(info, status="failed", why=why))
        self._report(PluginFailure(plugin=info.name, hook="load", what=f"{why} ({info.origin})", error=error))
        if self._choice.strict:
            raise InvalidPlugin(info.name, [why]) from error
        return self._absent[-1]

    def _describe(self, name: str, plugin: object) -> PluginInfo:
        hooks = {caller.name for caller in self._pluggy.get_hookcallers(plugin) or ()}
        return replace(self._origin(name), hooks=(*(it for it in HOOKS if it in hooks), *sorted(hooks - HOOKS.keys())))

    def _origin(self, name: str) -> PluginInfo:
        return self._origins.get(name, PluginInfo(name=name, status="active"))
