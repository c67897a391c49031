"""The house as the design draws it: imports point downwards, files and functions stay small, importing does no work."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "encoder_hookspecs": ROOT / "hookspecs/encoder_hookspecs",
    "encoder_pin_plugin": ROOT / "encoder_pin_plugin",
}
MODULES = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))

# Each room with the rooms it may look into; everybody may look into the ground floor and the contract.
ROOMS = {
    "contract": set[str](),
    "ground": {"contract"},
    "nodes": {"ground", "contract"},
    "archive": {"nodes", "ground", "contract"},
    "lazy": {"nodes", "ground", "contract"},
    "plugin": {"lazy", "archive", "nodes", "ground", "contract"},
    "operate": {"plugin", "lazy", "archive", "nodes", "ground", "contract"},
}
GROUND = {"settings", "durable", "errors", "clock", "alarms", "sqlite", ""}
PLUGIN = {"plugin", "service", "asking"}

LONGEST_FILE = 300
LONGEST_FUNCTION = 30
LONGER_FILES: dict[str, str] = {}
LONGER_FUNCTIONS: dict[str, str] = {}

HEAVY = {
    "ipfshttpclient",
    "requests",
    "urllib3",
    "rich",
    "click",
    "dotenv",
    "multiaddr",
    "trio",
    "multiprocessing",
    "asyncio",
}


def room_of(module: str) -> str:
    """The room that a module of ours stands in."""
    package, _, rest = module.partition(".")
    if package == "encoder_hookspecs":
        return "contract"
    top = rest.partition(".")[0]
    if top in GROUND:
        return "ground"
    if top in PLUGIN:
        return "plugin"
    return "operate" if top == "__main__" else top


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    own = room_of(name_of(path))
    assert own in ROOMS, f"{path} stands in no room of the house: see ROOMS"
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module} ({room_of(module)})"
        for line, module in imports(path)
        if room_of(module) != own and room_of(module) not in ROOMS[own]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_contract_stands_on_pluggy_and_the_standard_library_alone() -> None:
    used = {
        module.partition(".")[0]
        for path in PACKAGES["encoder_hookspecs"].rglob("*.py")
        for _, module in imports(path, ours_only=False)
    }
    assert used - set(sys.stdlib_module_names) - {"encoder_hookspecs"} == {"pluggy"}


def test_only_the_nodes_know_the_ipfs_client() -> None:
    users = {
        room_of(name_of(path))
        for path in MODULES
        for _, module in imports(path, ours_only=False)
        if module.partition(".")[0] in ("ipfshttpclient", "multiaddr", "requests", "urllib3")
    }
    assert users <= {"nodes"}


def test_modules_do_not_import_each_other_in_a_circle_not_even_for_types() -> None:
    known = {name_of(path): path for path in MODULES}
    state: dict[str, str] = {}

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert state.get(module) != "open", f"a circle: {' > '.join((*way, module))}"
        if module in state:
            return
        state[module] = "open"
        for imported in sorted({name for _, name in imports(known[module])} & set(known)):
            visit(imported, (*way, module))
        state[module] = "done"

    for module in known:
        visit(module, ())


@pytest.mark.parametrize("path", [*MODULES, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_and_says_why_it_exists(path: Path) -> None:
    short = str(path.relative_to(ROOT))
    lines = path.read_text().count("\n")
    assert lines < LONGEST_FILE or short in LONGER_FILES, f"{short} has {lines} lines: split it"
    assert not path.read_text().strip() or ast.get_docstring(tree(path)), f"{short} does not say why it exists"


def test_functions_are_short() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{name}": lines
        for path in [*MODULES, *EXAMPLES]
        for name, function in functions(path)
        if (lines := body_lines(function)) >= LONGEST_FUNCTION
    }
    assert set(long) == set(LONGER_FUNCTIONS), f"split these, or say why not: {long}"


def test_what_is_public_is_documented() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {name}"
        for path in MODULES
        for name, node in definitions(path)
        if not any(part.startswith("_") for part in name.split(".")) and not ast.get_docstring(node)
        if "." not in name or not (speaks_for_itself(node) or name.partition(".")[2] in promised())
    ]
    assert not silent, "\n".join(silent)


def test_nothing_prints_and_nothing_is_decided_by_an_assertion() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print")
    ]
    assert not wrong, "\n".join(wrong)


WATCH = """
import json, os, sys, threading
import loguru
handlers = set(loguru.logger._core.handlers)
before = set(sys.modules)
seen = []
def watch(event, args):
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    if event == "open" and args[2] & writes:
        seen.append(f"opened {args[0]} for writing")
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.fork", "os.putenv", "os.chdir", "subprocess.Popen",
                   "socket.connect", "sqlite3.connect", "_thread.start_new_thread"):
        seen.append(f"{event} {args[:1]}")
sys.addaudithook(watch)
import encoder_pin_plugin.plugin
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps({"did": seen, "loaded": sorted(loaded), "threads": threading.active_count(),
                  "handlers": handlers == set(loguru.logger._core.handlers)}))
"""


def test_importing_the_plugin_does_no_work_in_the_host(tmp_path: Path) -> None:
    command = [sys.executable, "-B", "-c", WATCH]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    report = json.loads(done.stdout)
    assert report["did"] == []
    assert report["threads"] == 1
    assert report["handlers"], "a handler of the host's log was added or removed"
    assert not HEAVY & set(report["loaded"])
    assert list(tmp_path.iterdir()) == []


# How a module is read


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    """The dotted name of one of our modules."""
    package, folder = next((name, folder) for name, folder in PACKAGES.items() if path.is_relative_to(folder))
    parts = [package, *path.relative_to(folder).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, ours_only: bool = True) -> Iterator[tuple[int, str]]:
    """Every import of a module with its line: at the top, inside functions, and for type checkers only."""
    for node in ast.walk(tree(path)):
        for module in imported_by(node):
            if not ours_only or module.partition(".")[0] in PACKAGES:
                yield getattr(node, "lineno", 0), module


def imported_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide where they point"
        module = node.module or ""
        for alias in node.names:
            inner = f"{module}.{alias.name}"
            yield inner if is_module(inner) else module


def is_module(name: str) -> bool:
    package, _, rest = name.partition(".")
    if package not in PACKAGES:
        return False
    path = PACKAGES[package].joinpath(*rest.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


Defined = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions(path: Path) -> Iterator[tuple[str, Defined]]:
    """Classes, functions and methods with their dotted names; not what is defined inside functions."""
    for node in tree(path).body:
        if isinstance(node, Defined):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{inner.name}", inner) for inner in node.body if isinstance(inner, Defined))


def functions(path: Path) -> Iterator[tuple[str, Defined]]:
    yield from ((name, node) for name, node in definitions(path) if not isinstance(node, ast.ClassDef))


def speaks_for_itself(method: Defined) -> bool:
    """Whether a method is a single statement, so that its name and its body say it all."""
    return len(method.body) == 1


@cache
def promised() -> set[str]:
    """Methods that a port of ours documents, and those that override a method of a library's class."""
    return {
        inner.name
        for path in MODULES
        for node in tree(path).body
        if isinstance(node, ast.ClassDef) and node.bases
        for inner in node.body
        if isinstance(inner, Defined) and (ast.get_docstring(inner) or isinstance(node.bases[0], ast.Attribute))
    }


def body_lines(function: Defined) -> int:
    """Lines of a function without its docstring."""
    first, last = function.body[0], function.end_lineno or function.lineno
    documented = ast.get_docstring(function) is not None
    return last - function.lineno + 1 - ((first.end_lineno or 0) - first.lineno + 1 if documented else 0)
