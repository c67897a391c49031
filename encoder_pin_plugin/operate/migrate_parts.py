"""A migration's parts, put together from settings and options."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder_pin_plugin.errors import InvalidSettings, NodeError
from encoder_pin_plugin.operate.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from encoder_hookspecs import EncoderManager
    from encoder_pin_plugin.archive.target import Target
    from encoder_pin_plugin.archive.waiting import Item
    from encoder_pin_plugin.nodes.kubo import KuboNode
    from encoder_pin_plugin.nodes.proofs import Look, Witness
    from encoder_pin_plugin.nodes.targets import NamedTarget
    from encoder_pin_plugin.settings import Credentials, Settings


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a person asked for; see the command's help. `files` are collected ones: none for the node's own archive."""

    target: NamedTarget
    files: tuple[Path, ...] = ()
    clean: bool = False
    dry_run: bool = False
    limit: int | None = None
    concurrency: int = 16
    only: tuple[str, ...] = ()
    order: str = ""
    wait: bool = False
    transfer: str = "auto"
    proof: str = ""
    gateway: str = ""
    auth_file: Path | None = None
    as_json: bool = False

    @property
    def to(self) -> str:
        """The target's URL."""
        return self.target.url


def open_target(wanted: Wanted, settings: Settings, local: KuboNode | None = None) -> Target:
    """The target, which answers; a pinning service is connected to `local`, where that is given.
    Raises InvalidSettings for unusable credentials, Failure where nobody answers."""
    from encoder_pin_plugin.archive.meeting import dial_with

    target = wanted.target.open(credentials(wanted, settings), dial=dial_with(local) if local else None)
    try:
        target.ping()
    except NodeError as error:
        raise Failure(
            f"the target does not answer: {error}\nStart it, or correct the address after --to. Where only another"
            " machine reaches it, open a tunnel (ssh -L 5001:127.0.0.1:5001 USER@SERVER) and give --to the tunnel's end"
        ) from error
    return target


def credentials(wanted: Wanted, settings: Settings) -> Credentials | None:
    """From --auth-file, else MIGRATE_AUTH, else those that the settings have for the same address."""
    from encoder_pin_plugin.errors import Unusable
    from encoder_pin_plugin.settings.credentials import read_credentials

    if wanted.auth_file is not None:
        try:
            return read_credentials(wanted.auth_file)
        except Unusable as error:
            raise InvalidSettings(f"--auth-file {wanted.auth_file}: {error}") from error
    if settings.migrate_auth is not None:
        return settings.migrate_auth
    known = (
        (settings.threespeak_ipfs_endpoint, settings.threespeak_ipfs_auth),
        ((settings.ipfs_cluster_endpoint or "").partition("?")[0], settings.ipfs_cluster_auth),
        (settings.ipfs_api_addr, settings.ipfs_api_auth),
    )
    address = wanted.to.partition("+")[2].partition("?")[0].rstrip("/")
    return next((auth for endpoint, auth in known if auth and endpoint and _url(endpoint) == address), None)


def witness_of(target: Target, local: KuboNode | None, wanted: Wanted, settings: Settings) -> Witness:
    """The target, to be asked for proof. Raises InvalidSettings where it cannot give the proof that is wanted."""
    from encoder_pin_plugin.durable import SharedSync
    from encoder_pin_plugin.nodes.base import limits_of
    from encoder_pin_plugin.nodes.own_gateway import refuse_own_gateway
    from encoder_pin_plugin.nodes.proofs import Witness, rule_for
    from encoder_pin_plugin.nodes.retrieving import reader_of

    retrieve: Callable[[str], object] | None = None
    if wanted.proof == "retrieved":
        if wanted.gateway and local is not None:
            refuse_own_gateway(wanted.gateway, local)
        retrieve = reader_of(target, gateway=wanted.gateway, limits=limits_of(settings))
    elif wanted.gateway:
        raise InvalidSettings("--gateway is read from for --proof retrieved alone: add that, or leave --gateway out")
    rule = rule_for(wanted.to, pinned_is_enough=settings.trusts_record_of(wanted.to))
    return Witness(node=target, rule=rule, sync=SharedSync(), copy=local, retrieve=retrieve)


def jobs_that_need(data_dir: Path) -> Callable[[Collection[str]], set[str]]:
    """Tells which of some CIDs an open job still needs, in the ledger or just arrived. Raises EncoderPinError."""
    from encoder_pin_plugin.errors import InvalidJobFile
    from encoder_pin_plugin.lazy.spool import Spool
    from encoder_pin_plugin.lazy.worker import LEDGER_NAME
    from encoder_pin_plugin.operate.ledger_view import view_ledger

    spool = Spool(data_dir)

    def in_files(paths: list[Path]) -> Iterator[str]:
        for path in paths:
            try:
                yield spool.read(path).job.cid
            except (InvalidJobFile, FileNotFoundError):  # no job, or indexed meanwhile
                continue

    def ask(cids: Collection[str]) -> set[str]:
        names = {f"cid{number}": cid for number, cid in enumerate(cids)}
        needed = set(in_files(spool.arrivals(100_000))) & set(cids)
        with view_ledger(data_dir / LEDGER_NAME) as ledger:
            if ledger is None:  # until a worker has made it anew, the files have them all
                needed |= set(in_files(spool.opened())) & set(cids)
            elif names:
                marks = ",".join(f":{name}" for name in names)
                sql = f"SELECT DISTINCT cid FROM job WHERE closed_at IS NULL AND cid IN ({marks})"  # noqa: S608
                needed |= {str(row["cid"]) for row in ledger.rows(sql, **names)}
        return needed

    return ask


@contextmanager
def observers(manager: EncoderManager, target: str) -> Iterator[Callable[[Item, Look], None]]:
    """Tells the plugins of each line that is proved, in a thread of its own: a slow one holds up no migration."""
    from encoder_hookspecs.events import Migrated, Proof

    with ExitStack() as stack:
        thread: ThreadPoolExecutor | None = None
        if manager.pluggy.hook.on_migrated.get_hookimpls():
            thread = stack.enter_context(ThreadPoolExecutor(1, "encoder-pin-observers"))

        def tell(item: Item, look: Look) -> None:
            if thread is None:
                return
            for _, job_id in item.keys:
                proof = look.proof or Proof.PINNED
                record = Migrated(cid=item.cid, job_id=job_id, target=target, proof=proof, size_mb=item.size_mb)
                thread.submit(manager.on_migrated, record)

        yield tell


def _url(endpoint: str) -> str:
    from encoder_pin_plugin.settings.address import parse_address

    return parse_address(endpoint).url.rstrip("/") if endpoint.startswith("/") else endpoint.rstrip("/")
