"""A former encoder's files, made as it makes them: the same keys, the same order, the same SQL."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from encoder_pin_plugin.nodes.multibase import encode_base32

APPLICATION = """
CREATE TABLE IF NOT EXISTS local_pins (
  id INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT UNIQUE NOT NULL, job_id TEXT, content_type TEXT, size_bytes INTEGER,
  pin_timestamp DATETIME DEFAULT CURRENT_TIMESTAMP, last_sync_attempt DATETIME, sync_attempts INTEGER DEFAULT 0,
  sync_status TEXT DEFAULT 'pending', supernode_verified BOOLEAN DEFAULT FALSE, local_path TEXT, metadata TEXT,
  created_at DATETIME DEFAULT CURRENT_TIMESTAMP, updated_at DATETIME DEFAULT CURRENT_TIMESTAMP);
CREATE INDEX IF NOT EXISTS idx_hash ON local_pins(hash);
"""
INSTALLER = """
CREATE TABLE IF NOT EXISTS local_pins (hash TEXT PRIMARY KEY, size INTEGER, pinned_at INTEGER, sync_status TEXT,
  sync_attempts INTEGER DEFAULT 0, last_sync_attempt INTEGER, created_at INTEGER);
INSERT INTO local_pins VALUES ('test_init_hash', 0, 1730000000, 'pending', 0, NULL, 1730000000);
"""
HOT = """
CREATE TABLE pins (cid TEXT PRIMARY KEY, added_at INTEGER, size_bytes INTEGER, status TEXT, migrated INTEGER,
  migrated_at INTEGER, unpinned INTEGER, unpinned_at INTEGER, retry_count INTEGER, last_retry_at INTEGER, notes TEXT);
"""


def cid(number: int) -> str:
    """A CIDv1 of a directory, another one for each number."""
    return "b" + encode_base32(bytes([1, 0x70, 0x12, 0x20]) + number.to_bytes(32, "big"))


def pending(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "hash": cid(number), "job_id": f"direct-{number}", "added_at": "2025-10-28T10:30:00.000Z", "attempts": 1,
        "last_attempt": None, "size_mb": 25.5, "type": "directory",
    } | changes  # fmt: skip


def queue(records: Iterable[dict[str, Any]]) -> bytes:
    """As `JSON.stringify(data, null, 2)` writes it."""
    content = {"pending_pins": list(records), "last_cleanup": "2025-10-28T10:00:00.000Z"}
    return json.dumps(content, indent=2).encode()


def given_up(number: int) -> dict[str, Any]:
    return {
        "hash": cid(number), "timestamp": "2025-10-29T10:30:00.000Z", "type": "failed_pin", "error": "timeout",
        "node_id": "encoder-9",
    }  # fmt: skip


def local(number: int) -> dict[str, Any]:
    return {
        "hash": cid(number), "timestamp": "2025-10-29T10:30:00.000Z", "type": "local_fallback_pin",
        "node_id": "unknown", "job_id": f"direct-{number}", "content_type": "directory",
    }  # fmt: skip


def archived(number: int) -> dict[str, Any]:
    return {
        "hash": cid(number), "job_id": f"direct-{number}", "size_mb": 12.3, "type": "directory",
        "failed_lazy_attempts": 3, "local_pin_timestamp": "2025-10-28T10:30:00.000Z",
        "source": "failed_lazy_pin_fallback", "node_id": "encoder-9",
    }  # fmt: skip


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def database(path: Path, schema: str, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = "pins" if schema is HOT else "local_pins"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(schema)
        for row in rows:
            marks = ", ".join(f":{name}" for name in row)
            connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", row)
        connection.commit()
    return path
