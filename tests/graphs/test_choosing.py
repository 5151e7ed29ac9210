"""Which way of working is chosen for a task: the table, the evidence, the record, and what is said about it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from troupe import InputError, TeamContext, UnknownName, aexplain, explain, scripted
from troupe.agents.roster import ROSTER
from troupe.graphs.bottlenecks import Span, bottlenecks, slowest
from troupe.graphs.choosing import reading
from troupe.graphs.choosing.assessment import COMPLEXITIES, Assessment, Reading, Resources, assessed
from troupe.graphs.choosing.choice import choose, ruled_out
from troupe.graphs.choosing.evidence import scored
from troupe.graphs.choosing.forecasting import forecasts
from troupe.graphs.choosing.learning import Outcome, beliefs, drawn, kind_of, outcomes, reward
from troupe.graphs.choosing.reading import read
from troupe.graphs.choosing.selection import CHANGES, PATTERNS, Pattern, by_table
from troupe.graphs.history import History, RunRecord, StepRecord

TASKS = Path(__file__).with_name("tasks.yaml")


class Described(NamedTuple):
    task: str
    pattern: str
    published: str | None
    held: bool


@lru_cache
def described() -> tuple[Described, ...]:
    """The tasks of the table beside."""
    found: dict[str, list[dict[str, Any]]] = yaml.safe_load(TASKS.read_text("utf-8"))
    return tuple(
        Described(
            one["task"], "single" if pattern == "simple" else pattern, one.get("published"), one.get("held", False)
        )
        for pattern, tasks in found.items()
        for one in tasks
    )


def of(complexity: str = "moderate", **fields: Any) -> Assessment:
    """An assessment."""
    whole = {"complexity": complexity, "decomposable": 0.3, "sequential": 0.2, "exploratory": 0.0, **fields}
    resources = whole.pop("resources", Resources(agents=21, slots=8))
    return assessed(Reading.model_validate(whole), resources)


# --- the tasks that people describe ----------------------------------------------------------------------------------


def test_the_table_decides_every_described_task_as_it_should(tmp_path: Path) -> None:
    wrong = [
        (one.pattern, found, one.task)
        for one in described()
        if (found := explain(one.task, history=History()).pattern) != one.pattern
    ]
    total, held = len(described()), sum(one.held for one in described())
    print(f"table: {total - len(wrong)} of {total} described tasks; {held} of them were held out while it was made")  # noqa: T201
    assert total >= 40 and {one.pattern for one in described()} == set(PATTERNS)
    assert not wrong


def test_the_evidence_agrees_with_what_was_published(tmp_path: Path) -> None:
    known = [one for one in described() if one.published]
    agreed = [one for one in known if explain(one.task, learn=True, history=History()).pattern == one.published]
    print(f"evidence: {len(agreed)} of {len(known)} tasks with a published winner")  # noqa: T201
    assert len(known) >= 15 and {one.published for one in known} >= {"single", "parallel", "hierarchical", "mesh"}
    assert len(agreed) >= 0.87 * len(known)


def test_the_evidence_overrules_the_table_only_when_asked() -> None:
    planning = "Rearrange the stack of blocks step by step, one at a time, until it matches the target."
    usual, asked = explain(planning, history=History()), explain(planning, learn=True, history=History())
    assert (usual.pattern, usual.chosen.by) == ("sequential", "table")
    assert (asked.pattern, asked.chosen.by) == ("single", "evidence")
    assert {one.pattern: one.score for one in usual.options} == {one.pattern: one.score for one in asked.options}


# --- the words -------------------------------------------------------------------------------------------------------


@given(st.text(max_size=400))
def test_any_text_is_assessed_and_always_alike(text: str) -> None:
    found = read(text)
    reading._read.cache_clear()
    assert found == read(text)
    assert found.complexity in COMPLEXITIES
    assert all(0 <= getattr(found, name) <= 1 for name in ("decomposable", "sequential", "exploratory"))
    assert by_table(of(**found.model_dump())).pattern in PATTERNS


@pytest.mark.parametrize("task", ["a, " * 20_000, "every " * 20_000, "1" * 10_000, "A. " * 10_000, "with a-" * 9_000])
def test_a_task_that_was_made_to_be_hard_to_read_is_read_at_once(task: str) -> None:
    began = time.perf_counter()
    read(task)
    assert time.perf_counter() - began < 2


def test_words_of_haste_and_care_are_read() -> None:
    assert read("Fix the typo today, it is urgent.").timeline == "urgent"
    assert read("There is no hurry: tidy up the wiki.").timeline == "flexible"
    assert read("Check the medical device's patient safety report for compliance.").quality == "critical"


# --- where each field comes from -------------------------------------------------------------------------------------


def test_what_is_stated_goes_before_a_model_and_a_model_before_words() -> None:
    said = {"complexity": "complex", "decomposable": 0.9, "sequential": 0.1, "exploratory": 0.0, "quality": "high"}
    found = explain(
        "Summarise this.",
        model=scripted([said]),
        quality="critical",
        context=TeamContext(quality="standard", timeline="urgent"),
        history=History(),
    )
    seen = found.assessment
    assert (seen.complexity, seen.sources["complexity"]) == ("complex", "model")
    assert (seen.quality, seen.sources["quality"]) == ("critical", "stated")
    assert (seen.timeline, seen.sources["timeline"]) == ("urgent", "stated")
    assert seen.sources["resources"] == "measured" and seen.resources.agents == len(ROSTER)
    assert found.pattern == "hierarchical"


def test_no_model_is_called_unless_one_is_configured() -> None:
    found = explain("Summarise this.", history=History())
    assert set(found.assessment.sources.values()) == {"heuristic", "measured"}
    assert any("No model is configured" in one for one in found.notices)


async def test_a_model_that_cannot_assess_leaves_it_to_the_words_and_says_so() -> None:
    model = scripted({"sr-architect": [PermissionError("not today")] * 9})
    found = await aexplain("Summarise this.", model=model, history=History())
    assert found.assessment.sources["complexity"] == "heuristic"
    assert "not today" in found.notices[0]


def test_a_function_or_a_mapping_states_what_is_known_of_all_tasks() -> None:
    by_function = explain("x", assessor=lambda brief: {"exploratory": 0.9, "complexity": "moderate"}, history=History())
    assert (by_function.pattern, by_function.assessment.sources["exploratory"]) == ("mesh", "stated")
    assert explain("x", assessor={"complexity": "enterprise"}, history=History()).pattern == "hierarchical"


def test_what_cannot_be_stated_is_refused_with_what_can() -> None:
    with pytest.raises(UnknownName, match=r"'complexty'.*complexity"):
        explain("x", complexty="simple")
    with pytest.raises(InputError, match="'simple', 'moderate', 'complex' or 'enterprise'"):
        explain("x", complexity="huge")
    with pytest.raises(InputError, match="The task is empty"):
        explain("  ")


# --- resources -------------------------------------------------------------------------------------------------------


def test_what_there_is_no_money_or_time_for_is_not_chosen() -> None:
    task = "Build a multi-tenant e-commerce platform with payments, inventory, search and an admin dashboard."
    assert explain(task, history=History()).pattern == "hierarchical"
    poor = explain(task, budget=0.05, history=History())
    assert poor.pattern != "hierarchical" and poor.chosen.by == "resources"
    assert "hierarchical would fit, but it would cost about $0.1" in poor.chosen.why
    assert "cost about" in poor["hierarchical"].ruled_out and "cannot be had" in str(poor)
    hurried = explain(task, deadline=30, history=History())
    assert hurried["hierarchical"].forecast.seconds > 30 >= hurried[hurried.pattern].forecast.seconds
    assert explain(task, budget=0, history=History()).pattern == "single"
    assert explain(task, pool=["python-engineer"], history=History()).pattern == "single"


@given(
    st.sampled_from(COMPLEXITIES),
    st.tuples(*[st.floats(0, 1)] * 3),
    st.integers(0, 50),
    st.sets(st.sampled_from(PATTERNS), min_size=1),
    st.booleans(),
    st.one_of(st.none(), st.floats(0, 1)),
)
@settings(max_examples=60)
def test_a_pattern_outside_of_those_allowed_is_never_chosen(
    complexity: Any, shares: Any, items: int, allowed: set[Pattern], learn: bool, budget: float | None
) -> None:
    task = of(
        complexity,
        **dict(zip(("decomposable", "sequential", "exploratory"), shares, strict=True)),
        items=items,
        resources=Resources(agents=4, slots=2, budget=budget),
    )
    names = [one for one in PATTERNS if one in allowed]
    ruled = ruled_out(task, forecasts("x", task), names)
    for history in (None, recorded("x", hierarchical=[1.0] * 3)):
        assert choose("x", task, ruled, history, learn, names).pattern in allowed


def test_every_pattern_can_be_changed_for_another() -> None:
    for pattern, others in CHANGES.items():
        assert pattern not in others and len(set(others)) == len(others) >= 2


# --- the record ------------------------------------------------------------------------------------------------------


def ran(task: str, pattern: str, status: Any = "completed", score: float | None = None, usd: float = 0.0) -> RunRecord:
    """A recorded run of a pattern."""
    step = StepRecord("step", calls=4, seconds=6.0, score=score, usd=usd)
    return RunRecord(f"{pattern}-{status}-{score}", 1, pattern, task, status, False, 0.0, 6.0, usd, (step,))


def recorded(task: str, **scores: list[float]) -> History:
    """Recorded runs by pattern, newest first."""
    return History(tuple(ran(task, pattern, score=one) for pattern, each in scores.items() for one in each))


def test_a_reward_counts_the_end_the_score_and_a_little_of_the_cost() -> None:
    cheap, dear = (Outcome("k", "mesh", "completed", 0.9, 1, 1.0, usd) for usd in (0.0, 1.0))
    assert reward(cheap, 1.0) == 0.9 > reward(dear, 1.0) > 0.8
    assert reward(Outcome("k", "mesh", "partial", 0.8, 1, 1.0, 0.0), 1.0) == 0.4
    assert reward(Outcome("k", "mesh", "failed", 1.0, 1, 1.0, 0.0), 1.0) == 0.0


def test_without_a_record_the_evidence_is_what_is_believed() -> None:
    evidence = scored(of())
    for one in evidence:
        assert beliefs("k", (), evidence)[one.pattern].mean == pytest.approx((1 + 4 * one.score) / 6)


def test_what_worked_is_chosen_more_and_more_and_what_did_not_less() -> None:
    task, seen = "Write a script and test it.", of()
    history = recorded(task, mesh=[1.0] * 30, sequential=[0.1] * 30, single=[0.1] * 30)
    picks = [
        choose(f"{task}{' ' * n}", seen, history=history, learn=True).pattern for n in range(50)
    ]  # the seed is made of the task
    assert picks.count("mesh") > 40
    assert choose(task, seen, history=history, learn=True).by == "recorded runs"
    assert choose(task, seen, history=history).pattern == "sequential", "the table decides where nobody asked"


def test_the_same_task_over_the_same_record_is_decided_alike() -> None:
    history = recorded("Write a script and test it.", mesh=[0.5] * 4, single=[0.5] * 4)
    picks = {choose("Write a script and test it.", of(), history=history, learn=True).pattern for _ in range(5)}
    assert len(picks) == 1


def simulated(
    rates: dict[Pattern, float], rounds: int, change: dict[Pattern, float] | None = None
) -> Iterator[Pattern]:
    """Runs one after another, each chosen over the record of those before; halfway the world may change."""
    luck, known, evidence = random.Random(7), list[Outcome](), scored(of())  # noqa: S311
    for number in range(rounds):
        now = change if change and number >= rounds // 2 else rates
        pattern = drawn(beliefs("k", known, evidence), PATTERNS, f"{number}")
        good = luck.random() < now[pattern]
        known.insert(0, Outcome("k", pattern, "completed" if good else "failed", None, 1, 1.0, 0.0))
        yield pattern


def test_the_sampler_comes_to_the_better_arm_and_leaves_it_when_it_gets_worse() -> None:
    poor = dict.fromkeys(PATTERNS, 0.2)
    picks = list(simulated({**poor, "mesh": 0.9}, 200))
    assert picks[-100:].count("mesh") > 80
    picks = list(simulated({**poor, "mesh": 0.9}, 400, {**poor, "parallel": 0.9}))
    assert picks[100:200].count("mesh") > 80 and picks[-100:].count("parallel") > 60


def test_older_runs_count_less() -> None:
    good = Outcome("k", "mesh", "completed", None, 1, 1.0, 0.0)
    bad = Outcome("k", "mesh", "failed", None, 1, 1.0, 0.0)
    evidence = scored(of())
    recent = beliefs("k", [good] * 20 + [bad] * 20, evidence)["mesh"].mean
    past = beliefs("k", [bad] * 20 + [good] * 20, evidence)["mesh"].mean
    assert recent > past + 0.1


def test_runs_of_another_kind_of_task_say_nothing() -> None:
    assert kind_of("Write a haiku.") != kind_of("Explore what could work, nobody knows why.")
    history = recorded("Write a haiku.", mesh=[1.0] * 9)
    assert choose("Write a script and test it.", of(), history=history, learn=True).by == "evidence"


def test_an_adaptive_run_tells_of_each_attempt() -> None:
    steps = (
        StepRecord("single", status="partial", seconds=1.0),
        StepRecord("sequential", status="accepted", score=0.9, seconds=4.0),
        StepRecord("sequential/draft", seconds=2.0),
    )
    run = RunRecord("r", 1, "mine", "x", "completed", False, 0.0, 5.0, 0.0, steps)
    assert [(one.pattern, one.status) for one in outcomes(History((run,)))] == [
        ("single", "partial"),
        ("sequential", "completed"),
    ]


def test_costs_and_times_are_those_of_recorded_runs_once_there_are_enough() -> None:
    task = "Write a script and test it."
    before = explain(task, history=History())["sequential"].forecast
    assert before.source == "assumed" and before.calls > 2
    history = History(tuple(ran(task, "sequential", usd=0.5) for _ in range(3)))
    after = explain(task, history=history)["sequential"].forecast
    assert (after.source, after.runs, after.seconds, after.usd, after.calls) == ("recorded", 3, 6.0, 0.5, 4)
    assert "3 recorded runs" in str(explain(task, history=history))


# --- bottlenecks -----------------------------------------------------------------------------------------------------


def test_the_step_on_the_longest_way_moves_the_end_and_its_siblings_do_not() -> None:
    found = {one.step: one for one in bottlenecks(_diamond(slow=8.0))}
    assert (found["slow"].share, found["fast"].share, found["merge"].share) == (1.0, 0.0, 1.0)
    assert found["slow"].saving == pytest.approx(0.8 / 11, abs=1e-3)
    nearly = {one.step: one.share for one in bottlenecks(_diamond(slow=2.1))}
    assert 0 < nearly["slow"] < 1, "a tenth less of it, and its sibling is what is waited for"


def _diamond(slow: float) -> list[Span]:
    return [
        Span("plan", 0, 1),
        Span("slow", 1, 1 + slow, ("plan",)),
        Span("fast", 1, 3, ("plan",)),
        Span("merge", 1 + max(slow, 2), 3 + max(slow, 2), ("slow", "fast")),
    ]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), max_size=12))
def test_any_spans_have_bottlenecks_whose_shares_are_shares(given_: list[tuple[float, float]]) -> None:
    found = bottlenecks(Span(f"s{n}", start, start + length) for n, (start, length) in enumerate(given_))
    assert all(-1e-6 <= one.share <= 1 + 1e-6 for one in found)


def test_recorded_runs_tell_which_step_is_worth_making_faster() -> None:
    steps = (
        StepRecord("draft", started=0.0, seconds=9.0),
        StepRecord("check", started=9.0, seconds=1.0, sources=("draft",)),
    )
    run = RunRecord("r", 1, "sequential", "Write a script and test it.", "completed", False, 0.0, 10.0, 0.0, steps)
    assert [one.step for one in slowest(History((run, run)))] == ["draft", "check"]
    found = explain("Write a script and test it.", history=History((run,)))
    assert found.bottlenecks[0].startswith("draft: 9 s")
    assert "What took longest in recorded runs" in str(found)
