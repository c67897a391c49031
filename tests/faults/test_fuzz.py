"""A share of the inputs for every reader of foreign bytes: see `tests.faults.fuzz` and `tests.faults.fuzz_guided`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import fuzz, fuzz_guided, fuzz_targets
from tests.faults.conftest import share
from tests.faults.fuzz_targets import Defect, Target, TooSlow, cases, open_targets
from tests.faults.fuzz_texts import PLANTED

pytestmark = [pytest.mark.faults]


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Target]]:
    with open_targets(tmp_path_factory.mktemp("fuzz")) as opened:
        yield opened


def test_no_input_crashes_hangs_or_fills_a_reader() -> None:
    share(fuzz.run, 2_000)


def test_no_input_that_coverage_leads_to_crashes_a_reader() -> None:
    assert share(fuzz_guided.run, 200).tried >= 200


@pytest.mark.parametrize(("name", "path"), cases(), ids=lambda value: getattr(value, "name", value))
def test_an_input_that_was_too_much_once_is_read_or_refused(
    targets: dict[str, Target], name: str, path: Path
) -> None:  # fmt: skip
    targets[name](path.read_bytes())


def test_every_sample_is_read(targets: dict[str, Target]) -> None:
    for target in targets.values():
        assert target.samples
        for sample in target.samples:
            target(sample)


def test_the_guided_rig_finds_what_a_reader_must_not_say(tmp_path: Path) -> None:
    """A rig that sees nothing would be clean as well."""
    if not fuzz_guided.is_here():
        pytest.skip(fuzz_guided.LEFT_OUT)
    output, status = fuzz_guided.started("planted", tmp_path, ["--runs", "20000", "--seed", "1"])
    assert status != 0, output
    (found,) = (tmp_path / "found").iterdir()
    with pytest.raises(Defect):
        PLANTED(found.read_bytes())


def test_an_input_that_takes_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_targets, "SLOW", 0.0)
    with pytest.raises(TooSlow):
        Target(read=lambda data: sum(range(100_000)), samples=())(b"")
