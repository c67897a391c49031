"""`submit`: a finished job comes in by hand, or from an encoder that is no Python program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from encoder_pin_plugin.operate.context import Operator, json_option, pass_operator
from encoder_pin_plugin.operate.failures import WRONG_USAGE, Failure
from encoder_pin_plugin.operate.output import say, say_json
from encoder_pin_plugin.operate.streams import CannotWrite

if TYPE_CHECKING:
    from pathlib import Path

    from encoder_hookspecs import CompletedJob
    from encoder_pin_plugin.settings import Settings


@click.command()
@click.argument("cid")
@click.option("--job-id", required=True, metavar="ID", help="The encoder's name for the job.")
@click.option("--size-mb", metavar="N", help="Size in MB (10^6 bytes), where it is known.")
@click.option("--type", "content_type", metavar="file|directory", help="What the CID is, where it is known.")
@click.option("--node-id", metavar="N", help="The encoder's name; default: the setting NODE_NAME.")
@click.option("--completed-at", metavar="ISO", help="When the job was finished (ISO 8601); default: now.")
@json_option
@pass_operator
def submit(operator: Operator, /, cid: str, as_json: bool, **fields: str | None) -> None:
    """Record a finished job, as the encoder's hook would. Returns when it is on the disk.

    Only the CID can be refused. Any other odd value is recorded without, and said.

    \b
    Example:
      encoder-pin submit bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi --job-id job-123
    """
    from loguru import logger

    job = _job(cid, fields)
    settings, wrong = operator.settings_or_why()
    _record(operator, settings, job)
    if wrong:
        logger.warning("the job is recorded, but nothing works on it before the settings are right: {}", wrong)
    try:
        _say_recorded(job, _file(operator.data_dir(), job), as_json=as_json)
    except CannotWrite as error:
        raise CannotWrite(f"job {job.job_id} is recorded, but: {error.message}") from error


def _record(operator: Operator, settings: Settings | None, job: CompletedJob) -> None:
    """Raises JobNotRecorded, and Failure where the data folder's setting is wrong."""
    from encoder_pin_plugin.errors import InvalidSettings
    from encoder_pin_plugin.lazy.spool import not_recorded

    try:
        manager, _ = operator.plugins(settings)
    except InvalidSettings as error:
        raise Failure(str(not_recorded(job, str(error))), WRONG_USAGE) from error
    manager.on_job_complete(job)


def _say_recorded(job: CompletedJob, file: str | None, *, as_json: bool) -> None:
    if as_json:
        say_json({"recorded": True, "job_id": job.job_id, "cid": job.cid, "file": file, "flags": list(job.flags)})
    else:
        say(f"recorded job {job.job_id} with CID {job.cid}{f' in {file}' if file else ''}")


def _job(cid: str, fields: dict[str, str | None]) -> CompletedJob:
    """The job of the options. Raises InvalidCid."""
    from datetime import UTC, datetime

    from encoder_hookspecs import CompletedJob
    from encoder_pin_plugin.nodes.cid import canonical

    return CompletedJob(
        cid=canonical(cid),
        job_id=fields["job_id"] or "",
        size_mb=_number(fields["size_mb"]),  # type: ignore[arg-type]  # the record flags what is no size
        type=fields["content_type"],  # type: ignore[arg-type]  # likewise
        node_id=fields["node_id"],
        completed_at=datetime.now(UTC) if fields["completed_at"] is None else _moment(fields["completed_at"]),  # type: ignore[arg-type]
    )


def _number(text: str | None) -> float | str | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _moment(text: str) -> object:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def _file(data_dir: Path, job: CompletedJob) -> str | None:
    """Where the newest submission of the job stands, None where a worker has been quicker than we are."""
    from encoder_pin_plugin.lazy.jobfile import job_key
    from encoder_pin_plugin.lazy.spool import Spool

    spool, name = Spool(data_dir), f"{job_key(job.cid, job.job_id)}.*"
    found = [str(path) for folder in (spool.new, spool.open) for path in folder.glob(name)]
    return found[0] if found else None
