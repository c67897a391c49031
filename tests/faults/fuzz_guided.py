"""Coverage-guided fuzzing of the targets: what reaches new code in a reader is kept, and changed further.

    python -m tests.faults.fuzz_guided TARGET [--runs N] [--seconds N] [--seed N] [--out FOLDER]   find inputs
    python -m tests.faults.fuzz_guided TARGET FILE ...                                            try these again

Atheris (libFuzzer) takes over the process that it runs in and ends it: `run` starts one for each target. An input that
is too much for a reader is written to the folder, and the seed has the run again. Nothing hangs on how quick a machine
is: the share in `make test` counts inputs, and what is too slow is told by its processor time; the limit in wall-clock
time is there for what never ends.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import re
import subprocess
import sys
from pathlib import Path

from tests.faults.fuzz_targets import Target, cases, open_targets
from tests.faults.rig import ROOT, Missing, RigReport, Say, scratch

HANGS = 120
"""Seconds after which an input will never end. What takes more than a second of processor time is found before."""

MEMORY = 512
"""MB that the process may have: it begins with some 60."""

LONGEST_INPUT = 16384
LEFT_OUT = "atheris has no package for this Python or this machine: guided fuzzing is left out, all else is tried"


def run(seed: int, count: int, say: Say) -> RigReport:
    """`count` inputs for each target, each target in a process of its own. Raises Missing where there is no atheris."""
    if not is_here():
        raise Missing(LEFT_OUT)
    tried, problems, notes = 0, list[str](), [f"seed {seed}"]
    with scratch("guided", keep=lambda: bool(problems)) as folder:
        with open_targets(folder) as targets:
            names = list(targets)
        for name in names:
            output, status = started(name, folder / name, ["--runs", str(count), "--seed", str(seed)])
            executed = re.search(r"stat::number_of_executed_units: *(\d+)", output)
            covered = re.findall(r"cov: (\d+)", output)
            tried += int(executed[1]) if executed else 0
            say(f"{name}: {executed[1] if executed else 'no'} inputs, {covered[-1] if covered else 'no'} branches")
            if status or not executed:
                problems.append(f"{name}, exit status {status}: {output[-1500:]}; its input is in {folder / name}")
    return RigReport(fault="guided inputs", tried=tried, torn=len(problems), notes=(*notes, *problems))


def is_here() -> bool:
    """Whether there is an atheris."""
    return importlib.util.find_spec("atheris") is not None


def started(name: str, folder: Path, options: list[str]) -> tuple[str, int]:
    """One target in a process of its own; what that said, and its exit status. What it found is in `folder`."""
    command = [sys.executable, "-m", "tests.faults.fuzz_guided", name, *options, "--out", str(folder)]
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env=environment)
    return (done.stdout + done.stderr).decode("utf-8", "replace"), done.returncode


def main() -> None:
    """One target, in this process, which ends with it."""
    options = _options()
    if options.files:
        with scratch("again", keep=lambda: False) as folder, open_targets(folder) as targets:
            for file in options.files:
                targets[options.target](file.read_bytes())
                print(f"{file}: well")
        return
    import atheris  # type: ignore[import-untyped]  # not everywhere, see `is_here`

    with atheris.instrument_imports(include=["encoder_pin_plugin", "encoder_hookspecs"]):
        _fuzz(options)


def _fuzz(options: argparse.Namespace) -> None:
    import atheris

    corpus, found = options.out / "corpus", options.out / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    limits = {
        "runs": options.runs, "max_total_time": options.seconds, "seed": options.seed % 2**32, "timeout": HANGS,
        "rss_limit_mb": MEMORY, "max_len": LONGEST_INPUT, "artifact_prefix": f"{found}/", "print_final_stats": 1,
    }  # fmt: skip
    arguments = [f"-{name}={value}" for name, value in limits.items() if value is not None]
    with scratch("fuzzed", keep=lambda: False, memory=True) as folder, open_targets(folder) as targets:
        target = (targets | {"planted": _planted()})[options.target]
        _lay_out(corpus, options.target, target)
        atheris.Setup([sys.argv[0], *arguments, str(corpus)], target, custom_mutator=_change)
        atheris.Fuzz()


def _planted() -> Target:
    from tests.faults.fuzz_texts import PLANTED  # not before what is imported is instrumented

    return PLANTED


def _lay_out(corpus: Path, name: str, target: Target) -> None:
    """What to begin with: the samples, and what was found before."""
    found = [path.read_bytes() for of, path in cases() if of == name]
    for number, sample in enumerate((*target.samples, *found)):
        (corpus / f"sample-{number}").write_bytes(sample)


def _change(data: bytes, longest: int, seed: int) -> bytes:
    """libFuzzer's own changes, which know what the readers compare with, and ours, which know JSON."""
    import atheris  # its `Mutate` becomes another one once the fuzzing has begun

    from tests.faults.fuzz_mutations import mutated

    dice = random.Random(seed)
    return bytes(atheris.Mutate(data, longest)) if dice.random() < 0.5 else mutated(data, dice)[:longest]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz_guided", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--runs", type=int, default=-1)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "demo" / "fuzz")
    return parser.parse_args()


if __name__ == "__main__":
    main()
