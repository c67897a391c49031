"""`retry` and `reject`: what a person does to one job. The files are moved first, the ledger follows: a crash between
the two leaves the job open, and never lost."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from encoder_pin_plugin.operate.context import Operator, pass_operator
from encoder_pin_plugin.operate.failures import Failure
from encoder_pin_plugin.operate.output import duration, say, warn

if TYPE_CHECKING:
    from collections.abc import Collection

    from encoder_pin_plugin.lazy.ledger import Ledger
    from encoder_pin_plugin.lazy.spool import Spool
    from encoder_pin_plugin.operate.rows import JobRow


class JobCommand(click.Command):
    """A command for one JOB, whose id is the encoder's own choice: it may look like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ended = "--" in args
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if not (ended or isinstance(error, click.NoSuchOption)):
                raise
            how = f"where JOB begins with a dash, write options first, then --: {ctx.command_path} [OPTIONS] -- JOB"
            raise click.UsageError(f"{error.format_message()} ({how})", ctx) from error


@click.command(cls=JobCommand)
@click.argument("job")
@pass_operator
def retry(operator: Operator, job: str) -> None:
    """Have JOB tried now.

    An open one without waiting for its turn, a rejected one from the beginning.

    JOB is a job id, a CID, or at least six characters of the key that "encoder-pin jobs" shows. One that begins with
    a dash comes last, after all options and a --.

    \b
    Example:
      encoder-pin retry job-123
    """
    from encoder_pin_plugin.lazy.spool import Spool
    from encoder_pin_plugin.operate.choose import choose_job

    data_dir = operator.open_data_dir()
    rows = choose_job(data_dir, job)
    files = [(Path(row.file), row.job_id) for row in rows if row.state == "rejected" and row.file]
    for path, job_id in files:
        _submit_again(Spool(data_dir), path, job_id)
    if not files:
        _retry_now(data_dir, rows)
    _warn_if_nobody_works(data_dir)


def _submit_again(spool: Spool, path: Path, job_id: str | None) -> None:
    from encoder_pin_plugin.errors import InvalidJobFile

    try:
        job = spool.submit_again(path).job
    except InvalidJobFile as error:
        raise Failure(f"{path} still holds no job: {error}. Correct it, or delete it and submit the job") from error
    except FileNotFoundError as error:
        raise Failure(f"{path} is gone: job {job_id} was retried just now by somebody else") from error
    say(f"job {job.job_id} is submitted again")


def _retry_now(data_dir: Path, rows: list[JobRow]) -> None:
    from encoder_pin_plugin.lazy import manual

    row = next((row for row in rows if row.open), rows[0])
    if not row.open:
        raise Failure(_finished(row, "there is nothing to retry; submit it again to have it looked at again"))
    if row.state == "arrived":
        say(f"job {row.job_id} has just arrived, and is due already")
        return
    with closing(_ledger(data_dir)) as ledger:
        if not manual.hurry(ledger, row.key, int(time.time() * 1000)):
            raise Failure(f"job {row.job_id} was finished just now")
    before = f", {duration(row.next_at / 1000 - time.time())} before its turn" if _waits(row) and row.next_at else ""
    say(f"job {row.job_id} is in flight already" if row.in_flight else f"job {row.job_id} is due now{before}")
    if not row.in_flight:
        say("a worker that takes the supernode to be down tries one job at a time, at most ten minutes apart")


def _waits(row: JobRow) -> bool:
    return row.next_at is not None and row.next_at / 1000 > time.time()


@click.command(cls=JobCommand)
@click.argument("job")
@click.option("--why", default="", metavar="TEXT", help="Kept beside the job's file.")
@pass_operator
def reject(operator: Operator, job: str, why: str) -> None:
    """Give JOB up; its files are kept.

    It is neither pinned nor archived. Its files stay in spool/rejected, from where it can be retried.

    JOB is a job id, a CID, or at least six characters of the key that "encoder-pin jobs" shows. One that begins with
    a dash comes last, after all options and a --.

    \b
    Example:
      encoder-pin reject job-123 --why "test upload, the customer deleted it"
    """
    from encoder_pin_plugin.lazy.spool import Spool
    from encoder_pin_plugin.operate.choose import choose_job
    from encoder_pin_plugin.operate.rejects import BY_HAND

    data_dir = operator.open_data_dir()
    rows = choose_job(data_dir, job)
    open_rows = [row for row in rows if row.open]
    if not open_rows:
        raise Failure(_finished(rows[0], "there is nothing to reject"))
    spool, reason, row = Spool(data_dir), f"{BY_HAND}: {why}" if why else BY_HAND, open_rows[0]
    known = _open_submissions(data_dir, row.key)
    kept = _set_aside(spool, _files(spool, open_rows, known), reason)
    _close(data_dir, row, known, reason, must=not kept or any(row.state != "arrived" for row in open_rows))
    say(f"rejected job {row.job_id}; kept: {', '.join(map(str, kept)) or 'no file, there was none'}")
    if any(row.held == "ours" for row in open_rows):
        say(f'its content stays on the local node, pinned as "encoder-pin": ipfs pin rm {row.cid} releases it')


def _open_submissions(data_dir: Path, key: str) -> dict[str, bytes]:
    """The open submissions of a job that the ledger knows: nonce -> content of the file."""
    if not _has_ledger(data_dir):
        return {}
    with closing(_ledger(data_dir)) as ledger:
        found = ledger.read("SELECT nonce, body FROM submission WHERE key=? AND closed=0", (key,))
    return {row["nonce"]: row["body"] for row in found}


def _files(spool: Spool, rows: list[JobRow], known: dict[str, bytes]) -> list[Path]:
    """Every file of an open job; one that is lost is written again first, so that something is kept."""
    from encoder_pin_plugin.errors import InvalidJobFile

    key = rows[0].key
    if any(row.state != "arrived" for row in rows):
        spool.create()
        for nonce, body in known.items():
            name = f"{key}.{nonce}"
            if not ((spool.open / name).exists() or (spool.new / name).exists()):
                with suppress(InvalidJobFile):  # damaged in the ledger too: there is nothing to keep
                    spool.restore(name, body)
    arrived = [Path(row.file) for row in rows if row.state == "arrived" and row.file]
    return [*spool.open.glob(f"{key}.*"), *arrived]


def _set_aside(spool: Spool, files: list[Path], why: str) -> list[Path]:
    """Where the files are now, without those that a worker has taken in, or unlinked, just now."""
    kept = []
    for path in files:
        with suppress(FileNotFoundError):
            kept.append(spool.reject(path, why))
    return kept


def _close(data_dir: Path, row: JobRow, known: Collection[str], why: str, *, must: bool) -> None:
    """Close the ledger's row; a job that had only arrived has none, unless a worker took it in meanwhile."""
    from encoder_pin_plugin.lazy import manual

    if _has_ledger(data_dir):
        with closing(_ledger(data_dir)) as ledger:
            if manual.reject(ledger, row.key, known, why, int(time.time() * 1000)):
                return
            if ledger.read("SELECT 1 FROM job WHERE key=? AND closed_at IS NULL", (row.key,)):
                words = "was submitted again, or taken in, just now, and is open: reject it again"
                raise Failure(f"job {row.job_id} {words}")
    if must:
        raise Failure(f"job {row.job_id} was finished just now; a copy of its file in spool/rejected can go")


def _finished(row: JobRow, then: str) -> str:
    return f"job {row.job_id or row.file} is {row.state}: {then}"


def _has_ledger(data_dir: Path) -> bool:
    from encoder_pin_plugin.lazy.worker import LEDGER_NAME

    return (data_dir / LEDGER_NAME).exists()


def _ledger(data_dir: Path) -> Ledger:
    """The ledger for writing; there is one, a row of it was chosen."""
    from encoder_pin_plugin.lazy.ledger import Ledger
    from encoder_pin_plugin.lazy.worker import LEDGER_NAME

    return Ledger(data_dir / LEDGER_NAME)


def _warn_if_nobody_works(data_dir: Path) -> None:
    from encoder_pin_plugin.lazy.presence import live_workers

    if not live_workers(data_dir):
        warn(f'nobody works on {data_dir}: run "encoder-pin work"')
