"""What a node says acts on no terminal, fills no log, and gives no credentials away."""

from __future__ import annotations

import pytest

from encoder_pin_plugin.nodes.sayings import cause, said, word
from encoder_pin_plugin.settings import Credentials, Secret

TOKEN = "token-of-ours-0123456789"
AUTH = Credentials("bearer", "", Secret(TOKEN))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no space left", "no space left"),
        ("two\nlines\tand a tab ", "two lines and a tab"),
        ("\x1b[2Jgone\x07", "[2Jgone"),
        ("right\u202eleft", "right left"),
        (ValueError("an error"), "an error"),
        (None, "None"),
    ],
)
def test_words_are_shown_on_one_printable_line(text: object, shown: str) -> None:
    assert said(text) == shown


def test_of_many_words_the_first_are_shown() -> None:
    assert said("a" * 10, 10) == "a" * 10
    assert said("a" * 11, 10) == "a" * 9 + "…"
    assert len(said("a" * 10**6)) == 300


def test_many_blanks_do_not_hide_that_something_follows_soon() -> None:
    assert said(" " * 30 + "words", 10) == "words"


@pytest.mark.parametrize("status", ["pinned", "", "pin error", "a" * 40])
def test_a_status_stands_as_it_is(status: str) -> None:
    assert word(status) == status


@pytest.mark.parametrize("status", ["pinned ", " pinned", "pin\nned", "\u200bpinned", "pin  ned", "a" * 41])
def test_what_only_looks_like_a_status_is_quoted(status: str) -> None:
    assert word(status) == repr(said(status, 40))
    assert word(status) != status.strip()


def test_a_cause_keeps_its_traceback_and_loses_our_credentials() -> None:
    error = _raised(ValueError(f"HTTP 500: Authorization: Bearer {TOKEN}"))
    assert cause(error, AUTH) is error
    assert TOKEN not in str(error)
    assert error.__traceback__ is not None
    assert "header" not in error.__traceback__.tb_next.tb_frame.f_locals


def test_the_cause_of_a_cause_loses_them_too() -> None:
    inner, outer = ValueError(f"it said {TOKEN}"), OSError("cut")
    outer.__cause__ = inner
    assert cause(outer, AUTH) is outer
    assert TOKEN not in str(inner)


def test_a_cause_that_cannot_be_cleaned_is_none() -> None:
    class Stubborn(Exception):
        def __str__(self) -> str:
            return TOKEN

    assert cause(Stubborn(), AUTH) is None


def _raised(error: Exception) -> BaseException:
    def call(header: str) -> None:
        raise error

    try:
        call(TOKEN)
    except Exception as caught:  # noqa: BLE001 - it is what we raised
        return caught
    raise AssertionError
