"""Workflows as data: reading them, writing them, and every way in which one cannot be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from troupe import BuildError, SettingsError, Step, Workflow, agent, run, scripted, sequential
from troupe.agents.events import Event, StepFinished, StepStarted
from troupe.agents.roster import ROSTER
from troupe.graphs.workflow import MOST_STEPS, schema

RELEASE = """
name: release
agents:
  namer: {prompt: You name things., tier: economy, skills: [names]}
gate: {review: qa-engineer, at_least: 0.8}
phases:
  - name: plan
    steps:
      - product-manager
      - {agent: namer, needs: []}
  - name: build
    kind: parallel
    steps:
      - {agent: python-engineer, name: api, objective: Build the API.}
      - name: web
        steps: [ui-ux-designer, frontend-engineer]
  - {name: choose, kind: parallel, join: first(1), merge: {by: sr-architect}, steps: [java-engineer, data-engineer]}
  - {name: pool, kind: mesh, pool: [devops-engineer, git-helper], gate: none, needs: [api]}
  - {agent: technical-writer, needs: [plan, build], gate: {contains: [Usage]}, optional: true}
"""


def needs_of(workflow: Workflow) -> dict[str, tuple[str, ...]]:
    return {step.name: tuple(step.needs) for step in workflow.build().steps}


def refused(text: str) -> str:
    """What is said of a workflow that cannot be read or built."""
    with pytest.raises(BuildError) as caught:
        Workflow.parse(text, "my.yaml").build()
    return str(caught.value)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_phases_follow_one_another_and_needs_go_before_that() -> None:
    assert needs_of(Workflow.parse(RELEASE)) == {
        "product-manager": (),
        "namer": (),
        "api": ("product-manager", "namer"),
        "ui-ux-designer": ("product-manager", "namer"),
        "frontend-engineer": ("ui-ux-designer",),
        "choose": ("api", "frontend-engineer"),
        "pool": ("api",),
        "technical-writer": ("product-manager", "namer", "api", "frontend-engineer"),
    }


def test_the_gate_of_the_workflow_holds_where_an_entry_has_none_of_its_own() -> None:
    gates = {step.name: step.gate.checks.words if step.gate else None for step in Workflow.parse(RELEASE).build().steps}  # type: ignore[union-attr]
    assert gates["api"] == "qa-engineer ≥ 0.8" and gates["pool"] is None and "Usage" in str(gates["technical-writer"])


def test_phases_without_needs_hold_their_order() -> None:
    workflow = Workflow.model_validate(
        {
            "name": "three",
            "phases": [
                {"name": "one", "kind": "parallel", "steps": ["qa-engineer", "git-helper"]},
                {"name": "two", "steps": ["sr-architect", "data-engineer"]},
                {"name": "three", "kind": "parallel", "steps": ["java-engineer", "ai-engineer"]},
            ],
        }
    )
    seen: list[Event] = []
    assert run(workflow, "x", db=":memory:", listeners=[seen.append]).status == "completed"
    told = [(type(one), one.path) for one in seen if isinstance(one, StepStarted | StepFinished)]
    begun = [name for kind, name in told if kind is StepStarted]
    ended = {name: at for at, (kind, name) in enumerate(told) if kind is StepFinished}
    assert [set(begun[:2]), begun[2], begun[3], set(begun[4:])] == [
        {"qa-engineer", "git-helper"}, "sr-architect", "data-engineer", {"java-engineer", "ai-engineer"},
    ]  # fmt: skip
    assert max(ended["qa-engineer"], ended["git-helper"]) < told.index((StepStarted, "sr-architect"))


def test_a_workflow_is_a_target_and_a_step() -> None:
    workflow = Workflow.model_validate({"name": "note", "agents": {"a": {"prompt": "Write."}}, "phases": ["a"]})
    model = scripted({"a": ["one", "two"], "b": "three"})
    assert run(workflow, "x", model=model, db=":memory:").answer == "one"
    outer = run(sequential(workflow, Step(agent("b", "Check."))), "x", model=model, db=":memory:")
    assert list(outer.deliverables) == ["note", "b"] and outer["note"].parts["a"].content == "two"


def test_agents_and_graphs_of_the_caller_s_can_be_named() -> None:
    workflow = Workflow.model_validate({"name": "mine", "phases": ["shout", {"agent": "team", "name": "rest"}]})
    team = workflow.build({"shout": lambda brief: brief.task.upper(), "team": sequential(lambda brief: "done")})
    result = run(team, "hello", db=":memory:")
    assert (result["shout"].content, result.answer) == ("HELLO", "done")
    assert "Unknown agent 'shout'" in refused(workflow.to_yaml())


# --- there and back ---------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=60)
ROLES = st.sampled_from(sorted(ROSTER))
CHECKS = st.fixed_dictionaries(
    {},
    optional={
        "non_empty": st.booleans(),
        "contains": st.lists(TEXT, max_size=2).map(tuple),
        "review": ROLES | st.fixed_dictionaries({"by": ROLES, "at_least": st.none() | st.floats(0, 1)}),
        "at_least": st.floats(0, 1),
        "conclusion": st.booleans(),
    },
)
GATES = st.builds(
    lambda checks, more: {**checks, **more},
    CHECKS,
    st.fixed_dictionaries(
        {},
        optional={
            "rework": st.integers(0, 100),
            "then": st.sampled_from(["partial", "fail", "ask"]),
            "either": st.lists(CHECKS, max_size=2),
        },
    ),
)
RECOVERIES = st.fixed_dictionaries(
    {},
    optional={
        "retries": st.integers(0, 20),
        "backups": st.booleans() | st.lists(ROLES, max_size=2),
        "pattern": st.sampled_from(["sequential", "parallel", "hierarchical"]),
        "ask": st.booleans(),
        "adapt": st.sampled_from(["split", "guide"]),
    },
)
NAMES = st.from_regex(r"[A-Za-z0-9~=\-_é?!&*%@'\"][A-Za-z0-9 ,\-\[\]{}'é]{0,20}", fullmatch=True)
WHAT_ALL_CAN_SAY: dict[str, Any] = {
    "gate": GATES | st.sampled_from(["inherit", "none"]),
    "recovery": RECOVERIES | st.just("inherit"),
    "optional": st.booleans(),
    "priority": st.floats(-1e6, 1e6),
    "needs": st.lists(NAMES, max_size=2),
}


def entry(**fields: Any) -> st.SearchStrategy[Any]:
    optional: dict[str, Any] = {name: fields.pop(name) for name in ("objective", "join", "merge") if name in fields}
    return st.fixed_dictionaries(fields, optional={**WHAT_ALL_CAN_SAY, **optional})


LEAVES = ROLES | entry(agent=ROLES, name=NAMES, objective=TEXT)
ENTRIES = st.recursive(
    LEAVES
    | entry(kind=st.just("mesh"), name=NAMES, pool=st.lists(ROLES, min_size=2, max_size=3), objective=TEXT)
    | entry(kind=st.just("hierarchical"), name=NAMES, implementation=st.lists(ROLES, min_size=1, max_size=2)),
    lambda inner: (
        entry(name=NAMES, steps=st.lists(inner, min_size=1, max_size=3))
        | entry(
            kind=st.just("parallel"),
            name=NAMES,
            steps=st.lists(inner, min_size=1, max_size=3),
            join=st.sampled_from(["all", "best_effort", "first(2)", "quorum(1)", "within(2.5)"]),
            merge=st.fixed_dictionaries({"by": ROLES}, optional={"conflicts": st.just("vote"), "judge": ROLES}),
        )
    ),
    max_leaves=6,
)
WORKFLOWS = st.fixed_dictionaries(
    {"name": NAMES, "phases": st.lists(ENTRIES, min_size=1, max_size=4)},
    optional={
        "description": TEXT,
        "gate": GATES,
        "recovery": RECOVERIES,
        "agents": st.dictionaries(NAMES, st.fixed_dictionaries({"prompt": TEXT.filter(str.strip)}), max_size=2),
    },
).map(Workflow.model_validate)


FITS = jsonschema.Draft202012Validator(schema())


@hypothesis_settings(max_examples=40)
@given(WORKFLOWS)
def test_a_workflow_comes_back_from_its_yaml_as_it_was(workflow: Workflow) -> None:
    text = workflow.to_yaml()
    again = Workflow.parse(text)
    assert again == workflow and again.to_yaml() == text
    FITS.validate(yaml.safe_load(text))


def test_what_comes_back_builds_the_same_team() -> None:
    first = Workflow.parse(RELEASE)
    assert needs_of(Workflow.parse(first.to_yaml())) == needs_of(first)


# --- what cannot be ---------------------------------------------------------------------------------------------------


def phases(*lines: str) -> str:
    return "\n".join(["name: x", "phases:", *lines])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["my.yaml:1: it is empty"]),
        ("- a", ["my.yaml:1: keys and values are wanted"]),
        ("a: [", ["my.yaml:1: it is no YAML"]),
        ("phases: [qa-engineer]", ["the key 'name' is missing"]),
        (phases("- qa-engineer", "extra: 1"), ["my.yaml:4: unknown key 'extra'"]),
        ("name: x\nphases: 7", ["my.yaml:2: a list is wanted, not 7"]),
        ("name: x\nphases: []", ["my.yaml:2: there is nothing in it"]),
        (phases("- {kind: parallel, name: p, steps: []}"), ["my.yaml:3: there is nothing in it"]),
        (phases("- {kind: paralel, name: p}"), ["my.yaml:3: unknown kind 'paralel'; there are: step, sequential"]),
        (phases("- agent: qa-engineer", "  objective: [x]"), ["my.yaml:4: a text is wanted, not ['x']"]),
        (phases("- agent: qa-engineer", "  optional: perhaps"), ["my.yaml:4: true or false is wanted, not 'perhaps'"]),
        (phases("- agent: qa-engineer", "  priority: much"), ["my.yaml:4: a number is wanted, not 'much'"]),
        (phases("- agent: qa-engineer", "  gate: maybe"), ["my.yaml:4: 'maybe' is not one of: inherit, none"]),
        (phases("- agent: qa-engineer", "  gate: {then: stop}"), ["my.yaml:4: 'stop' is not one of: partial,"]),
        (phases("- agent: qa-engineer", "  gate: {at_least: 2}"), ["my.yaml:4:", "less than or equal to 1"]),
        (phases("- agent: qa-engineer", "  name: a/b"), ["my.yaml:4:", "pattern"]),
        (phases("- {name: p, kind: parallel, join: some, steps: [qa-engineer]}"), ["my.yaml:3:", "some"]),
        (phases("- qa-enginer"), ["my.yaml:3: Unknown agent 'qa-enginer'. Did you mean 'qa-engineer'?"]),
        (phases("- agent: qa-engineer", "  gate: {review: nobody}"), ["my.yaml:4: Unknown agent 'nobody'"]),
        (phases("- agent: os.system"), ["Unknown agent 'os.system'"]),
        (phases("- agent: qa-engineer", "  needs: [plam]", "- {agent: git-helper, name: plan}"),
         ["my.yaml:4: Unknown step or phase 'plam'. Did you mean 'plan'?"]),
        (phases("- qa-engineer", "- qa-engineer"), ["my.yaml:4: Two steps or phases are named 'qa-engineer'"]),
        (phases("- {agent: qa-engineer, name: p}", "- {name: p, steps: [git-helper]}"), ["my.yaml:4: Two steps or"]),
        (phases("- {agent: qa-engineer, needs: [git-helper]}", "- {agent: git-helper, needs: [qa-engineer]}"),
         ["in a circle: 'qa-engineer' -> 'git-helper' -> 'qa-engineer'"]),
        (phases("- {agent: qa-engineer, needs: [qa-engineer]}"), ["in a circle"]),
        (phases("- {agent: qa-engineer, needs: [git-helper]}", "- {agent: git-helper, needs: [], optional: true}"),
         ["my.yaml:3:", "'git-helper', which comes later and is optional: list it before, or require it"]),
        (phases("- kind: parallel", "  name: p", "  merge: {by: sr-architect}", "  steps:",
                "    - {agent: qa-engineer, needs: []}"), ["my.yaml:7:", "cannot have needs"]),
        ("name: x\nname: y\nphases: [qa-engineer]", ["my.yaml:2: the key 'name' comes twice"]),
        ("name: x\nagents:\n  a: {prompt: x}\n  a: {prompt: y}", ["my.yaml:4: the key 'a' comes twice"]),
        ("name: x\nagents: {a: {}}\nphases: [a]", ["my.yaml:2: the key 'prompt' is missing"]),
        ("name: !!python/object/apply:os.system ['true']", ["my.yaml:1: the tag !!python/object/apply:os.system"]),
        ("name: x\nphases: !mine [a]", ["my.yaml:2: the tag !mine is not plain data"]),
        ("name: x\nphases: &all [*all]", ["my.yaml:2:", "contains itself"]),
        ("? [a]\n: b", ["my.yaml:1: the key ['a'] is no text"]),
        ("name: x\x07", ["my.yaml:1: it is no YAML"]),
        ("d: 2026-99-99", ["my.yaml:1: it is no YAML"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line_and_the_choices(text: str, said: Sequence[str]) -> None:
    told = refused(text)
    for one in said:
        assert one in told


def test_all_that_is_wrong_is_said_at_once_in_the_order_of_the_lines() -> None:
    told = refused(phases("- nobody", "- {agent: qa-engineer, needs: [nobody, plan]}", "- {agent: git-helper, gate: "
                          "{review: noone}}", "- {agent: qa-engineer}"))  # fmt: skip
    lines = [line.partition(": ")[0] for line in told.splitlines()]
    assert lines == ["my.yaml:3", "my.yaml:4", "my.yaml:5", "my.yaml:6"]
    assert "Unknown step or phase 'nobody'" not in told, "what only follows from something else is not told"


BOMB = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]"
                                                        for n in range(1, 12))])  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "more than 50,000 values, aliases counted as often as used"),
        ("name: x\nphases:\n" + "- qa\n" * 100_000, "more than 50,000 values"),
        ("name: x\nphases: [" + "a," * 400_000 + "]", "more than 50,000 values"),
        ("[" * 100_000, "more than 40 deep"),
        ("x" * 1_000_001, "more than 1,000,000 characters"),
        (phases(*["- {agent: qa-engineer, needs: []}"] * (MOST_STEPS + 1)), "more than 500 steps"),
    ],
    ids=["bomb", "many lines", "many in a line", "deep", "long", "many steps"],
)
def test_what_is_too_much_is_refused_before_it_takes_long(text: str, said: str) -> None:
    began = time.process_time()
    assert said in refused(text)
    assert time.process_time() - began < 3


def test_a_hundred_thousand_steps_from_python_are_refused_as_well() -> None:
    workflow = Workflow(name="x", phases=("qa-engineer",) * 100_000)
    began = time.process_time()
    with pytest.raises(BuildError, match="more than 500 steps"):
        workflow.build()
    assert time.process_time() - began < 1


def test_what_is_no_text_file_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    (tmp_path / "folder.yaml").mkdir()
    for name, said in {"latin.yaml": "utf-8", "folder.yaml": "directory", "none.yaml": "No such file"}.items():
        with pytest.raises(SettingsError, match=said) as caught:
            Workflow.read(tmp_path / name)
        assert name in str(caught.value)


def test_nothing_is_run_of_a_workflow_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(phases("- qa-engineer", "- nobody"))
    model = scripted({"qa-engineer": "never asked"})
    with pytest.raises(BuildError, match=r"my\.yaml:4: Unknown agent 'nobody'"):
        run(str(tmp_path / "my.yaml"), "x", model=model, db=tmp_path / "runs.db")
    assert not (tmp_path / "runs.db").exists()
