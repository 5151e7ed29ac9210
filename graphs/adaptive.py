"""adaptive: the task is assessed, a way of working is chosen for it, and changed where it does not do.

```mermaid
flowchart LR
    start([start]) --> assess
    assess --> choose
    choose --> work
    work -. submitted .-> work.gate
    work -. failed .-> check
    work.gate -. pass .-> check
    work.gate -. rework .-> work
    check -. change .-> work
    check -. done .-> finish
    finish --> end([end])
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from langgraph.channels import DeltaChannel
from langgraph.graph import END, START

from troupe.agents.agent import Agent
from troupe.agents.brief import fence
from troupe.agents.chat import agent as of_roster
from troupe.agents.contracts import Deliverable, Failed, Kept, Ok, Reason
from troupe.agents.errors import BuildError, LimitReached, TroupeError
from troupe.agents.events import Notice
from troupe.agents.functions import FunctionAgent
from troupe.agents.journal import Row
from troupe.agents.notes import Text
from troupe.agents.roster import ROSTER
from troupe.agents.text import summary
from troupe.graphs.bottlenecks import bottlenecks, spans_of
from troupe.graphs.choosing.assessing import ASSESSOR, as_assessor, may_be_asked, of_context, what_to_assess
from troupe.graphs.choosing.assessment import Assessment, Reading, Resources, assessed, must_be_stated
from troupe.graphs.choosing.bounds import Bounds
from troupe.graphs.choosing.choice import Chosen, changed, choose, ruled_out
from troupe.graphs.choosing.feedback import Adjusted, Advice, advice
from troupe.graphs.choosing.forecasting import forecasts, prices
from troupe.graphs.choosing.reading import read
from troupe.graphs.choosing.teams import Casting
from troupe.graphs.gates import Gate
from troupe.graphs.history import History, RunRecord, record
from troupe.graphs.node import Choice, Here, Node, now
from troupe.graphs.recovery import BY_ITSELF
from troupe.graphs.state import SNAPSHOT_EVERY, TeamState, merge_latest
from troupe.graphs.step import Step, as_steps
from troupe.graphs.team import TeamGraph
from troupe.graphs.wiring import add_step, supersteps
from troupe.graphs.work import Place, brief_for, conversation, deliver, ending, why
from troupe.prompts import load, render

CLASSIC = tuple(name for name in ROSTER if name not in (ASSESSOR, "agent-architect"))
"""The pool without one of your own: the roster, but for those who lead."""

_ENGINE = (
    "lead", "whole", "delegate", "report", "fork", "join", "resolve", "hub", "team", "ask", "conclude", "finish",
)  # fmt: skip
"""What nodes of the teams are named that may be chosen."""
_TASK = "task"
_SLOW = 3  # bottlenecks that are kept
_LOOKED_AT = 500  # calls of a turn that are looked at for them


class Slow(Kept):
    """A step whose duration moved the end of the turn."""

    said: Text

    def line(self) -> str:
        """See `Kept`."""
        return self.said


class AdaptiveState(TeamState, total=False):
    """What an adaptive team keeps besides."""

    assessment: Annotated[dict[str, Assessment], DeltaChannel(merge_latest, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """Of the task, under that name."""
    choices: Annotated[dict[str, Chosen], DeltaChannel(merge_latest, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """By attempt, the way of working, by what it was chosen, and why."""
    adjusted: Annotated[dict[str, Adjusted], DeltaChannel(merge_latest, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """What recorded runs changed in the team, within its bounds."""
    bottlenecks: Annotated[dict[str, Slow], DeltaChannel(merge_latest, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """Which steps moved the end of the turn most."""


def adaptive(
    pool: Sequence[Any] | None = None,
    assessor: Any = ASSESSOR,
    gate: Gate | None = None,
    *,
    learn: bool = False,
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
    name: str = "adaptive",
    state_schema: type[Any] | None = None,
    context_schema: type[Any] | None = None,
) -> TeamGraph:
    """A team that chooses how it works: one agent, a sequence, branches, a hierarchy or a mesh, as the task is.

    Args:
        pool: who may work: role names, agents, functions, graphs or `Step`s; None is the roster, but for its leads.
        assessor: a role or agent that assesses the task, and that plans, merges and judges in the chosen team; or what
            is known of every task, as `{"complexity": "complex"}`, or a function of the Brief that returns such; None
            leaves it to the task's words. Where no model of yours is there, the words decide, too.
        gate: judges what the chosen team delivers; where it does not pass in the end, the way of working is changed.
        learn: whether published evidence and recorded runs may overrule the table that decides otherwise.
        bounds: what may be changed at run time, and how often.
        name: of the graph.
        state_schema: a subclass of `TeamState` with fields of your own.
        context_schema: a subclass of `TeamContext` with fields of your own.

    Raises:
        BuildError: an empty pool, a lead in its own pool, nobody but reviewers, two of one name, or an assessor that
            can neither decide nor state anything.

    >>> from troupe import agent, run
    >>> result = run(adaptive([agent("poet", "Write verse.")]), "Write a haiku.", db=":memory:")
    >>> result.status, result.record["choices"]["1"].pattern
    ('completed', 'single')
    """
    if not isinstance(bounds, Bounds):
        raise BuildError(f"bounds= must be Bounds(...), not {bounds!r}.")
    if not isinstance(learn, bool):
        raise BuildError(f"learn= is True or False, not {learn!r}. Recorded runs: TeamContext(history=...).")
    asked = as_assessor(assessor)
    lead = Step(asked if asked is not None and asked.can_decide else of_roster(ASSESSOR), name="lead", gate=None)
    if gate is not None:
        if not isinstance(gate, Gate):
            raise BuildError(f"gate= must be made with gate(...), not {gate!r}.")
        gate = replace(gate, checks=gate.checks.for_author(lead.agent))  # whoever puts the whole together wrote it
    members = _members(pool, lead, gate)
    work = Adaptive(tuple(members), lead, asked, gate, learn, bounds)
    place = _Place(Step(lead.agent, "Work as it was chosen.", name="work", gate=gate))
    graph = TeamGraph(
        name,
        members,
        bound=(bounds.changes + 1) * (supersteps([place.step]) + 2) + 3,
        own_state=AdaptiveState,
        state_schema=state_schema,
        context_schema=context_schema,
        templates=[one.name for one in members],
        besides={
            "lead": lead,
            "assessor": assessor if asked is None or isinstance(assessor, Mapping) else asked,
            "learn": learn,
            "bounds": bounds,
            "gate": gate,
        },
    )
    note = asked.name if asked is not None else "by its words"
    graph.add_node("assess", Node(work.assess, "assess"), metadata={"troupe_kind": "step", "troupe_note": note})
    graph.add_node("choose", Node(work.choose, "choose"), metadata={"troupe_kind": "gate", "troupe_label": "choose"})
    add_step(graph, place, "check", "check", work.work, inside=[one for step in members for one in step.graphs])
    graph.nodes["work"].metadata = {"troupe_kind": "step", "troupe_note": "the team that was chosen"}
    look = {"troupe_kind": "gate", "troupe_label": "check", "troupe_note": "whether another way is tried"}
    graph.add_node("check", Node(work.check, "check"), metadata=look)
    graph.add_node("finish", Node(work.finish, "finish"), metadata={"troupe_kind": "step"})
    graph.add_edge(START, "assess")
    graph.add_edge("assess", "choose")
    graph.add_edge("choose", "work")
    graph.add_conditional_edges("check", Choice(_checked), {"change": "work", "done": "finish"})
    graph.add_edge("finish", END)
    return graph


@dataclass(frozen=True)
class Adaptive:
    """The nodes of an adaptive team.

    Attributes:
        members: the pool.
        lead: who plans, merges and judges in the chosen team.
        assessor: who is asked what the task is like.
    """

    members: tuple[Step, ...]
    lead: Step
    assessor: Agent | None
    gate: Gate | None
    learn: bool
    bounds: Bounds

    async def assess(self, state: Any, here: Here) -> dict[str, Any]:
        """Find out what the task is like; where nobody can say it, its words do."""
        said, stated = await self._asked(state, here)
        known = {**stated, **of_context(here.scope.context)}
        return {"assessment": {_TASK: assessed(read(state["task"]), self._resources(here), said, known)}}

    def _resources(self, here: Here) -> Resources:
        """What there is to work with now."""
        context, scope = here.scope.context, here.scope
        return Resources(
            agents=len(self.members),
            slots=max(1, scope.executor.spare),  # what others leave: a queue that has grown speaks for fewer at once
            budget=None if context.budget is None else max(0.0, context.budget - scope.purse.paid),
            deadline=None if context.deadline is None else scope.remaining(),
        )

    async def _asked(self, state: Any, here: Here) -> tuple[Reading | None, dict[str, Any]]:
        """What the assessor says of the task, and what it states."""
        agent, problem = self.assessor, ""
        if agent is None or not await may_be_asked(agent, here.scope.models):
            return None, {}
        brief = what_to_assess(state["task"], here.scope.prompts, conversation=conversation(state))
        if isinstance(agent, FunctionAgent):
            outcome = await here.call(agent, brief, state)
        else:
            outcome = await here.call(agent, brief, state, purpose="decide", schema=Reading, recovery=BY_ITSELF)
        if isinstance(outcome, Ok) and not isinstance(agent, FunctionAgent):
            return Reading.model_validate(outcome.value.model_dump()), {}
        if isinstance(outcome, Ok):
            try:
                return None, must_be_stated(outcome.value.data or {})
            except TroupeError as error:
                problem = str(error)
        else:
            problem = outcome.cause if isinstance(outcome, Failed) else outcome.reason
        text = f"{agent.name} could not assess the task, so its words decide: {problem}"
        here.emit(Notice(now(), here.path("assess"), text))
        return None, {}

    async def choose(self, state: Any, here: Here) -> dict[str, Any]:
        """Choose the way of working, once: a turn that goes on after a crash finds what was chosen."""
        journal, key = here.scope.journal, f"{await here.root(state)}/choice"
        if (row := await journal.find(key)) is None:
            chosen, changes = await self._chosen(state, here)
            kept = {
                "chosen": chosen.model_dump(mode="json"),
                "adjusted": [one.model_dump(mode="json") for one in changes],
            }
            await journal.record(Row(key, "outcome", here.path("choose"), "", None, kept))
            row = await journal.find(key)
        received: Any = row.received if row is not None else {}
        chosen = Chosen.model_validate(received["chosen"])
        here.emit(Notice(now(), here.path("choose"), f"Chosen: {chosen.line()}"))
        adjusted = [Adjusted.model_validate(one) for one in received["adjusted"]]
        for one in adjusted:
            here.emit(Notice(now(), here.path("choose"), f"Changed: {one.line()}"))
        update: dict[str, Any] = {"choices": {"1": chosen}}
        if adjusted:
            update["adjusted"] = {f"{one.step} {one.what}": one for one in adjusted}
        return update

    async def _chosen(self, state: Any, here: Here) -> tuple[Chosen, tuple[Adjusted, ...]]:
        task, seen = state["task"], state["assessment"][_TASK]
        history = await self._history(here)
        ruled = self._ruled(task, seen, history, here)
        chosen = choose(task, seen, ruled, history, self.learn, self.bounds.patterns)
        return chosen, advice(self.members, history, self.bounds).adjusted

    def _ruled(self, task: str, seen: Assessment, history: History | None, here: Here) -> Any:
        models = here.scope.models
        expected = forecasts(task, seen, history, prices(models.specs))
        return ruled_out(seen, expected, self.bounds.patterns, free=models.simulated)

    async def _history(self, here: Here) -> History | None:
        """Recorded runs, where they may change anything; that they cannot be read changes nothing."""
        given = here.scope.context.history
        feeds = self.learn or self.bounds.reworks or self.bounds.tier_up or self.bounds.lag
        if not feeds or given is None or isinstance(given, History):
            return given if feeds else None
        try:
            found: History = await given()
        except TroupeError as error:
            here.emit(Notice(now(), here.path("choose"), f"Recorded runs cannot be read: {error}"))
            return None
        return found

    async def work(self, place: Place, state: Any, here: Here) -> dict[str, Any]:
        """Let the chosen team work; what earlier ones delivered is given to it."""
        chosen = current(state)
        before = _earlier(state)
        given = {name: one for done in before for name, one in _delivered(done).items()}
        advised = Advice(tuple((state.get("adjusted") or {}).values()))
        accepted = {one.step: one for done in before for one in done.parts.values() if one.status == "accepted"}
        casting = Casting(
            state["task"], state["assessment"][_TASK], self.members, self.lead, advised, self.bounds.split, accepted
        )
        try:
            # Roles are looked up on disk, which must not hold up an event loop.
            step = await asyncio.to_thread(lambda: replace(casting.team(chosen.pattern), gate=self.gate))
        except BuildError as error:
            reason = Reason(kind="error", message=f"{chosen.pattern} cannot be built: {error}", step=chosen.pattern)
            return {"deliverables": {chosen.pattern: Deliverable(step=chosen.pattern, status="failed", reason=reason)}}
        at = Place(step, chosen.attempt - 1, chosen.attempt)
        brief = brief_for(at, state)
        if before:
            said = render(
                load("moves/change", here.scope.prompts),
                pattern=", ".join(one.step for one in before),
                why=fence(summary("\n".join(dict.fromkeys(why(one) for one in before))), "why"),
            )
            needs = tuple(given)
            brief = brief.model_copy(update={"deliverables": given, "needs": needs, "guidance": (said,)})
        return await deliver(at, brief, state, here)

    async def check(self, state: Any, here: Here) -> dict[str, Any]:
        """Change the way of working where this one did not do, as often as may be; what was delivered is kept."""
        chosen = current(state)
        done: Deliverable = state["deliverables"][chosen.pattern]
        before = _earlier(state)
        if (reason := self._stalled(done, before, here)) is None:
            return {}
        tried = [one.pattern for one in (state.get("choices") or {}).values()]
        seen = state["assessment"][_TASK].model_copy(update={"resources": self._resources(here)})
        out = [one.pattern for one in self._ruled(state["task"], seen, None, here)]
        following = changed(chosen, reason, tried, out)
        if following is None:
            return {}
        here.emit(Notice(now(), here.path("check"), f"Changed to {following.line()}"))
        kept = done.but(required=False)
        return {"choices": {str(following.attempt): following}, "deliverables": {done.step: kept}}

    def _stalled(self, done: Deliverable, before: Sequence[Deliverable], here: Here) -> str | None:
        """Why another way of working is worth trying; None where it is not, or nothing is wrong."""
        reason = done.reason
        if done.status == "accepted" or len(before) >= self.bounds.changes:
            return None
        if reason is not None and reason.kind in ("person", "stopped"):
            return None
        if done.usable and reason is not None and reason.kind == "limit" and reason.step != "hub":
            return None  # work was cut short, and not stuck as under a mesh's guards
        if before and not done.usable and why(done) == why(before[-1]):
            return None  # the same failure again: it lies elsewhere
        try:
            here.scope.check_budget()
        except LimitReached:
            return None
        if here.scope.remaining() <= 0:
            return None
        if done.status == "failed":
            return f"{done.step} brought nothing usable: {why(done)}"
        if reason is not None and reason.kind == "gate":
            return f"{done.step} did not pass its gates: {why(done)}"
        return f"{done.step} did not get through: {why(done)}"

    async def finish(self, state: Any, here: Here) -> dict[str, Any]:
        """End the turn with what the last team delivered, or with what an earlier one had."""
        ended = [state["deliverables"][one.pattern] for one in state["choices"].values()]
        update = ending(ended, here)
        slow = await self._slow(state, here)
        return {**update, "bottlenecks": slow} if slow else update

    async def _slow(self, state: Any, here: Here) -> dict[str, Slow]:
        """The steps whose duration moved the end of this turn most."""
        if here.scope.spent.calls > _LOOKED_AT:  # their rows, with all texts, would be read at once
            return {}
        root = await here.root(state)
        rows = await here.scope.journal.rows(f"{root}/")
        spans = spans_of(record(_UNKNOWN, rows))
        found = [one for one in bottlenecks(spans) if one.share > 0][:_SLOW] if len(spans) > 1 else []
        if found:
            here.emit(Notice(now(), here.path("finish"), f"What took longest: {found[0].line()}"))
        return {one.step: Slow(said=one.line()) for one in found}


_UNKNOWN = RunRecord("", 1, "", "", "running", True, 0.0, 0.0, None)


@dataclass(frozen=True)
class _Place(Place):
    """Where the chosen team stands: its step is named after the pattern, which only the state knows."""

    def at(self, state: Any) -> Place:
        """See `Place`."""
        chosen = current(state)
        return Place(self.step.named(chosen.pattern), chosen.attempt - 1, chosen.attempt)

    def name(self, state: Any) -> str:
        """See `Place`."""
        return current(state).pattern


def current(state: Any) -> Chosen:
    """The way of working that the turn is in."""
    chosen: Chosen = state["choices"][str(len(state["choices"]))]
    return chosen


def _earlier(state: Any) -> list[Deliverable]:
    """What the attempts before this one came to."""
    choices = list(state["choices"].values())[:-1]
    return [state["deliverables"][one.pattern] for one in choices]


def _delivered(done: Deliverable, outer: str = "") -> dict[str, Deliverable]:
    """Everything of an attempt that can be built on, by path: its parts, and what it made of them."""
    path = f"{outer}{done.step}"
    found = {name: one for part in done.parts.values() for name, one in _delivered(part, f"{path}/").items()}
    if done.usable and done.content and done.content not in [one.content for one in found.values()]:
        found[path] = done.but(parts={})
    return found


def _checked(state: Any) -> str:
    return "done" if current(state).pattern in state["deliverables"] else "change"


def _members(pool: Sequence[Any] | None, lead: Step, gate: Gate | None) -> list[Step]:
    if pool is not None and (isinstance(pool, str) or not isinstance(pool, Sequence)):
        raise BuildError(f"pool={pool!r} must be a list of agents: adaptive([agent_a, agent_b]).")
    # A gate of the team's own is for those who have none: who has none at all must be told from who wants none.
    members = [one if isinstance(one, Step) else Step(one) for one in (CLASSIC if pool is None else pool)]
    as_steps(members, None, _ENGINE)
    if not members:
        raise BuildError("The pool of an adaptive team is empty. Give somebody who works, or leave it out.")
    reviewers = gate.checks.reviewers if gate is not None else ()
    working = [one for one in members if one.agent.name not in reviewers]
    if not working:
        raise BuildError(
            f"Everybody in the pool judges its work: {', '.join(reviewers)}. Give the gate another reviewer."
        )
    if lead.agent.name in [one.agent.name for one in members]:
        raise BuildError(
            f"{lead.agent.name!r} leads the team, and is in its pool. Take it out, or give another: assessor=..."
        )
    return working
