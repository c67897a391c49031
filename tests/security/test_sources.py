"""What the packages never do, read in their source: run data as code, switch TLS verification off, follow a shell,
start a process (which would inherit the environment, and a secret in it)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(ROOT / "encoder_pin_plugin").rglob("*.py"), *(ROOT / "hookspecs").rglob("*.py")])

NEVER_IMPORTED = {
    "pickle", "cPickle", "marshal", "shelve", "dill", "yaml", "ctypes", "code", "xmlrpc", "telnetlib",
    "subprocess", "multiprocessing", "pty",
}  # fmt: skip
NEVER_CALLED = {"eval", "exec", "compile", "__import__", "input", "breakpoint"}
NEVER_OF_OS = {
    "system", "popen", "umask", "_exit", "chdir", "setuid", "fork", "forkpty", "posix_spawn", "posix_spawnp",
    *(f"{verb}{how}" for verb in ("exec", "spawn") for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
}  # fmt: skip
MAY = {
    ("hookspecs/encoder_hookspecs/calling.py", "_exit"),  # a plugin's forked child that comes back as a second host
    ("encoder_pin_plugin/operate/work_command.py", "_exit"),  # the command line's process is our own
    ("encoder_pin_plugin/operate/migrate_progress.py", "_exit"),
    ("encoder_pin_plugin/operate/halves.py", "fork"),  # `archive total` counts on two processors: no host is forked
    ("encoder_pin_plugin/operate/halves.py", "_exit"),
}


def _nodes(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, kind):
                yield str(path.relative_to(ROOT)), node


def test_nothing_that_runs_data_or_starts_a_process_is_imported() -> None:
    found = [
        (where, name)
        for where, node in [*_nodes(ast.Import), *_nodes(ast.ImportFrom)]
        for name in ([it.name for it in node.names] if isinstance(node, ast.Import) else [node.module or ""])  # type: ignore[attr-defined]
        if name.partition(".")[0] in NEVER_IMPORTED
    ]
    assert found == []


def test_nothing_that_runs_data_or_changes_the_process_is_called() -> None:
    found = []
    for where, node in _nodes(ast.Call):
        function = node.func  # type: ignore[attr-defined]
        if isinstance(function, ast.Name) and function.id in NEVER_CALLED:
            found.append((where, function.id))
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "os":
            found += [(where, function.attr)] if function.attr in NEVER_OF_OS else []
    assert set(found) <= MAY


@pytest.mark.parametrize("keyword", ["verify", "shell", "assert_hostname", "cert_reqs", "allow_redirects"])
def test_no_call_switches_a_protection_off(keyword: str) -> None:
    wrong = [
        (where, node.lineno)  # type: ignore[attr-defined]
        for where, node in _nodes(ast.Call)
        for given in node.keywords  # type: ignore[attr-defined]
        if given.arg == keyword and isinstance(given.value, ast.Constant)
        and given.value.value in ({True} if keyword in ("shell", "allow_redirects") else {False})
    ]  # fmt: skip
    assert wrong == []
