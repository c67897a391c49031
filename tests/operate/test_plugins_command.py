"""`plugins`: who is at work, who is not and why, and who is asked first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.operate.conftest import CIDS, Desk

SITE = """
from encoder_hookspecs import RetryIn, hookimpl

class Site:
    @hookimpl
    def on_lazy_pin_attempt_failed(self, attempt):
        return RetryIn(seconds=5)

    @hookimpl
    def on_job_complete(self, job):
        open("heard-of-" + job.job_id, "w").close()

plugin = Site()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Install a distribution with one plugin, as a package manager leaves it on the path."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def install(name: str, code: str) -> None:
        module = f"plugin_of_{name.replace('-', '_')}"
        (folder / f"{module}.py").write_text(code)
        info = folder / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: encoder-{name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[encoder]\n{name} = {module}:plugin\n")

    return install


def test_our_own_plugin_is_shown_with_where_it_comes_from(desk: Desk) -> None:
    result = desk.run("plugins")
    assert result.exit_code == 0, result.output
    assert "pin  (encoder-pin-plugin " in result.stdout
    assert "blocked" not in result.stdout


def test_a_site_plugin_is_asked_before_the_default(desk: Desk, install) -> None:  # type: ignore[no-untyped-def]
    install("site-a", SITE)
    document = desk.json("plugins")
    names = [info["name"] for info in document["plugins"]]
    assert sorted(names) == ["pin", "site-a"]
    assert document["order"]["on_lazy_pin_attempt_failed"] == ["site-a", "pin"]
    assert document["order"]["on_job_complete"] == ["pin", "site-a"]
    text = desk.run("plugins").stdout
    assert "site-a, then pin: the first answer counts" in text
    assert "site-a  (encoder-site-a 1.2)  active" in text


def test_a_broken_plugin_is_named_with_its_reason(desk: Desk, install) -> None:  # type: ignore[no-untyped-def]
    install("site-b", "raise RuntimeError('no licence \\x1b[2J')")
    result = desk.run("plugins")
    assert result.exit_code == 1
    assert "site-b" in result.stdout
    assert "no licence" in result.stdout
    assert "\x1b" not in result.output
    assert "Traceback" not in result.output
    verbose = desk.run("-v", "plugins")
    assert "Traceback" in verbose.stderr
    assert "\x1b" not in verbose.output


def test_a_blocked_plugin_is_shown_and_calls_for_nobody(desk: Desk, install) -> None:  # type: ignore[no-untyped-def]
    install("site-c", SITE)
    desk.env["BLOCK_PLUGINS"] = "site-c"
    result = desk.run("plugins")
    assert result.exit_code == 0, result.output
    assert "site-c  (encoder-site-c 1.2)  blocked" in result.stdout
    assert desk.json("plugins")["order"]["on_job_complete"] == ["pin"]


@pytest.mark.parametrize("setting", ["BLOCK_PLUGINS", "ENCODER_BLOCK_PLUGINS"])
def test_what_really_blocks_our_own_plugin_is_named_and_it_is_listed_once(desk: Desk, setting: str) -> None:
    desk.env[setting] = "pin"
    (info,) = desk.json("plugins")["plugins"]
    assert (info["name"], info["distribution"], info["status"]) == ("pin", "encoder-pin-plugin", "blocked")
    assert info["why"] == f"blocked by {setting}"
    result = desk.run("submit", CIDS[0], "--job-id", "job-1")
    assert f"blocked by {setting}. Keep it, and submit it again" in result.stderr
    assert f"the plugin pin is blocked by {setting}: " in desk.run("doctor", "--no-nodes").stdout


def test_site_plugins_hear_of_submitted_jobs(desk: Desk, install) -> None:  # type: ignore[no-untyped-def]
    install("site-d", SITE)
    desk.submit("job-1", CIDS[0])
    assert (desk.folder / "heard-of-job-1").exists()
