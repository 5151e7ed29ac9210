"""`optimize`: a sequence becomes branches where recorded runs show that its steps do not use each other's results."""

import asyncio
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from tests.support.command import Shell
from tests.support.openai_server import OpenAIServer
from troupe import BuildError, Executor, History, TeamContext, Workflow, history, optimize, run, scripted
from troupe.agents.call import Call
from troupe.agents.virtual import play
from troupe.graphs.flowing.order import behind
from troupe.graphs.flowing.plan import planned
from troupe.graphs.history import RunRecord, StepRecord

NAMES = ("interface", "storage", "manual", "pricing")
SECONDS = {"interface": 30.0, "storage": 40.0, "manual": 20.0, "pricing": 10.0}


def words(of: str, count: int = 40) -> str:
    """So many words that nobody else has."""
    made = (f"{of}{a}{b}uk" for a, b in product("bdfgklmn", "aiou"))
    return " ".join([*made, *(f"{of}{a}{b}om" for a, b in product("bdfgklmn", "aiou"))][:count])


def line(*steps: Any, **more: Any) -> Workflow:
    """A workflow of agents of its own, one after the other."""
    agents = {name: {"prompt": f"You do the {name}."} for name in (*NAMES, "report")}
    return Workflow.model_validate({"name": "line", "agents": agents, "phases": steps, **more})


def recorded(texts: Mapping[str, str], runs: int = 3, seconds: Mapping[str, float] = SECONDS) -> History:
    """So many runs in which the steps delivered these texts."""
    steps = tuple(StepRecord(name, seconds=seconds.get(name, 10.0), content=text) for name, text in texts.items())
    return History(
        tuple(RunRecord(str(at), 1, "line", "a shop", "completed", False, 0.0, 1.0, 0.0, steps) for at in range(runs))
    )


INDEPENDENT = {name: words(name) for name in NAMES}


def needs_of(workflow: Workflow, agents: Any = None) -> dict[str, set[str]]:
    return {one.step.name: {*one.needs} for one in planned(workflow, agents or {}, {})}


def reason(found: Any, step: str) -> str:
    return str(next(one.reason for one in found.bound if one.step == step))


class Slow(Executor):
    """Takes its time for each step."""

    async def _attempt(self, call: Call) -> BaseModel:
        await asyncio.sleep(SECONDS[call.brief.step])
        return await super()._attempt(call)


def played(workflow: Workflow) -> tuple[float, Any]:
    """How long a workflow takes on a virtual clock, and what it delivers."""
    team = workflow.build().compile(InMemorySaver())
    context = TeamContext(models=scripted(INDEPENDENT), executor=Slow(4, timeout=1e9))

    async def work() -> tuple[float, Any]:
        state = await team.ainvoke({"task": "a shop"}, {"configurable": {"thread_id": "t"}}, context=context)
        return asyncio.get_running_loop().time(), state

    return play(work)


def test_a_sequence_of_independent_steps_takes_as_long_as_its_critical_path_and_delivers_the_same_bytes(
    db: Path,
) -> None:
    before = line(*NAMES)
    for task in ("a shop", "a library", "a bank"):
        run(before.build(), task, model=scripted(INDEPENDENT), db=db)
    kept = history("line", db=db, simulated=True)
    found = optimize(before, History(tuple(_timed(one) for one in kept.runs)))

    assert (found.before, found.after) == (100.0, 40.0)
    assert needs_of(found.workflow) == {name: set() for name in NAMES}
    assert {(one.step, one.after, one.runs) for one in found.changes} == {(name, (), 3) for name in NAMES[1:]}
    (long, old), (short, new) = played(before), played(found.workflow)
    assert long == pytest.approx(100, rel=0.01)
    assert 40 <= short <= 40 * 1.05
    assert [one.content.encode() for one in old["deliverables"].values()] == [
        new["deliverables"][name].content.encode() for name in old["deliverables"]
    ]
    assert {one.status for one in new["deliverables"].values()} == {"accepted"}


def _timed(run: RunRecord) -> RunRecord:
    """The run as if its steps had taken their time."""
    from dataclasses import replace

    return replace(run, steps=tuple(replace(one, seconds=SECONDS[one.path]) for one in run.steps))


def test_what_is_built_on_all_of_them_still_waits_for_all_of_them() -> None:
    texts = {**INDEPENDENT, "report": " ".join(INDEPENDENT.values())}
    found = optimize(line(*NAMES, "report"), recorded(texts))
    assert needs_of(found.workflow)["report"] == {*NAMES}
    assert next(one.reason for one in found.changes if one.step == "report") == (
        "so that it waits for no less than before"
    )
    assert found.after == 50.0


def test_a_phase_that_is_a_sequence_becomes_a_parallel_one() -> None:
    texts = {**INDEPENDENT, "report": " ".join(INDEPENDENT.values())}
    found = optimize(line({"name": "build", "steps": NAMES}, "report"), recorded(texts))
    phase: Any = found.workflow.phases[0]
    assert (phase.kind, phase.steps) == ("parallel", NAMES)
    assert found.workflow.phases[1] == "report", "it comes after the whole phase, as it did"
    assert Workflow.parse(found.workflow.to_yaml()) == found.workflow


def test_without_recorded_runs_nothing_is_changed_and_it_is_said_why() -> None:
    before = line(*NAMES)
    found = optimize(before)
    assert found.workflow is before and not found.changes and found.saving == 0
    assert len(found.bound) == 3 and "3 that it takes" in found.bound[0].line()
    assert "nothing recorded" in found.line()
    assert "2 recorded runs tell of both" in reason(optimize(before, recorded(INDEPENDENT, 2)), "storage")


@pytest.mark.parametrize(
    ("steps", "texts", "said"),
    [
        pytest.param([], {"storage": words("storage") + " see order_items"}, "takes up order_items", id="identifier"),
        pytest.param([], {"storage": words("storage") + " " + words("interface", 6)}, "takes up interface", id="words"),
        pytest.param([], {"storage": "All is well."}, "4 with too few words", id="too short to tell"),
        pytest.param(
            [],
            {one: words(one) + f"\n```sql path=db/a.sql\n{one}\n```\n" for one in ("interface", "storage")},
            "both write db/a.sql",
            id="the same file",
        ),
        pytest.param(
            ["interface", {"agent": "storage", "objective": "Correct the previous work."}], {},
            'its objective speaks of earlier work: "previous"', id="objective",
        ),
        pytest.param(
            ["interface", {"agent": "storage", "objective": "Store what the interface shows."}], {},
            "its objective names interface", id="name",
        ),
        pytest.param(
            [{"agent": "interface", "gate": {"contains": ["ok"], "then": "fail"}}, "storage"], {},
            "what does not pass the gate of interface holds up what follows", id="a gate that ends the run",
        ),
        pytest.param(
            ["interface", {"agent": "storage", "gate": {"review": "pricing"}}], {},
            "the gate of storage can find interface to blame", id="a gate that blames",
        ),
        pytest.param(
            ["interface", {"agent": "storage", "needs": ["interface"]}], {}, "the workflow says so", id="needs",
        ),
    ],
)  # fmt: skip
def test_an_order_stays_where_anything_speaks_for_it(steps: list[Any], texts: dict[str, str], said: str) -> None:
    told = {"interface": words("interface") + " with order_items", "storage": words("storage"), **texts}
    before = line(*(steps or NAMES[:2]))
    found = optimize(before, recorded(told, runs=4))
    assert said in reason(found, "storage")
    assert found.workflow is before and not found.changes


def test_a_gate_that_only_marks_work_as_partial_binds_nobody() -> None:
    found = optimize(line(*NAMES, gate={"non_empty": True}), recorded(INDEPENDENT))
    assert found.after == 40.0


def test_one_run_of_many_in_which_a_result_is_used_is_enough_to_keep_the_order() -> None:
    used = recorded({**INDEPENDENT, "storage": words("storage") + " " + words("interface", 9)}, 1)
    found = optimize(line(*NAMES[:2]), History((*recorded(INDEPENDENT, 9).runs, *used.runs)))
    assert not found.changes and "(1 of 10 runs)" in reason(found, "storage")


def test_words_that_a_step_always_uses_are_no_sign_of_another_ones_result() -> None:
    usual = "supervisor refund voucher ledger invoice"
    runs = [
        recorded({"interface": words("interface") + (usual if at == 0 else ""), "storage": words("storage") + usual}, 1)
        for at in range(3)
    ]
    found = optimize(line(*NAMES[:2]), History(tuple(one for each in runs for one in each.runs)))
    assert [one.step for one in found.changes] == ["storage"]


def test_what_a_function_does_is_not_seen_in_texts() -> None:
    before = line("interface", "deploy", "pricing")

    def deploy(brief: Any) -> str:
        return words("deploy")

    agents = {"deploy": deploy}
    found = optimize(before, recorded({**INDEPENDENT, "deploy": words("deploy")}), agents=agents)
    assert reason(found, "deploy") == "deploy may do what no text shows"
    assert reason(found, "pricing") == "deploy may do what no text shows" and not found.changes


def test_a_step_that_is_named_by_its_function_keeps_its_name() -> None:
    def push(brief: Any) -> str:
        return "pushed"

    agents = {"last": push}
    found = optimize(line({"name": "build", "steps": NAMES}, "last"), recorded(INDEPENDENT), agents=agents)
    assert needs_of(found.workflow, agents)["push"] == {*NAMES} and found.changes
    found = optimize(line(*NAMES, "last"), recorded(INDEPENDENT), agents=agents)
    assert needs_of(found.workflow, agents)["push"] == {*NAMES} and found.changes


def test_made_up_words_are_no_evidence() -> None:
    found = optimize(line(*NAMES), recorded({name: f"[simulated] {words(name)}" for name in NAMES}, 9))
    assert not found.changes and "0 recorded runs tell of both" in reason(found, "storage")


def test_an_order_that_costs_no_time_stays() -> None:
    before = line(
        {"agent": "interface", "needs": []}, {"agent": "storage", "needs": []}, "manual",
        {"agent": "report", "needs": ["interface", "manual"]},
    )  # fmt: skip
    told = {**INDEPENDENT, "report": words("report")}
    found = optimize(before, recorded(told, seconds={"interface": 90, "storage": 5, "manual": 5, "report": 5}))
    assert not found.changes and reason(found, "manual") == "to begin sooner would save no time"


def test_what_cannot_work_is_an_error_as_it_is_for_build() -> None:
    with pytest.raises(BuildError, match="nobody"):
        optimize(line("nobody"))


@st.composite
def used(draw: st.DrawFn) -> tuple[Workflow, dict[str, set[str]], History, set[str]]:
    """A workflow, which step takes up which earlier results, runs that show it, and who says what they need."""
    names = [f"s{letter}" for letter in "abcdefg"[: draw(st.integers(2, 7))]]
    uses = {name: {*draw(st.lists(st.sampled_from(names[:at])))} if at else set() for at, name in enumerate(names)}
    own = {name: words(name) for name in names}
    texts = {name: " ".join([own[name], *(own[one] for one in sorted(uses[name]))]) for name in names}
    said, phases, at = set(), list[Any](), 0
    while at < len(names):
        size = draw(st.integers(1, 3))
        part: list[Any] = [*names[at : at + size]]
        if at and draw(st.booleans()) and len(part) == 1:
            said |= {*part}
            needs = draw(st.lists(st.sampled_from(names[:at]), unique=True))
            phases.append({"agent": part[0], "needs": needs})
        elif len(part) > 1:
            phases.append({"name": f"p{at}", "kind": draw(st.sampled_from(["sequential", "parallel"])), "steps": part})
        else:
            phases += part
        at += size
    agents = {name: {"prompt": f"You do {name}."} for name in names}
    seconds = {name: float(draw(st.integers(1, 9))) for name in names}
    workflow = Workflow.model_validate({"name": "line", "agents": agents, "phases": phases})
    return workflow, uses, recorded(texts, seconds=seconds), said


@settings(max_examples=60)
@given(used())
def test_nothing_that_was_used_or_said_is_ever_lost_and_it_never_gets_slower(
    drawn: tuple[Workflow, dict[str, set[str]], History, set[str]],
) -> None:
    workflow, uses, told, said = drawn
    found = optimize(workflow, told)
    old, new = needs_of(workflow), needs_of(found.workflow)
    before, after = behind({name: [*one] for name, one in old.items()}), behind({n: [*one] for n, one in new.items()})
    for name in old:
        if name in said:
            assert new[name] == old[name]
        else:
            assert uses[name] & {*before[name]} <= {*after[name]}, "it no longer waits for what it uses"
            assert {*after[name]} <= {*before[name]}, "it waits for what it did not wait for"
    assert found.after <= found.before
    assert bool(found.changes) == (old != new)
    assert not found.changes or found.after < found.before
    assert Workflow.parse(found.workflow.to_yaml()) == found.workflow
    again = optimize(found.workflow, told)
    assert again.after <= found.after


def test_the_command_says_what_it_would_change_and_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = line({"name": "build", "steps": NAMES[:3]})
    file, out, db = tmp_path / "line.yaml", tmp_path / "faster.yaml", tmp_path / "kept.db"
    file.write_text(before.to_yaml())
    shell = Shell(tmp_path)
    nothing = shell("optimize", "line.yaml", "--db", "kept.db")
    assert nothing.code == 0 and nothing.out.startswith("nothing to change") and "storage stays" in nothing.err
    with OpenAIServer({f"do the {name}": [INDEPENDENT[name]] * 3 for name in NAMES[:3]}) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        for task in ("a shop", "a library", "a bank"):
            run(before.build(), task, model="openai:gpt-5-mini", db=db)
    told = shell("optimize", "line.yaml", "--db", "kept.db", "--write", "faster.yaml", "--json").json
    assert [(one["step"], one["after"], one["runs"]) for one in told["changes"]] == [
        ("storage", [], 3), ("manual", [], 3)
    ]  # fmt: skip
    assert told["after"] < told["before"] and len(told["recorded"]) == 3
    phase: Any = Workflow.read(out).phases[0]
    assert phase.kind == "parallel" and out.read_text() == told["yaml"]
    said = shell("optimize", "line.yaml", "--db", "kept.db")
    assert "storage waits for nothing instead of interface: in 3 runs" in said.out and "predicted" in said.out
    refused = shell("optimize", "line.yaml", "--write", "line.yaml")
    assert refused.code == 2 and "comments would be lost" in refused.err
