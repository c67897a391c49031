"""Read from the environment over `.env.local` over `.env`, checked as a whole, then frozen.

Recording a finished job needs `data_dir()` alone, and that one reads nothing but `DATA_DIR`: nonsense in
any other setting stops the worker, never the recording. Everybody else calls `load_settings()`, which
reports all that is wrong at once. The names that 3Speak's encoder has are taken verbatim; its other
names are left alone. An empty text counts as none: the default stands.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from encoder_pin_plugin.errors import InvalidSettings, Unusable
from encoder_pin_plugin.settings.checks import contradictions, warnings
from encoder_pin_plugin.settings.credentials import MASK, Credentials, read_credentials
from encoder_pin_plugin.settings.masking import may_hold_a_password, shown_address, visible
from encoder_pin_plugin.settings.origins import Found, Origin, all_origins, find, find_leniently, near_misses
from encoder_pin_plugin.settings.table import TABLE, as_text
from encoder_pin_plugin.settings.values import absolute, excerpt, path, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting, checked. Made by `load_settings`; each field is the setting of the same name in
    capitals.

    Args:
        data_dir: absolute folder of the archive, the job files and the ledger.
        node_name: the `node_id` of archive lines; the host's name where nothing else is said.
        enable_local_fallback: whether to fall back at all.
        local_fallback_threshold: failed attempts before the fallback.
        lazy_pin_backoff: seconds before the next attempts; the last one repeats.
        lazy_pin_max_backoff: the longest time between two attempts, seconds.
        fallback_after: seconds after completion when the fallback comes whatever was counted.
        lazy_pin_concurrency: attempts at once.
        lazy_pin_stall_timeout: seconds without progress after which an attempt ends.
        lazy_pin_timeout: seconds that one attempt may take in all.
        threespeak_ipfs_endpoint: the supernode's Kubo RPC, where it is one; multiaddr or URL.
        use_cluster_for_pins: whether the supernode is the Cluster instead.
        ipfs_cluster_endpoint: the Cluster's REST address, a URL.
        ipfs_api_addr: the local node's Kubo RPC, multiaddr or URL.
        hold_local: `auto` pins at ingest what the local node already has whole.
        remove_local_after_sync: whether cleaning also releases the encoder's own pin.
        trust_plugins: plugins whose word is taken without a check of ours.
        block_plugins: plugins that are not loaded.
        plugin_timeout: seconds that a site plugin's hook may take in the worker.
        threespeak_ipfs_auth: what the supernode's Kubo lets us in by; the other two likewise.
        pinned_is_enough: migration targets that cannot tell whether they are whole, and whose word that they pinned is
            enough for deleting; `*` for all.
        migrate_auth: what a migration's target lets us in by, where the other three are for other addresses.
        warnings: sentences about settings that work but should be looked at.
    """

    data_dir: Path
    node_name: str
    enable_local_fallback: bool
    local_fallback_threshold: int
    lazy_pin_backoff: tuple[float, ...]
    lazy_pin_max_backoff: float
    fallback_after: float
    lazy_pin_concurrency: int
    lazy_pin_stall_timeout: float
    lazy_pin_timeout: float
    threespeak_ipfs_endpoint: str | None
    use_cluster_for_pins: bool
    ipfs_cluster_endpoint: str | None
    ipfs_api_addr: str
    hold_local: Literal["auto", "off"]
    remove_local_after_sync: bool
    trust_plugins: frozenset[str]
    block_plugins: frozenset[str]
    plugin_timeout: float
    threespeak_ipfs_auth: Credentials | None
    ipfs_api_auth: Credentials | None
    ipfs_cluster_auth: Credentials | None
    pinned_is_enough: frozenset[str]
    migrate_auth: Credentials | None
    warnings: tuple[str, ...] = ()

    @property
    def supernode_missing(self) -> bool:
        """Whether nothing says where the supernode is: jobs are recorded, but nobody can pin them lazily."""
        return not self.use_cluster_for_pins and self.threespeak_ipfs_endpoint is None

    def trusts_record_of(self, target: str) -> bool:
        """Whether PINNED_IS_ENOUGH names a target (`KIND+URL`), by all of it or by its URL."""
        names = {"*", target.rstrip("/"), target.partition("+")[2].rstrip("/")}
        return bool(self.pinned_is_enough & names)


@dataclass(frozen=True, kw_only=True)
class SettingSource:
    """One setting as `encoder-pin settings` shows it: its value with secrets masked, and where that
    stands."""

    name: str
    value: str
    source: str


def load_settings(
    environ: Mapping[str, str] | None = None, folder: Path | None = None, **overrides: object
) -> Settings:
    """Read and check every setting.

    Args:
        environ: the environment; the process's own by default.
        folder: where `.env.local` and `.env` stand and relative paths begin; the working folder by default.
        overrides: fields of `Settings`, as values or as texts, which come before everything else.

    Raises:
        InvalidSettings: with a sentence for each setting that is wrong, and what to write instead.
        TypeError: for an override that is no field.
    """
    origins, faults = all_origins(environ, folder or Path(), _options(overrides))
    faults += near_misses(TABLE, origins)
    parsed = _parse_all(_find_all(origins), folder, faults)
    faults += contradictions(parsed)
    if faults:
        raise InvalidSettings(_report(faults))
    fields = {name.lower(): parsed.get(f"{name}_FILE") or value for name, value in parsed.items()}
    fields = {name: value for name, value in fields.items() if not name.endswith("_file")}
    return Settings(**fields, warnings=tuple(warnings(parsed)))


def data_dir(environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Path:
    """The data folder, absolute. `DATA_DIR` alone is read: no fault in another setting or in a file matters.

    Raises `InvalidSettings` only where `DATA_DIR` itself can be no path.
    """
    text = find_leniently("DATA_DIR", environ, folder or Path()) or TABLE["DATA_DIR"].default
    try:
        return absolute(path(text), folder)
    except Unusable as fault:
        raise InvalidSettings(_report([f"DATA_DIR is {excerpt(text)}: {fault}"])) from None


def sources(
    environ: Mapping[str, str] | None = None, folder: Path | None = None, **overrides: object
) -> list[SettingSource]:
    """Every setting, what it is set to and where that stands, also where it is wrong. Secrets are masked."""
    origins, _ = all_origins(environ, folder or Path(), _options(overrides))
    return [
        SettingSource(name=name, value=_display(name, at.text, folder), source=at.origin)
        for name, at in _find_all(origins).items()
    ]


def _find_all(origins: Sequence[Origin]) -> dict[str, Found]:
    return {name: find(name, origins) or Found(row.default, "default") for name, row in TABLE.items()}


def _parse_all(found: Mapping[str, Found], folder: Path | None, faults: list[str]) -> dict[str, Any]:
    """The value of each setting that has one; for each other a sentence more in `faults`."""
    parsed: dict[str, Any] = {}
    for name, at in found.items():
        try:
            parsed[name] = _value(name, at.text, folder)
        except Unusable as fault:
            shown = "cannot be used" if fault.secret else f"is {_quoted(name, at.text)}"
            faults.append(f"{name} ({at.origin}) {shown}: {fault}")
    return parsed


def _value(name: str, text: str, folder: Path | None) -> object:
    value = TABLE[name].parse(text)
    if isinstance(value, Path):
        value = absolute(value, folder)
        return read_credentials(value) if name.endswith("_FILE") else value
    return value


def _quoted(name: str, text: str) -> str:
    return shown_address(text) if TABLE[name].address else excerpt(text)


def _display(name: str, text: str, folder: Path | None) -> str:
    if TABLE[name].secret:
        return MASK if text else ""
    if TABLE[name].address:
        return ",".join(map(_visible, [text] if may_hold_a_password(text) else text.split(",")))
    if name in ("DATA_DIR", "NODE_NAME"):
        with suppress(Unusable):
            return plain(str(_value(name, text, folder)))
    return plain(text)


def _visible(address: str) -> str:
    """An address without what may be a secret; a word that is none (`true`) as it stands."""
    return address if re.fullmatch(r"\*|\w{0,5}", address) else visible(address.strip())


def _options(overrides: Mapping[str, object]) -> dict[str, str]:
    """The caller's values as the texts that stand for them, so that they pass through the same checks."""
    unknown = [name for name in overrides if name.upper() not in TABLE]
    if unknown:
        raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
    return {name.upper(): as_text(value) for name, value in overrides.items()}


def _report(faults: Sequence[str]) -> str:
    if len(faults) == 1:
        return faults[0]
    return "\n".join([f"{len(faults)} things are wrong with the settings:", *(f"  - {fault}" for fault in faults)])
