"""mesh: a hub gives work to a pool, round by round; peers hand work on, and everybody shares one board.

```mermaid
flowchart LR
    start([start]) --> hub
    hub -.-> draft
    hub -.-> check
    hub -.-> team
    hub -. next round .-> hub
    hub -. question .-> ask
    hub -. done .-> conclude
    draft --> hub
    check --> hub
    team --> hub
    ask -. answered .-> hub
    ask -. stopped .-> conclude
    conclude --> finish
    finish --> end([end])
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

from langgraph.channels import DeltaChannel
from langgraph.graph import END, START
from langgraph.types import Send

from troupe.agents.contracts import Brief, Deliverable, Ok, Reason, Skipped
from troupe.agents.errors import BuildError
from troupe.graphs.adapters import GraphAgent
from troupe.graphs.asking import ask_about
from troupe.graphs.builders import build
from troupe.graphs.forking.branches import Loop
from troupe.graphs.gates import Gate
from troupe.graphs.hearing import heard
from troupe.graphs.meshing.assignments import Assignment, to_do
from troupe.graphs.meshing.board import Entry, entries, entry, merge_board
from troupe.graphs.meshing.desk import assigned, desk, work_at
from troupe.graphs.meshing.guards import Guards
from troupe.graphs.meshing.handoffs import notes_of, takeover
from troupe.graphs.meshing.history import history
from troupe.graphs.meshing.hub import (
    Answered,
    Choices,
    Criterion,
    Decided,
    Move,
    move_schema,
    roster,
    shown_board,
    shown_criteria,
    shown_notices,
    shown_work,
)
from troupe.graphs.meshing.matcher import Matcher
from troupe.graphs.meshing.routing import ranked, shortlist, standings
from troupe.graphs.meshing.standpoint import Standpoint
from troupe.graphs.meshing.switchboard import Switchboard, required
from troupe.graphs.node import Choice, Here, Node, Sent
from troupe.graphs.recovery import Recovery
from troupe.graphs.state import SNAPSHOT_EVERY, TeamState, merge_latest
from troupe.graphs.step import Step, as_steps
from troupe.graphs.team import TeamGraph
from troupe.graphs.wiring import Ways
from troupe.graphs.work import Place, brief_for, conversation, deliver, ending, last_usable, noted
from troupe.prompts import load, render

SPECIALISTS = (
    "frontend-engineer", "python-engineer", "java-engineer", "database-engineer", "security-engineer", "data-engineer",
    "ai-engineer", "devops-engineer", "performance-engineer", "ui-ux-designer", "technical-writer",
)  # fmt: skip
COORDINATORS = ("project-coordinator", "qa-engineer")
RESEARCHERS = ("ai-researcher", "business-analyst")
CLASSIC = (*SPECIALISTS, *COORDINATORS, *RESEARCHERS)
"""The pool without one of your own."""

_ENGINE = ("hub", "team", "ask", "conclude", "finish")
_IDS = 48  # results that a hub may name, the newest
_TRUST = {"accepted": 0.7, "partial": 0.4}
_GATED = 0.9  # how far accepted work is trusted that a gate has judged


class MeshState(TeamState, total=False):
    """What a mesh keeps besides."""

    assignments: Annotated[dict[str, Assignment], DeltaChannel(merge_latest, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """By id, in the order in which they were given out, each with the candidates' scores and why it went where."""
    board: Annotated[dict[str, Entry], DeltaChannel(merge_board, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """What the team knows."""
    criteria: Annotated[dict[str, Criterion], DeltaChannel(merge_latest, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """What must be true of the finished work, as the hub said at first."""
    decided: Annotated[dict[str, Decided], DeltaChannel(merge_latest, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """By round, the hub's move, what followed from it, and what a person said."""


FIELDS = tuple(MeshState.__annotations__)


def mesh(
    pool: Sequence[Any] | None = None,
    hub: Any = "agent-architect",
    gate: Gate | None = None,
    *,
    guards: Guards = Guards(),  # noqa: B008 - frozen
    embeddings: Any = None,
    recovery: Recovery | None = None,
    name: str = "mesh",
    state_schema: type[Any] | None = None,
    context_schema: type[Any] | None = None,
) -> TeamGraph:
    """A hub that gives work to a pool of peers, as much at once as it likes, until the task is done.

    Args:
        pool: who works: role names, agents, functions, graphs or `Step`s; None is the classic pool of fifteen.
        hub: who leads: a role name or agent that decides, and none of the pool.
        gate: judges everybody's work who has no gate of their own, and the answer that the hub puts together.
        guards: how much a turn may do, and when it goes round in circles.
        embeddings: LangChain `Embeddings` to match needs with skills; words are compared without.
        recovery: what is done when somebody fails who has none of their own.
        name: of the graph.
        state_schema: a subclass of `TeamState` with fields of your own.
        context_schema: a subclass of `TeamContext` with fields of your own.

    Raises:
        BuildError: a pool of fewer than two, a hub in its own pool or that cannot decide, two of one name, or a bound
            that is none.

    >>> from troupe import agent
    >>> [step.name for step in mesh([agent("draft", "Write."), agent("check", "Check.")]).outline]
    ['draft', 'check']
    """
    members = _members(pool, gate, recovery)
    lead = _lead(hub, members, gate, recovery)
    if not isinstance(guards, Guards):
        raise BuildError(f"guards= must be Guards(...), not {guards!r}.")
    by_name = {one.name: one for one in members}
    matcher = Matcher(by_name, embeddings)
    desks = _desks(by_name, lead)
    work = Mesh(by_name, lead, guards, matcher, Switchboard(by_name, lead.agent.name, guards, matcher), desks)
    graph = TeamGraph(
        name,
        members,
        bound=guards.bound,
        own_state=MeshState,
        state_schema=state_schema,
        context_schema=context_schema,
        templates=[one.name for one in members],
        besides={"hub": lead, "guards": guards, "embeddings": embeddings},
        pattern="mesh",
    )
    look = {"troupe_kind": "step", "troupe_note": lead.agent.title}
    graph.add_node("hub", Node(work.coordinate, "hub"), metadata=look)
    for step in members:
        note = {"troupe_kind": "step", "troupe_note": step.agent.title or step.objective}
        inside = [desks[step.name]] if step.name in desks else step.graphs
        graph.add_node(step.name, Sent(partial(work.work, step), step.name, FIELDS, inside), metadata=note)
        graph.add_edge(step.name, "hub")
    graph.add_node("team", Sent(work.team, "team", FIELDS), metadata={"troupe_kind": "step"})
    asking = {"troupe_kind": "ask", "troupe_label": "ask a person"}
    graph.add_node("ask", Node(work.ask, "ask"), metadata=asking)
    ended = [desks["conclude"]] if "conclude" in desks else []
    graph.add_node("conclude", Node(work.conclude, "conclude", ended), metadata=look)
    graph.add_node("finish", Node(work.finish, "finish"), metadata={"troupe_kind": "step"})
    graph.add_edge(START, "hub")
    graph.add_edge("team", "hub")
    given: Ways = {one: one for one in (*by_name, "team")}
    ways: Ways = {"next round": "hub", "question": "ask", "done": "conclude"}
    graph.add_conditional_edges("hub", Choice(_went_on), {**given, **ways})
    graph.add_conditional_edges("ask", Choice(_answered), {"answered": "hub", "stopped": "conclude"})
    graph.add_edge("conclude", "finish")
    graph.add_edge("finish", END)
    return graph


@dataclass(frozen=True)
class Mesh:
    """The nodes of a mesh.

    Attributes:
        members: the pool, by name.
        leader: the hub.
        board: routes.
        desks: where those work whom a gate judges, by name; "conclude" is the hub's for the answer.
    """

    members: Mapping[str, Step]
    leader: Step
    guards: Guards
    matcher: Matcher
    board: Switchboard
    desks: Mapping[str, Loop]

    async def coordinate(self, state: Any, here: Here) -> dict[str, Any]:
        """When everything has come back: what peers hand on, a question, the end, or else the hub's next move."""
        at, update = Standpoint(state), dict[str, Any]()
        if at.round and at.decided[str(at.round)].answer is None:
            update = await self.board.route(state, here)
            state = _applied(state, update)
            at = Standpoint(state)
            if to_do(at.assignments, at.done) or at.course.way != "hub":
                return update
        return _applied(update, await self.lead(state, here))

    async def lead(self, state: Any, here: Here) -> dict[str, Any]:
        """Let the hub decide on a move."""
        at = Standpoint(state)
        number = at.round + 1
        (capability,), failed = await self.matcher.match([(at.task, ())], state, here)
        stand = standings(self.members, at.assignments, at.done, await history(self.members, state, here))
        ranking = ranked(capability, stand, self.board.prices)
        offered = tuple(shortlist(ranking))
        schema = move_schema(
            Choices(
                offered,
                tuple(one for one in list(at.assignments)[-_IDS:] if one in at.done),
                tuple(at.criteria),
                first=not at.assignments,
                last=at.course.last,
            )
        )
        text = self._asked(at, number, roster(ranking, self.members, offered), here)
        brief = Brief(
            task=at.task,
            step="hub",
            objective=f"{self.leader.objective}\n\n{text}" if self.leader.objective else text,
            guidance=tuple(one.guidance for one in at.answers),
            conversation=conversation(state),
            limits=here.scope.left(),
            round=number,
        )
        # Nobody of the pool leads it, neither in the hub's place.
        pool, recovery = [one.agent.name for one in self.members.values()], self.leader.recovered
        outcome = await here.call(
            self.leader.agent, brief, state, purpose="decide", schema=schema, recovery=recovery, but=pool
        )
        short = offered if len(offered) < len(self.members) else ()
        decided = Decided(round=number, offered=short, lexical=failed, mark=at.mark())
        if isinstance(outcome, Ok):
            decided = _bounded(decided, outcome.value, 4 * self.guards.width)
        elif isinstance(outcome, Skipped):
            reason = Reason(kind="stopped", message=outcome.reason, step="hub")
            decided = decided.model_copy(update={"reason": reason})
        else:
            decided = decided.model_copy(update={"reason": outcome.reason("hub")})
        return await self.board.give_out(decided, state, here)

    def _asked(self, at: Standpoint, number: int, who: str, here: Here) -> str:
        """What the hub is asked in this round."""
        about = " ".join([at.task, *(one.text for one in at.criteria.values() if not one.met)])
        shown = {"known": shown_board(at.board, about), "notices": shown_notices(at.course.notices)}
        prompts = here.scope.prompts
        if not at.assignments:
            return render(load("moves/assign", prompts), roster=who, **shown)
        shown |= {
            "round": str(number),
            "criteria": shown_criteria(at.criteria),
            "work": shown_work(at.assignments, at.done),
        }
        if at.course.last:
            return render(load("moves/close", prompts), **shown)
        left = at.allowed(self.guards) - at.hops
        width, _ = here.scope.limits.narrowest(self.guards.width, "")
        hops = f"{left} more assignment{'' if left == 1 else 's'}, of which {min(left, width)} in a round,"
        return render(load("moves/steer", prompts), roster=who, hops=hops, **shown)

    async def work(self, member: Step, item: str, state: Any, here: Here) -> dict[str, Any]:
        """Let a member do one assignment, and say about it what others must know."""
        at = Standpoint(state)
        one = at.assignments[item]
        place = self._place(member, one, at, here)
        update = await self._done(place, self.desks.get(member.name), state, here)
        done: Deliverable = update["deliverables"][item]
        if done.usable and done.notes is None:
            known = {name: at.done[name] for name in place.needs}
            brief = brief_for(place, {**state, "deliverables": known}).model_copy(update={"round": done.rounds})
            peers = tuple(sorted(self.members.keys() - {member.name}))
            text = render(load("moves/handoff", here.scope.prompts), peers=", ".join(peers))
            done = await noted(done, member.agent, brief, state, here, peers=text, schema=notes_of(peers))
        return self._kept(done, member.gate is not None, update)

    async def team(self, item: str, state: Any, here: Here) -> dict[str, Any]:
        """Let a team that the hub put together do one assignment; its deliverables are the parts of one."""
        at = Standpoint(state)
        one = at.assignments[item]
        try:
            # A plan has a form of its own; the gate judges what is made of it.
            lead = replace(self.leader, gate=None)
            made = build(one.pattern, [self.members[name] for name in one.agents], lead)
            step = Step(GraphAgent(made.compile()), one.objective, gate=None)
        except BuildError as error:
            message = f"{one.pattern} of {', '.join(one.agents)} cannot be built: {error}"
            reason = Reason(kind="error", message=message, step=item)
            failed = Deliverable(step=item, agent="team", status="failed", reason=reason)
            return {"deliverables": {item: failed}}
        update = await self._done(self._place(step, one, at, here), None, state, here)
        return self._kept(update["deliverables"][item], False, update)

    def _place(self, member: Step, one: Assignment, at: Standpoint, here: Here) -> Place:
        """Where the assignment stands: what it builds on, and what of the board and of a peer's words it is told."""
        step = assigned(member, one.id, one.objective)
        known = shown_board(at.board, f"{one.objective} {' '.join(one.skills)}").strip()
        told = [takeover(one, at.board, here.scope.prompts)] if one.packet is not None else []
        told += [member.objective] if member.objective and member.objective != step.objective else []
        guidance = tuple([*told, known] if known else told)
        return Place(
            step,
            index=list(at.assignments).index(one.id),
            total=len(at.assignments),
            earlier=[self._source(name, at) for name in one.needs if name in at.done],
            needs=tuple(name for name in one.needs if name in at.done),
            guidance=lambda _: guidance,
            bounded=True,
        )

    def _source(self, name: str, at: Standpoint) -> Step:
        """The step that a result came from, so that its data are an instance of its schema again."""
        return self.members.get(at.assignments[name].agent, self.leader).named(name)

    async def _done(self, place: Place, desk: Loop | None, state: Any, here: Here) -> dict[str, Any]:
        """The deliverable; under a gate after as many rounds as it takes, in a graph of its own."""
        if desk is None:
            return await deliver(place, brief_for(place, state), state, here)
        sources = {name: state["assignments"][name].agent for name in place.needs}
        return await work_at(desk, place, sources, state, here)

    def _kept(self, done: Deliverable, gated: bool, update: dict[str, Any]) -> dict[str, Any]:
        """The update with what the deliverable adds to the board."""
        trust = _GATED if gated and done.status == "accepted" else _TRUST.get(done.status, 0.0)
        found = entries(done, trust) if done.usable else {}
        return {**update, "deliverables": {done.step: done}, **({"board": found} if found else {})}

    async def ask(self, state: Any, here: Here) -> dict[str, Any]:
        """Ask a person what the hub, or a guard, wants to know; in a node of its own, as it starts again on resume."""
        at = Standpoint(state)
        course = at.course
        asked = course.question
        if course.about:
            asked += " Shall the team go on? (Approve, say how, or reject to end the turn here.)"
        name = "go on" if course.about else "answer"
        args = {"question": asked, "round": course.round}
        given = await heard(ask_about(asked, name, args, here.path("hub"), round=course.round), state, here)
        answer = Answered(kind=given.kind, text=given.text, question=course.question, about=course.about, by=given.by)
        number = str(at.round)
        update: dict[str, Any] = {"decided": {number: at.decided[number].model_copy(update={"answer": answer})}}
        if given.text and not answer.stops:
            fact = entry("fact", given.text, given.by, 1.0)
            update["board"] = {fact.id: fact}
        return update

    async def conclude(self, state: Any, here: Here) -> dict[str, Any]:
        """Write the answer where several results make it up; a single one is the answer itself."""
        at = Standpoint(state)
        free = required(at)
        done = {**at.done, **free}
        update: dict[str, Any] = {"deliverables": free} if free else {}
        parts = _parts(at, done)
        if len(parts) < 2:
            return update
        ended = _ended(at, done)
        lacking = "; ".join(f"{one.step}: {one.status}" for one in ended if one.required and not one.usable)
        missing = f"\nMissing: {lacking}." if lacking else ""
        text = render(load("moves/conclude", here.scope.prompts), missing=missing)
        step = Step(self.leader.agent, text, name="conclude", gate=self.leader.gate, recovery=self.leader.recovered)
        needs = tuple(one.step for one in parts)
        place = Place(step, len(ended), len(ended) + 1, [self._source(name, at) for name in needs], needs)
        made = await self._done(place, self.desks.get("conclude"), {**state, "deliverables": done}, here)
        return {**made, "deliverables": {**free, **made["deliverables"]}}

    async def finish(self, state: Any, here: Here) -> dict[str, Any]:
        """End the turn: it is completed if the hub said so, every criterion is met and nothing needed failed."""
        at = Standpoint(state)
        ended = _ended(at, at.done)
        answer = at.done.get("conclude")
        return ending(
            [*ended, *([answer] if answer is not None else [])],
            here,
            lambda _: answer.content if answer is not None and answer.usable else last_usable(_parts(at, at.done)),
            _why(at, ended, self.guards),
        )


def _members(pool: Any, gate: Gate | None, recovery: Recovery | None) -> list[Step]:
    if pool is None:
        pool = CLASSIC
    if isinstance(pool, str) or not isinstance(pool, Sequence):
        raise BuildError(f"pool={pool!r} must be a list of agents: mesh([agent_a, agent_b]).")
    members = as_steps(list(pool), gate, _ENGINE, recovery)
    if len(members) < 2:
        had = f"it has only {members[0].name!r}" if members else "it is empty"
        raise BuildError(f"The pool of a mesh needs two agents at least; {had}. A single agent needs no mesh.")
    for step in members:
        if step.needs:
            raise BuildError(
                f"Step({step.name!r}, needs=...) has no meaning in a mesh: the hub says what an assignment builds on."
            )
        template, _, number = step.name.rpartition(".")
        if number.isdecimal() and template in ("team", *(one.name for one in members)):
            raise BuildError(
                f"{step.name!r} is what an assignment of {template!r} is named. Name it by its job: "
                f"Step({step.name!r}, ..., name='...')."
            )
        if isinstance(step.gate, Gate):
            step.gate.checks.for_author(step.agent)  # whoever would judge their own work is found out now
    return members


def _desks(members: Mapping[str, Step], lead: Step) -> dict[str, Loop]:
    """Where those work whom a gate judges, or about whom a person may be asked; they build on everybody's results."""
    authors = {**members, "team": lead}
    looped = {name: step for name, step in members.items() if isinstance(step.gate, Gate) or step.recovered.ask}
    found = {name: desk(step, authors) for name, step in looped.items()}
    if isinstance(lead.gate, Gate) or lead.recovered.ask:
        last = Step(lead.agent, name="conclude", gate=lead.gate, recovery=lead.recovered)
        found["conclude"] = desk(last, authors, bounded=False)
    return found


def _lead(hub: Any, members: Sequence[Step], gate: Gate | None, recovery: Recovery | None) -> Step:
    lead = hub if isinstance(hub, Step) else Step(hub)
    if not lead.agent.can_decide:
        raise BuildError(f"The hub {lead.name!r} cannot decide. Use a role or an agent with a model.")
    names = {one.name for one in members} | {one.agent.name for one in members}
    if names & {lead.name, lead.agent.name}:
        raise BuildError(
            f"The hub {lead.agent.name!r} is in its own pool. Take it out, or give another: hub=... "
            f"The pool has: {', '.join(one.name for one in members)}."
        )
    lead = lead.under(gate, recovery)
    if isinstance(lead.gate, Gate):
        lead.gate.checks.for_author(lead.agent)
    return lead


def _bounded(decided: Decided, said: Any, most: int) -> Decided:
    """The move as it is kept: what no round could ever run is counted and left out."""
    move = Move.model_validate(said.model_dump())
    cut = max(len(move.assignments) - most, 0) + max(len(move.teams) - most, 0)
    if cut:
        move = move.model_copy(update={"assignments": move.assignments[:most], "teams": move.teams[:most]})
    return decided.model_copy(update={"move": move, "cut": cut})


def _went_on(state: Any) -> Any:
    """Every assignment that is to be done, all at once; or where the turn goes on when there is none."""
    at = Standpoint(state)
    if sent := [Send(one.agent, {"item": one.id}) for one in to_do(at.assignments, at.done)]:
        return sent
    return {"ask": "question", "conclude": "done"}.get(at.course.way, "next round")


def _applied(fields: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """The state, or another update, with an update's entries."""
    return {**fields, **{name: {**(fields.get(name) or {}), **one} for name, one in update.items()}}


def _answered(state: Any) -> str:
    at = Standpoint(state)
    answer = at.decided[str(at.round)].answer
    return "stopped" if answer is not None and answer.stops else "answered"


def _ended(at: Standpoint, done: Mapping[str, Deliverable]) -> list[Deliverable]:
    """How the assignments ended, in the order in which they were given out."""
    return [done[name] for name in at.assignments if name in done]


def _parts(at: Standpoint, done: Mapping[str, Deliverable]) -> list[Deliverable]:
    """The results that make up the answer; what others carried on with only where there is nothing else."""
    usable = [one for one in _ended(at, done) if one.usable]
    return [one for one in usable if one.required] or usable[-1:]


def _why(at: Standpoint, ended: Sequence[Deliverable], guards: Guards) -> Reason | None:
    """What keeps the turn from being completed, besides what its assignments say for themselves."""
    course = at.course
    answer = at.answers[-1] if at.answers else None
    if answer is not None and answer.stops:
        said = f" A person ended the turn: {answer.text}" if answer.text else " A person ended the turn."
        return Reason(kind="limit", message=f"{answer.question}{said}", step="hub")
    if course.end is not None:
        return course.end
    if any(one.required and one.status != "accepted" for one in ended):
        return None
    if unmet := [one.text for one in at.criteria.values() if not one.met]:
        return Reason(kind="gate", message=f"Not met, as the hub judges: {'; '.join(unmet)}", step="hub")
    return None
