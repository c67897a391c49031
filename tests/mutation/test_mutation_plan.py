"""The plan of `make mutate` names what there is: modules, their tests, functions whose survivors are explained."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.__main__ import SQL, main

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PLAN: dict[str, Any] = tomllib.loads((HERE / "modules.toml").read_text())
EXPLAINED: list[dict[str, Any]] = tomllib.loads((HERE / "explained.toml").read_text())["explained"]


@pytest.mark.parametrize("module", PLAN["tests"])
def test_every_module_and_its_tests_exist(module: str) -> None:
    assert module == SQL or (ROOT / "encoder_pin_plugin" / f"{module}.py").is_file()
    assert PLAN["tests"][module]
    assert all((ROOT / path).is_file() for path in PLAN["tests"][module])


def test_every_test_that_is_left_out_exists() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in PLAN["leave_out"] if f"{name}" not in tests] == []


@pytest.mark.parametrize("entry", EXPLAINED, ids=lambda entry: entry["function"])
def test_every_explanation_is_of_a_function_that_exists(entry: dict[str, Any]) -> None:
    assert entry["why"]
    assert all("  =>  " in change for change in entry["changes"])
    if entry["function"].startswith("lazy.sql."):
        return
    module = max((it for it in PLAN["tests"] if entry["function"].startswith(f"{it.replace('/', '.')}.")), key=len)
    found: Any = importlib.import_module(f"encoder_pin_plugin.{module.replace('/', '.')}")
    for name in entry["function"].removeprefix(f"{module.replace('/', '.')}.").split("."):
        found = getattr(found, name)
    assert callable(found)


def test_no_function_is_explained_twice() -> None:
    names = [entry["function"] for entry in EXPLAINED]
    assert len(set(names)) == len(names)


def test_a_module_that_is_not_planned_is_told_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["mutation", "lazy/none"])
    with pytest.raises(SystemExit):
        main()
    assert "not in modules.toml: lazy/none; there are durable, lazy/retry" in capsys.readouterr().err
