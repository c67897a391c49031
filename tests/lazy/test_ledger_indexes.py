"""What a worker asks each second is answered from an index: none of it reads every job while 100,000 of them wait."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from encoder_pin_plugin.lazy import schema, statements
from encoder_pin_plugin.lazy.ledger import Ledger
from tests.lazy.booking import add, end

NUMBERS = {"now": 1, "until": 2, "waited": 1, "limit": 16, "large": 1000, "any": 1, "later": 2, "state": "pending"}
EACH_SECOND = ("DUE", "DUE_BY_AGE", "NEXT_DUE", "RELEASE", "FINISHED")


@pytest.mark.parametrize("name", EACH_SECOND)
def test_no_question_of_each_second_reads_a_whole_table(ledger: Ledger, name: str) -> None:
    sql = getattr(statements, name)
    plan = ledger.read(f"EXPLAIN QUERY PLAN {sql}", (16,) if name == "FINISHED" else NUMBERS)
    steps = [str(row["detail"]) for row in plan]
    assert steps
    assert [step for step in steps if step.startswith(("SCAN job", "SCAN submission")) and " INDEX " not in step] == []


def test_a_ledger_of_before_that_index_is_sound_and_goes_on(ledger: Ledger) -> None:
    with closing(sqlite3.connect(ledger.path)) as db:
        db.execute("DROP INDEX submission_closed")
    with closing(Ledger(ledger.path)) as again:
        add(again, "a", "b")
        end(again, "a")
        again.check(whole=True)
        assert len(again.closed_submissions()) == 1
    assert schema.VERSION == 1, "an older release reads what this one writes"
