"""`import`: takes over what a former encoder, 3Speak's, left behind, so that no video of its time is lost either."""

from __future__ import annotations

import shlex
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from encoder_pin_plugin.operate.context import Operator, json_option, pass_operator
from encoder_pin_plugin.operate.output import busy, columns, count, one_line, say, say_json, warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from encoder_pin_plugin.archive.importers import FormerFile
    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.operate.import_plan import Action, Planned

SHOWN = 20
"""Records of one kind that are listed for a person; --json has all."""

_AT_ONCE = 1000


@click.command("import")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--apply", is_flag=True, help="Do it; without, only say what would be done.")
@json_option
@pass_operator
def import_(operator: Operator, /, folder: Path, apply: bool, as_json: bool) -> None:
    """Take over what the former encoder left in FOLDER.

    Reads its queue, the pins it gave up on, its database of local pins, its archive, a hot node's database; also where
    they are torn. Lines of an archive are appended to ours; everything else is submitted as a job and asked about anew,
    also what they call synced. Their files are not changed, and importing twice takes nothing twice. Exit code 1 where
    something could not be made out.

    \b
    Examples:
      encoder-pin import .
      encoder-pin import /srv/encoder --apply
    """
    from encoder_pin_plugin.archive.importers import former_files, running_encoder
    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.operate.import_plan import plan

    files, data_dir = former_files(folder), operator.open_data_dir()
    archive = Archive(data_dir)
    left = list(_open_jobs_of_ours(folder, data_dir))
    for text in left:
        warn(text)
    if not files:
        raise _nothing(folder)
    if running := running_encoder(folder):
        warn(f"the former encoder may be running: {running}; import again once it is stopped")
    with busy("reading what the former encoder left …"):
        records = (found for file in files for found in file.records())
        planned = list(plan(records, data_dir, archive))
    if apply:
        with busy("taking it over …"):
            _take_over(planned, data_dir, archive)
    if as_json:
        say_json(_document(files, planned, applied=apply))
    else:
        _show(files, planned, applied=apply)
    if left or any(one.fault for one in planned):
        raise click.exceptions.Exit(1)


def _open_jobs_of_ours(folder: Path, data_dir: Path) -> Iterator[str]:
    """What to say where `folder` holds another data folder of ours, whose open jobs no file of a former encoder names:
    who takes an import for a move would leave them behind. Raises StorageError."""
    from encoder_pin_plugin.lazy.spool import Spool

    for path in (folder / "data", folder):
        spool = Spool(path)
        jobs = len(spool.arrivals(1_000_000)) + len(spool.opened_names())
        if jobs and path.resolve() != data_dir.resolve():
            yield (
                f"{path} is a data folder of encoder-pin itself, and has {count(jobs, 'open job')}, which an import"
                f" does not take over: encoder-pin --data-dir {shlex.quote(str(path.absolute()))} work goes on with it"
            )


def _nothing(folder: Path) -> click.ClickException:
    from encoder_pin_plugin.archive.importers import KINDS
    from encoder_pin_plugin.operate.failures import Failure

    names = ", ".join(f"{kind.usual}/{kind.name}" for kind in KINDS)
    return Failure(f"nothing of the former encoder is in {folder}: neither of {names}; name the folder it ran in")


def _take_over(planned: Sequence[Planned], data_dir: Path, archive: Archive) -> None:
    """Do what is planned. Raises NotRecorded, ArchiveError, LockBusy, StorageError; doing it again goes on."""
    from encoder_pin_plugin.lazy.spool import Spool

    lines = iter([one.line for one in planned if one.line is not None])
    while batch := list(islice(lines, _AT_ONCE)):
        archive.restore(batch)
    spool = Spool(data_dir)
    for one in planned:
        if one.job is not None:
            spool.record(one.job)


def _counts(planned: Iterable[Planned]) -> dict[Action, int]:
    from encoder_pin_plugin.operate.import_plan import Action

    counts = dict.fromkeys(Action, 0)
    for one in planned:
        counts[one.action] += 1
    return counts


def _document(files: list[FormerFile], planned: list[Planned], *, applied: bool) -> dict[str, Any]:
    return {
        "applied": applied,
        "files": [
            {"path": str(file.path), "what": file.kind.what}
            | {str(action): number for action, number in _counts(_in_file(planned, file)).items()}
            for file in files
        ],
        "records": [
            {
                "path": str(one.place.path), "where": one.place.where, "action": str(one.action), "what": one.what,
                "why": one.why, "job_id": one.job.job_id if one.job else one.line.job_id if one.line else None,
                "fault": one.fault,
            }
            for one in planned
        ],
    }  # fmt: skip


def _show(files: list[FormerFile], planned: list[Planned], *, applied: bool) -> None:
    done = ["submitted", "archived"] if applied else ["to submit", "to archive"]
    heads = ["file", *done, "known already", "left"]
    rows = [[str(file.path), *(f"{it:,}" for it in _counts(_in_file(planned, file)).values())] for file in files]
    for line in columns([heads, *rows]):
        say(line)
    for title, chosen in _listed(planned, done):
        if chosen:
            say()
            say(f"{title}:")
        for one in chosen[:SHOWN]:
            say(f"  {one.place.path.name}, {one.place.where}: {one_line(one.what, 80)}  {one_line(one.why)}".rstrip())
        if len(chosen) > SHOWN:
            say(f"  … and {len(chosen) - SHOWN} more: --json lists all")
    say()
    say(_last_word(planned, applied=applied))


def _listed(planned: list[Planned], done: list[str]) -> list[tuple[str, list[Planned]]]:
    from encoder_pin_plugin.operate.import_plan import Action

    titles = {Action.LEFT: "left, because", Action.SUBMIT: done[0], Action.ARCHIVE: done[1]}
    return [(title, [one for one in planned if one.action is action]) for action, title in titles.items()]


def _last_word(planned: list[Planned], *, applied: bool) -> str:
    from encoder_pin_plugin.operate.import_plan import Action

    counts = _counts(planned)
    jobs, lines = count(counts[Action.SUBMIT], "job"), count(counts[Action.ARCHIVE], "archive line")
    if not (counts[Action.SUBMIT] or counts[Action.ARCHIVE]):
        return "nothing to take over: everything that could be made out is known here already"
    if not applied:
        return f"this was a look: with --apply, {jobs} and {lines} are taken over"
    return (
        f'took over {jobs} and {lines}; "encoder-pin work" does the rest, "encoder-pin audit" asks whether it is true'
    )


def _in_file(planned: list[Planned], file: FormerFile) -> list[Planned]:
    return [one for one in planned if one.place.path == file.path]
