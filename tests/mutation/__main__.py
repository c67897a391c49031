"""Does a test fail for every small thing that could be wrong in the core? `make mutate` breaks it and looks.

    make mutate                                   every module of modules.toml
    make mutate MODULES="durable lazy/retry"      some of them
    make mutate AGAIN=1 MODULES=durable           only what survived last time, after a test was written

mutmut makes the mutants and runs, for each, the tests that reach its function, in a copy of the checkout below
`.mutation/`. At the end stands a table, and under it every survivor that `explained.toml` does not explain, as it would
stand there: the exit code is 1 then. An explanation that fits no survivor any more is named too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WORK = ROOT / ".mutation"
RESULTS = "results.json"
LINKED = ("encoder_pin_plugin", "hookspecs", "examples", "tests")
SQL = "lazy/sql"
"""No file, but the statements of the ledger, see `sql.py`."""

UNTRIED = "could not be tried"
WORKERS = os.environ.get("MUTATION_WORKERS", "2")
CAUGHT = {"killed", "segfault", "caught by type check"}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One mutant that no test told from the original, or that ran out of time."""

    function: str
    status: str
    change: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of the mutants of one module."""

    module: str
    mutants: int
    killed: int
    timed_out: int
    survivors: tuple[Mutant, ...]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as durable or lazy/retry; all by default")
    parser.add_argument("--again", action="store_true", help="try only what was not killed last time")
    parser.add_argument("--table", action="store_true", help="try nothing, show what the last runs found")
    parser.add_argument("--requirement", action="store_true", help="name the package that this needs")
    asked = parser.parse_args()
    if asked.requirement:
        print(*tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["mutation"])
        return 0
    plan = tomllib.loads((HERE / "modules.toml").read_text())
    tests = plan["tests"]
    unknown = set(asked.modules) - tests.keys()
    if unknown:
        parser.error(f"not in modules.toml: {', '.join(sorted(unknown))}; there are {', '.join(tests)}")
    modules = asked.modules or [name for name in tests if not asked.table or (_folder(name) / RESULTS).exists()]
    if not asked.table:
        for module in modules:
            _try_module(module, [*tests[module], "-k", _all_but(plan["leave_out"])], again=asked.again)
    return _report([_outcome(module) for module in modules])


def _try_module(module: str, tests: list[str], *, again: bool) -> None:
    print(f"== {module}: breaking it", flush=True)
    folder = _folder(module)
    if module == SQL:
        _break_sql(folder, tests)
        return
    again = again and (folder / RESULTS).exists()
    survivors = [name for name, it in _results(module).items() if _survives(it["status"])] if again else []
    if not again:
        subprocess.run(["rm", "-rf", str(folder)], check=True)
    _prepare(folder, module, tests)
    _mutmut(folder, "run")
    if survivors:
        _mutmut(folder, "run", *survivors)
    _mutmut(folder, "results")
    untried = [name for name, it in _results(module).items() if it["status"] == UNTRIED]
    if untried:
        _mutmut(folder, "run", *untried)
        _mutmut(folder, "results")


def _all_but(names: list[str]) -> str:
    return f"not ({' or '.join(names)})"


def _break_sql(folder: Path, tests: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'hookspecs'}", "CI": "true"}
    command = [sys.executable, "-m", "tests.mutation.sql", str(folder / RESULTS), *tests]
    with (folder / "log").open("w") as log:
        subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=True)


def _prepare(folder: Path, module: str, tests: list[str]) -> None:
    """A folder that looks like the checkout, with mutmut's settings for one module."""
    # Python forgets a path entry that is not there at start
    (folder / "mutants" / "hookspecs").mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(ROOT / name)
    header = "[tool.mutmut]\n"
    settings = {"only_mutate": [f"encoder_pin_plugin/{module}.py"], "pytest_add_cli_args_test_selection": tests}
    ours = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    text = (ROOT / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(text.replace(header, header + ours))


def _mutmut(folder: Path, command: str, *names: str) -> None:
    mutants = folder / "mutants"
    environment = os.environ | {"PYTHONPATH": f"{mutants}:{mutants / 'hookspecs'}", "CI": "true"}  # CI: fixed examples
    with (folder / "log").open("w") as log:
        words = [command, "--max-children", WORKERS, *names] if command == "run" else [command]
        line = [sys.executable, str(HERE / "mutating.py"), *words]
        done = subprocess.run(line, cwd=folder, env=environment, stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        tail = (folder / "log").read_text().replace("\r", "\n").splitlines()[-30:]
        raise SystemExit("\n".join([*tail, f"mutmut failed in {folder}: see {folder / 'log'}"]))


def _folder(module: str) -> Path:
    return WORK / module.replace("/", "-")


def _results(module: str) -> dict[str, dict[str, str]]:
    results: dict[str, dict[str, str]] = json.loads((_folder(module) / RESULTS).read_text())
    return results


def _outcome(module: str) -> Outcome:
    results = _results(module)
    statuses = Counter(it["status"] for it in results.values())
    killed, timed_out = sum(statuses[status] for status in CAUGHT), statuses["timeout"]
    survivors = tuple(
        Mutant(function=_function(name), status=it["status"], change=it["change"])
        for name, it in results.items()
        if _survives(it["status"])
    )
    return Outcome(module=module, mutants=len(results), killed=killed, timed_out=timed_out, survivors=survivors)


def _survives(status: str) -> bool:
    return status not in CAUGHT | {"timeout"}


def _function(name: str) -> str:
    """`encoder_pin_plugin.lazy.retry.xǁBreakerǁfailed__mutmut_3` as `lazy.retry.Breaker.failed`."""
    module, _, mangled = name.partition("__mutmut_")[0].removeprefix("encoder_pin_plugin.").rpartition(".")
    return f"{module}.{mangled.removeprefix('x_').removeprefix('xǁ').replace('ǁ', '.')}"


def _report(outcomes: list[Outcome]) -> int:
    reasons = _explained()
    print(f"\n{'module':22}{'mutants':>9}{'killed':>9}{'timed out':>11}{'survived':>10}{'explained':>11}")
    fresh: list[Mutant] = []
    for outcome in outcomes:
        new = [mutant for mutant in outcome.survivors if (mutant.function, mutant.change) not in reasons]
        fresh += new
        survived, explained = len(outcome.survivors), len(outcome.survivors) - len(new)
        numbers = f"{outcome.mutants:9}{outcome.killed:9}{outcome.timed_out:11}{survived:10}{explained:11}"
        print(f"{outcome.module:22}{numbers}")
    for mutant in fresh:
        print(f'\n# {mutant.status}\n[[explained]]\nfunction = "{mutant.function}"\nwhy = ""\nchanges = [')
        print(f"    '''{mutant.change}''',\n]")
    stale = _stale(outcomes, set(reasons))
    for function, change in sorted(stale):
        print(f"\nexplained.toml explains what no longer survives: {function}\n    {change}")
    return 1 if fresh or stale else 0


def _explained() -> dict[tuple[str, str], str]:
    entries = tomllib.loads((HERE / "explained.toml").read_text()).get("explained", [])
    return {(entry["function"], change): entry["why"] for entry in entries for change in entry["changes"]}


def _stale(outcomes: list[Outcome], explained: set[tuple[str, str]]) -> set[tuple[str, str]]:
    tried = {outcome.module.replace("/", ".") for outcome in outcomes}
    alive = {(mutant.function, mutant.change) for outcome in outcomes for mutant in outcome.survivors}
    return {it for it in explained - alive if any(it[0].startswith(f"{module}.") for module in tried)}


if __name__ == "__main__":
    sys.exit(main())
