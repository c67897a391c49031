"""`python -m tests.benchmarks [NAME ...] [--quick] [--json FILE]`: numbers beside their peers, in one table.

Nothing here passes or fails: the machine is not ours, and a slow day is no defect. Each ratio comes from one run on one
machine, in turns with its peer.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

from loguru import logger

from tests.benchmarks.archives import append, total
from tests.benchmarks.clean import clean
from tests.benchmarks.drain import drain
from tests.benchmarks.intake import intake, locked
from tests.benchmarks.lines import Benchmark, Line, Run, as_json, as_table
from tests.benchmarks.migrate import large, migrate, migrate_far
from tests.benchmarks.starting import imports, memory

_ALL: dict[str, Benchmark] = {
    benchmark.__name__: benchmark
    for benchmark in (
        intake,
        locked,
        append,
        total,
        imports,
        memory,
        drain,
        migrate,
        migrate_far,
        large,
        clean,
    )
}


def main() -> None:
    """Run what was asked for, print each line when it is there, and all of them in the end."""
    options = _options()
    logger.remove()  # a host would write its log somewhere; ours goes nowhere
    lines: list[Line] = []
    for name in options.names or list(_ALL):
        with tempfile.TemporaryDirectory(prefix="encoder-pin-bench-") as folder:
            run = Run(folder=Path(folder), quick=options.quick, say=lambda text: print(f"  … {text}", file=sys.stderr))
            print(f"{name}: {_ALL[name].__doc__}", file=sys.stderr)
            for line in _ALL[name](run):
                lines.append(line)
                print(as_table([line]).partition("\n")[2], file=sys.stderr, flush=True)
    command = shlex.join(["python", "-m", "tests.benchmarks", *sys.argv[1:]])
    print(f"$ {command}\n{as_table(lines)}")
    if options.json:
        options.json.write_text(as_json(lines, command) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(_ALL)}; all without", default=[])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the lines there")
    options = parser.parse_args()
    if strange := set(options.names) - _ALL.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(strange))}; there are {', '.join(_ALL)}")
    return options


if __name__ == "__main__":
    main()
