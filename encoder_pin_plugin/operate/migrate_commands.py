"""`migrate` and `clean`: from an encoder's own node to permanent infrastructure, proved before anything is deleted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from encoder_pin_plugin.operate.address_options import gateway_option, target_option
from encoder_pin_plugin.operate.context import Operator, json_option, pass_operator

if TYPE_CHECKING:
    from encoder_pin_plugin.nodes.targets import NamedTarget

_auth_file = click.option(
    "--auth-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="F",
    help="Credentials for the target, in a file of mode 0600; default: MIGRATE_AUTH, or the settings'.",
)  # fmt: skip
_proof = click.option(
    "--proof", type=click.Choice(["retrieved"]), default=None,
    help="Also read every byte back from the target and hash it, before anything counts as safe.",
)  # fmt: skip
_gateway = gateway_option(
    "With --proof retrieved: the HTTP gateway of a Cluster's or pinning service's own node, to read from."
)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@target_option("kubo+http://…, cluster+http://… or psa+https://…; credentials never stand in it.", required=True)
@click.option("--clean", is_flag=True, help="Unpin here, and move the lines, once the target has proved it twice.")
@click.option("--dry-run", is_flag=True, help="Only say what would be pinned, and how much that is.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many CIDs.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=16, show_default=True, help="Pins at once.")
@click.option("--only", multiple=True, metavar="CID", help="Only this CID; may be given more than once.")
@click.option("--oldest-first", "order", flag_value="oldest", help="In the order of their local pins.")
@click.option("--smallest-first", "order", flag_value="smallest", help="Small ones before large ones.")
@click.option("--wait", is_flag=True, help="Wait for another migration to end, and for second looks.")
@click.option(
    "--transfer", type=click.Choice(["auto", "pull", "push"]), default="auto", show_default=True,
    help="The target fetches, or we send, or whichever works.",
)  # fmt: skip
@_proof
@_gateway
@_auth_file
@json_option
@pass_operator
def migrate(operator: Operator, /, **options: Any) -> None:
    """Pin the archive on a permanent target, and prove it.

    With no FILE the node's own archive. With FILEs, archives collected from encoders, of which nothing can be
    reached: pins, proves, and writes FILE.migrated.json, which "encoder-pin clean" finishes on the encoder.

    Ctrl-C finishes what is in flight; run it again and it goes on. Exit code 1 where something was not migrated.

    \b
    Examples:
      encoder-pin migrate --to kubo+http://permanent:5001 --clean
      encoder-pin migrate --to cluster+http://cluster:9094 --dry-run
    """
    from encoder_pin_plugin.operate.collected import migrate_collected
    from encoder_pin_plugin.operate.migrate_parts import Wanted
    from encoder_pin_plugin.operate.migrating import migrate_own

    wanted = Wanted(**{name: value for name, value in options.items() if value is not None})
    if not wanted.files or [path.resolve() for path in wanted.files] == [_archive(operator).resolve()]:
        raise click.exceptions.Exit(migrate_own(operator, replace(wanted, files=())))
    raise click.exceptions.Exit(migrate_collected(operator, wanted))


@click.command()
@click.argument("report", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@target_option("The target as it is reached from here; default: the report's.")
@click.option("--wait", is_flag=True, help="Wait for another migration to end, and for second looks.")
@_proof
@_gateway
@_auth_file
@json_option
@pass_operator
def clean(operator: Operator, /, report: Path, target: NamedTarget | None, **options: Any) -> None:
    """Finish a migration that was done elsewhere.

    REPORT is the FILE.migrated.json that "encoder-pin migrate FILE" wrote on the permanent server. The target is asked
    again, from here, twice; then local pins are removed, and the lines move to migrated-pins.jsonl. Nothing is deleted
    on the report's word alone.

    \b
    Example:
      encoder-pin clean encoder-1.jsonl.migrated.json --to kubo+http://permanent:5001
    """
    from encoder_pin_plugin.archive.migration_report import read_report
    from encoder_pin_plugin.operate.collected import clean_report, target_of
    from encoder_pin_plugin.operate.migrate_parts import Wanted

    made, given = read_report(report), {name: value for name, value in options.items() if value is not None}
    wanted = Wanted(target=target or target_of(made, report), **given)
    raise click.exceptions.Exit(clean_report(operator, report, made, wanted))


def _archive(operator: Operator) -> Path:
    from encoder_pin_plugin.archive.files import ARCHIVE_NAME

    return operator.data_dir() / ARCHIVE_NAME
