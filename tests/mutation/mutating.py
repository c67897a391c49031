"""mutmut with the mutations that matter here, run in a process of its own inside the work folder of one module.

Two changes to what mutmut does by itself. It forgets statements: a forgotten `fsync` is the mutant that this project
fears most. And it leaves the wording of messages alone: a text with a space in it is for people, and a test that pins
it would say nothing about whether a video is safe.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import libcst as cst
from mutmut.__main__ import cli
from mutmut.mutation import mutators
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files

RESULTS = "results.json"
UNTRIED = 255
"""The exit code of a mutant's process in which pytest itself broke; mutmut counts it among those out of time."""

ENCODINGS = ('"utf-8"', '"ascii"')


def forget_statement(node: cst.SimpleStatementLine) -> Iterator[cst.SimpleStatementLine]:
    """A call whose result nobody takes, left out; and a `raise` without an error of its own."""
    match node.body:
        case [cst.Expr(value=cst.Call() as call)] if not _is_logging(call):
            yield node.with_changes(body=[cst.Pass()])
        case [cst.Raise(exc=None)]:
            yield node.with_changes(body=[cst.Pass()])


def mutate_string(node: cst.BaseString) -> Iterable[cst.BaseString]:
    """A text is mutated unless it is for people; the name of an encoding is the same in capitals."""
    if not isinstance(node, cst.SimpleString):
        return mutators.operator_string(node)
    if " " in node.value:
        return ()
    caseless = node.value in ENCODINGS or node in _columns
    return (it for it in mutators.operator_string(node) if not caseless or it.value.lower() != node.value.lower())


_columns: set[cst.BaseExpression] = set()


def note_column(node: cst.Subscript) -> Iterable[cst.CSTNode]:
    """No mutant, but SQLite's rows know their columns by any case."""
    match node:
        case cst.Subscript(value=cst.Name(value="row" | "known"), slice=[cst.SubscriptElement(slice=cst.Index(value))]):
            _columns.add(value)
    return ()


def register() -> None:
    """Put our operators into mutmut's list, which its visitor reads."""
    operators = mutators.mutation_operators
    operators[:] = [(kind, mutate_string if act is mutators.operator_string else act) for kind, act in operators]
    operators.append((cst.SimpleStatementLine, forget_statement))
    operators.append((cst.Subscript, note_column))


def write_results() -> None:
    """Each mutant with what became of it and, where it was not killed, the lines that tell it from the original."""
    results = {}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, code in data.exit_code_by_key.items():
            status = "could not be tried" if code == UNTRIED else status_by_exit_code[code]
            change = "" if status == "killed" else _change(get_diff_for_mutant(name, path=path))
            results[name] = {"status": status, "change": change}
    Path(RESULTS).write_text(json.dumps(results, indent=1))


def _is_logging(call: cst.Call) -> bool:
    match call.func:
        case cst.Attribute(value=cst.Name(value="logger")):
            return True
    return False


def _change(diff: str) -> str:
    lines = [line for line in diff.splitlines() if line[:3] not in ("---", "+++") and line[:1] in "+-"]
    return "  =>  ".join(" ".join(line[1:].split()) for line in lines)


if __name__ == "__main__":
    register()
    if sys.argv[1] == "results":
        write_results()
    else:
        cli()
