"""Distributions made of two files: what an installer leaves behind, without an installer."""

from __future__ import annotations

import sys
from textwrap import dedent

import pytest

from encoder_hookspecs.testing import RecordingHost

RECORDER = """
    from encoder_hookspecs import hookimpl

    JOBS = []

    @hookimpl
    def on_job_complete(job):
        JOBS.append(job)
"""
"""A plugin, as a module, that remembers jobs."""


@pytest.fixture(autouse=True)
def _ends(nothing_goes_on: None) -> None:
    """A plugin that hangs does so no longer than its test."""


class Site:
    """A folder on the module search path that distributions can be put into."""

    def __init__(self, folder):
        self.folder, self.modules = folder, []

    def install(self, name, source=RECORDER, *, distribution=None, version="1.0", target=None):
        """A distribution that offers one plugin, `name`, found in the module `plugin_<name>`."""
        distribution = distribution or f"dist-{name}"
        module = f"plugin_{name}_of_{distribution}".replace("-", "_").replace(".", "_")
        self.modules.append(module)
        (self.folder / f"{module}.py").write_text(dedent(source))
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[encoder]\n{name} = {target or module}\n")
        return info


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site's own folder, first on the path; its modules are forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    made = Site(folder)
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)


@pytest.fixture
def host():
    """A host without site plugins."""
    return RecordingHost()
