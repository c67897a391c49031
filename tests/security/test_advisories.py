"""No version that is locked, and none that a site may get along with us, has a weakness of `.ci/advisories.toml`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
FIXED: dict[str, dict[str, str]] = tomllib.loads((ROOT / ".ci/advisories.toml").read_text())["fixed"]


@pytest.mark.parametrize("package", FIXED)
def test_what_is_locked_has_no_known_weakness(package: str) -> None:
    versions = locked()[package]
    assert not [(advisory, fixed) for advisory, fixed in FIXED[package].items() if min(versions) < Version(fixed)]


def test_what_we_need_ourselves_is_asked_for_without_known_weaknesses() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = map(Requirement, project["project"]["dependencies"] + project["dependency-groups"]["test"])
    allowed = [
        f"{each}: {advisory}, fixed in {fixed}"
        for each in needed
        for advisory, fixed in FIXED.get(each.name, {}).items()
        if lowest(each) < Version(fixed)
    ]
    assert not allowed


def locked() -> dict[str, list[Version]]:
    """Each package's versions, some of which stand in one lock, some in both."""
    found: dict[str, list[Version]] = {}
    for lock in ("requirements.txt", "requirements-build.txt"):
        for name, version in re.findall(r"^([a-z0-9.-]+)==([^ ;\\]+)", (ROOT / ".ci" / lock).read_text(), re.MULTILINE):
            found.setdefault(name, []).append(Version(version))
    return found


def lowest(needed: Requirement) -> Version:
    """The oldest version that satisfies it."""
    return min(Version(each.version) for each in needed.specifier if each.operator in (">=", "=="))
