"""Kill it anywhere: what was recorded is never lost and never paid for twice."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.crash.cast import PLAYS
from tests.crash.kills import DURABILITIES
from tests.crash.lives import BOUNDARIES, DOORS
from tests.crash.processes import campaign, python

KILLS = 96
"""Per store; together they are more than 150."""


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
@pytest.mark.usefixtures("binaries")
def test_a_run_killed_at_any_write_goes_on_and_repeats_no_recorded_call(store: str) -> None:
    done = campaign("kills", "--store", store, "--kills", str(KILLS), "--jobs", "1", "--json")
    assert done.stdout, done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert not [one for one in kills if one["broken"]]
    assert done.returncode == 0, done.stderr
    dead = [one for one in kills if one["killed"]]
    assert len(dead) >= 0.8 * KILLS, "few runs end before it is their turn to die"
    assert any(one["killed"] == 2 for one in kills), "some died twice"
    ways = {(one["play"], one["door"], one["durability"]) for one in kills}
    assert ways == set(itertools.product(PLAYS, DOORS, DURABILITIES)), "every way in which a play can be given"
    places = {(one["point"]["write"], one["point"]["when"]) for one in kills}
    assert places == set(itertools.product(BOUNDARIES, ("before", "after"))), "every kind of write, before and after"
    assert any(one["repeated"] for one in kills), "some were killed between an answer and its record"
    assert any(one["recorded"] for one in kills)


FORGETFUL = """
import sys
from tests.crash import kills
from troupe.store.journal import Calls

Calls._reserve = lambda self, key: False  # nothing that was recorded is ever found again
sys.argv[1:] = ["--store", "sqlite", "--play", "parallel", "--door", "run", "--kills", "24", "--jobs", "1"]
sys.exit(kills.main())
"""


def test_the_campaign_notices_a_journal_that_forgets() -> None:
    done = python("-c", FORGETFUL)
    assert done.returncode == 1, done.stderr
    assert "was on record and asked again" in done.stdout
