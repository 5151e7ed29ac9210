"""Evaluations: answers are scored, variants compared, failures counted, and nothing is paid for twice."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import langsmith
import pytest
from langsmith.schemas import Example

from tests.support.command import Shell
from tests.support.langsmith import Collector
from tests.support.teams import Crash, Mortal, patient, priced, steps_asked
from troupe import (
    BuildError,
    Deliverable,
    EvaluationCase,
    InputError,
    SettingsError,
    Step,
    TeamContext,
    Variant,
    Verdict,
    aevaluate,
    agent,
    as_target,
    contains,
    evaluate,
    gate,
    non_empty,
    parallel,
    review,
    scripted,
    sequential,
)
from troupe.evaluation.intervals import of_amounts, of_scores
from troupe.evaluation.reading import read_cases
from troupe.sqlite import SqliteStore

POET, CRITIC = agent("poet", "Write verse."), agent("critic", "Judge.")
TEAM = sequential(POET)
CASES = [{"task": "a haiku", "expected": "pond"}, {"name": "second", "task": "a limerick", "expected": "man"}]


def exact(work: Deliverable, case: EvaluationCase) -> bool:
    return work.content == case.expected


def length(work: Deliverable) -> float:
    return min(1.0, len(work.content) / 100)


def broken(work: Deliverable) -> float:
    raise RuntimeError("no ruler")


async def scores(scorers: Any, answer: str = "An old pond", **options: Any) -> Any:
    """What one case is scored, by scorer."""
    model = scripted({"poet": answer, "qa-engineer": Verdict(passed=True, score=0.7)})
    case = EvaluationCase("a haiku", "An old pond")
    done = await aevaluate(TEAM, [case], scorers, model=model, db=":memory:", **options)
    return done.rows[0].scores


# --- scorers ----------------------------------------------------------------------------------------------------------


async def test_any_check_and_any_function_is_a_scorer() -> None:
    given = [
        non_empty(),
        contains("frog"),
        review(by="qa-engineer", at_least=0.8),
        length,
        exact,
        non_empty() & exact_one,
    ]
    told = await scores(given)
    assert {name: (one.value, one.passed) for name, one in told.items()} == {
        "non-empty": (1.0, True),
        "contains frog": (0.0, False),
        "qa-engineer ≥ 0.8": (0.7, False),
        "length": (0.11, False),
        "exact": (1.0, True),
        "non-empty & exact_one": (1.0, True),
    }
    assert "frog" in told["contains frog"].why and "0.8 is needed" in told["qa-engineer ≥ 0.8"].why


def exact_one(work: Deliverable) -> bool:
    return work.content == "An old pond"


async def test_what_is_expected_scores_where_nothing_else_does() -> None:
    told = await scores([], answer="So:  an OLD pond\nit is.")
    assert [(name, one.value) for name, one in told.items()] == [("expected", 1.0)]


async def test_a_reviewer_is_told_what_is_expected() -> None:
    model = scripted({"poet": "An old pond", "qa-engineer": Verdict(passed=True)})
    await aevaluate(TEAM, [EvaluationCase("x", "a frog")], [review(by="qa-engineer")], model=model, db=":memory:")
    assert "The expected answer is: a frog" in model.asked[-1][2][-1].text


async def test_a_scorer_that_fails_is_told_as_that_and_counts_as_nothing() -> None:
    evaluation = await aevaluate(TEAM, ["a haiku"], [broken, non_empty()], model=scripted(["x"]), db=":memory:")
    (row,) = evaluation.rows
    assert (row.status, row.judged, row.score, row.passed) == ("completed", False, 0.5, False)
    assert "no ruler" in row.scores["broken"].why and row.scores["non-empty"].judged
    assert "1 completed, 1 not judged" in str(evaluation) and not evaluation.complete


# --- runs that do not complete ----------------------------------------------------------------------------------------


async def test_failures_are_counted_as_what_they_are() -> None:
    asks = sequential(Step(POET, gate=gate(contains("x"), rework=0, then="ask")))
    fails = sequential(Step(POET, gate=gate(contains("x"), rework=0, then="fail")))
    cut = sequential(Step(POET, gate=gate(contains("x"), rework=0)))
    variants = {"asks": asks, "fails": fails, "is partial": cut, "completes": TEAM}
    done = await aevaluate(
        None, ["a haiku"], [non_empty()], variants=variants, model=scripted({"*": ["no"] * 9}), db=":memory:"
    )
    assert {one.variant: (one.status, one.score) for one in done.rows} == {
        "asks": ("waiting", 0.0),
        "fails": ("failed", 0.0),
        "is partial": ("partial", 1.0),
        "completes": ("completed", 1.0),
    }
    assert "The run is waiting" in done.rows[0].scores["non-empty"].why
    assert done["fails"].ended == {"failed": 1} and done["fails"].cases == 1


async def test_a_model_that_is_away_is_a_failure_and_stops_nobody_else() -> None:
    model = scripted({"poet": [ConnectionError("refused"), "a pond", ConnectionError("refused")]})
    context = TeamContext(executor=patient(retries=0))
    done = await aevaluate(TEAM, CASES, model=model, context=context, db=":memory:", at_once=1)
    assert {one.status for one in done.rows} <= {"completed", "failed"} and len(done.rows) == 2


# --- going on ---------------------------------------------------------------------------------------------------------


def answering() -> Any:
    return scripted({"poet": ["An old pond, a man"] * 9, "qa-engineer": [Verdict(passed=True, score=0.9)] * 9})


async def test_what_has_ended_is_neither_run_nor_judged_again(db: Path) -> None:
    first, again = answering(), answering()
    one = await aevaluate(TEAM, CASES, [review(by="qa-engineer")], model=first, db=db)
    two = await aevaluate(TEAM, CASES, [review(by="qa-engineer")], model=again, db=db)
    assert len(first.asked) == 4 and again.asked == []
    assert one.rows == two.rows


async def test_an_evaluation_that_was_interrupted_goes_on(db: Path) -> None:
    team, model = sequential(POET, CRITIC), scripted({"*": ["a pond, a man"] * 9})
    with pytest.raises(Crash):
        await aevaluate(team, CASES, model=model, db=db, context=TeamContext(executor=Mortal("critic")), at_once=1)
    assert steps_asked(model) == ["poet"]
    done = await aevaluate(team, CASES, model=model, db=db)
    assert sorted(steps_asked(model)) == ["critic", "critic", "poet", "poet"], "the first poem was not paid for again"
    assert done.complete


async def test_other_scorers_judge_the_same_answers(db: Path) -> None:
    model = answering()
    await aevaluate(TEAM, CASES, model=model, db=db)
    done = await aevaluate(TEAM, CASES, [review(by="qa-engineer"), contains("frog")], model=model, db=db)
    assert [role for _, role, _ in model.asked] == ["poet", "poet", "qa-engineer", "qa-engineer"]
    assert done.rows[0].scores["contains frog"].passed is False


@pytest.mark.parametrize(
    "changed",
    [
        lambda: {"target": sequential(agent("poet", "Write other verse."))},
        lambda: {"cases": [{"task": "an ode", "expected": "pond"}]},
        lambda: {"name": "another"},
        lambda: {"variants": {"poet": Variant(TEAM, prompts="prompts")}},
    ],
    ids=["the prompt", "the task", "the name", "the folder of prompts"],
)
async def test_what_has_changed_is_run_anew(changed: Callable[[], dict[str, Any]], db: Path) -> None:
    (folder := Path("prompts/moves")).mkdir(parents=True)
    (folder / "common.md").write_text("Be brief.")
    options: dict[str, Any] = {"target": TEAM, "cases": CASES[:1], "model": answering(), "db": db}
    await aevaluate(**options)
    await aevaluate(**options | changed())
    assert len(options["model"].asked) == 2


# --- variants and the table -------------------------------------------------------------------------------------------


async def test_variants_differ_in_pattern_model_and_prompts() -> None:
    (folder := Path("mine/moves")).mkdir(parents=True)
    (folder / "common.md").write_text("OTHER RULES")
    usual, other = scripted({"*": ["a pond"] * 9}), scripted({"*": "a lake"})
    variants = {
        "line": Variant(),
        "fan": parallel(POET, CRITIC),
        "other model": Variant(model=other),
        "other prompts": Variant(prompts="mine"),
    }
    done = await aevaluate(TEAM, CASES[:1], variants=variants, model=usual, db=":memory:")
    assert [(one.variant, one.score.mean) for one in done.summaries] == [
        ("line", 1.0), ("fan", 1.0), ("other model", 0.0), ("other prompts", 1.0),
    ]  # fmt: skip
    texts = [messages[0].text for _, _, messages in usual.asked]
    assert sum("OTHER RULES" in one for one in texts) == 1


async def test_the_table_says_what_it_is_about() -> None:
    model = priced({"poet": ["a pond"] * 2})
    done = await aevaluate(TEAM, CASES, model=model, db=":memory:")
    header, row, *notes = str(done).splitlines()
    assert header.split() == ["variant", "cases", "score", "passed", "ended", "usd", "seconds"]
    assert row.startswith("sequential  2      0.50 (0.09 to 0.91)  1 of 2  2 completed  0.0060 (0.0060 to 0.0060)")
    assert len(notes) == 1 and "SIMULATED" not in notes[0]
    told = done.to_json()
    assert told["variants"][0]["score"] == pytest.approx({"mean": 0.5, "low": 0.0945, "high": 0.9055}, abs=1e-3)
    assert [one["case"] for one in told["variants"][0]["runs"]] == ["case-1", "second"]


async def test_simulated_words_say_so() -> None:
    said = str(await aevaluate(TEAM, ["a haiku"], [review(by="qa-engineer")], db=":memory:"))
    assert "sequential (simulated)" in said and said.count("SIMULATED") == 2


async def test_no_simulated_judge_for_real_work() -> None:
    real = {"real": Variant(model=priced({"*": "x"}))}
    with pytest.raises(SettingsError, match=r"real would be judged by a simulated model.*judge="):
        await aevaluate(TEAM, ["a haiku"], [review(by="qa-engineer")], variants=real, db=":memory:")
    judge = priced({"*": Verdict(passed=True, score=1.0)})
    done = await aevaluate(TEAM, ["x"], [review(by="qa-engineer")], variants=real, judge=judge, db=":memory:")
    assert done.complete and done.rows[0].judging_usd == pytest.approx(0.006)


async def test_no_more_runs_are_under_way_than_allowed() -> None:
    at_work, most = 0, 0

    async def busy(brief: Any) -> str:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.01)
        at_work -= 1
        return "done"

    await aevaluate(busy, [f"task {at}" for at in range(8)], [non_empty()], db=":memory:", at_once=3)
    assert most == 3


# --- intervals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 5, 20])
def test_intervals_of_scores_hold_what_they_say_for_few_values(count: int) -> None:
    dice = random.Random(7)  # noqa: S311 - a measurement, not a secret
    held = []
    for _ in range(5000):
        chance = dice.random()
        one = of_scores([float(dice.random() < chance) for _ in range(count)])
        held.append((one.low or 0) - 1e-9 <= chance <= (one.high or 0) + 1e-9)
    assert fmean(held) > 0.945, "passes and fails, which vary most, over all chances"


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_intervals_of_amounts_hold_what_they_say_for_few_values(count: int) -> None:
    dice = random.Random(7)  # noqa: S311 - as above
    found = [of_amounts([dice.gauss(50, 5) for _ in range(count)]) for _ in range(5000)]
    assert fmean((one.low or 0) <= 50 <= (one.high or 0) for one in found) == pytest.approx(0.95, abs=0.01)


def test_one_value_or_equal_ones_are_no_certainty() -> None:
    assert of_scores([1.0]).low == pytest.approx(0.207, abs=1e-3)
    assert of_scores([1.0] * 5).low == pytest.approx(0.566, abs=1e-3)
    assert (of_amounts([3.0]).low, of_amounts([3.0]).high) == (None, None)


# --- bad input --------------------------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"cases": []}, "There are no cases"),
    ({"cases": "nowhere.yaml"}, "nowhere.yaml cannot be read"),
    ({"cases": {"task": "x"}}, "must be a list"),
    ({"cases": [" "]}, "task of case-1 is empty"),
    ({"cases": [{"tsak": "x"}]}, "Unknown key in case 1 'tsak'. Did you mean 'task'"),
    ({"cases": [{"name": "x"}]}, "Case 1 has no task"),
    ({"cases": [{"task": "x", "name": "a/b"}]}, "without '/'"),
    ({"cases": [{"task": "x", "name": "a"}, {"task": "y", "name": "a"}]}, "Two cases are named 'a'"),
    ({"cases": [{"task": "x", "expected": 5}]}, "must be a text"),
    ({"cases": ["x"]}, "Nothing says what a good answer"),
    ({"scorers": [5]}, "5"),
    ({"scorers": ["niceness"]}, "'niceness' is no scorer"),
    ({"scorers": ["expected"], "cases": ["x"]}, "expects nothing"),
    ({"scorers": [length, length]}, "Two scorers"),
    ({"variants": ["a"]}, "must name each"),
    ({"at_once": 0}, "at_once=0"),
    ({"target": None}, "has no target"),
]


@pytest.mark.parametrize(("given", "said"), WRONG, ids=[said for _, said in WRONG])
async def test_what_cannot_be_evaluated_is_refused_before_anything_is_run(given: dict[str, Any], said: str) -> None:
    model = answering()
    options: dict[str, Any] = {"target": TEAM, "cases": CASES, "model": model, "db": ":memory:"}
    with pytest.raises((InputError, BuildError)) as caught:
        await aevaluate(**options | given)
    assert said in str(caught.value) and model.asked == []


# --- files ------------------------------------------------------------------------------------------------------------

FILE = """\
name: greetings
team: teams.py:team
checks: [non_empty]
cases:
  - Say hello.
  - name: order
    task: Where is order 42?
    expected: 42
    checks:
      - expected
      - contains: [order, "42"]
      - review: {by: qa-engineer, at_least: 0.5}
      - function: teams.py:polite
variants:
  line: {}
  fan: {team: parallel, model: simulated, prompts: mine}
"""
TEAMS = """
from troupe import agent, sequential
team = sequential(agent("clerk", "Answer."))
def polite(work, case):
    return 0.75 if case.name == "order" else 0.0
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of cases, with its team, in a folder of their own."""
    folder = tmp_path / "project"
    (folder / "mine").mkdir(parents=True)
    (folder / "teams.py").write_text(TEAMS)
    (folder / "cases.yaml").write_text(FILE)
    return folder / "cases.yaml"


def test_a_file_holds_cases_checks_and_variants(file: Path) -> None:
    suite = read_cases(file)
    assert suite.name == "greetings" and suite.target == f"{file.parent / 'teams.py'}:team"
    assert [(one.name, one.task, one.expected) for one in suite.cases] == [
        ("", "Say hello.", None), ("order", "Where is order 42?", "42"),
    ]  # fmt: skip
    assert set(suite.variants) == {"line", "fan"} and suite.variants["fan"].prompts == file.parent / "mine"
    done = evaluate(None, file, db=":memory:")
    assert done.name == "greetings" and [one.cases for one in done.summaries] == [2, 2]
    assert done.rows[1].scores["polite"].value == 0.75


def test_a_file_needs_no_variants(file: Path) -> None:
    file.write_text("team: teams.py:team\nchecks: [non_empty]\ncases: [x]\n")
    assert evaluate(None, file, db=":memory:")["team"].passed == 1


LINES_WRONG = [
    ("cases:\n  - tsak: x\n", ":2:", "'tsak'. Did you mean 'task'"),
    ("caes:\n  - x\n", ":1:", "'caes'. Did you mean 'cases'"),
    ("cases:\n  - name: a\n", ":2:", "has no task"),
    ("cases: []\n", ":1:", "no cases"),
    ("", ":1:", "no cases"),
    ("- x\n", ":1:", "is a mapping with the keys name, team"),
    ("cases:\n  - x\nchecks: [nonempty]\n", ":3:", "'nonempty'. Did you mean 'non_empty'"),
    ("cases:\n  - x\nchecks:\n  - review: {by: qa-enginer}\n", ":4:", "Did you mean 'qa-engineer'"),
    ("cases:\n  - x\nchecks:\n  - review: {by: qa-engineer, atleast: 1}\n", ":4:", "'atleast'"),
    ("cases:\n  - x\nchecks:\n  - contains: []\n", ":4:", "contains() needs texts"),
    ("cases:\n  - x\nchecks:\n  - function: nowhere.py:x\n", ":4:", "There is no file"),
    ("cases:\n  - x\nteam: sequentail\n", ":3:", "Did you mean 'sequential'"),
    ("cases:\n  - x\nvariants:\n  a: {modle: y}\n", ":4:", "'modle'. Did you mean 'model'"),
    ("cases:\n  - x\nvariants:\n  a: mesh\n", ":4:", "a variant is a mapping"),
    ("cases:\n  - x\n  - task: y\n    expected: [1]\n", ":4:", "put it in quotes"),
    ("cases:\n  - x\ncases:\n  - y\n", ":3:", "stands here twice"),
    ("cases: [x\n", ":2:", "not YAML"),
    ("cases:\n  - &a [*a]\n", ":2:", "recursive"),
    ("cases: !!python/object/apply:os.system ['false']\n", ":1:", "python/object"),
    ("cases: x\n", ":1:", "cases is a list"),
    ("cases:\n  - x\nname: 5\n", ":3:", "name must be a text"),
    ("cases:\n  - \x00\n", "", "not YAML"),
]


@pytest.mark.parametrize(("text", "line", "said"), LINES_WRONG, ids=[said for _, _, said in LINES_WRONG])
def test_a_file_that_is_wrong_is_refused_with_line_and_choices(text: str, line: str, said: str, tmp_path: Path) -> None:
    (path := tmp_path / "cases.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_cases(path)
    assert f"cases.yaml{line}" in str(caught.value) and said in str(caught.value)


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_command_prints_a_table_and_goes_on(file: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    done = shell("eval", str(file), "--db", "runs.db")
    assert done.code == 0, done.err
    assert [row.split()[0] for row in done.out.splitlines()] == ["variant", "line", "fan"]
    assert "SIMULATED" in done.err and "line · order: completed" in done.err
    more = ("--variants", "line", "--variants", "sequential model=simulated:2", "--json")
    again = shell("eval", str(file), "--db", "runs.db", *more)
    assert again.code == 0, again.err
    assert [one["variant"] for one in again.json["variants"]] == ["line", "sequential model=simulated:2"]
    before = {one["run"] for one in shell("runs", "--db", "runs.db", "--json").json["runs"]}
    assert {one["run"] for one in again.json["variants"][0]["runs"]} <= before


def test_the_command_says_what_is_wrong(file: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    for options, said in (
        (["--variants", "lien"], "Did you mean 'line'"),
        (["--variants", "mesh modle=x"], "Did you mean 'model'"),
        (["--judge", "gpt"], "is not a model"),
    ):
        done = shell("eval", str(file), *options)
        assert (done.code, done.out) == (2, "") and said in done.err, done.err


# --- others' evaluations ----------------------------------------------------------------------------------------------


def test_a_team_is_a_target_of_langsmith() -> None:
    target = as_target(TEAM, model=scripted({"*": ["An old pond"] * 2}), db=":memory:")
    given = [
        Example(id=uuid.uuid4(), dataset_id=uuid.uuid4(), inputs={"task": "a haiku"}, outputs={"answer": words})
        for words in ("An old pond", "A frog")
    ]

    def same(outputs: dict[str, Any], reference_outputs: dict[str, Any]) -> dict[str, Any]:
        return {"key": "same", "score": outputs["answer"] == reference_outputs["answer"]}

    with Collector() as server:
        client = langsmith.Client(api_url=server.url, api_key="of-nobody", auto_batch_tracing=False)
        done = list(langsmith.evaluate(target, data=given, evaluators=[same], upload_results=False, client=client))
    outputs = [one["run"].outputs or {} for one in done]
    assert [(one["answer"], one["status"], one["simulated"]) for one in outputs] == [
        ("An old pond", "completed", True)
    ] * 2
    assert {one["evaluation_results"]["results"][0].score for one in done} == {False, True}


def test_a_target_refuses_inputs_that_no_team_takes() -> None:
    with pytest.raises(InputError, match="question"):
        as_target(TEAM, db=":memory:")({"question": "x"})


async def test_an_open_store_is_used_and_left_open(store: SqliteStore) -> None:
    await aevaluate(TEAM, ["x"], [non_empty()], db=store)
    assert len(await store.turns()) == 2
