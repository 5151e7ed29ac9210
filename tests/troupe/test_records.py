"""What recorded runs took, as predictions read it, from both databases."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.stores import Place
from tests.support.stores import place as place
from tests.support.teams import patient
from troupe import (
    Brief,
    History,
    InputError,
    Step,
    TeamContext,
    Verdict,
    agent,
    ahistory,
    contains,
    each,
    gate,
    history,
    parallel,
    resume,
    review,
    run,
    scripted,
    sequential,
)
from troupe.graphs.history import RunRecord, StepRecord, covered

LINES = {
    "triage": ["draft", "better"],
    "qa-engineer": [Verdict(passed=False, feedback="no id", score=0.3), Verdict(passed=True, score=0.9)],
    "inner": "in",
    "a": "one",
    "b": [ConnectionError("nobody answers"), "two"],
}


def judged() -> Step:
    return Step(agent("triage", "Sort."), gate=gate(review(by="qa-engineer", at_least=0.5)))


def test_a_recorded_run_tells_step_by_step_what_it_took(place: Place) -> None:
    inner = sequential(agent("inner", "Work."), name="nest")
    fork = parallel(agent("a", "Work."), agent("b", "Work."), name="fork")
    team = sequential(judged(), Step(inner, name="nested"), fork, name="line")
    model = scripted(LINES, latency=0.02)
    done = run(team, "a shop", context=TeamContext(models=model, executor=patient()), db=place.db)
    assert done.status == "completed"

    (found,) = history("line", db=place.db, simulated=True).runs
    assert (found.run, found.turn, found.workflow, found.task) == (done.run, 1, "line", "a shop")
    assert (found.status, found.simulated, found.usd) == ("completed", True, 0.0)
    assert found.paths[:4] == ("triage", "nested", "nested/inner", "fork") and found.paths[-1] == "fork/merge"
    assert set(found.paths[4:-1]) == {"fork/a", "fork/b"}  # whoever was first

    triage = found["triage"]
    assert (triage.rounds, triage.sent_back, triage.judged, triage.score) == (2, 1, (False, True), 0.9)
    assert [(one.agent, one.purpose, one.round) for one in triage.asked] == [
        ("triage", "work", 1), ("qa-engineer", "review", 1), ("triage", "work", 2), ("qa-engineer", "review", 2),
    ]  # fmt: skip
    assert triage.calls == 4 and triage.tokens.input > 0
    assert all(one.seconds >= 0.02 for one in triage.asked)
    assert [one.tier for one in triage.asked] == [None, "standard", None, "standard"]
    # Nested steps are their own records, and their graph's is the sum of them.
    assert found["nested"].composed and not found["nested"].asked
    assert found["nested"].calls == found["nested/inner"].calls == 1
    assert found["nested"].sources == ("triage",)
    # A failed attempt is one, and is known by its kind.
    assert (found["fork/b"].attempts, found["fork/b"].calls) == (2, 1)
    assert [one.failure for one in found["fork/b"].asked] == ["connection", None]
    # What ran at once counts once, and all of it lies in the run.
    assert sum(found[one].seconds for one in ("triage", "nested", "fork")) <= found.seconds
    assert found["fork"].seconds >= max(found["fork/a"].seconds, found["fork/b"].seconds)


def test_what_many_runs_took_is_asked_by_step_and_agent(db: Path) -> None:
    passes = [True, False, True, True]
    for number in range(3):
        lines = {**LINES, "triage": ["x", "y"], "qa-engineer": [Verdict(passed=one) for one in passes[number:]]}
        run(
            sequential(Step(agent("triage", "Sort."), gate=gate(review(by="qa-engineer"))), name="line"),
            "a shop",
            model=scripted(lines),
            db=db,
        )
    run(sequential(agent("other", "Work."), name="other"), "x", model=scripted(["done"]), db=db)
    known = history(db=db, simulated=True)
    assert len(known) == 4 and known.runs[0].workflow == "other"
    line = known.of("line")
    assert len(line) == 3 and line.pass_rate("triage") == 3 / 4  # passed, sent back and passed, passed
    assert len(line.seconds("triage")) == len(line.usd("triage")) == 3
    assert line.failure_rate("triage") == 0.0
    assert line.pass_rate("nobody") is None and line.failure_rate("nobody") is None
    assert len(history(db=db, simulated=True, limit=2)) == 2


def test_simulated_runs_do_not_count_unless_they_are_asked_for(db: Path) -> None:
    run(sequential(agent("a", "Work."), name="line"), "x", model=scripted(["done"]), db=db)
    assert not history(db=db)
    assert len(history(db=db, simulated=True)) == 1


def test_where_nothing_was_recorded_there_is_no_history_and_no_database_is_made(tmp_path: Path) -> None:
    assert history(db=tmp_path / "none.db") == History()
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(InputError, match="limit=0"):
        history(db=tmp_path / "none.db", limit=0)


async def test_it_is_read_inside_a_running_loop_too(db: Path) -> None:
    assert await ahistory(db=db) == History()


def test_items_of_a_fan_out_are_found_under_their_step(db: Path) -> None:
    team = parallel(each(agent("scan", "Look."), ["one", "two", "three"]), name="fan")
    run(team, "x", model=scripted({"scan.1": "a", "scan.2": "b", "scan.3": "c", "*": "d"}), db=db)
    known = history(db=db, simulated=True)
    assert len(known.seconds("scan")) == 3 and len(known.seconds("scan.2")) == 1


def test_a_step_that_a_later_one_sends_back_was_not_sent_back_by_its_own_gate(db: Path) -> None:
    blaming = Verdict(passed=False, feedback="wrong id", blame="triage")
    lines = {
        "triage": ["draft", "better"],
        "writer": ["letter", "letter 2"],
        "qa-engineer": [Verdict(passed=True), blaming, Verdict(passed=True), Verdict(passed=True)],
    }
    gated = gate(review(by="qa-engineer"))
    team = sequential(agent("triage", "Sort."), agent("writer", "Write."), gate=gated, name="line")
    done = run(team, "x", model=scripted(lines), db=db)
    run(team, "again", thread=done.run, model=scripted({**LINES, "*": [Verdict(passed=True)] * 2}), db=db)
    newest, first = history(db=db, simulated=True).runs
    # Of the turn before the last there is no state, only the journal.
    assert (newest.turn, first.turn) == (2, 1)
    assert (first["triage"].judged, first["triage"].sent_back, first["triage"].rounds) == ((True, True), 0, 2)
    assert (first["writer"].judged, first["writer"].sent_back, first["writer"].rounds) == ((False, True), 1, 2)


def test_a_check_that_is_no_call_is_counted_where_it_sent_work_back(db: Path) -> None:
    step = Step(agent("triage", "Sort."), gate=gate(contains("id"), rework=2))
    done = run(sequential(step), "x", model=scripted({"triage": ["draft", "an id"]}), db=db)
    run(sequential(step), "y", thread=done.run, model=scripted({"triage": ["id"]}), db=db)
    known = history(db=db, simulated=True)
    assert [one["triage"].judged for one in known.runs] == [(True,), (False, True)]


def test_the_time_in_which_a_person_is_waited_for_is_no_time_of_the_run(db: Path) -> None:
    async def work(brief: Brief) -> str:
        return "draft"

    step = Step(work, name="draft", gate=gate(contains("id"), rework=0, then="ask"))
    team = sequential(step, name="line")
    began = time.time()
    waiting = run(team, "x", db=db)
    assert waiting.status == "waiting"
    time.sleep(0.3)  # somebody thinks
    assert resume(waiting.run, True, target=team, db=db).status == "completed"
    (found,) = history(db=db, simulated=True).runs
    assert found.seconds <= time.time() - began - 0.3
    assert found["draft"].judged == (False,) and found["draft"].status == "accepted"


def test_time_in_which_several_things_happen_counts_once() -> None:
    assert covered([(3.0, 4.0), (0.0, 2.0), (1.0, 2.5)]) == 3.5
    assert covered([]) == 0.0


def test_a_record_names_the_steps_that_there_are() -> None:
    one = RunRecord("r", 1, "line", "x", "completed", False, 0.0, 1.0, 0.0, (StepRecord("draft"),))
    with pytest.raises(KeyError, match=r"no record of 'drift'\. There are: draft"):
        one["drift"]
