"""What a site installs along with us, and under which licences: SECURITY.md lists it, and the installed packages'
own metadata say whether the list is true. A dependency that comes in, or changes its licence, is seen here first."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def test_the_licences_of_all_that_is_installed_are_listed() -> None:
    found = {name: licence(found) for name, found in installed("encoder-pin-plugin").items()}
    wrong = [f"| {name} | {text} |" for name, text in sorted(found.items()) if listed().get(name) != text]
    assert not wrong, "look at these, and write them into SECURITY.md:\n" + "\n".join(wrong)


def test_nothing_is_listed_that_is_not_installed() -> None:
    elsewhere = re.findall(r"^([a-z0-9-]+)==\S+ ;", (ROOT / ".ci/requirements.txt").read_text(), flags=re.MULTILINE)
    assert listed().keys() - installed("encoder-pin-plugin").keys() <= set(elsewhere)


def listed() -> dict[str, str]:
    """The table of SECURITY.md."""
    _, _, section = (ROOT / "SECURITY.md").read_text().partition("| package | licence |\n")
    return dict(re.findall(r"^\| ([a-z0-9-]+) \| (.+) \|$", section.partition("\n## ")[0], flags=re.MULTILINE))


def installed(name: str) -> dict[str, Distribution]:
    """Everything that `name` needs here, and what that needs, without itself."""
    found: dict[str, Distribution] = {}
    open_ = [Requirement(name)]
    while open_:
        needed = open_.pop()
        key = canonicalize_name(needed.name)
        if key in found:
            continue
        found[key] = distribution(needed.name)
        for each in map(Requirement, found[key].requires or []):
            extras = needed.extras or {""}
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras):
                open_.append(each)
    return {key: each for key, each in found.items() if key != name}


def licence(found: Distribution) -> str:
    """In the words of its metadata."""
    said = found.metadata
    kinds = [text.rpartition(" :: ")[2] for text in said.get_all("Classifier") or [] if text.startswith("License :: ")]
    return said.get("License-Expression") or " or ".join(kinds) or said.get("License") or "none is named"
