"""The switchboard of a mesh: what the hub wishes becomes assignments, each checked, scored and bounded. No model here.

Every wish is either carried out or recorded with the reason why not; which node comes next is in the round's Course.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from troupe.agents.contracts import Deliverable, Reason
from troupe.agents.events import Notice
from troupe.agents.limits import Limits
from troupe.agents.text import summary
from troupe.graphs.builders import BUILDERS
from troupe.graphs.meshing.assignments import Assignment, Numbers, needless, same, to_do
from troupe.graphs.meshing.guards import Alarm, Guards, stalled
from troupe.graphs.meshing.handoffs import circles, objection, packet, wish, wishes
from troupe.graphs.meshing.history import history
from troupe.graphs.meshing.hub import NOTICES, Course, Criterion, Decided, Move, Squad, Task
from troupe.graphs.meshing.matcher import Capabilities, Matcher
from troupe.graphs.meshing.routing import NOTHING_KNOWN, choose, kept, price, ranked, standings
from troupe.graphs.meshing.standpoint import Standpoint
from troupe.graphs.node import Here, now
from troupe.graphs.step import Step

CRITERIA = 12
SQUAD = 8
"""Agents in a team that the hub puts together, at most."""


@dataclass
class Switchboard:
    """Routes the work of a mesh.

    Args:
        members: the pool, by name.
        hub: the name of whoever leads.
        guards: the bounds.
        matcher: who can do what.
    """

    members: Mapping[str, Step]
    hub: str
    guards: Guards
    matcher: Matcher
    prices: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.prices = {name: price(one.agent) for name, one in self.members.items()}

    async def give_out(self, decided: Decided, state: Any, here: Here) -> dict[str, Any]:
        """Turn the hub's move into assignments."""
        number = str(decided.round)
        state = {**state, "decided": {**(state.get("decided") or {}), number: decided}}
        round_ = Round(self, Standpoint(state), here.scope.limits, await history(self.members, state, here))
        await self._follow(round_, decided, state, here)
        update = round_.update()
        _tell(round_.course.notices, here)
        # What it gave out is in the assignments, each with its round; it need not be kept twice.
        move = decided.move.model_copy(update={"assignments": (), "teams": ()}) if decided.move else None
        return {**update, "decided": {number: decided.model_copy(update={"course": round_.course, "move": move})}}

    async def route(self, state: Any, here: Here) -> dict[str, Any]:
        """When everything has come back: what peers hand on, or else what comes next."""
        round_ = Round(self, Standpoint(state), here.scope.limits, await history(self.members, state, here))
        round_.hand_on()
        round_.next()
        update = round_.update()
        _tell([one for one in round_.course.notices if one not in round_.at.course.notices], here)
        if round_.course != round_.at.course:  # most rounds end as they began
            number = str(round_.at.round)
            decided = round_.at.decided[number]
            update["decided"] = {number: decided.model_copy(update={"course": round_.course})}
        return update

    async def _follow(self, round_: Round, decided: Decided, state: Any, here: Here) -> None:
        move = decided.move
        if move is None:
            reason = decided.reason
            if round_.at.round > 1 or reason is None or reason.kind in ("limit", "stopped"):
                round_.course = round_.course.but(end=reason)
                return
            round_.note(f"The hub could not decide, so the task itself was given out: {summary(reason.message, 60)}")
            move = Move(assignments=(Task(objective=round_.at.task),))
        wanted = [(one.objective, one.skills) for one in move.assignments]
        capabilities, failed = await self.matcher.match(wanted, state, here)
        round_.course = round_.course.but(lexical=failed)
        if decided.cut:
            round_.note(f"{decided.cut:,} assignments beyond what a round could run were left out (Guards.width).")
        round_.follow(move, capabilities, decided.offered or tuple(self.members))


class Round:
    """One pass of the switchboard: what it gives out, and what it has to say."""

    def __init__(
        self, board: Switchboard, at: Standpoint, limits: Limits, earlier: Mapping[str, float] = NOTHING_KNOWN
    ) -> None:
        self.board = board
        self.at = at
        self.guards = board.guards
        self.width, self.bound = limits.narrowest(self.guards.width, "Guards.width")
        self.before = at.course_of(at.round - 1)
        self.course = at.course if at.course.round == at.round else Course(round=at.round, told=self.before.told)
        self.assignments: dict[str, Assignment] = dict(at.assignments)
        self.done: dict[str, Deliverable] = dict(at.done)
        self.changed: dict[str, Assignment] = {}
        self.settled: dict[str, Deliverable] = {}
        self.criteria: dict[str, Criterion] = dict(at.criteria)
        self.numbers = Numbers(at.assignments)
        self.used = at.hops
        self.allowed = at.allowed(board.guards)
        self.standing = standings(board.members, at.assignments, at.done, earlier)

    def note(self, text: str) -> None:
        """Something that the hub is told."""
        if text not in self.course.notices:
            self.course = self.course.but(notices=(*self.course.notices, text))

    def alarm(self, kind: Alarm, detail: str) -> None:
        """A guard speaks up: once; where it has been heard before, the turn ends."""
        said = f"{self.guards.words(kind)} {detail}".strip()
        self.note(said)
        if kind in self.before.told:
            reason = Reason(kind="limit", message=said, step="hub")
            self.course = self.course.but(end=self.course.end or reason)
        elif kind not in self.course.told:
            self.course = self.course.but(told=(*self.course.told, kind))
            if self.guards.then == "ask" and not self.course.about:
                if self.course.question:
                    self.note(f"Your question was put off: {self.course.question}")
                self.course = self.course.but(question=said, about=kind)

    # --- what the hub decided ----------------------------------------------------------------------------------------

    def follow(self, move: Move, capabilities: Sequence[Capabilities], offered: Sequence[str]) -> None:
        """Carry out a move."""
        if not self.criteria:
            texts = [one for one in move.criteria if one.strip()][:CRITERIA]
            self.criteria = {f"c{number}": Criterion(text=text) for number, text in enumerate(texts, 1)}
        met = tuple(key for key in self.at.criteria if key in move.met)
        for key, one in self.at.criteria.items():
            self.criteria[key] = one.model_copy(update={"met": key in met})
        self.course = self.course.but(met=met)
        last = self.before.last
        for number, (task, capability) in enumerate(zip(move.assignments, capabilities, strict=True)):
            self._assign(task, capability, offered, number, last)
        for number, squad in enumerate(move.teams, len(move.assignments)):
            self._found(squad, number, last)
        if last:
            reason = Reason(kind="limit", message=self.guards.words("hops"), step="hub")
            wished = bool(move.assignments or move.teams)
            self.course = self.course.but(finished=True, end=None if move.finish and not wished else reason)
            return
        if question := move.question.strip():
            if len(self.at.answers) < self.allowed:
                self.course = self.course.but(question=question)
            else:
                self.note("A person was asked often enough in this turn; your question was left out.")
        if move.finish:
            self._finish()

    def _finish(self) -> None:
        if to_do(self.assignments, self.done) or self.course.question:
            self.note("The end was put off, because there was something to be done first.")
        elif not self.assignments:
            self.note("Nothing has been given out yet, so this cannot be the end.")
        else:
            self.course = self.course.but(finished=True)

    def _assign(self, task: Task, capability: Capabilities, offered: Sequence[str], number: int, last: bool) -> None:
        if not task.objective.strip():
            self.note("An assignment without an objective was left out.")
            return
        remarks, needs, part_of = self._checked(task)
        ranking = ranked(capability, self.standing, self.board.prices, needs)
        chosen, why, wrong = choose(task.agent.strip(), ranking, offered)
        if wrong:
            remarks.append(f"{wrong}; {chosen.agent} has the best score.")
        one = Assignment(
            id=(name := self.numbers.next(chosen.agent)),
            agent=chosen.agent,
            objective=task.objective,
            round=self.at.round,
            item=name,
            skills=task.skills[:12],
            needs=needs,
            part_of=part_of,
            why=why,
            remarks=tuple(remarks),
            scores=kept(chosen, ranking),
            known=self.at.settled(),
        )
        self._give(one, number, last)

    def _found(self, squad: Squad, number: int, last: bool) -> None:
        """A team of its own: its agents are those of the pool whose names are right, each once."""
        remarks, needs, part_of = self._checked(squad)
        known = list(dict.fromkeys(one.strip() for one in squad.agents if one.strip() in self.board.members))
        if unknown := [one for one in squad.agents if one.strip() not in self.board.members]:
            remarks.append(f"{', '.join(repr(one[:80]) for one in unknown[:SQUAD])}: no such agent in the pool.")
        if len(known) > SQUAD:
            remarks.append(f"A team has {SQUAD} agents at most; {', '.join(known[SQUAD:])} were left out.")
        one = Assignment(
            id=(name := self.numbers.next("team")),
            agent="team",
            objective=squad.objective or self.at.task,
            round=self.at.round,
            item=name,
            needs=needs,
            part_of=part_of,
            why=f"the hub's choice: {squad.pattern[:80]} of {', '.join(known[:SQUAD]) or 'nobody'}",
            remarks=tuple(remarks),
            known=self.at.settled(),
            pattern=squad.pattern.strip(),
            agents=tuple(known[:SQUAD]),
        )
        problem = ""
        if one.pattern not in BUILDERS:
            problem = f"There is no pattern {one.pattern[:80]!r}. There are: {', '.join(BUILDERS)}."
        elif not one.agents:
            problem = "Nobody of the pool was named for the team."
        self._give(one, number, last, problem)

    def _checked(self, wished: Task | Squad) -> tuple[list[str], tuple[str, ...], str]:
        """What of it names nothing that there is, and what is left."""
        remarks = []
        needs = tuple(dict.fromkeys(one.strip() for one in wished.needs if self._usable(one.strip())))
        if unknown := [one for one in wished.needs if one.strip() not in needs]:
            remarks.append(f"{', '.join(repr(one[:80]) for one in unknown[:8])}: no result to build on.")
        part_of = wished.part_of.strip()
        if part_of and part_of not in self.at.assignments:
            remarks.append(f"{part_of[:80]!r}: no earlier assignment.")
            part_of = ""
        return remarks, needs, part_of

    def _usable(self, name: str) -> bool:
        return name in self.at.done and self.at.done[name].usable

    def _give(self, one: Assignment, number: int, last: bool, problem: str = "") -> None:
        for remark in one.remarks:
            self.note(f"{one.id}: {remark}")
        rounds = {
            other.round
            for other in self.at.assignments.values()
            if other.agent == one.agent
            and not (other.hop or other.dropped)
            and same(other.objective) == same(one.objective)
        }
        if problem:
            self._drop(one, problem, "error")
        elif last or self.used >= self.allowed:
            self._drop(one, f"Not begun: {self.guards.words('hops')}")
        elif number >= self.width:
            self._drop(one, f"Not begun: a round has {self.width} assignments at most ({self.bound}).")
        elif len(rounds) >= self.guards.repeats:
            self._drop(one, f"Not begun: {self.guards.words('repeats')}")
            self.alarm("repeats", f"It was {one.agent}: {summary(one.objective, 30)}")
        else:
            self._keep(one)
            self.used += 1
            if (standing := self.standing.get(one.agent)) is not None:
                standing.load += 1
                standing.given += 1

    def _drop(self, one: Assignment, why: str, kind: Any = "limit") -> None:
        self.note(f"{one.id} ({summary(one.objective, 30)}): {why}")
        self._keep(one.but(dropped=why))
        reason = Reason(kind=kind, message=why, step=one.id)
        never = Deliverable(step=one.id, agent=one.agent, status="skipped", reason=reason)
        self._settle(never.but(status="failed") if kind == "error" else never)

    def _keep(self, one: Assignment) -> None:
        self.assignments[one.id] = self.changed[one.id] = one

    def _settle(self, done: Deliverable) -> None:
        self.done[done.step] = self.settled[done.step] = done

    # --- what peers hand on ------------------------------------------------------------------------------------------

    def hand_on(self) -> None:
        """Carry out the hand-offs that may be; the others end with what was delivered."""
        for one in wishes(self.assignments, self.done):
            done = self.done[one.id]
            said = wish(done)
            to = said.to.strip()
            problem = objection(one, to, tuple(self.board.members), self.board.hub)
            if problem:
                self._refuse(one, done, problem, "error")
            elif self.used >= self.allowed:
                self._refuse(one, done, f"{self.guards.words('hops')} {one.agent} wished to hand over to {to}.")
            elif circles(one, to, self.assignments, self.at.settled()):
                words = f"{self.guards.words('circle')} {one.agent} wished to hand {one.item} back to {to}."
                self._refuse(one, done, words)
                self.alarm("circle", f"{one.agent} wished to hand {one.item} back to {to}.")
            else:
                self._hand(one, done, to)

    def _hand(self, one: Assignment, done: Deliverable, to: str) -> None:
        capability = self.board.matcher.lexical(one.objective, one.skills, self.at.task)
        ranking = ranked(capability, self.standing, self.board.prices, one.needs)
        chosen = next(other for other in ranking if other.agent == to)
        sent = packet(one, done, self.at.board)
        new = Assignment(
            id=self.numbers.next(to),
            agent=to,
            objective=one.objective,
            round=self.at.round,
            item=one.item,
            hop=one.hop + 1,
            skills=one.skills,
            needs=(*one.needs, one.id),
            part_of=one.part_of,
            why=f"handed over by {one.agent}" + (f": {summary(sent.reason, 40)}" if sent.reason else ""),
            scores=kept(chosen, ranking),
            known=self.at.settled(),
            packet=sent,
        )
        self._keep(one.but(handed=new.id))
        self._keep(new)
        self.used += 1
        self.standing[to].load += 1
        self.standing[to].given += 1
        reason = Reason(kind="stopped", message=f"{one.agent} handed it over to {to}.", step=one.id)
        self._settle(done.but(status="partial", required=False, reason=reason))

    def _refuse(self, one: Assignment, done: Deliverable, why: str, kind: Any = "limit") -> None:
        self._keep(one.but(refused=why))
        self.note(f"{one.id}: {why}")
        self._settle(done.but(status="partial", reason=Reason(kind=kind, message=why, step=one.id)))

    # --- what comes next ---------------------------------------------------------------------------------------------

    def update(self) -> dict[str, Any]:
        """What it changes in the state."""
        update: dict[str, Any] = {}
        if self.changed:
            update["assignments"] = self.changed
        if self.settled:
            update["deliverables"] = self.settled
        if judged := {key: one for key, one in self.criteria.items() if self.at.criteria.get(key) != one}:
            update["criteria"] = judged
        return update

    def next(self) -> None:
        """Which way the turn takes: on with what was handed on, or, where the round is over, what follows."""
        if to_do(self.assignments, self.done):
            self.course = self.course.but(way="work")
            return
        course = self.course
        if course.end is None and not course.finished:
            self._look_out()
            course = self.course
        if course.end is not None or course.finished:
            self.course = course.but(way="conclude")
        else:
            self.course = course.but(way="ask" if course.question else "hub")

    def _look_out(self) -> None:
        """The guards that watch the whole turn."""
        marks = [*(one.mark for one in self.at.decided.values()), self.at.mark()]
        if (count := stalled(marks)) >= self.guards.stalls:
            self.alarm("stalls", f"By now it is {count}." if count > self.guards.stalls else "")
        if self.course.end is None and self.used >= self.allowed:
            if "hops" in self.before.told:
                self.note(self.guards.words("hops"))
            else:
                self.alarm("hops", "")
            # Unless a person may give leave to go on, the hub has one more move: to judge what there is.
            if self.course.about != "hops":
                self.course = self.course.but(last=True)


def _tell(notices: Sequence[str], here: Here) -> None:
    """Whoever looks on hears what the hub is told."""
    for one in notices[:NOTICES]:
        here.emit(Notice(now(), here.outer, one))


def required(at: Standpoint) -> dict[str, Deliverable]:
    """The deliverables that the turn does not need any more, marked so."""
    free = needless(at.assignments, at.done)
    return {
        name: at.done[name].but(required=False) for name in at.assignments if name in free and at.done[name].required
    }
