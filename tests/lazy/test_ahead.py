"""How many jobs are claimed ahead: few of slow ones, which other workers could take, and enough of quick ones."""

from __future__ import annotations

from encoder_pin_plugin.lazy.ahead import AT_MOST, Ahead


class Stopwatch:
    """A clock of which only the steady time counts here."""

    def __init__(self) -> None:
        self.now = 100.0

    def steady(self) -> float:
        return self.now

    def wall(self) -> int:
        return int(self.now * 1000)

    def boot(self) -> str:
        return "boot"


def test_slow_jobs_are_claimed_few_ahead() -> None:
    clock = Stopwatch()
    ahead = Ahead(16, clock)
    for _ in range(20):
        clock.now += 60.0
        ahead.ended()
    clock.now += 60.0
    assert ahead.slots == 16 + 8 + 8


def test_quick_jobs_are_claimed_for_half_a_second_ahead() -> None:
    clock = Stopwatch()
    ahead = Ahead(16, clock)
    for _ in range(400):
        clock.now += 1 / 128
        ahead.ended()
    assert ahead.slots == 16 + 8 + 8 + 65


def test_what_is_claimed_ahead_has_a_bound() -> None:
    ahead = Ahead(4, Stopwatch())
    for _ in range(10_000):
        ahead.ended()
    assert ahead.slots == AT_MOST * 4


def test_where_one_is_pinned_at_a_time_two_others_are_asked_about() -> None:
    ahead = Ahead(1, Stopwatch())
    assert ahead.asking == 2
    assert ahead.slots == 1 + 2 + 2
