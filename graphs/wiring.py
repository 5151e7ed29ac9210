"""How steps, their gates and their questions become nodes and edges; every pattern is wired with these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Any

from langgraph.graph import StateGraph

from troupe.agents.contracts import Deliverable, Judgement
from troupe.agents.errors import BuildError
from troupe.graphs.gates import Gate
from troupe.graphs.node import Choice, Here, Node
from troupe.graphs.recovering import ask_how_to_recover, may_be_asked
from troupe.graphs.step import Step
from troupe.graphs.work import Place, ask_person, judge, work

Graph = StateGraph[Any, Any, Any, Any]
Route = Callable[[Any], str]
Ways = dict[Hashable, str]
Runs = Callable[[Place, Any, Here], Awaitable[dict[str, Any]]]


def add_line(graph: Graph, places: Sequence[Place], end: str) -> None:
    """Steps one after another; whichever fails, and the last, leads to `end`."""
    for place, following in zip(places, [*(one.step.name for one in places[1:]), end], strict=True):
        add_step(graph, place, following, end)


def add_step(graph: Graph, place: Place, following: str, end: str, run: Runs = work, blamed: str | None = None) -> None:
    """A step, its gate and its question, and the edges from them: on to `following`, or to `end` where it fails.

    What a gate rolls back goes to the step that is to blame, or to `blamed`.
    """
    step = place.step
    note = {"troupe_kind": "step", "troupe_note": step.agent.title or step.objective}
    graph.add_node(step.name, Node(partial(run, place), step.name, step.graphs), metadata=note)
    without = following if step.optional else end
    lost: Ways = {"failed": without}
    if step.recovered.ask:
        lost = {"failed": f"{step.name}.recover", "given up": without}
        _add_recovery(graph, place, following, end)
    if not isinstance(step.gate, Gate):
        if set(lost.values()) == {following}:
            graph.add_edge(step.name, following)
        else:
            _lead(graph, step.name, _ended(place), {"accepted": following, **lost})
        return
    checks = step.gate.checks.for_author(step.agent)
    judged, asked = f"{step.name}.gate", f"{step.name}.ask"
    _lead(graph, step.name, _worked(place), {"submitted": judged, **lost})
    graph.add_node(
        judged,
        Node(partial(judge, place), judged),
        metadata={"troupe_kind": "gate", "troupe_label": checks.words},
    )
    after: Ways = {"pass": following}
    if step.gate.rework:
        after["rework"] = step.name
        if blamed is None:
            after |= {f"rollback {name}": name for name in place.redo}
        elif place.redo:
            after["rollback"] = blamed
    if step.gate.then == "fail":
        after["fail"] = without
    if step.gate.then == "ask":
        after["ask"] = asked
    _lead(graph, judged, _judged(place, named=blamed is None), after)
    if step.gate.then == "ask":
        look = {"troupe_kind": "ask", "troupe_label": "ask a person"}
        graph.add_node(asked, Node(partial(ask_person, place), asked), metadata=look)
        _lead(graph, asked, _answered(place), {"approve": following, "reject": without, "respond": step.name})


def _add_recovery(graph: Graph, place: Place, following: str, end: str) -> None:
    """The question about a step that failed, and where its answers lead."""
    step = place.step
    asked = f"{step.name}.recover"
    look = {"troupe_kind": "ask", "troupe_label": "ask a person", "troupe_note": "what to do, as it failed"}
    graph.add_node(asked, Node(partial(ask_how_to_recover, place), asked), metadata=look)
    _lead(graph, asked, _recovered(place), {"again": step.name, "go on": following, "end": end})


def _lead(graph: Graph, source: str, route: Route, ways: Ways) -> None:
    """The edges from a node, by the words that its route says; words that lead to one node are one edge.

    Two words to one node would be drawn as one of them.
    """
    leading: dict[str, list[str]] = {}
    for word, node in ways.items():
        leading.setdefault(node, []).append(str(word))
    joined = {word: " or ".join(words) for words in leading.values() for word in words}
    ends: Ways = {joined[words[0]]: node for node, words in leading.items()}
    graph.add_conditional_edges(source, Choice(lambda state: joined[route(state)]), ends)


def exit_of(step: Step) -> str:
    """The node that leads on from a step: its gate, where it has one."""
    return f"{step.name}.gate" if isinstance(step.gate, Gate) else step.name


def left_by(step: Step, state: Any) -> str | None:
    """The node that led on from a step as it ended; None where it did not end, or nothing followed it."""
    done: Deliverable | None = state.get("deliverables", {}).get(step.name)
    if done is not None and done.usable:
        return exit_of(step)
    if done is None or done.status not in ("failed", "skipped"):
        return None
    said: Judgement | None = state.get("verdicts", {}).get(f"{step.name}#{done.rounds}")
    if said is not None and step.recovered.ask:
        return f"{step.name}.recover" if said.decision == "partial" else None
    return step.name if step.optional else None


def needs_of(step: Step, earlier: Sequence[Step]) -> tuple[str, ...]:
    """What the step gets in full: what it names, and always its predecessor.

    Raises:
        BuildError: it names a step that is no earlier one.
    """
    names = [one.name for one in earlier]
    if unknown := [name for name in step.needs if name not in names]:
        raise BuildError(
            f"Step {step.name!r} needs {', '.join(map(repr, unknown))}, which is no earlier step. "
            f"Earlier are: {', '.join(names) or 'none'}."
        )
    return tuple(name for name in names if name in step.needs or name in names[-1:])


def supersteps(plan: Sequence[Step], around: int = 1) -> int:
    """The most supersteps that these steps can take, reworks included, with `around` nodes of the engine's."""
    sends = sum(step.gate.rework for step in plan if isinstance(step.gate, Gate))
    return (3 * len(plan) + 1 + around) * (1 + sends) + 10


def _ended(place: Place) -> Route:
    def route(state: Any) -> str:
        done = state["deliverables"][place.name(state)]
        return "accepted" if done.usable else _lost(done, place)

    return route


def _worked(place: Place) -> Route:
    def route(state: Any) -> str:
        done = state["deliverables"][place.name(state)]
        return "submitted" if done.status in ("submitted", "partial", "accepted") else _lost(done, place)

    return route


def _lost(done: Deliverable, place: Place) -> str:
    """A person is asked about what failed, but not where no answer would help."""
    return "failed" if not place.step.recovered.ask or may_be_asked(done) else "given up"


def _recovered(place: Place) -> Route:
    return lambda state: recovered_way(state, place.name(state))


def recovered_way(state: Any, name: str) -> str:
    """Where a person's answer about a step that failed leads."""
    done = state["deliverables"][name]
    decision = _verdict(state, done).decision
    return "again" if decision in ("again", "adapt") else "end" if decision == "fail" else "go on"


def _judged(place: Place, named: bool) -> Route:
    def route(state: Any) -> str:
        way = judged_way(state, place.name(state))
        return way if named else way.partition(" ")[0]  # "rollback", whoever is to blame

    return route


def judged_way(state: Any, name: str) -> str:
    """Where a gate's verdict leads: a deliverable that is settled goes on, whoever settled it; else as was decided."""
    done = state["deliverables"][name]
    verdict = _verdict(state, done)
    if done.status == "accepted" or (done.usable and verdict.decision in ("pass", "partial")):
        return "pass"
    if done.status in ("failed", "skipped"):
        return "fail"
    return f"rollback {verdict.blame}" if verdict.decision == "rollback" else str(verdict.decision)


def _answered(place: Place) -> Route:
    return lambda state: answered_way(state, place.name(state))


def answered_way(state: Any, name: str) -> str:
    """Where a person's answer about a deliverable leads."""
    done = state["deliverables"][name]
    if _verdict(state, done).decision == "rework":
        return "respond"
    return "approve" if done.usable else "reject"


def _verdict(state: Any, done: Deliverable) -> Judgement:
    verdict: Judgement = state["verdicts"][f"{done.step}#{done.rounds}"]
    return verdict
