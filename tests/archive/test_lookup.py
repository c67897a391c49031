"""Whether a line is really there, in the archive or in a site's own file, and whether any line mentions a CID."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from encoder_pin_plugin.archive import lookup
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.lookup import line_stands, mentions
from encoder_pin_plugin.errors import StorageError
from tests.archive.lines import CID, migrated, record
from tests.conftest import failing

ONE, TWO = record(1), record(2)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site's own file."""
    path = tmp_path / "site.jsonl"
    path.write_bytes(b"bad\n" + ONE.line() + TWO.line()[:-1])
    return path


def test_a_line_of_ours_stands_in_the_archive_or_among_the_migrated(archive: Archive, tmp_path: Path) -> None:
    archive.append(ONE)
    archive.append(TWO)
    archive.compact([ONE.key], [migrated(1)])
    (tmp_path / "link").symlink_to(archive.path)
    for path in (archive.path, tmp_path / "link", archive.path.parent / ".." / "data" / archive.path.name):
        assert line_stands(archive, path, *ONE.key)
        assert line_stands(archive, path, *TWO.key)
        assert not line_stands(archive, path, ONE.hash, TWO.job_id)


def test_in_a_sites_file_a_whole_line_with_both_must_stand(archive: Archive, site: Path) -> None:
    archive.append(TWO)
    assert line_stands(archive, site, *ONE.key)
    assert not line_stands(archive, site, *TWO.key), "it is torn there, and the archive is not asked"
    assert not line_stands(archive, site, ONE.hash, TWO.job_id)
    assert not line_stands(archive, site, TWO.hash, ONE.job_id)
    assert not line_stands(archive, site.with_name("none"), *ONE.key)


@pytest.mark.usefixtures("open_files")
def test_a_cid_is_mentioned_by_good_and_by_bad_lines(site: Path) -> None:
    assert mentions(site, ONE.hash)
    assert mentions(site, TWO.hash)
    assert not mentions(site, CID)
    assert not mentions(site.with_name("none"), ONE.hash)
    site.write_bytes(b"note: " + CID.encode())
    assert mentions(site, CID)


def test_a_cid_is_found_wherever_it_stands(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_CHUNK", 100)
    for start in range(220):
        site.write_bytes(b"-" * start + CID.encode() + b"-" * 50)
        assert mentions(site, CID), start
        site.write_bytes(b"-" * start + CID[:-1].encode() + b"-" * 50)
        assert not mentions(site, CID), start


@pytest.mark.usefixtures("open_files")
def test_a_disk_that_does_not_give_it_is_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "read", failing(errno.EIO))
    with pytest.raises(StorageError, match=f"^cannot read {site}: "):
        mentions(site, CID)
