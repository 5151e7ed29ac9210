"""The log of errors: every failed attempt, what was done about it, and who fails on what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import Shell
from tests.support.teams import patient
from troupe import Step, StoreError, TeamContext, agent, each, error_log, parallel, resume, run, scripted, sequential

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
