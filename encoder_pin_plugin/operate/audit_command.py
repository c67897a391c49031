"""`audit`: is what was pinned weeks ago still there? Asked again, mended where a copy can be found, and said."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

import click

from encoder_pin_plugin.operate.address_options import target_option
from encoder_pin_plugin.operate.context import Operator, json_option, pass_operator
from encoder_pin_plugin.operate.output import busy, count, one_line, say, say_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from encoder_pin_plugin.archive.audit import Audited, Keys, Mender
    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.nodes.targets import NamedTarget
    from encoder_pin_plugin.service import Service
    from encoder_pin_plugin.settings import Settings

SHOWN = 50
"""Losses, and unknown ones, of one node that are listed for a person; --json has all."""


@click.command()
@target_option("Ask this target about what was migrated; default: the one each line names.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Ask about N CIDs of each kind, chosen at random.")
@click.option("--dry-run", is_flag=True, help="Only ask and say; mend nothing.")
@json_option
@pass_operator
def audit(operator: Operator, /, target: NamedTarget | None, sample: int | None, dry_run: bool, as_json: bool) -> None:
    """Ask again about everything that is taken to be safe.

    The supernode about what was lazily pinned, the encoder's own node about what waits in the archive (pinned, and
    every block there), each target about what was migrated to it. What a node no longer holds is pinned again, or goes
    back into the archive, if a copy can be found; each loss is named. Exit code 1 where something was found, or could
    not be asked.

    \b
    Examples:
      encoder-pin audit
      encoder-pin audit --sample 1000 --dry-run
    """
    operator.open_data_dir()
    settings = operator.settings()
    _, ours = operator.plugins(settings)
    auditing = _Auditing(ours.service, settings, sample=sample, repair=not dry_run)
    with busy("asking the nodes …"):
        found = [*auditing.pinned(), *auditing.waiting(), *auditing.migrated(target)]
    if as_json:
        say_json({"well": all(one.well for one in found), "nodes": [_as_dict(one) for one in found]})
    else:
        for one in found:
            _show(one)
        if not found:
            say("nothing is pinned, archived or migrated here: nothing to ask about")
    if not all(one.well for one in found):
        raise click.exceptions.Exit(1)


class _Auditing:
    """One audit: what is asked, by whom, and who mends."""

    def __init__(self, service: Service, settings: Settings, *, sample: int | None, repair: bool) -> None:
        self._service, self._settings, self._sample, self._repair = service, settings, sample, repair
        self._mender = _mender(service, settings) if repair else None

    def pinned(self) -> Iterator[Audited]:
        """The supernode, where there is one and a job was pinned on it."""
        from encoder_pin_plugin.lazy.worker import LEDGER_NAME
        from encoder_pin_plugin.operate.audit_jobs import audit_pinned
        from encoder_pin_plugin.operate.ledger_view import view_ledger

        supernode = self._service.supernode
        with view_ledger(self._settings.data_dir / LEDGER_NAME) as ledger:
            jobs = ledger.number("SELECT count(*) FROM job WHERE state = 'pinned'") if ledger else 0
            if ledger is None or not jobs:
                return
            if supernode is None:
                why = f"{count(jobs, 'job')}, and no supernode is configured: set THREESPEAK_IPFS_ENDPOINT"
                yield _nobody_to_ask("lazily pinned", "no supernode", why)
                return
            spool = self._service.spool
            yield audit_pinned(ledger, supernode, spool, sample=self._sample, repair=self._repair)

    def waiting(self) -> Iterator[Audited]:
        """The local node, where anything waits."""
        from encoder_pin_plugin.archive.audit import audit_waiting, lines_by_cid

        archive = self._service.archive
        if self._repair and archive.path.exists():
            archive.settle()  # a line that a killed migration left in both files waits no longer
        keys = self._some(lines_by_cid(archive.entries()))
        if keys:
            yield audit_waiting(archive, self._service.local, keys, self._mender)

    def migrated(self, to: NamedTarget | None) -> Iterator[Audited]:
        """Each target; or the one that is named, about everything. Raises nothing for one that is none."""
        from encoder_pin_plugin.archive.audit import audit_migrated, merged, migrated_by_target
        from encoder_pin_plugin.errors import InvalidSettings
        from encoder_pin_plugin.nodes.targets import read_target
        from encoder_pin_plugin.settings.masking import visible

        archive = self._service.archive
        targets = migrated_by_target(archive.migrated())
        if to is not None:
            targets = {to.url: merged(targets.values())} if targets else {}
        for url, keys in targets.items():
            try:
                node, blocks = self._open(to or read_target(url))
                self._see_that_it_is_another(node)
            except InvalidSettings as error:
                why = f"{count(len(keys), 'CID')}: {error}; or name it with --to"
                yield _nobody_to_ask("migrated", visible(url), why)
                continue
            yield audit_migrated(archive, node, self._some(keys), self._mender, blocks=blocks)

    def _open(self, target: NamedTarget) -> tuple[PinNode, bool]:
        """The target, and whether its record alone is not enough."""
        from encoder_pin_plugin.nodes.proofs import rule_for
        from encoder_pin_plugin.operate.migrate_parts import Wanted, credentials

        node = target.open(credentials(Wanted(target=target), self._settings))
        return node, rule_for(target.url, pinned_is_enough=self._settings.trusts_record_of(target.url)).whole

    def _see_that_it_is_another(self, node: PinNode) -> None:
        """Raise InvalidSettings where a target is the encoder's own node: it would answer for what the target lost."""
        from encoder_pin_plugin.errors import InvalidSettings, NodeError
        from encoder_pin_plugin.nodes.apart import are_one
        from encoder_pin_plugin.nodes.kubo import KuboNode

        with suppress(NodeError):  # nothing is deleted on its word
            if isinstance(node, KuboNode) and are_one(node, self._service.local):
                raise InvalidSettings(f"{node.address} is the encoder's own node")

    def _some(self, keys: Keys) -> Keys:
        if self._sample is None or len(keys) <= self._sample:
            return keys
        chosen = random.sample(list(keys), self._sample)
        return {cid: keys[cid] for cid in chosen}


def _mender(service: Service, settings: Settings) -> Mender:
    from encoder_pin_plugin.archive.audit import Mender
    from encoder_pin_plugin.archive.meeting import introduce
    from encoder_pin_plugin.nodes.exclusion import Exclusion
    from encoder_pin_plugin.nodes.kubo import KuboNode
    from encoder_pin_plugin.nodes.kubo_transfer import fetch_missing

    local, supernode = service.local, service.supernode

    @cache
    def meet() -> None:
        """The supernode is the likeliest to have a copy."""
        if isinstance(supernode, KuboNode):
            introduce(supernode, local)

    def fetch(cid: str) -> None:
        fetch_missing(local, cid, seconds=settings.lazy_pin_timeout)

    return Mender(pinner=service.pinner, exclusion=Exclusion(settings.data_dir), fetch=fetch, meet=meet)


def _nobody_to_ask(what: str, node: str, why: str) -> Audited:
    from encoder_pin_plugin.archive.audit import Audited

    audited = Audited(what=what, node=node)
    audited.tally.gave_up = why
    return audited


def _as_dict(audited: Audited) -> dict[str, Any]:
    return {"what": audited.what, "node": audited.node, "well": audited.well} | asdict(audited.tally) | {
        "losses": [asdict(loss) for loss in audited.losses]
    }  # fmt: skip


def _show(audited: Audited) -> None:
    tally, losses = audited.tally, audited.losses
    parts = [f"asked about {count(tally.asked, 'CID')}", f"{tally.held:,} there"]
    parts += [f"{len(losses):,} lost"] if losses else []
    parts += [f"no answer about {len(tally.unknown):,}"] if tally.unknown else []
    say(f"{audited.what}, on {audited.node}: {', '.join(parts)}")
    for loss in losses[:SHOWN]:
        say(f"  LOST {loss.cid} of {_jobs(loss.jobs)}: {one_line(loss.detail)}", colour="red")
        say(f"       {one_line(loss.outcome, 600)}", colour="green" if loss.mended else None)
    for cid, detail in list(tally.unknown.items())[:3]:
        say(f"  no answer about {cid}: {one_line(detail)}", colour="yellow")
    if len(losses) > SHOWN:
        say(f"  … and {len(losses) - SHOWN:,} more: --json lists all")
    if tally.gave_up:
        say(f"  not asked about: {one_line(tally.gave_up)}", colour="yellow")


def _jobs(jobs: tuple[str, ...]) -> str:
    named = ", ".join(one_line(job, 80) for job in jobs[:3])
    return f"job {named}" if len(jobs) == 1 else f"jobs {named}{', …' if len(jobs) > 3 else ''}"
