"""Rehearsals: predictions that hold, are the same for the same seed, and call nothing real."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel

from tests.support.command import Shell
from troupe import (
    Agent,
    Brief,
    Deliverable,
    Executor,
    History,
    InputError,
    Recovery,
    Step,
    TeamContext,
    TeamGraph,
    TeamState,
    UnknownName,
    Verdict,
    agent,
    ahistory,
    arehearse,
    arun,
    check,
    contains,
    each,
    gate,
    hierarchical,
    mesh,
    non_empty,
    parallel,
    rehearse,
    review,
    run,
    scripted,
    sequential,
)
from troupe.agents.contracts import Tokens
from troupe.agents.models.scripted import ScriptedChatModel
from troupe.agents.virtual import play
from troupe.graphs.history import Asked, RunRecord, StepRecord
from troupe.graphs.rehearsing.faults import Faults
from troupe.sqlite import SqliteStore

NONE = History()


def line(*names: str, **options: Any) -> TeamGraph:
    return sequential(*(agent(name, "Work.") for name in names or ("a", "b", "c")), name="line", **options)


def known(steps: dict[str, list[bool]], runs: int = 10) -> History:
    """Runs of `line`, of steps that take a second per round and were judged so."""
    made = []
    for number in range(runs):
        records = tuple(
            StepRecord(
                path,
                agent=path,
                judged=tuple(judged),
                asked=tuple(Asked(path, None, "work", 1, 0.0, 1.0, 0.0, Tokens(input=10, output=50)) for _ in judged),
            )
            for path, judged in steps.items()
        )
        made.append(RunRecord(str(number), 1, "line", "x", "completed", False, 0.0, 3.0, 0.0, records))
    return History(tuple(made))


# --- what it predicts -----------------------------------------------------------------------------------------------


def test_the_same_seed_predicts_the_same_to_the_byte_and_another_does_not() -> None:
    team = parallel(agent("a", "Work."), Step(agent("b", "Work."), gate=gate(review(by="qa-engineer"))), name="fork")
    first, second, other = (
        json.dumps(rehearse(team, "x", trials=8, seed=seed, faults="rate_limit=0.2", history=NONE).to_json())
        for seed in (1, 1, 2)
    )
    assert first == second != other


def test_two_processes_predict_the_same_to_the_byte(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    args = ("rehearse", "parallel", "a shop", "--trials", "3", "--faults", "connection=0.1", "--json")
    first, second = shell(*args, PYTHONHASHSEED="1"), shell(*args, PYTHONHASHSEED="2")
    assert (first.code, first.err) == (0, "")
    assert first.out == second.out
    assert first.json["simulated"] is True and first.json["trials"] == 3


def test_a_line_takes_as_long_as_its_steps_together_and_a_fan_out_as_its_longest() -> None:
    found = rehearse(line(), "x", trials=20, history=known({"a": [True], "b": [True], "c": [True]}))
    assert found.seconds.p50 == found.seconds.p95 == pytest.approx(3.0)
    assert [one.path for one in found.figures.steps] == ["a", "b", "c"]
    assert [one.critical for one in found.figures.steps] == pytest.approx([1 / 3] * 3, abs=1e-5)
    fork = parallel(*(agent(name, "Work.") for name in "abc"), name="line")
    found = rehearse(fork, "x", trials=20, slots=3, history=known({"a": [True], "b": [True], "c": [True]}))
    assert found.seconds.p50 == pytest.approx(1.0)
    assert found.utilisation == pytest.approx(1.0)


def test_with_fewer_slots_it_takes_longer_and_says_who_waits() -> None:
    fork = parallel(*(agent(name, "Work.") for name in "abcd"), name="line")
    found = rehearse(fork, "x", trials=5, slots=2, history=known({name: [True] for name in "abcd"}))
    assert found.seconds.p50 == pytest.approx(2.0)
    assert sum(one.waiting for one in found.figures.steps) == pytest.approx(2.0)


@pytest.mark.parametrize(
    "checks",
    [
        contains("what no simulated text holds"),
        review(by="qa-engineer", at_least=0.9),
        non_empty() & review(by="qa-engineer") & review(by="sr-architect"),
        contains("never") | review(by="qa-engineer"),
    ],
    ids=["rule", "review", "all", "any"],
)
def test_gates_send_work_back_as_often_as_is_drawn(checks: Any) -> None:
    team = sequential(Step(agent("a", "Work."), gate=gate(checks, rework=3)), name="line")
    found = rehearse(team, "x", trials=100, history=known({"a": [False, True, False, False, True]}))
    step = found["a"]
    assert step.sent_back == pytest.approx(0.6, abs=0.08)
    # One in 0.6^k of all trials is judged for the (k+1)th time.
    assert step.verdicts == pytest.approx(1 + 0.6 + 0.36 + 0.216, abs=0.25)
    assert step.work == pytest.approx(1.0) and step.rework == pytest.approx(0.6 + 0.36 + 0.216, abs=0.25)
    assert found.figures.status["partial"] == pytest.approx(0.6**4, abs=0.08)
    assert (step.reviews > 0) == (not isinstance(checks, type(contains("x"))))


def test_a_fault_makes_it_longer_and_the_difference_is_told() -> None:
    team = line("a", "b")
    before = rehearse(team, "x", trials=20, history=NONE)
    for faults in ("rate_limit=0.3", "timeout=0.2", "connection=0.2", "server=0.2", "invalid_output=0.3"):
        found = rehearse(team, "x", trials=20, history=NONE, faults=faults)
        assert found.without is not None
        assert found.seconds.mean > found.without.seconds.mean, faults
        assert found.seconds.p50 >= found.without.seconds.p50, faults  # for nothing else is drawn otherwise
        assert found.without == before.figures
        assert sum(one.failures + one.waiting for one in found.figures.steps) > 0
        effect = found.to_json()["effect_of_faults"]
        assert effect["seconds_p50"] == pytest.approx(found.seconds.p50 - found.without.seconds.p50, abs=1e-5)


def test_whoever_is_down_is_stood_in_for_as_in_a_run() -> None:
    team = sequential(Step("python-engineer", "Build."), name="line")
    found = rehearse(team, "x", trials=5, history=NONE, faults="down:python-engineer")
    assert found.figures.status == {"completed": 1.0}
    assert found["python-engineer"].agent == "specialist-engineer"
    alone = sequential(Step(agent("a", "Build."), recovery=Recovery(backups=False, models=False)), name="line")
    found = rehearse(alone, "x", trials=5, history=NONE, faults="down:a")
    assert found.figures.status == {"failed": 1.0}


def test_a_person_answers_after_the_stated_time_and_that_is_said() -> None:
    team = sequential(Step(agent("a", "Work."), gate=gate(contains("x"), rework=0, then="ask")), name="line")
    found = rehearse(team, "x", trials=10, answers_after=120, history=known({"a": [False]}))
    assert found.figures.status == {"completed": 1.0}
    assert found.seconds.p50 == pytest.approx(121)
    assert found["(a person)"].critical == pytest.approx(120 / 121, abs=1e-4)
    assert any(one.what == "a person's answer" and "2 min" in one.value for one in found.sources)


def test_a_budget_and_a_deadline_end_a_trial_as_they_end_a_run() -> None:
    found = rehearse(line(), "x", trials=5, history=NONE, budget=0.0001)
    assert set(found.figures.status) <= {"partial", "failed"}
    found = rehearse(line(), "x", trials=5, history=NONE, deadline=2.0)
    assert found.seconds.p95 <= 2.1 and "completed" not in found.figures.status


def test_prices_are_those_of_the_models_that_would_serve() -> None:
    dear, cheap = (
        rehearse(line(), "x", trials=5, history=NONE, model=f"openai:{one}") for one in ("gpt-5", "gpt-5-nano")
    )
    assert dear.usd is not None and cheap.usd is not None
    assert dear.usd.p50 == pytest.approx(25 * cheap.usd.p50, rel=0.05)
    assert any("openai:gpt-5," in one.value and one.origin == "given" for one in dear.sources)
    unknown = rehearse(line(), "x", trials=5, history=NONE, model="local:mine")
    assert unknown.usd is None and unknown["a"].usd is None


def test_each_number_says_whether_it_was_recorded_or_is_a_default() -> None:
    found = rehearse(line(), "x", trials=2, history=known({"a": [True]}))
    origins = {one.what: (one.origin, one.samples) for one in found.sources}
    assert origins["replies of a at a (work)"] == ("recorded", 10)
    assert origins["replies of standard models (work)"][0] == "default"
    assert found.recorded == 10


PATTERNS: dict[str, TeamGraph] = {
    "sequential": sequential(),
    "parallel": parallel(),
    "hierarchical": hierarchical(),
    "mesh": mesh(),
    "items": parallel(each(agent("w", "Work."), lambda brief: [1, 2]), each(agent("v", "Work."), "ai-researcher")),
    "nested": sequential(
        Step(parallel(line("x", "y"), agent("z", "Work."), name="fork"), name="inner"), agent("a", "Work.")
    ),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_can_be_rehearsed(name: str) -> None:
    found = rehearse(PATTERNS[name], "a shop", trials=3, history=NONE)
    assert found.figures.status == {"completed": 1.0}
    assert found.seconds.p50 > 1 and found.usd is not None and found.usd.p50 > 0
    # The chain that decides reaches from the beginning to the end.
    assert found.figures.critical_engine == pytest.approx(0.0, abs=0.01)
    assert sum(one.critical for one in found.figures.steps) == pytest.approx(1.0, abs=0.01)


def test_the_items_of_a_fan_out_count_together() -> None:
    found = rehearse(PATTERNS["items"], "x", trials=3, history=NONE)
    assert {"w", "v"} <= {one.path for one in found.figures.steps}
    assert found["w"].requests == 3


# --- what it does not do --------------------------------------------------------------------------------------------


class Ticket(BaseModel):
    kind: str


def real(*_: Any, **__: Any) -> Any:
    raise AssertionError("something real was called")


async def real_async(*_: Any) -> Any:
    real()


class RealModel(ScriptedChatModel):
    """A model whose every request would be real."""

    is_simulated: bool = False

    def _answer(self, *_: Any) -> AIMessage:
        raise AssertionError("something real was called")


class Mine(Agent):
    """An agent of the user's own."""

    name = "mine"

    async def work(self, brief: Brief, schema: Any = None) -> Deliverable:
        return real()  # type: ignore[no-any-return]

    async def decide(self, brief: Brief, schema: Any) -> Any:
        return real()


def lookup(order: int) -> str:
    """Where an order is."""
    return real()  # type: ignore[no-any-return]


def foreign() -> Any:
    graph: Any = StateGraph(TeamState)
    graph.add_node("real", real)
    graph.add_edge(START, "real")
    graph.add_edge("real", END)
    return graph


def everything(model: BaseChatModel) -> TeamGraph:
    inner = sequential(Step(real, name="deep"), name="team")
    own_node = line("o")
    own_node.add_node("mine", real)
    own_node.add_edge("o", "mine")
    return sequential(
        Step(agent("tooled", "Work.", tools=[lookup], model=model), returns=Ticket),
        Step(real, name="function", returns=Ticket, undo=real),
        Step(real_async, name="async"),
        Step(Mine(), gate=gate(real)),
        Step(model, name="model"),
        Step(RunnableLambda(real), name="runnable"),
        Step(foreign().compile(name="foreign"), name="graph"),
        Step(inner, name="nested", takes=real, gives=real, returns=Ticket),
        Step(own_node, name="own node"),
        Step(agent("judged", "Work."), gate=gate(check(real) & review(by=Mine()), rework=2, then="ask")),
        Step(parallel(each(agent("w", "Work."), real), Step(real, name="other"), merge=real), name="fan"),
        name="everything",
    )


def test_nothing_real_is_called_and_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-only")
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    model = RealModel(lines={"*": []})
    team = everything(model)
    before = sorted(tmp_path.rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", real)
        found = rehearse(team, "x", trials=3, model=model, faults="rate_limit=0.1")
    assert found.figures.status == {"completed": 1.0}
    names = {one.path for one in found.figures.steps}
    assert {"tooled", "function", "async", "mine", "model", "runnable", "graph", "nested/deep", "fan/w"} <= names
    assert found["tooled"].requests >= 3  # as of an agent with tools
    assert sorted(tmp_path.rglob("*")) == before
    assert not model.asked


def test_a_team_runs_as_before_after_it_was_rehearsed() -> None:
    team = sequential(agent("poet", "Write."), gate=gate(contains("pond")), name="line").compile()
    rehearse(team, "x", trials=3, history=NONE)
    done = run(team, "x", model=scripted({"poet": ["a lake", "an old pond"]}), db=":memory:")
    assert (done.status, done.answer, done["poet"].rounds) == ("completed", "an old pond", 2)


async def test_it_works_inside_a_running_event_loop() -> None:
    loop = asyncio.get_running_loop()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = loop.create_task(tick())
    found = await arehearse(line(), "x", trials=5, history=NONE)
    ticking.cancel()
    assert ticks > 1  # the loop went on meanwhile
    assert rehearse(line(), "x", trials=5, history=NONE).to_json() == found.to_json()


async def test_one_that_is_not_waited_for_any_more_ends_soon() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await arehearse(line(), "x", trials=10_000, history=NONE)


# --- recorded runs --------------------------------------------------------------------------------------------------


class Lognormal(ScriptedChatModel):
    """Says something, after a time that is drawn; of its verdicts two in three pass."""

    seed: int

    def _answer(self, messages: Any, tools: Any, forced: bool) -> AIMessage:
        if not forced:
            return AIMessage("some words " * 40)
        passed = random.Random(f"{self.seed} {len(self.asked)}").random() < 2 / 3  # noqa: S311 - a simulation
        self.asked.append(passed)
        args = Verdict(passed=passed, feedback="" if passed else "again").model_dump(mode="json")
        return AIMessage("", tool_calls=[{"name": "Verdict", "args": args, "id": "1"}])

    def _delay(self, reply: AIMessage) -> float:
        self.asked.append(reply.id)
        drawn = random.Random(f"{self.seed} delay {len(self.asked)}")  # noqa: S311 - a simulation
        return drawn.lognormvariate(1.0 if reply.text else 0.0, 0.6)


def test_a_rehearsal_from_recorded_runs_reproduces_their_makespan() -> None:
    reviewed = gate(review(by="qa-engineer"), rework=2)
    team = sequential(
        agent("plan", "Work."),
        Step(parallel(*(Step(agent(one, "Work."), gate=reviewed) for one in "xyz"), name="fork"), name="fork"),
        Step(agent("write", "Work."), gate=reviewed),
        agent("close", "Work."),
        name="line",
    )

    async def record() -> History:
        with SqliteStore(":memory:", clock=asyncio.get_running_loop().time) as store:
            for number in range(40):
                model = Lognormal(lines={"*": []}, seed=number)
                done = await arun(team, "x", context=TeamContext(models=model, executor=Executor(2)), db=store)
                assert done.status in ("completed", "partial")
            return await ahistory("line", db=store, simulated=True)

    recorded = play(record)
    assert len(recorded) == 40
    took = median(one.seconds for one in recorded.runs)
    found = rehearse(team, "x", trials=100, slots=2, history=recorded)
    assert found.seconds.p50 == pytest.approx(took, rel=0.1)
    assert took > 10  # virtual seconds
    assert all(one.origin == "recorded" for one in found.sources if one.what.startswith(("replies", "verdicts")))


# --- the command, and what cannot be --------------------------------------------------------------------------------


def test_the_command_says_that_it_is_a_simulation_and_where_each_number_comes_from(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    done = shell("rehearse", "sequential", "a shop", "--trials", "4", "--faults", "rate_limit=0.2", "--slots", "2")
    assert (done.code, done.err) == (0, "")
    first, second, *_ = done.out.splitlines()
    assert first == "Rehearsal of sequential: a simulation, nothing real was called."
    assert second == "4 trials, seed 0, 2 slots, no run of it is recorded."
    for said in ("makespan, with faults", "cost, without", "utilisation: ", "SENT BACK", "what rate_limit=0.2 does: "):
        assert said in done.out
    sources = done.out.partition("Where the numbers come from:")[2]
    assert "- replies of premium models (work): " in sources and "(default)" in sources
    assert not list((tmp_path / "home").glob("**/*.db"))  # no database is made


def test_the_command_refuses_what_it_cannot_play(tmp_path: Path) -> None:
    done = Shell(tmp_path)("rehearse", "sequential", "x", "--faults", "rate=1")
    assert done.code == 2 and "Unknown fault 'rate'" in done.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trials": 0}, "trials=0: give a whole number from 1"),
        ({"slots": -1}, "slots=-1: give a whole number from 1"),
        ({"answers_after": float("nan")}, "answers_after=nan"),
        ({"faults": "timeout"}, "is no fault: write KIND=SHARE"),
        ({"faults": "timeout=2"}, "lies between 0 and 1"),
        ({"faults": "timeout=nan"}, "lies between 0 and 1"),
        ({"faults": "timeout=0.6,server=0.6"}, "come to more than 1"),
        ({"budget": -1.0}, "budget"),
    ],
)
def test_bad_input_says_what_to_do(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        rehearse(line(), "x", history=NONE, **options)


def test_unknown_faults_and_agents_are_listed_with_their_neighbours() -> None:
    with pytest.raises(UnknownName, match=r"Unknown fault 'rate_limits'\. Did you mean 'rate_limit'"):
        rehearse(line(), "x", history=NONE, faults="rate_limits=0.1")
    with pytest.raises(UnknownName, match=r"Unknown agent 'python-enginer'\. Did you mean 'python-engineer'"):
        rehearse(line(), "x", history=NONE, faults="down:python-enginer")
    assert str(Faults.read(" rate_limit=0.1, down:a,")) == "rate_limit=0.1,down:a"
