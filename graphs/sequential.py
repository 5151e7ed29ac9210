"""sequential: each step builds on the last, with a gate after each.

```mermaid
flowchart LR
    start([start]) --> draft
    draft -. submitted .-> draft.gate
    draft -. failed .-> finish
    draft.gate -. pass .-> check
    draft.gate -. rework .-> draft
    check -. submitted .-> check.gate
    check -. failed .-> finish
    check.gate -. pass .-> finish
    check.gate -. rework .-> check
    check.gate -. rollback .-> draft
    finish --> end([end])
```
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

from langgraph.graph import END, START

from troupe.agents.contracts import Deliverable, Judgement
from troupe.agents.errors import BuildError
from troupe.graphs.gates import Gate
from troupe.graphs.node import Choice, Node
from troupe.graphs.step import Step, as_steps
from troupe.graphs.team import TeamGraph
from troupe.graphs.work import ask_person, judge, settle, work

CLASSIC = (
    Step("ai-researcher", "Plan the methodology and the approach."),
    Step("specialist-engineer", "Implement it technically."),
    Step("qa-engineer", "Validate and test it."),
    Step("technical-writer", "Write its documentation and user guide."),
    Step("git-helper", "Plan its version control and deployment."),
)
"""The line-up without steps of your own."""


def sequential(
    *steps: Any,
    gate: Gate | None = None,
    name: str = "sequential",
    state_schema: type[Any] | None = None,
    context_schema: type[Any] | None = None,
) -> TeamGraph:
    """A team in which each step builds on the last.

    Args:
        steps: role names, agents, functions, graphs or `Step`s, in order; none builds the classic line of five.
        gate: judges every step that has no gate of its own.
        name: of the graph.
        state_schema: a subclass of `TeamState` with fields of your own.
        context_schema: a subclass of `TeamContext` with fields of your own.

    Raises:
        BuildError: a step that cannot work, two of one name, or a need that is no earlier step.

    >>> from troupe import agent
    >>> [step.name for step in sequential(agent("a", "Write."), agent("b", "Check.")).steps]
    ['a', 'b']
    """
    if gate is not None and not isinstance(gate, Gate):
        raise BuildError(f"sequential(gate=...) must be made with gate(...), not {gate!r}.")
    plan = as_steps(steps or CLASSIC, gate)
    sends = sum(step.gate.rework for step in plan if isinstance(step.gate, Gate))
    graph = TeamGraph(
        name,
        plan,
        bound=(3 * len(plan) + 2) * (1 + sends) + 10,
        state_schema=state_schema,
        context_schema=context_schema,
    )
    for index, step in enumerate(plan):
        following = plan[index + 1].name if index + 1 < len(plan) else "finish"
        _add(graph, plan, index, step, following)
    graph.add_node("finish", Node(partial(settle, plan), "finish"), metadata={"troupe_kind": "step"})
    graph.add_edge(START, plan[0].name)
    graph.add_edge("finish", END)
    return graph


def _add(graph: TeamGraph, plan: Sequence[Step], index: int, step: Step, following: str) -> None:
    """A step, its gate and its question, and the edges from them."""
    needs = _needs(plan, index, step)
    note = {"troupe_kind": "step", "troupe_note": step.agent.title or step.objective}
    graph.add_node(step.name, Node(partial(work, step, index, plan, needs), step.name, step.graphs), metadata=note)
    if not isinstance(step.gate, Gate):
        if following == "finish":
            graph.add_edge(step.name, following)
        else:
            graph.add_conditional_edges(step.name, Choice(_ended(step)), {"accepted": following, "failed": "finish"})
        return
    checks = step.gate.checks.for_author(step.agent)
    judged, asked = f"{step.name}.gate", f"{step.name}.ask"
    graph.add_conditional_edges(step.name, Choice(_worked(step)), {"submitted": judged, "failed": "finish"})
    graph.add_node(
        judged,
        Node(partial(judge, step, index, plan, needs), judged),
        metadata={"troupe_kind": "gate", "troupe_label": checks.words},
    )
    last, fails = following == "finish", step.gate.then == "fail"
    # Two words to one node would be drawn as one of them.
    after: Ways = {"pass or fail": "finish"} if last and fails else {"pass": following}
    if step.gate.rework:
        after["rework"] = step.name
        after |= {f"rollback {one.name}": one.name for one in plan[:index]}
    if fails and not last:
        after["fail"] = "finish"
    if step.gate.then == "ask":
        after["ask"] = asked
    graph.add_conditional_edges(judged, Choice(_worded(_judged(step), after)), after)
    if step.gate.then == "ask":
        look = {"troupe_kind": "ask", "troupe_label": "ask a person"}
        graph.add_node(asked, Node(partial(ask_person, step, plan), asked), metadata=look)
        said: Ways = {"approve or reject": "finish"} if last else {"approve": following, "reject": "finish"}
        said["respond"] = step.name
        graph.add_conditional_edges(asked, Choice(_worded(_answered(step), said)), said)


def _needs(plan: Sequence[Step], index: int, step: Step) -> tuple[str, ...]:
    """What the step gets in full: what it names, and always its predecessor."""
    earlier = [one.name for one in plan[:index]]
    if unknown := [name for name in step.needs if name not in earlier]:
        raise BuildError(
            f"Step {step.name!r} needs {', '.join(map(repr, unknown))}, which is no earlier step. "
            f"Earlier are: {', '.join(earlier) or 'none'}."
        )
    last = earlier[-1:]
    return tuple(name for name in earlier if name in step.needs or name in last)


Route = Callable[[Any], str]
Ways = dict[Hashable, str]
_BOTH = ("pass or fail", "approve or reject")


def _worded(route: Route, ways: Ways) -> Route:
    """The route in the words of its edges: at the last step `pass` and `fail` lead to one node and are one word."""
    joined = {part: both for both in _BOTH if both in ways for part in both.split(" or ")}

    def worded(state: Any) -> str:
        word = route(state)
        return joined.get(word, word)

    return worded


def _ended(step: Step) -> Route:
    def route(state: Any) -> str:
        return "accepted" if state["deliverables"][step.name].usable else "failed"

    return route


def _worked(step: Step) -> Route:
    def route(state: Any) -> str:
        done = state["deliverables"][step.name]
        return "submitted" if done.status in ("submitted", "partial", "accepted") else "failed"

    return route


def _judged(step: Step) -> Route:
    """A deliverable that is settled goes on, whoever settled it; else the gate's decision says where to."""

    def route(state: Any) -> str:
        done = state["deliverables"][step.name]
        verdict = _verdict(state, done)
        if done.status == "accepted" or (done.usable and verdict.decision in ("pass", "partial")):
            return "pass"
        if done.status in ("failed", "skipped"):
            return "fail"
        return f"rollback {verdict.blame}" if verdict.decision == "rollback" else str(verdict.decision)

    return route


def _answered(step: Step) -> Route:
    def route(state: Any) -> str:
        done = state["deliverables"][step.name]
        if _verdict(state, done).decision == "rework":
            return "respond"
        return "approve" if done.usable else "reject"

    return route


def _verdict(state: Any, done: Deliverable) -> Judgement:
    verdict: Judgement = state["verdicts"][f"{done.step}#{done.rounds}"]
    return verdict
