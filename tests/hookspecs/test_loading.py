"""Which plugins come in, which do not, and what is said about it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pluggy
import pytest

from encoder_hookspecs import (
    ENTRY_POINT_GROUP,
    PROJECT,
    EncoderManager,
    EncoderSpecs,
    InvalidPlugin,
    JobNotRecorded,
    hookimpl,
)
from encoder_hookspecs.testing import a_job

IMPORT_ERROR = "import a_module_that_nobody_has"
EXITS = "import sys\nsys.exit('not today')"
CLASS = """
    from encoder_hookspecs import hookimpl

    class Plugin:
        @hookimpl
        def on_job_complete(self, job): ...
"""
ASYNC = """
    from encoder_hookspecs import hookimpl

    @hookimpl
    async def on_job_complete(job): ...
"""
MISSPELT = """
    from encoder_hookspecs import hookimpl

    @hookimpl
    def on_job_completed(job): ...
"""


class Loaded:
    """A manager with its own recorder, and what it reported."""

    def __init__(self, **options):
        self.reports = []
        self.manager = EncoderManager(report=self.reports.append, **{"environ": {}} | options)
        self.manager.register(Remember(), "pin")
        self.manager.load_entry_points()

    def info(self, name):
        (info,) = [it for it in self.manager.plugins() if it.name == name and it.distribution]
        return info


class Remember:
    @hookimpl
    def on_job_complete(self, job): ...


def test_an_offered_plugin_is_loaded_and_listed_with_its_distribution(site):
    site.install("notify", distribution="acme-notify", version="2.3")
    info = Loaded().info("notify")
    assert (info.status, info.distribution, info.version, info.why) == ("active", "acme-notify", "2.3", "")
    assert info.hooks == ("on_job_complete",)
    assert info.origin == "acme-notify 2.3"


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        (IMPORT_ERROR, None, "raised ModuleNotFoundError: No module named 'a_module_that_nobody_has' while"),
        (EXITS, None, "called sys.exit(not today) while"),
        ("", "no_such_module_at_all", "raised ModuleNotFoundError"),
        (CLASS, "{module}:Plugin", "it is the class Plugin: give an instance, Plugin()"),
        ("plugin = None", "{module}:plugin", "it is None"),
        (ASYNC, None, "on_job_complete is async: hooks are called, never awaited"),
        (MISSPELT, None, "there is no hook 'on_job_completed': did you mean 'on_job_complete'?"),
    ],
)
def test_a_broken_plugin_is_named_and_keeps_nobody_else_out(site, source, target, why):
    target = target and target.format(module="plugin_broken_of_dist_broken")
    site.install("broken", source, target=target)
    site.install("alright")
    site.install("zuletzt")
    loaded = Loaded()
    assert loaded.info("broken").status == "failed"
    assert why in loaded.info("broken").why
    assert [loaded.info(name).status for name in ("alright", "zuletzt")] == ["active", "active"]
    (failure,) = loaded.reports
    assert (failure.plugin, failure.hook) == ("broken", "load")
    assert "dist-broken 1.0" in failure.what
    assert not loaded.manager.pluggy.has_plugin("broken")
    loaded.manager.pluggy.check_pending()


def test_strict_raises_what_would_be_skipped(site):
    site.install("broken", IMPORT_ERROR)
    for options in ({"strict": True}, {"environ": {"ENCODER_STRICT_PLUGINS": "1"}}):
        with pytest.raises(InvalidPlugin, match="'broken' cannot be used: raised ModuleNotFoundError") as caught:
            Loaded(**options)
        assert caught.value.plugin == "broken"
        assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_an_interrupt_during_an_import_is_the_hosts(site):
    site.install("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Loaded()


@pytest.mark.parametrize("written", ["notify", "Acme.Notify", " acme_notify , other"])
def test_an_operator_blocks_by_plugin_or_distribution(site, written):
    site.install("notify", distribution="acme-notify")
    loaded = Loaded(environ={"ENCODER_BLOCK_PLUGINS": written})
    assert loaded.info("notify").status == "blocked"
    assert "ENCODER_BLOCK_PLUGINS" in loaded.info("notify").why
    assert loaded.reports == []
    assert "plugin_notify_of_acme_notify" not in sys.modules  # what is blocked is not even imported


def test_an_operator_allows_some_and_the_host_can_only_narrow_it(site):
    for name in ("one", "two", "three"):
        site.install(name)

    def active(**options):
        loaded = Loaded(**options)
        return {name for name in ("one", "two", "three") if loaded.info(name).status == "active"}

    assert active(environ={"ENCODER_LOAD_PLUGINS": "one,dist-two"}) == {"one", "two"}
    assert active(environ={"ENCODER_LOAD_PLUGINS": "one,two"}, allow=["two", "three"]) == {"two"}
    assert active(environ={"ENCODER_LOAD_PLUGINS": ""}) == set()
    assert active(environ={"ENCODER_LOAD_PLUGINS": "one,two", "ENCODER_BLOCK_PLUGINS": "one"}) == {"two"}
    assert active(allow=["three"], block=["three"]) == set()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"environ": {"ENCODER_BLOCK_PLUGINS": "notify"}}, "blocked by ENCODER_BLOCK_PLUGINS"),
        ({"block": ["notify"]}, "blocked by the host"),
        ({"block": ["notify"], "blocked_by": "NO_PLUGINS"}, "blocked by NO_PLUGINS"),
        (
            {"environ": {"ENCODER_BLOCK_PLUGINS": "notify"}, "block": ["dist-notify"], "blocked_by": "NO_PLUGINS"},
            "blocked by NO_PLUGINS and by ENCODER_BLOCK_PLUGINS",
        ),
        ({"environ": {"ENCODER_LOAD_PLUGINS": ""}}, "not among the plugins allowed by ENCODER_LOAD_PLUGINS"),
        ({"environ": {"ENCODER_LOAD_PLUGINS": "notify"}, "allow": []}, "not among the plugins allowed by the host"),
    ],
)
def test_only_who_really_keeps_a_plugin_out_is_named(site, options, why):
    site.install("notify")
    info = Loaded(**options).info("notify")
    assert (info.status, info.why) == ("blocked", why)


def test_host_and_operator_may_name_what_both_allow_in_two_ways(site):
    site.install("notify")
    assert Loaded(environ={"ENCODER_LOAD_PLUGINS": "notify"}, allow=["dist-notify"]).info("notify").status == "active"


def test_the_process_environment_is_read_when_the_manager_is_made(site, monkeypatch):
    site.install("notify")
    monkeypatch.setenv("ENCODER_BLOCK_PLUGINS", "notify")
    assert Loaded(environ=None).info("notify").status == "blocked"


def test_an_allow_list_does_not_keep_the_recorder_out(site):
    site.install("store")
    manager = EncoderManager(recorder="store", environ={"ENCODER_LOAD_PLUGINS": ""})
    manager.load_entry_points()
    manager.on_job_complete(a_job())


def test_a_blocked_recorder_is_what_the_host_hears_about(site):
    site.install("store")
    manager = EncoderManager(
        recorder="store", environ={"ENCODER_BLOCK_PLUGINS": "dist-store", "ENCODER_LOAD_PLUGINS": ""}
    )
    manager.load_entry_points()
    with pytest.raises(JobNotRecorded, match="plugin 'store' blocked: blocked by ENCODER_BLOCK_PLUGINS"):
        manager.on_job_complete(a_job())


def test_of_two_distributions_with_one_name_the_first_is_loaded_and_both_are_named(site):
    site.install("notify", distribution="zeta")
    site.install("notify", distribution="alpha", version="0.9")
    loaded = Loaded()
    by_distribution = {it.distribution: it for it in loaded.manager.plugins() if it.name == "notify"}
    assert by_distribution["alpha"].status == "active"
    assert by_distribution["zeta"].status == "failed"
    assert by_distribution["zeta"].why == "the name 'notify' is taken by alpha 0.9: block one of alpha and zeta"
    resolved = Loaded(environ={"ENCODER_BLOCK_PLUGINS": "alpha"})
    assert {it.distribution: it.status for it in resolved.manager.plugins() if it.name == "notify"} == {
        "alpha": "blocked",
        "zeta": "active",
    }


def test_the_hosts_own_plugin_keeps_its_name(site):
    site.install("pin", distribution="impostor")
    (info,) = [it for it in Loaded().manager.plugins() if it.distribution == "impostor"]
    assert (info.status, info.why) == ("blocked", "the host registered its own plugin 'pin'")


def test_a_distribution_that_is_found_twice_is_taken_once(site, tmp_path, monkeypatch):
    site.install("notify", version="1.0")
    site.install("notify", version="0.1")
    loaded = Loaded()
    assert [it.status for it in loaded.manager.plugins() if it.name == "notify"] == ["active"]


def test_loading_again_takes_up_only_what_is_new(site):
    site.install("notify")
    site.install("broken", IMPORT_ERROR)
    loaded = Loaded()
    site.install("later")
    before = len(loaded.manager.plugins())
    after = loaded.manager.load_entry_points()
    assert len(after) == before + 1
    assert loaded.info("later").status == "active"
    assert len(loaded.reports) == 1


def test_damaged_metadata_of_a_stranger_ends_nothing(site):
    for number, text in enumerate((b"\xff\xfe\x00[enc", b"no section = here", b"[encoder]\n= = =\n[")):
        info = site.folder / f"damaged{number}-1.0.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_bytes(text)
    nameless = site.install("nameless")
    (nameless / "METADATA").unlink()
    site.install("notify")
    loaded = Loaded()
    assert loaded.info("notify").status == "active"
    assert loaded.info("nameless").distribution == "unnamed distribution"


def test_a_registered_plugin_is_checked_as_a_loaded_one(host):
    manager = EncoderManager(environ={"ENCODER_BLOCK_PLUGINS": "Unwanted"}, report=lambda failure: None)

    class Unwanted(Remember): ...

    @dataclass
    class NoHash:
        @hookimpl
        def on_job_complete(self, job): ...

    class Hostile:
        def __dir__(self):
            raise RuntimeError("go away")

    assert manager.register(Remember()).status == "active"
    assert manager.register(Unwanted()).status == "blocked"
    assert manager.register(Remember()).why == "the name 'Remember' is taken by a plugin of the host"
    assert manager.register(Remember).why == "the name 'Remember' is taken by a plugin of the host"
    assert manager.register(Remember, "other").why == "it is the class Remember: give an instance, Remember()"
    assert manager.register(NoHash()).why == "NoHash has no hash: a dataclass needs eq=False, or frozen=True"
    assert manager.register(Hostile()).why == "raised RuntimeError: go away"
    with pytest.raises(InvalidPlugin):
        host.register(Remember)


def test_one_object_is_not_registered_under_two_names():
    manager, plugin = EncoderManager(environ={}, report=lambda failure: None), Remember()
    manager.register(plugin, "one")
    info = manager.register(plugin, "two")
    assert (info.status, info.why) == ("failed", "it is registered already, as 'one'")


def test_plugins_that_the_host_registers_or_blocks_through_pluggy_are_seen(site):
    site.install("notify")
    manager = EncoderManager(environ={}, allow=["notify"], block=["pin"])
    manager.pluggy.set_blocked("notify")
    manager.pluggy.register(Remember(), "direct")
    manager.load_entry_points()
    states = {it.name: it for it in manager.plugins()}
    assert (states["notify"].status, states["notify"].why) == ("blocked", "blocked through pluggy by the host")
    assert (states["direct"].status, states["direct"].origin) == ("active", "the host")


def test_plain_pluggy_is_enough_for_a_host(site):
    site.install("notify")
    manager = pluggy.PluginManager("encoder")
    manager.add_hookspecs(EncoderSpecs)
    manager.set_blocked("pin")
    assert manager.load_setuptools_entrypoints("encoder") >= 1
    manager.check_pending()
    manager.hook.on_job_complete(job=a_job())
    assert [a_job()] == sys.modules["plugin_notify_of_dist_notify"].JOBS
    assert (PROJECT, ENTRY_POINT_GROUP) == ("encoder", "encoder")


def test_nothing_is_imported_before_it_is_loaded(site):
    site.install("loud", "print('imported')")
    script = f"""
import sys
from encoder_hookspecs import EncoderManager
sys.path.insert(0, {str(site.folder)!r})
manager = EncoderManager(allow=["loud"], block=["pin"])
print("made")
manager.load_entry_points()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["made", "imported"]
