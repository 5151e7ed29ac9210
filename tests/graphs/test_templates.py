"""The workflows that come with us: everybody who belongs in them works, in order, and nobody waits for no reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import troupe.graphs.workflows as workflows
from tests.support.openai_server import OpenAIServer, Received, Reply, data, text
from troupe import SimulatedChatModel, Verdict, run
from troupe.agents.events import Event, StepFinished, StepStarted
from troupe.catalogue import WORKFLOWS
from troupe.graphs.gates import Gate
from troupe.graphs.workflow import Workflow, schema
from troupe.graphs.workflows import TEMPLATES, template
from troupe.result import Result

# By phase: who does what, in order.
ROLES: dict[str, dict[str, list[tuple[str, list[str]]]]] = {
    "fullstack": {
        "initiation": [
            ("product-manager", ["requirements analysis", "user stories"]),
            ("ui-ux-designer", ["experience design", "interface planning"]),
        ],
        "development": [
            ("frontend-engineer", ["components", "state management"]),
            ("ui-ux-designer", ["design system implementation", "validation"]),
            ("python-engineer", ["API", "business logic"]),
            ("database-engineer", ["schema design", "query optimisation"]),
            ("security-engineer", ["authentication", "authorisation", "data protection"]),
        ],
        "integration": [
            ("integration-architect", ["API integration", "communication protocols"]),
            ("devops-engineer", ["deployment pipeline", "infrastructure"]),
        ],
        "quality assurance": [
            ("qa-engineer", ["comprehensive testing"]),
            ("performance-engineer", ["load testing", "optimisation"]),
        ],
        "finalisation": [
            ("technical-writer", ["documentation", "user guides"]),
            ("git-helper", ["version control", "release management"]),
        ],
    },
    "aiml": {
        "research": [
            ("ai-researcher", ["literature review", "methodology design"]),
            ("data-engineer", ["pipeline design", "preprocessing strategy"]),
        ],
        "development": [
            ("data-engineer", ["collection", "preprocessing", "feature engineering"]),
            ("ai-engineer", ["architecture design", "training implementation"]),
            ("python-engineer", ["serving infrastructure", "API"]),
        ],
        "optimisation": [
            ("ai-engineer", ["hyperparameter tuning", "model optimisation"]),
            ("performance-engineer", ["inference optimisation", "scalability testing"]),
            ("security-engineer", ["model security", "data privacy validation"]),
        ],
        "deployment": [
            ("devops-engineer", ["model deployment", "monitoring infrastructure"]),
            ("qa-engineer", ["model validation", "testing frameworks"]),
        ],
        "documentation": [
            ("technical-writer", ["model documentation", "API guides"]),
            ("ai-researcher", ["methodology documentation", "research summaries"]),
        ],
    },
    "enterprise": {
        "analysis": [
            ("business-analyst", ["requirements analysis", "stakeholder coordination"]),
            ("integration-architect", ["system landscape analysis", "integration strategy"]),
        ],
        "design": [
            ("sr-architect", ["architecture alignment", "technology selection"]),
            ("integration-architect", ["API design", "communication protocols"]),
            ("security-engineer", ["security architecture", "compliance"]),
        ],
        "implementation": [
            ("java-engineer", ["enterprise services", "integration"]),
            ("python-engineer", ["data processing", "transformation services"]),
            ("database-engineer", ["data architecture", "migration strategies"]),
        ],
        "testing": [
            ("qa-engineer", ["integration testing", "quality assurance"]),
            ("performance-engineer", ["load testing", "performance validation"]),
            ("security-engineer", ["security testing", "vulnerability assessment"]),
        ],
        "deployment": [
            ("devops-engineer", ["deployment automation", "infrastructure"]),
            ("project-coordinator", ["stakeholder communication", "change management"]),
        ],
    },
}
# Pairs of steps that work at the same time, and pairs of which the second waits for the first.
BESIDE = {
    "fullstack": [("experience", "schema"), ("interface", "api"), ("connection", "pipeline"),
                  ("testing", "load")],
    "aiml": [("features", "serving"), ("tuning", "protection"), ("operation", "validation"),
             ("model-guide", "findings")],
    "enterprise": [("interfaces", "security-architecture"), ("services", "data-services"),
                   ("services", "data-architecture"), ("load-testing", "security-testing")],
}  # fmt: skip
AFTER = {
    "fullstack": [("requirements", "experience"), ("experience", "interface"), ("design-system", "connection"),
                  ("security", "connection"), ("connection", "testing"), ("testing", "guides"), ("guides", "release")],
    "aiml": [("methodology", "data-design"), ("features", "training"), ("training", "tuning"), ("tuning", "inference"),
             ("protection", "operation"), ("validation", "model-guide")],
    "enterprise": [("requirements", "landscape"), ("landscape", "architecture"), ("interfaces", "services"),
                   ("security-architecture", "data-architecture"), ("services", "load-testing"),
                   ("security-testing", "rollout"), ("rollout", "change")],
}  # fmt: skip
every = pytest.mark.parametrize("name", TEMPLATES)


def written(entry: Any) -> list[Any]:
    """The steps of an entry, in order."""
    return [one for inside in entry.steps for one in written(inside)] if entry.kind != "step" else [entry]


def simulated(name: str) -> tuple[Result, list[Event]]:
    seen: list[Event] = []
    model = SimulatedChatModel(latency=0.1)
    return run(template(name), "a shop for plants", model=model, db=":memory:", listeners=[seen.append]), seen


@every
def test_every_phase_role_and_objective_is_a_step_in_order_and_none_is_optional(name: str) -> None:
    workflow = template(name)
    assert [phase.name for phase in workflow.phases] == list(ROLES[name])  # type: ignore[union-attr]
    for phase, wanted in zip(workflow.phases, ROLES[name].values(), strict=True):
        steps = written(phase)
        assert [one.agent for one in steps] == [role for role, _ in wanted]
        for step, (_, objectives) in zip(steps, wanted, strict=True):
            for one in objectives:
                assert one.casefold() in step.objective.casefold(), step.name
            assert not step.optional


@every
def test_a_role_that_comes_twice_knows_what_it_did_before(name: str) -> None:
    steps = {one.name: one for phase in template(name).phases for one in written(phase)}
    before: dict[str, str] = {}
    for step, one in steps.items():
        if (earlier := before.get(one.agent)) is not None:
            assert earlier in (one.needs or ()) or earlier in [
                far for near in one.needs for far in steps[near].needs or ()
            ]
            assert "You " in one.objective and any(word in steps[earlier].objective for word in ("You will", "yours"))
        before[one.agent] = step


@every
def test_nobody_reviews_their_own_work_and_no_gate_ends_or_holds_up_a_run(name: str) -> None:
    for step in template(name).build().steps:
        if isinstance(step.gate, Gate):
            assert step.gate.then == "partial"
            assert "concludes" in step.gate.checks.for_author(step.agent).words or (
                step.agent.name not in step.gate.checks.reviewers
            )


@every
def test_it_runs_on_the_simulated_model_and_branches_overlap_in_time(name: str) -> None:
    result, seen = simulated(name)
    assert (result.status, result.simulated) == ("completed", True)
    roles = [role for phase in ROLES[name].values() for role, _ in phase]
    assert [done.agent for done in result.deliverables.values()] == roles
    assert {done.status for done in result.deliverables.values()} == {"accepted"}
    told = [(type(one).__name__, one.path) for one in seen if isinstance(one, StepStarted | StepFinished)]

    def at(kind: type[Event], step: str) -> int:
        return told.index((kind.__name__, step))

    for one, other in BESIDE[name]:
        assert at(StepStarted, one) < at(StepFinished, other) and at(StepStarted, other) < at(StepFinished, one)
    for one, other in AFTER[name]:
        assert at(StepFinished, one) < at(StepStarted, other)


def judging(asked: Received) -> bool:
    return bool(asked.response_format or asked.tools or "JSON Schema" in asked.user)


def over_http(
    name: str, answers: Callable[[Received], Reply], monkeypatch: pytest.MonkeyPatch
) -> tuple[Result, list[str]]:
    """The run of a template on a server, and what it was asked."""
    with OpenAIServer(answers) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        result = run(template(name), "a shop for plants", model="openai:gpt-test", db=":memory:")
        return result, [one.user for one in server.requests]


@every
def test_on_a_scripted_model_over_http_everybody_hears_their_part_and_what_they_build_on(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(asked: Received) -> Reply:
        return data(Verdict(passed=True, score=0.9)) if judging(asked) else text(f"the work of request {asked.index}")

    result, asked = over_http(name, answers, monkeypatch)
    assert (result.status, result.simulated) == ("completed", False)
    for step in template(name).build().steps:
        (brief,) = [one for one in asked if f"# Your part\n{step.objective}\n" in f"{one}\n"]
        for needed in step.needs:
            assert result[needed].content in brief


@every
def test_what_a_validation_finds_goes_back_to_the_part_that_is_to_blame(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blamed, by = {"fullstack": ("api", "testing"), "aiml": ("tuning", "validation"),
                  "enterprise": ("data-services", "security-testing")}[name]  # fmt: skip
    graph = template(name).build()
    title = f"the report of {by}"
    found = iter([Verdict(passed=False, score=0.2, feedback="it breaks", blame=blamed)])

    def answers(asked: Received) -> Reply:
        if not judging(asked):
            return text(title if graph.step(by).objective in asked.user else f"the work of request {asked.index}")
        concluding = "Your report stands below" in asked.user and asked.user.rstrip().count(f"{title}\n</data") > 0
        return data(next(found, Verdict(passed=True, score=0.9)) if concluding else Verdict(passed=True, score=0.9))

    result, _ = over_http(name, answers, monkeypatch)
    assert result.status == "completed"
    twice = {one for one, done in result.deliverables.items() if done.rounds == 2}
    built_on_it = {step.name for step in graph.redo[blamed].steps}
    before = {one for one in built_on_it if by in {step.name for step in graph.redo[one].steps}}
    assert before <= twice <= built_on_it, "what was begun on the old version is done again, and nothing else"


@every
def test_the_picture_has_every_step_once_and_its_gate_as_a_sign(name: str) -> None:
    from troupe.graphs.drawing import Drawing

    graph = template(name).build()
    drawing = Drawing.of(graph.compile().get_graph(xray=True))
    assert not drawing.frames
    notes = {card.label: card.note for card in drawing.cards if card.kind == "step"}
    assert notes == {one.name: f"{one.agent.name}{' ◇' if one.gate else ''}" for one in graph.steps}


@every
def test_it_can_be_named_and_fits_the_schema(name: str) -> None:
    where = Path(workflows.__file__).with_name(f"{name}.yaml")
    jsonschema.validate(yaml.safe_load(where.read_text("utf-8")), schema())
    assert WORKFLOWS[name].make().name == getattr(workflows, name)().name == name
    assert Workflow.parse(template(name).to_yaml()) == template(name)


def test_those_are_all() -> None:
    found = sorted(path.stem for path in Path(workflows.__file__).parent.glob("*.yaml"))
    assert tuple(found) == TEMPLATES == tuple(sorted(WORKFLOWS))


@every
def test_it_makes_as_many_calls_as_the_documentation_says(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "workflows.md").read_text("utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| [`{name}`]")]
    _, _, steps, calls, longest, *_ = (cell.strip() for cell in row.split("|"))
    result, _ = simulated(name)
    graph = template(name).build()
    assert (int(steps), int(calls)) == (len(result.deliverables), result.usage.calls)

    def depth(step: Any) -> int:
        return 1 + max((depth(graph.step(one)) for one in step.needs), default=0)

    assert int(longest) == max(map(depth, graph.steps))
