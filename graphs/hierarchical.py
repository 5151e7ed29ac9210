"""hierarchical: those above decide and delegate, those below work, ask, and are judged by what was decided.

```mermaid
flowchart LR
    start([start]) --> lead
    lead --> delegate
    delegate -.-> worker
    delegate -. all done .-> report
    delegate -. nothing usable .-> finish
    worker --> delegate
    report -. submitted .-> report.gate
    report -. failed .-> finish
    report.gate -. pass .-> finish
    report.gate -. rework .-> report
    finish --> end([end])
```
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, TypeVar

from langgraph.channels import DeltaChannel
from langgraph.graph import END, START
from langgraph.types import Send

from troupe.agents.brief import fence
from troupe.agents.contracts import Brief, Deliverable, Ok, Reason
from troupe.agents.errors import BuildError
from troupe.agents.events import Notice
from troupe.agents.matching import described
from troupe.agents.text import fit, shorten, tokens
from troupe.graphs.delegating.delegation import (
    Coordination,
    Correction,
    Directive,
    Package,
    coordinated,
    delegated,
    in_force,
)
from troupe.graphs.delegating.guidance import ESCALATIONS, bounded, for_manager, unheard
from troupe.graphs.delegating.levels import Level, Levels, levels
from troupe.graphs.delegating.packages import Criteria, Escalations, Paused, Workshop, merge_numbered, merge_paused
from troupe.graphs.delegating.planning import Plan, Planned, kept, plan_schema, shown
from troupe.graphs.gates import Gate
from troupe.graphs.node import Choice, Here, Node, Sent, now
from troupe.graphs.recovery import Recovery
from troupe.graphs.state import SNAPSHOT_EVERY, TeamState
from troupe.graphs.step import Step
from troupe.graphs.team import Redo, TeamGraph
from troupe.graphs.wiring import add_step, supersteps
from troupe.graphs.work import (
    Place,
    brief_for,
    conversation,
    deliver,
    feedback_for,
    finished,
    progress,
    roll_back,
    settle,
    settled,
    started,
    why,
)
from troupe.prompts import load, render

V = TypeVar("V")

WIDEST = 100
MOST_REWORKS = 10
CLASSIC: Mapping[Level, Sequence[Step]] = {
    "strategic": (
        Step("sr-architect", "Design the system and select its technology."),
        Step("agent-architect", "Choose and optimise how the team is coordinated."),
    ),
    "tactical": (
        Step("integration-architect", "Design the APIs and how the parts are integrated."),
        Step("security-engineer", "Design the security, and see to compliance."),
    ),
    "implementation": (
        Step("specialist-engineer", "Build the feature."),
        Step("qa-engineer", "Plan the tests and validate the quality."),
    ),
}
"""The line-up without members of your own."""

_INTEGRATE = "Report on the whole: integrate the results into one answer to the task."


def replaced(state: Mapping[str, V], writes: Sequence[Mapping[str, V] | None]) -> dict[str, V]:
    """Each write is the whole: what a new plan does not have any more is gone."""
    return dict(writes[-1] or {}) if writes else dict(state)


class HierarchyState(TeamState, total=False):
    """What a hierarchy keeps besides."""

    plans: Annotated[dict[str, Planned], DeltaChannel(merge_numbered, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """By manager, as they were given."""
    delegated: Annotated[dict[str, int], DeltaChannel(replaced, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """By manager, which version of the plan the packages are made of."""
    directives: Annotated[dict[str, Directive], DeltaChannel(replaced, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    coordination: Annotated[dict[str, Coordination], DeltaChannel(replaced, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    packages: Annotated[dict[str, Package], DeltaChannel(replaced, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    corrections: Annotated[dict[str, Correction], DeltaChannel(replaced, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """What had to be mended in the plans."""
    criteria: Criteria
    """By package and label (`P1/2`, `P1/D3`), whether the result meets it."""
    paused: Annotated[dict[str, Paused], DeltaChannel(merge_paused, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """The packages that wait for a person."""
    escalations: Escalations
    """Every question that went up, who was asked, and what came back."""


def hierarchical(
    strategic: Any = None,
    tactical: Any = None,
    implementation: Any = None,
    gate: Gate | None = None,
    *,
    width: int = 12,
    reworks: int = 1,
    recovery: Recovery | None = None,
    name: str = "hierarchical",
    state_schema: type[Any] | None = None,
    context_schema: type[Any] | None = None,
) -> TeamGraph:
    """A team of levels: managers decide and delegate as data, implementers work, and are judged by what was decided.

    Args:
        strategic: who decides first; one thing that can be a step and decides, or a list of them.
        tactical: who decides next, by the directives of the strategic level. The lowest of the two gives out the work.
        implementation: who does it; each may get any number of packages, or none.
        gate: judges every package's work before its manager does, and the report; a `Step`'s own comes before it.
        width: the most packages; what is planned beyond is cut, and the run is partial.
        reworks: how often work that does not meet its criteria is sent back before the question goes up.
        recovery: what is done when somebody fails who has none of their own.
        name: of the graph.
        state_schema: a subclass of `TeamState` with fields of your own.
        context_schema: a subclass of `TeamContext` with fields of your own.

    Without any level it is the classic line-up. With some, the others are empty.

    Raises:
        BuildError: nobody above, nobody below, a manager that cannot decide, two steps of one name, somebody who would
            judge their own work, or a bound that is none.

    >>> from troupe import agent
    >>> team = hierarchical(tactical=agent("lead", "Plan."), implementation=agent("worker", "Work."))
    >>> [step.name for step in team.steps]
    ['lead', 'report']
    """
    _check_bound("width", width, 1, WIDEST)
    _check_bound("reworks", reworks, 0, MOST_REWORKS)
    if strategic is tactical is implementation is None:
        strategic, tactical, implementation = (list(CLASSIC[level]) for level in CLASSIC)
    who = levels(strategic, tactical, implementation, gate, recovery)
    return _Hierarchy(who, gate, width, reworks, recovery).build(name, state_schema, context_schema)


def _check_bound(name: str, given: Any, least: int, most: int) -> None:
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise BuildError(f"hierarchical({name}={given!r}): give a whole number from {least} to {most}.")


class _Hierarchy:
    """The builder at work: its nodes see the levels, and nothing else."""

    def __init__(self, who: Levels, gate: Gate | None, width: int, reworks: int, recovery: Recovery | None) -> None:
        self.levels, self.width, self.reworks = who, width, reworks
        self.workshops = {step.name: Workshop(step, who, reworks) for step in who.implementation}
        first = who.of(who.lowest)[0]
        self.report = Step(first.agent, _INTEGRATE, name="report", gate=gate).under(gate, recovery)

    # --- the graph ---

    def build(self, name: str, state_schema: type[Any] | None, context_schema: type[Any] | None) -> TeamGraph:
        """Nodes and edges."""
        who, managers = self.levels, self.levels.managers
        graph = TeamGraph(
            name,
            [*managers, *who.implementation, self.report],
            # Each package is begun once, and once more for each question that a person may be asked about it.
            bound=len(who.managing) + 1 + 2 * self.width * (2 + ESCALATIONS) + supersteps([self.report], around=2),
            own_state=HierarchyState,
            state_schema=state_schema,
            context_schema=context_schema,
            redo=self._redo(),
            templates=[step.name for step in who.implementation],
            besides={"width": self.width, "reworks": self.reworks, "levels": self._names()},
            pattern="hierarchical",
        )
        before = [START]
        for level, members in who.managing:
            for step in members:
                look = {"troupe_kind": "step", "troupe_note": step.agent.title or step.objective}
                graph.add_node(step.name, Node(partial(self._direct, level, step), step.name), metadata=look)
                for one in before:
                    graph.add_edge(one, step.name)
            before = [step.name for step in members]
        note = {"troupe_kind": "gate", "troupe_label": "delegate", "troupe_note": "what can be begun"}
        graph.add_node("delegate", Node(self._delegate, "delegate"), metadata=note)
        for one in before:
            graph.add_edge(one, "delegate")
        ways: dict[Hashable, str] = {step.name: step.name for step in who.implementation}
        ways |= {"all done": "report", "nothing usable": "finish"}
        graph.add_conditional_edges("delegate", Choice(self._next), ways)
        for step in who.implementation:
            shop = self.workshops[step.name]
            look = {"troupe_kind": "step", "troupe_note": step.agent.title or step.objective}
            fields = HierarchyState.__annotations__
            graph.add_node(step.name, Sent(shop.run, step.name, fields, [shop.loop]), metadata=look)
            graph.add_edge(step.name, "delegate")
        add_step(graph, _Report(self.report, hierarchy=who), "finish", "finish", _integrate)
        graph.add_node("finish", Node(self._finish, "finish"), metadata={"troupe_kind": "step"})
        graph.add_edge("finish", END)
        return graph

    def _names(self) -> list[tuple[str, list[str]]]:
        return [(level, [one.name for one in members]) for level, members in self.levels]

    def _redo(self) -> dict[str, Redo]:
        """A plan that is made again takes everything below with it; its colleagues' plans stay."""
        found = {"report": Redo("delegate", [self.report])}
        after = START
        for at, (_, members) in enumerate(self.levels.managing):
            below = [step for _, others in self.levels.managing[at + 1 :] for step in others]
            found |= {step.name: Redo(after, [step, *below, self.report]) for step in members}
            after = members[-1].name
        return found

    # --- the managers ---

    async def _direct(self, level: Level, step: Step, state: Any, here: Here) -> dict[str, Any]:
        """Let a manager decide; one whose plan stands, because only a colleague's is made again, is not asked."""
        standing = state.get("deliverables", {}).get(step.name)
        if standing is not None and standing.status != "superseded":
            return {}
        path, at = here.path(step.name), self.levels.managers.index(step)
        total = len(self.levels.managers) + len(self.levels.implementation) + 1
        brief = self._brief(level, step, state, here)
        started(here, path, step, brief, at + 1, total)
        top, lowest = level == self.levels.managing[0][0], level == self.levels.lowest
        width, _ = self._widest(here)
        schema = plan_schema(self._owners(level, step), top, lowest, width)
        # Whoever works does not manage, neither in a manager's place.
        below = [one.agent.name for one in self.levels.implementation]
        outcome = await here.call(
            step.agent, brief, state, purpose="decide", schema=schema, recovery=step.recovered, but=below
        )
        update: dict[str, Any] = {}
        made = outcome
        if isinstance(outcome, Ok):
            plan: Plan = outcome.value
            made = Ok(_deliverable(step, shown(plan, lowest, width)), outcome.usage, outcome.attempts)
            update["plans"] = {step.name: kept(plan, lowest, width)}
        done = settled(step, brief, made, state)
        finished(here, path, done, outcome)
        progress(here, state, done, total)
        return {**update, "deliverables": {step.name: done}}

    def _brief(self, level: Level, step: Step, state: Any, here: Here) -> Brief:
        """What a manager decides on: the task, and what those above it have decided."""
        prompts, done = here.scope.prompts, state.get("deliverables", {})
        above = [one for other, members in self.levels.managing if _is_above(other, level) for one in members]
        plans = {one.name: state["plans"][one.name] for one in above if _stands(one, state)}
        rules = for_manager(in_force(plans, self.levels), step.name, self.levels)
        told = bounded({one.id: one.line() for one in rules.values()}, here.scope.settings.brief_tokens // 4)
        how = coordinated(plans, self.levels)
        top, lowest = not above, level == self.levels.lowest
        coordination = "\n" + load("moves/coordinate", prompts) if top else ""
        packages = ""
        if lowest:
            owners = ", ".join(self._owners(level, step))
            packages = "\n" + render(load("moves/delegate", prompts), width=str(self._widest(here)[0]), owners=owners)
        below = "\n".join(
            f"- {one.name} ({other}): {described(one.agent, one.objective)}"
            for other, members in self.levels
            if _is_above(level, other)
            for one in members
        )
        text = render(
            load("moves/direct", prompts), level=level, coordination=coordination, packages=packages, below=below
        )
        number = state.get("rounds", {}).get(step.name, 1)
        designs = {one.name: done[one.name] for one in above if one.name in done and done[one.name].usable}
        return Brief(
            task=state["task"],
            step=step.name,
            objective=f"{step.objective}\n\n{text}" if step.objective else text,
            deliverables=designs,
            needs=tuple(designs),
            missing={one.name: why(done[one.name]) for one in above if one.name in done and not done[one.name].usable},
            guidance=tuple([*told, how.line()] if how.by else told),
            feedback=feedback_for(step.name, number, state),
            conversation=conversation(state),
            round=number,
        )

    def _widest(self, here: Here) -> tuple[int, str]:
        """The most packages in this run, and what that bound is called."""
        return here.scope.limits.narrowest(self.width, f"width={self.width}")

    def _owners(self, level: Level, step: Step) -> list[str]:
        """The implementers; each manager is shown another one first, so that none is always thought of last."""
        names = [one.name for one in self.levels.implementation]
        at = self.levels.of(level).index(step) % len(names)
        return names[at:] + names[:at]

    # --- delegation ---

    async def _delegate(self, state: Any, here: Here) -> dict[str, Any]:
        """Make packages of the plans; where that is done, the edge after this gives out what can be begun."""
        done = state.get("deliverables", {})
        made_of = {one.name: done[one.name].rounds for one in self.levels.managers if one.name in done}
        if state.get("delegated") == made_of:
            return {}
        plans = {one.name: state["plans"][one.name] for one in self.levels.managers if _stands(one, state)}
        made = delegated(plans, self.levels, state["task"], *self._widest(here))
        made.corrections += unheard(made.directives, made.packages, self.levels)
        for one in made.corrections:
            here.emit(Notice(now(), here.path("delegate"), one.line()))
        update: dict[str, Any] = {
            "delegated": made_of,
            "directives": made.directives,
            "coordination": {made.coordination.by: made.coordination} if made.coordination.by else {},
            "packages": made.packages,
            "corrections": {f"C{number}": one for number, one in enumerate(made.corrections, 1)},
        }
        if state.get("packages"):
            update |= await self._again(made.packages, state, here)
        return update

    async def _again(self, packages: Mapping[str, Package], state: Any, here: Here) -> dict[str, Any]:
        """Take back what was made of an older plan."""
        done = state["deliverables"]
        old: list[Package] = [one for one in state["packages"].values() if one.step in done]
        steps = [self.levels.step(one.owner).named(one.step) for one in old]
        update = await roll_back(steps, done, state, here)
        planned = {one.step for one in packages.values()}
        update["deliverables"] = {
            name: one if name in planned else one.but(required=False) for name, one in update["deliverables"].items()
        }
        return {**update, "criteria": None, "escalations": None, "paused": None}

    def _next(self, state: Any) -> Any:
        """The packages whose needs are met, all at once; then the report on what there is."""
        packages: Mapping[str, Package] = state["packages"]
        done = state.get("deliverables", {})
        paused = state.get("paused", {})
        open_ = ("submitted", "superseded")
        ended = {one.id for one in packages.values() if one.step in done and done[one.step].status not in open_}
        begun = ended | paused.keys()
        ready = [one for one in packages.values() if one.id not in begun and ended.issuperset(one.needs)]
        # A person is asked when there is nothing else to do.
        if sent := ready or [one for one in packages.values() if one.id in paused]:
            return [Send(one.owner, {"item": one.id}) for one in sent]
        return "all done" if any(done[one.step].usable for one in packages.values()) else "nothing usable"

    # --- the end ---

    async def _finish(self, state: Any, here: Here) -> dict[str, Any]:
        """Settle the turn; without a report the results stand side by side, without results the plans."""
        packages = [one.step for one in state.get("packages", {}).values()]
        managers = [one.name for one in self.levels.managers]

        def answer(ended: Sequence[Deliverable]) -> str:
            usable = {one.step: one for one in ended if one.usable}
            if "report" in usable:
                return usable["report"].content
            parts = [usable[name] for name in packages if name in usable]
            parts = parts or [usable[name] for name in managers if name in usable]
            return "\n\n".join(f"## {one.step}\n\n{one.content}" for one in parts)

        return await settle([*self.levels.managers, self.report], state, here, answer, _cut(state), packages)


@dataclass(frozen=True)
class _Report(Place):
    """Where the report stands: after packages that are known at run time."""

    hierarchy: Levels | None = None

    def at(self, state: Any) -> Place:
        """The place with the packages of this run."""
        assert self.hierarchy is not None  # noqa: S101 - it is made with them
        found = [self.hierarchy.step(one.owner).named(one.step) for one in state.get("packages", {}).values()]
        managers = self.hierarchy.managers
        return replace(
            self,
            index=len(managers) + len(found),
            total=len(managers) + len(found) + 1,
            earlier=[*managers, *found],
            needs=[one.name for one in found],
            guidance=_rules,
        )


async def _integrate(place: Place, state: Any, here: Here) -> dict[str, Any]:
    """Let the report be written, by what was done, what is not as it must be, and what was learned."""
    brief = brief_for(place, state)
    room = here.scope.settings.brief_tokens // 6
    unmet = {
        name: f"- {name}: {one.text} {shorten(one.finding, 60)}".rstrip()
        for name, one in state.get("criteria", {}).items()
        if not one.met
    }
    text = render(
        load("moves/report", here.scope.prompts),
        unmet=_section("Criteria that are not met", "\n".join(bounded(unmet, room))),
        learned=_section("What the authors say about their work", _learned(state, room)),
    )
    return await deliver(place, brief.model_copy(update={"objective": text}), state, here)


def _learned(state: Any, limit: int) -> str:
    """Facts, decisions and open questions from the notes on the work, each fenced, within about `limit` tokens."""
    said: dict[str, tuple[str, str]] = {}
    for one in state.get("packages", {}).values():
        done: Deliverable | None = state["deliverables"].get(one.step)
        if done is None or done.notes is None:
            continue
        lines = [
            *(f"fact: {fact}" for fact in done.notes.facts),
            *(f"decided: {point.topic}: {point.choice}" for point in done.notes.decisions),
            *(f"open: {question}" for question in done.notes.questions),
        ]
        if lines:
            said[one.step] = done.agent, "\n".join(lines)
    rooms = fit([tokens(text) for _, text in said.values()], limit)
    return "\n\n".join(
        fence(shorten(text, room), step, agent)
        for (step, (agent, text)), room in zip(said.items(), rooms, strict=True)
        if room
    )


def _rules(state: Any) -> tuple[str, ...]:
    return tuple(bounded({one.id: one.line() for one in state.get("directives", {}).values()}, 4000))


def _section(title: str, body: str) -> str:
    return f"\n\n# {title}\n{body}" if body else ""


def _deliverable(step: Step, content: str) -> Deliverable:
    return Deliverable(step=step.name, agent=step.agent.name, content=content)


def _stands(step: Step, state: Any) -> bool:
    """Whether a manager's plan is in force."""
    done = state.get("deliverables", {}).get(step.name)
    return done is not None and done.usable and step.name in state.get("plans", {})


def _is_above(one: Level, other: Level) -> bool:
    order: Sequence[Level] = ("strategic", "tactical", "implementation")
    return order.index(one) < order.index(other)


def _cut(state: Any) -> Reason | None:
    """What keeps the turn from being completed although its steps have ended well: work that was left out."""
    limits = [one for one in state.get("corrections", {}).values() if one.limit]
    if not limits:
        return None
    return Reason(kind="limit", message=" ".join(one.line() for one in limits[:3]), step="delegate")
