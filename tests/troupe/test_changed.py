"""A run that is gone on with after its graph has changed says so, and goes on only when told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Shell
from tests.support.teams import Crash, Mortal, steps_asked
from troupe import (
    GraphChanged,
    Step,
    StoreError,
    TeamContext,
    TeamGraph,
    agent,
    contains,
    gate,
    parallel,
    resume,
    rollback,
    run,
    scripted,
    sequential,
)
from troupe.agents.events import Event
from troupe.sqlite import SqliteStore

LINES = {"a": ["one", "uno"], "b": ["two", "due"], "c": ["three", "tre"], "new": ["news"], "other": ["else"]}


def line(*steps: Any) -> TeamGraph:
    return sequential(*steps, name="line")


def step(name: str, objective: str = "", **options: Any) -> Step:
    return Step(agent(name, f"You are {name}."), objective, **options)


A, B, C = step("a"), step("b"), step("c")


def crashed(db: Any, team: TeamGraph, at: str) -> None:
    context = TeamContext(models=scripted(LINES), executor=Mortal(at))
    with pytest.raises(Crash):
        run(team, "x", context=context, db=db, thread="t")


def test_a_changed_graph_is_refused_and_says_what_changed_in_what_respect(db: Path) -> None:
    crashed(db, line(A, B, C), "b")
    model = scripted(LINES)
    changed = line(step("a"), step("b", "Do it well."), step("c"), step("new"))
    with pytest.raises(GraphChanged) as refused:
        resume("t", target=changed, model=model, db=db)
    said = str(refused.value)
    assert "step 'b': another objective" in said and "step 'new' is new" in said and "step 'a'" not in said
    assert "accept_changes=True" in said and isinstance(refused.value, StoreError)
    assert model.asked == [], "nothing was called"
    assert resume("t", target=line(A, B, C), model=model, db=db).status == "completed", "the old one still goes on"


def test_told_to_a_run_goes_on_with_the_new_graph_and_keeps_what_has_ended(db: Path) -> None:
    crashed(db, line(A, B, C), "b")
    model, told = scripted(LINES), list[Event]()
    changed = line(A, step("b", "Do it well."), C, step("new"))
    done = resume("t", target=changed, model=model, db=db, accept_changes=True, listeners=[told.append])
    assert (done.status, done.answer, steps_asked(model)) == ("completed", "news", ["b", "c", "new"])
    assert any("graph has changed" in getattr(one, "text", "") for one in told)
    with SqliteStore(db) as store:
        rolled = rollback("t", "new", target=changed, model=scripted(LINES), db=store)
    assert rolled.status == "completed", "it was accepted once, and is the run's graph from then on"


def test_where_the_step_that_the_run_stood_at_is_gone_it_goes_on_with_the_first_that_has_not_delivered(
    db: Path,
) -> None:
    crashed(db, line(A, B, C), "b")
    model = scripted(LINES)
    changed = line(A, step("other"), C)
    with pytest.raises(GraphChanged, match=r"step 'b' is gone; .*step 'other' is new"):
        resume("t", target=changed, model=model, db=db)
    done = resume("t", target=changed, model=model, db=db, accept_changes=True)
    assert (done.status, steps_asked(model)) == ("completed", ["other", "c"])


def test_a_new_turn_with_a_changed_graph_is_no_error(db: Path) -> None:
    crashed(db, line(A, B), "b")
    done = run(line(A, step("b", "Do it well.")), "y", model=scripted(LINES), db=db, thread="t")
    assert (done.status, done.turn) == ("completed", 2)


def test_a_run_that_has_ended_gives_its_result_whatever_has_changed(db: Path) -> None:
    first = run(line(A, B), "x", model=scripted(LINES), db=db, thread="t")
    changed = line(A, step("b", "Do it well."))
    assert resume("t", target=changed, model=scripted(LINES), db=db).answer == first.answer
    with pytest.raises(GraphChanged, match="step 'b': another objective"):
        rollback("t", "b", target=changed, model=scripted(LINES), db=db)
    done = rollback("t", "b", target=changed, model=scripted(LINES), db=db, accept_changes=True)
    assert done["b"].rounds == 2


def test_an_answer_is_not_used_where_the_graph_has_changed(db: Path) -> None:
    asks = gate(contains("good"), rework=0, then="ask")
    asking, changed = line(step("a", gate=asks), B), line(step("a", gate=asks), step("b", "Do it well."))
    (asked,) = run(asking, "x", model=scripted(LINES), db=db, thread="t").waiting
    with pytest.raises(GraphChanged):
        resume("t", {asked.id: True}, target=changed, model=scripted(LINES), db=db)
    done = resume("t", {asked.id: False}, target=asking, model=scripted(LINES), db=db)
    assert done.status == "partial" or done.status == "failed"


def test_a_branch_that_changed_is_named_and_the_others_are_kept(db: Path) -> None:
    def team(objective: str) -> TeamGraph:
        return parallel(A, sequential(step("b", objective), name="inner"), merge=C, name="fan")

    crashed(db, team("one"), "c")
    with pytest.raises(GraphChanged, match=r"with: step 'inner/b': another objective. To go on"):
        resume("t", target=team("two"), model=scripted(LINES), db=db)
    model = scripted(LINES)
    assert resume("t", target=team("two"), model=model, db=db, accept_changes=True).status == "completed"
    assert steps_asked(model) == ["c"]


def test_a_folder_of_prompts_that_was_changed_meanwhile_is_told_of(db: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts/roles").mkdir(parents=True)
    role = tmp_path / "prompts/roles/qa-engineer.md"
    role.write_text("Be kind.")
    prompts = str(tmp_path / "prompts")
    team = sequential("git-helper", "qa-engineer")
    context = TeamContext(models=scripted({"*": ["x"] * 9}), executor=Mortal("qa-engineer"), prompts=prompts)
    with pytest.raises(Crash):
        run(team, "x", context=context, db=db, thread="t")
    role.write_text("Be strict.")
    context = TeamContext(models=scripted({"*": ["x"] * 9}), prompts=prompts)
    with pytest.raises(GraphChanged, match="step 'qa-engineer': another prompt"):
        resume("t", target=team, context=context, db=db)
    assert resume("t", target=team, context=context, db=db, accept_changes=True).status == "completed"


def test_a_turn_of_before_there_were_fingerprints_goes_on(db: Path) -> None:
    crashed(db, line(A, B), "b")
    with SqliteStore(db) as store, store.cursor() as cursor:
        cursor.execute("UPDATE troupe_turns SET fingerprint = NULL")
    assert resume("t", target=line(A, step("b", "Do it well.")), model=scripted(LINES), db=db).status == "completed"


TEAM = """
from troupe import Step, contains, gate, sequential

def one(brief):
    return "one"

def two(brief):
    return "WORD"

asking = sequential(Step(one), Step(two, gate=gate(contains("good"), rework=0, then="ask")), name="asking")
"""


def test_the_command_line_refuses_and_goes_on_when_told(tmp_path: Path) -> None:
    shell, file = Shell(tmp_path), tmp_path / "teams.py"
    file.write_text(TEAM)
    assert shell("run", "teams.py:asking", "x", "--thread", "t").code == 5
    file.write_text(TEAM.replace("WORD", "good"))
    for words in (["approve", "t"], ["resume", "t"], ["rollback", "t", "--to", "two"]):
        refused = shell(*words)
        assert (refused.code, refused.out) == (2, "")
        assert "step 'two': other code" in refused.err and "--accept-changes" in refused.err
    assert "step" in shell("runs", "t").out, "looking is always allowed"
    done = shell("rollback", "t", "--to", "two", "--accept-changes", "--json")
    assert (done.code, done.json["answer"]) == (0, "good")
