"""The log of errors: every failed attempt, what was done about it, and who fails on what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.support.command import Shell
from tests.support.teams import patient, priced
from troupe import (
    Agent,
    Brief,
    Deliverable,
    Recovery,
    Step,
    StoreError,
    TeamContext,
    agent,
    contains,
    each,
    error_log,
    gate,
    parallel,
    resume,
    run,
    scripted,
    sequential,
)
from troupe.agents.breaker import Breakers
from troupe.agents.errors import Refused
from troupe.sqlite import SqliteStore

TEAMS = """
from troupe import Step, agent, scripted, sequential

class Flaky:
    times = 0

def flaky(brief):
    Flaky.times += 1
    raise ValueError("\\x1b[31mbad\\x00 input\\nwith key sk-canary-1234567890")

team = sequential(Step(flaky, "Do what cannot be done.", optional=True), agent("b", "Work."))
"""


def test_every_failed_attempt_is_kept_with_what_was_done_next_and_who_did_it_in_the_end(tmp_path: Path) -> None:
    model = scripted(
        {
            "python-engineer": [ConnectionError("one"), ConnectionError("two"), RuntimeError("three")],
            "specialist-engineer": "built",
        }
    )
    team = sequential(Step("python-engineer", "Build it well.", name="build"))
    done = run(team, "a shop", context=TeamContext(models=model, executor=patient()), db=tmp_path / "runs.db")
    log = error_log(done.run, db=tmp_path / "runs.db")
    assert [(one.step, one.agent, one.attempt, one.kind, one.error) for one in log] == [
        ("build", "python-engineer", 1, "connection", "ConnectionError"),
        ("build", "python-engineer", 2, "connection", "ConnectionError"),
        ("build", "python-engineer", 3, "code", "RuntimeError"),
    ]
    assert [one.then.startswith("again in") for one in log] == [True, True, False]
    assert {one.by for one in log} == {"specialist-engineer"} and all(one.recovered for one in log)
    assert all(one.excerpt == "a shop\nBuild it well." and one.purpose == "work" for one in log)
    assert [one.at for one in log] == sorted(one.at for one in log) and all(one.seconds >= 0 for one in log)


def test_what_an_attempt_cost_is_in_the_log(tmp_path: Path) -> None:
    model = scripted({"a": ["", "text"]})
    done = run(sequential(agent("a", "Work.")), "x", model=model, db=tmp_path / "runs.db")
    (fault,) = error_log(done.run, db=tmp_path / "runs.db")
    assert (fault.kind, fault.error, fault.usd) == ("invalid_output", "EmptyAnswer", 0.0)
    assert done.usage.calls == 2


def test_an_attempt_cost_what_all_of_its_requests_did_and_took_as_long_as_its_function(tmp_path: Path) -> None:
    class Form(BaseModel):
        number: int

    async def slow(brief: Brief) -> str:
        await asyncio.sleep(0.05)
        raise ValueError("at last")

    team = parallel(Step(agent("a", "Work."), returns=Form), Step(slow, name="slow"))
    done = run(team, "x", model=priced({"a": ["no number"] * 9}), db=tmp_path / "runs.db")
    faults = {one.agent: one for one in error_log(done.run, db=tmp_path / "runs.db")}
    assert faults["a"].usd == done.usage.usd != 0
    assert faults["slow"].seconds >= 0.05


def test_a_message_is_one_line_for_a_terminal_and_an_excerpt_holds_no_half_of_a_credential(tmp_path: Path) -> None:
    class Rude(Agent):
        name = "rude"

        async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
            raise Refused("no,\n\x1b[31mnever")

    key = "sk-canary-1234567890"
    for ahead in range(180, 260, 9):  # wherever an excerpt ends, it is in the middle of the key once
        task = f"{'a' * ahead} {key} {'b' * 9000} {key} {'c' * (ahead - 150)}"
        done = run(sequential(Rude()), task, db=tmp_path / "runs.db")
        (fault,) = error_log(done.run, db=tmp_path / "runs.db")
        assert fault.message == "no, \\x1b[31mnever"
        assert "sk-ca" not in fault.excerpt and "67890" not in fault.excerpt and len(fault.excerpt) < 300


def test_a_team_that_failed_recovered_nobody(tmp_path: Path) -> None:
    strict = Step(agent("inner", "Work."), gate=gate(contains("impossible"), rework=0, then="fail"))
    team = sequential(Step(sequential(strict, name="team"), recovery=Recovery(backups=[agent("second", "Work.")])))
    done = run(team, "x", model=scripted({"inner": "text", "second": RuntimeError("lost")}), db=tmp_path / "runs.db")
    (fault,) = error_log(done.run, db=tmp_path / "runs.db")
    assert done.status == "failed" and (fault.agent, fault.by, fault.recovered) == ("second", "", False)


def test_who_was_left_alone_did_not_fail(tmp_path: Path) -> None:
    circuits = Breakers(clock=lambda: 0.0)
    context = TeamContext(models=scripted({"*": [ConnectionError("gone")] * 9}), executor=patient(breakers=circuits))
    team = sequential(Step("python-engineer", name="build", recovery=Recovery(models=[scripted({"*": ["built"] * 9})])))
    db = tmp_path / "runs.db"
    runs = [run(team, "x", context=context, db=db) for _ in range(3)]
    assert {one.status for one in runs} == {"completed"}
    assert error_log(runs[2].run, db=db) == []


def test_the_record_of_everybody_is_counted_once_in_a_turn_however_many_fail(tmp_path: Path) -> None:
    class Counting(SqliteStore):
        tallies = 0

        async def tally(self) -> Mapping[str, Mapping[str, int]]:
            type(self).tallies += 1
            return await super().tally()

    def bad(brief: Brief) -> str:
        raise ValueError(brief.item)

    with Counting(tmp_path / "runs.db") as store:
        done = run(parallel(each(bad, [str(number) for number in range(20)])), "x", db=store)
        assert done.status == "failed" and len(error_log(done.run, db=store)) == 20
    assert Counting.tallies <= 1


def test_failures_of_a_nested_team_and_of_items_have_their_paths(tmp_path: Path) -> None:
    inner = parallel(each(agent("worker", "Work."), ["x", "y"]), name="inner")
    model = scripted({"worker.1": RuntimeError("lost"), "worker.2": "done"})
    done = run(sequential(inner), "x", model=model, db=tmp_path / "runs.db")
    (fault,) = error_log(done.run, db=tmp_path / "runs.db")
    assert fault.step == "inner/worker.1" and not fault.recovered


def test_a_failure_after_a_restart_is_an_entry_of_its_own(tmp_path: Path) -> None:
    team, db = sequential(agent("a", "Work."), agent("b", "Work.")), tmp_path / "runs.db"
    done = run(team, "x", model=scripted({"a": RuntimeError("first")}), db=db)
    assert done.status == "failed"
    again = run(team, "x", model=scripted({"a": RuntimeError("second")}), db=db, thread=done.run)
    resume(again.run, target=team, model=scripted({"*": "x"}), db=db)
    assert [(one.turn, one.message) for one in error_log(done.run, db=db)] == [
        (1, "RuntimeError: first"),
        (2, "RuntimeError: second"),
    ]


def test_a_run_that_does_not_exist_has_no_log(tmp_path: Path) -> None:
    run(sequential(agent("a", "Work.")), "x", model=scripted(["x"]), db=tmp_path / "runs.db")
    with pytest.raises(StoreError, match="no run 'nobody'"):
        error_log("nobody", db=tmp_path / "runs.db")


def test_the_command_line_shows_a_runs_errors_and_who_fails_on_what_over_all(tmp_path: Path) -> None:
    (tmp_path / "teams.py").write_text(TEAMS)
    shell = Shell(tmp_path)
    for thread in ("one", "two"):
        shell("run", "teams.py:team", "the task", "--thread", thread)
    shown = shell("runs", "one", "--errors")
    assert shown.code == 0
    for word in ("flaky", "code", "given up", "1 failed attempt, 1 of them in calls that came to no good end"):
        assert word in shown.out + shown.err, word
    told = json.loads(shell("runs", "one", "--errors", "--json").out)
    (error,) = told["errors"]
    assert (error["step"], error["recovered"], error["kind"]) == ("flaky", False, "code")
    rates = json.loads(shell("runs", "--errors", "--json").out)["agents"]
    assert rates == [{"agent": "flaky", "calls": 0, "failures": {"code": 2}, "rate": 1.0}]
    assert "flaky" in shell("runs", "--errors").out


def test_what_is_logged_holds_no_credential_and_no_control_character(tmp_path: Path) -> None:
    (tmp_path / "teams.py").write_text(TEAMS)
    shell = Shell(tmp_path)
    shell("run", "teams.py:team", "the task", "--thread", "one")
    for words in (["runs", "one", "--errors"], ["runs", "one", "--errors", "--json"], ["runs", "one"]):
        said = shell(*words)
        assert "sk-canary" not in said.out + said.err and "\x1b[31m" not in said.out
    for file in tmp_path.rglob("*.db*"):
        assert b"sk-canary" not in file.read_bytes(), file


def test_a_run_without_failures_says_so(tmp_path: Path) -> None:
    (tmp_path / "teams.py").write_text('from troupe import agent, sequential\nteam = sequential(agent("a", "Work."))\n')
    shell = Shell(tmp_path)
    shell("run", "teams.py:team", "x", "--thread", "t")
    assert "Nothing failed" in shell("runs", "t", "--errors").err
    assert "Nobody has failed" in shell("runs", "--errors").err
    assert shell("runs", "nobody", "--errors").code != 0
