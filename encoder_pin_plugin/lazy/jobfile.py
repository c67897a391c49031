"""The job file: one submission, in a form that any program in any language can write.

A JSON object in UTF-8 with a `cid` and a `job_id`; `size_mb`, `type`, `completed_at` (ISO 8601) and `node_id` where
they are known. Ours ends with a `sha256` over everything before it, so that a damaged file is told from a strange one;
a file without it is taken as it is. The name is `<key>.<nonce>`: the key says which job, the nonce which submission.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from encoder_hookspecs.events import CompletedJob, InvalidEvent
from encoder_pin_plugin.errors import InvalidCid, InvalidJobFile
from encoder_pin_plugin.nodes.cid import canonical

MAX_BYTES = 64 * 1024
"""A job file is some 300 bytes; a larger one is no job."""

_MOST = MAX_BYTES - 100

_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
_decode = json.JSONDecoder(parse_constant=str).decode
"""Taken at import: a plugin may put something else in the place of `json.dumps` and `json.loads`."""

_SEAL = re.compile(rb',"sha256":"([0-9a-f]{64})"}\n?\Z')
_NAME = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{16})")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One submission of one job: what a job file holds.

    Args:
        key: names the job: the same for the same CID and job id.
        nonce: names this submission of it.
        job: the job, its CID in canonical form.
        body: the file's bytes, as they came.
    """

    key: str
    nonce: str
    job: CompletedJob
    body: bytes

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.key}.{self.nonce}"


def new_submission(job: CompletedJob) -> Submission:
    """A submission of `job` as it will be written. Never fails for a job that could be built."""
    return Submission(key=job_key(job.cid, job.job_id), nonce=secrets.token_hex(8), job=job, body=_sealed(job))


def read_submission(name: str, body: bytes, *, fingerprint: str = "") -> Submission:
    """The submission that a job file holds.

    Args:
        name: the file's name; one that is not ours gets its nonce from `fingerprint` and the bytes.
        body: the file's bytes.
        fingerprint: what tells this file from a later one of the same name and content.

    Raises:
        InvalidJobFile: it holds no job; the message says why and what to do.
    """
    job = _job(_fields(body))
    key, ours = job_key(job.cid, job.job_id), _NAME.fullmatch(name)
    if ours and ours[1] != key:
        raise InvalidJobFile("its name belongs to another job: it was damaged, renamed or edited")
    nonce = nonce_of(name) or hashlib.sha256(f"{name}\0{fingerprint}\0".encode() + body).hexdigest()[:16]
    return Submission(key=key, nonce=nonce, job=job, body=body)


def job_key(cid: str, job_id: str) -> str:
    """The key of a job, which never shows a hostile job id to the file system."""
    with suppress(InvalidCid):  # an unusable one is recorded all the same; the worker rejects it, and says so
        cid = canonical(cid)
    return hashlib.sha256(f"{cid}\0{job_id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def nonce_of(name: str) -> str | None:
    """The nonce in a file name of ours, None for another name."""
    match = _NAME.fullmatch(name)
    return match[2] if match else None


def is_sealed(body: bytes) -> bool:
    """Whether a file's content carries our sha256, true or not."""
    return _SEAL.search(body) is not None


def _sealed(job: CompletedJob) -> bytes:
    fields: dict[str, Any] = {
        "cid": job.cid,
        "job_id": job.job_id,
        "size_mb": job.size_mb,
        "type": job.type,
        "completed_at": job.completed_at.isoformat(timespec="milliseconds"),
        "node_id": job.node_id,
    }
    if job.flags:
        fields |= {"flags": list(job.flags), "raw": dict(job.raw)}
    text = _json(fields)
    for length in (1000, 100):
        if len(text) > _MOST:
            cut = {str(name)[:100]: str(value)[:length] for name, value in [*job.raw.items()][:10]}
            fields |= {"flags": [str(flag)[:length] for flag in job.flags[:10]], "raw": cut}
            text = _json(fields)
    return text[:-1] + b',"sha256":"' + hashlib.sha256(text).hexdigest().encode() + b'"}\n'


def _json(fields: dict[str, Any]) -> bytes:
    return _encode(fields).encode()


def _fields(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_BYTES:
        raise InvalidJobFile(f"it is larger than {MAX_BYTES} bytes: a job file is a small JSON object")
    if not body.strip():
        raise InvalidJobFile("it is empty: write it under another name first, then rename it into place")
    try:
        fields = _decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidJobFile(f"it is not UTF-8 (byte {error.start}): write it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        what = error if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise InvalidJobFile(f"it is not JSON ({what}): it may have been read half-written, or damaged") from error
    if not isinstance(fields, dict):
        raise InvalidJobFile('it is JSON but no object: write {"cid": "…", "job_id": "…"}')
    _check_seal(body)
    return fields


def _check_seal(body: bytes) -> None:
    seal = _SEAL.search(body)
    if seal and hashlib.sha256(body[: seal.start()] + b"}").hexdigest().encode() != seal[1]:
        raise InvalidJobFile("its sha256 does not match its content: the file was damaged or edited")


def _job(fields: dict[str, Any]) -> CompletedJob:
    if "cid" not in fields:
        raise InvalidJobFile('it has no "cid": write {"cid": "…", "job_id": "…"}')
    try:
        return CompletedJob(
            cid=canonical(fields["cid"]),
            job_id=fields.get("job_id", ""),
            size_mb=fields.get("size_mb"),
            type=fields.get("type"),
            completed_at=_moment(fields.get("completed_at")),
            node_id=fields.get("node_id"),
            flags=tuple(str(flag) for flag in _list(fields.get("flags"))),
            raw={str(name): str(value) for name, value in _dict(fields.get("raw")).items()},
        )
    except (InvalidCid, InvalidEvent) as error:
        raise InvalidJobFile(f"its CID cannot be used: {error}") from error


def _moment(value: Any) -> Any:
    if value is None:
        return datetime.now(UTC)
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value  # the record flags it, and keeps it


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}
