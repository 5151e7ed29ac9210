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

from functools import partial
from typing import Any

from langgraph.graph import END, START

from troupe.graphs.gates import Gate
from troupe.graphs.node import Node
from troupe.graphs.recovery import Recovery
from troupe.graphs.step import Step, as_steps
from troupe.graphs.team import Redo, TeamGraph
from troupe.graphs.wiring import add_line, needs_of, supersteps
from troupe.graphs.work import Place, settle

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
    recovery: Recovery | None = None,
    name: str = "sequential",
    state_schema: type[Any] | None = None,
    context_schema: type[Any] | None = None,
) -> TeamGraph:
    """A team in which each step builds on the last.

    Args:
        steps: role names, agents, functions, graphs or `Step`s, in order; none builds the classic line of five.
        gate: judges every step that has no gate of its own.
        recovery: what is done when a step fails, for every step that has none of its own.
        name: of the graph.
        state_schema: a subclass of `TeamState` with fields of your own.
        context_schema: a subclass of `TeamContext` with fields of your own.

    Raises:
        BuildError: a step that cannot work, two of one name, or a need that is no earlier step.

    >>> from troupe import agent
    >>> [step.name for step in sequential(agent("a", "Write."), agent("b", "Check.")).steps]
    ['a', 'b']
    """
    plan = as_steps(steps or CLASSIC, gate, recovery=recovery)
    places = [
        Place(
            step,
            index,
            len(plan),
            earlier=plan[:index],
            needs=needs_of(step, plan[:index]),
            redo={one.name: plan[at : index + 1] for at, one in enumerate(plan[:index])},
        )
        for index, step in enumerate(plan)
    ]
    graph = TeamGraph(
        name,
        plan,
        bound=supersteps(plan),
        state_schema=state_schema,
        context_schema=context_schema,
        redo={step.name: Redo(START, plan[at:], plan[:at]) for at, step in enumerate(plan)},
        pattern="sequential",
    )
    add_line(graph, places, "finish")
    graph.add_node("finish", Node(partial(settle, plan), "finish"), metadata={"troupe_kind": "step"})
    graph.add_edge(START, plan[0].name)
    graph.add_edge("finish", END)
    return graph
