"""Which plugins there are, and which of them may come in.

Distributions offer plugins as entry points. `importlib.metadata` is asked for one distribution after the other: a
single unreadable one would otherwise end the search for all. Two distributions may use the same name without knowing
of each other, and an operator can allow or block plugins through the environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from encoder_hookspecs.specs import ENTRY_POINT_GROUP

if TYPE_CHECKING:
    import importlib.metadata
    from collections.abc import Collection, Iterable, Mapping

LOAD_VARIABLE = "ENCODER_LOAD_PLUGINS"
"""Comma list of plugins or distributions: only these are loaded (and the recorder). Empty: only the recorder."""

BLOCK_VARIABLE = "ENCODER_BLOCK_PLUGINS"
"""Comma list of plugins or distributions that are not loaded, the recorder included."""

STRICT_VARIABLE = "ENCODER_STRICT_PLUGINS"
"""`1`: a plugin that cannot be used raises `InvalidPlugin` instead of being skipped. For authors, and in CI."""


HOST = "the host"
"""Who allows or blocks where no variable does."""


@dataclass(frozen=True, kw_only=True)
class PluginInfo:
    """One plugin, for a person who wants to know whether it is at work.

    Args:
        name: under which it is, or would be, registered.
        distribution, version: where it comes from; None where the host registered it itself.
        status: `active`, `blocked` (somebody does not want it), or `failed` (it cannot be used).
        why: the reason of a block or failure, in words.
        hooks: the hooks that it implements, in the order of a job's life.
    """

    name: str
    status: Literal["active", "blocked", "failed"]
    distribution: str | None = None
    version: str | None = None
    why: str = ""
    hooks: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Where it comes from, in words: `distribution version`, or `the host`."""
        return f"{self.distribution} {self.version or '(no version)'}" if self.distribution else "the host"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the host and the operator let in.

    Args:
        allow: who allows some only, and the names of these plugins or distributions: all must allow it.
        block: who blocks some, and their names: one is enough, whoever allows it.
        strict: whether a plugin that cannot be used raises.
    """

    allow: tuple[tuple[str, frozenset[str]], ...]
    block: tuple[tuple[str, frozenset[str]], ...]
    strict: bool

    def refusal(self, name: str, distribution: str | None, *, always: str) -> str | None:
        """Why the plugin stays out, in words, or None. The allow list does not apply to the one named `always`."""
        names = {normal(name), normal(distribution or name)}
        if blocking := [who for who, blocked in self.block if names & blocked]:
            return f"blocked by {' and by '.join(blocking)}"
        refusing = [who for who, allowed in self.allow if not names & allowed]
        if refusing and name != always:
            return f"not among the plugins allowed by {' and by '.join(refusing)}"
        return None


def choose(
    environ: Mapping[str, str], *, allow: Collection[str] | None, block: Collection[str], blocked_by: str, strict: bool
) -> Choice:
    """The host's choice and the operator's: both must allow, either can block, either can be strict."""
    text, blocked = environ.get(LOAD_VARIABLE), environ.get(BLOCK_VARIABLE, "")
    allowed = [(HOST, allow), (LOAD_VARIABLE, None if text is None else text.split(","))]
    return Choice(
        allow=tuple((who, _normal_set(names)) for who, names in allowed if names is not None),
        block=((blocked_by, _normal_set(block)), (BLOCK_VARIABLE, _normal_set(blocked.split(",")))),
        strict=strict or environ.get(STRICT_VARIABLE, "").strip().lower() in {"1", "true", "yes", "on"},
    )


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A plugin that an installed distribution offers."""

    name: str
    distribution: str
    version: str | None
    entry_point: importlib.metadata.EntryPoint


def find_offers() -> list[Offer]:
    """Every plugin that the installed distributions offer, sorted by distribution and name, none of them loaded."""
    from importlib.metadata import distributions  # a tenth of a short command's start, and many load no plugin

    by_distribution: dict[str, list[Offer]] = {}
    for distribution in distributions():
        offers = _offers_of(distribution)
        if offers:  # a distribution that is found twice is what Python imports: the first on the path
            by_distribution.setdefault(normal(offers[0].distribution), offers)
    return sorted(
        (offer for offers in by_distribution.values() for offer in offers),
        key=lambda it: (normal(it.distribution), it.name),
    )


def normal(name: str) -> str:
    """`name` as names of distributions are compared: case, `-`, `_` and `.` make no difference."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _offers_of(distribution: importlib.metadata.Distribution) -> list[Offer]:
    try:
        found = list(distribution.entry_points.select(group=ENTRY_POINT_GROUP))
    except Exception:  # noqa: BLE001 - half-deleted, foreign or unreadable metadata: not one of ours
        return []
    if not found:
        return []
    name, version = _name_and_version(distribution)
    return [Offer(name=it.name, distribution=name, version=version, entry_point=it) for it in found]


def _name_and_version(distribution: importlib.metadata.Distribution) -> tuple[str, str | None]:
    try:
        headers = dict(distribution.metadata.items())  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - the plugin may work all the same
        headers = {}
    return str(headers.get("Name") or "unnamed distribution"), headers.get("Version")


def _normal_set(names: Iterable[str]) -> frozenset[str]:
    return frozenset(normal(name) for name in names if name.strip())
