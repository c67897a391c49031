"""An attempt beside a listing of the supernode's pins: who is asked, and who hears what was pinned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from encoder_pin_plugin.lazy import attempt as attempting
from encoder_pin_plugin.lazy.pins import LazyPin, State
from tests.lazy.trying import JOB, Try, provers_end  # noqa: F401 - an autouse fixture


class Listed:
    """A listing that lacks what it is told to, and notes what it is told."""

    def __init__(self, node: object, clock: object) -> None:
        self.of = node
        self.without: set[str] = set()
        self.heard: list[str] = []

    def lacks(self, pin: LazyPin) -> bool:
        return pin.job.cid in self.without

    def has(self, cid: str) -> None:
        self.heard.append(f"has {cid}")

    def answered_no(self) -> None:
        self.heard.append("no")


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> type[Listed]:
    monkeypatch.setattr(attempting, "Listing", Listed)
    return Listed


@pytest.mark.usefixtures("listed")
def test_a_listing_hears_what_was_asked_in_vain_and_what_was_pinned(tmp_path: Path) -> None:
    one = Try(tmp_path)
    one.run()
    listing: Any = one.attempts._listing
    assert listing.of is one.node
    assert listing.heard == ["no", f"has {JOB.cid}"]


@pytest.mark.usefixtures("listed")
def test_what_is_pinned_already_is_no_reason_for_a_listing(tmp_path: Path) -> None:
    one = Try(tmp_path)
    one.node.pins[JOB.cid] = "theirs"
    one.run()
    listing: Any = one.attempts._listing
    assert listing.heard == []


@pytest.mark.usefixtures("listed")
def test_what_the_listing_lacks_is_pinned_without_a_question(tmp_path: Path) -> None:
    one = Try(tmp_path)
    listing: Any = one.attempts._listing
    listing.without = {JOB.cid}
    assert one.run().step.state is State.PINNED
    assert [call for call, _ in one.node.calls] == ["pin", "pinned"]
