"""A share of each rig, in minutes; `python -m tests.faults.prove` runs them whole. What a rig does is said in it."""

from __future__ import annotations

import os

import pytest

from tests.faults import (
    hell,
    kills,
    many,
    migrations,
    one_file_gone,
    pauses,
    powercuts,
    races,
    rivals,
    simulation,
    syscall_errors,
    time_rig,
)
from tests.faults.conftest import share

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("FAULT_KILLS", "500"))
MIGRATION_KILLS = int(os.environ.get("FAULT_MIGRATION_KILLS", "100"))
CUTS = int(os.environ.get("FAULT_CUTS", "80"))

takes_long = pytest.mark.timeout(900)


@takes_long
def test_kills_at_random_instants_lose_and_double_nothing() -> None:
    assert share(kills.run, KILLS).tried >= KILLS


@takes_long
def test_a_migration_may_be_killed_at_any_instant() -> None:
    assert share(migrations.run, MIGRATION_KILLS).tried >= MIGRATION_KILLS


@takes_long
def test_power_cuts_lose_nothing_on_any_file_system_to_be_had() -> None:
    share(powercuts.run, CUTS)


@takes_long
def test_a_worker_frozen_beyond_its_lease_undoes_nothing() -> None:
    share(pauses.run, 60)


def test_no_error_of_a_system_call_is_taken_for_a_success() -> None:
    share(syscall_errors.run, 100)


def test_no_single_damaged_file_loses_a_job() -> None:
    share(one_file_gone.run, 120)


def test_nobody_overwrites_anybody() -> None:
    share(many.run, 2_048)


def test_two_writers_that_meet_never_harm_each_other() -> None:
    assert share(races.run, 1000).tried >= 2 * sum(map(len, races.MEETINGS.values()))


def test_no_clock_and_no_outage_loses_or_floods() -> None:
    share(time_rig.run, 80)


def test_every_job_of_a_simulated_month_comes_to_its_end() -> None:
    share(simulation.run, 1)


def test_no_plugin_comes_between_a_job_and_the_disk() -> None:
    share(hell.run, 40)


def test_ours_loses_nothing_where_others_do() -> None:
    report = share(rivals.run, 5)
    assert any(note.startswith("plain append: 0 of") for note in report.notes)  # kills alone do not show it
