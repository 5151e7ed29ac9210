"""One work package, from its brief to its end: worked on, asked about, judged, and worked on again.

    work --> gate --> align --> end
      \\-> escalate --> ... --> work        a question, to the next above, and on up
              ^--- align                   what reworks did not mend, once
    ask --> work                           a way in of its own, for the answer of a person

It is a graph of its own, so that no package waits for another's questions and reworks. A question for a person ends it
for now: the team does everything else that can be done, and then asks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, TypeVar

from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from troupe.agents.brief import fence
from troupe.agents.contracts import Brief, Deliverable, Failed, Judgement, Ok, Outcome, Reason, Value
from troupe.agents.events import Judged, Notice
from troupe.agents.race import lost
from troupe.agents.text import shorten, summary
from troupe.graphs.asking import PERSON, ask_about
from troupe.graphs.delegating.alignment import (
    Alignment,
    Criterion,
    alignment_schema,
    complaint,
    criteria_of,
    judged,
    unjudged,
)
from troupe.graphs.delegating.delegation import Directive, Package
from troupe.graphs.delegating.guidance import ESCALATIONS, Answer, Escalated, binding, bounded, ladder, raised
from troupe.graphs.delegating.levels import Levels
from troupe.graphs.gates import Gate, gate
from troupe.graphs.hearing import heard
from troupe.graphs.node import Choice, Here, Node, now
from troupe.graphs.recovering import adapted_before, failure_question, may_be_asked, settled_by
from troupe.graphs.state import SNAPSHOT_EVERY, TeamState, merge_latest, part
from troupe.graphs.step import Step
from troupe.graphs.wiring import Ways, answered_way, judged_way
from troupe.graphs.work import (
    Place,
    ask_person,
    brief_for,
    conversation,
    decided,
    deliver,
    judge,
    noted,
    progress,
    why,
)
from troupe.prompts import load, render

V = TypeVar("V")


def merge_numbered(state: Mapping[str, V], writes: Sequence[Mapping[str, V] | None]) -> dict[str, V]:
    """By key the last write, in the order of the keys and their numbers: who wrote first changes nothing.

    >>> list(merge_numbered({"P10/1": 1}, [{"P2/D1": 2}, {"P2/3": 3}]))
    ['P2/3', 'P2/D1', 'P10/1']
    """
    return dict(sorted(merge_latest(state, writes).items(), key=lambda one: _numbered(one[0])))


def _numbered(key: str) -> list[tuple[str, int]]:
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", key)]


Criteria = Annotated[dict[str, Criterion], DeltaChannel(merge_numbered, dict, snapshot_frequency=SNAPSHOT_EVERY)]
Escalations = Annotated[dict[str, Escalated], DeltaChannel(merge_numbered, dict, snapshot_frequency=SNAPSHOT_EVERY)]

# Stands where a worker has no gate: its work is not accepted before the one who gave it has judged it.
_LATER = gate(lambda _: True)
_ROUND = 7  # the most nodes of one round
_GUIDANCE = 1500  # tokens of an answer that an agent gives


class Paused(Value):
    """What is to be remembered of a package that waits for a person; without a question it waits no more."""

    asking: str = ""
    finding: str = ""
    sent_back: int = 0
    stuck: bool = False


def merge_paused(state: Mapping[str, Paused], writes: Sequence[Mapping[str, Paused] | None]) -> dict[str, Paused]:
    """By package the last write; one that waits no more is forgotten."""
    return {name: one for name, one in merge_latest(state, writes).items() if part(one, "asking")}


class PackageState(TeamState, total=False):
    """What the work on one package keeps."""

    package: Package
    objective: str
    told: list[str]
    """The directives that it is under, as lines."""
    spot: list[int]
    """Where it stands among the steps, and how many there are."""
    directives: dict[str, Directive]
    criteria: Criteria
    escalations: Escalations
    asking: str
    """The id of the question that is open."""
    finding: str
    """What was not met when it was last judged."""
    sent_back: int
    stuck: bool
    """Whether its author could not be reached any more for a better version."""
    way: str
    """Where the last node leads."""


@dataclass(frozen=True)
class _Bench(Place):
    """Where the work on a package stands, once it is known which."""

    levels: Levels | None = None

    def at(self, state: Any) -> Place:
        """The place with the package's name, objective and needs."""
        assert self.levels is not None  # noqa: S101 - it is made with them
        package: Package = state["package"]
        step = self.step.named(package.step)
        object.__setattr__(step, "objective", state["objective"])
        index, total = state["spot"]
        results = [name for name in state["deliverables"] if name != package.step]
        own = {one.name for one in self.levels.managers}
        needs = [name for name in results if name not in own]
        earlier = [*self.levels.managers, *(self.levels.step(name.rpartition(".")[0]).named(name) for name in needs)]
        judges = [one.agent.name for one in self.levels.managers]
        return replace(
            self, step=step, index=index, total=total, earlier=earlier, needs=needs, guidance=_told, judges=judges
        )


class Workshop:
    """Does the packages of one implementer.

    Args:
        step: the implementer.
        levels: who is above.
        reworks: how often misaligned work is sent back before it is escalated.
    """

    def __init__(self, step: Step, levels: Levels, reworks: int) -> None:
        self.step, self.levels, self.reworks = step, levels, reworks
        self.gated = isinstance(step.gate, Gate)
        template = step if self.gated else step.named(step.name)
        if not self.gated:
            object.__setattr__(template, "gate", _LATER)
        self.place = _Bench(template, levels=levels)
        sends = step.gate.rework if isinstance(step.gate, Gate) else 0
        self.bound = _ROUND * (2 + ESCALATIONS + reworks + sends) + 50
        self.loop = self._loop()

    # --- the graph ---

    def _loop(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        name = self.step.name
        align, escalate, ask = f"{name}.align", f"{name}.escalate", f"{name}.person"
        graph: Any = StateGraph(PackageState)
        look = {"troupe_kind": "step", "troupe_note": self.step.agent.title or self.step.objective}
        graph.add_node(name, Node(self._work, name, self.step.graphs), metadata=look)
        graph.add_conditional_edges(START, Choice(_entry), {"new": name, "waiting": ask})
        judges = f"{name}.gate" if self.gated else align
        _lead(graph, name, {"submitted": judges, "question": escalate, "failed or ask": END})
        if self.gated:
            self._add_gate(graph, name, align)
        note = {"troupe_kind": "gate", "troupe_label": "align: criteria met"}
        graph.add_node(align, Node(self._align, align), metadata=note)
        _lead(graph, align, {"ended or ask": END, "rework": name, "question": escalate})
        note = {"troupe_kind": "gate", "troupe_label": "escalate: ask above"}
        graph.add_node(escalate, Node(self._escalate, escalate), metadata=note)
        _lead(graph, escalate, {"answered": name, "further up": escalate, "ended or ask": END})
        look = {"troupe_kind": "ask", "troupe_label": "ask a person"}
        graph.add_node(ask, Node(self._ask, ask), metadata=look)
        _lead(graph, ask, {"answered": name, "approve or reject": END})
        return graph.compile(name=name)  # type: ignore[no-any-return]

    def _add_gate(self, graph: Any, name: str, align: str) -> None:
        own = self.step.gate
        assert isinstance(own, Gate)  # noqa: S101 - asked before
        checks = own.checks.for_author(self.step.agent)
        judged_, asked = f"{name}.gate", f"{name}.ask"
        look = {"troupe_kind": "gate", "troupe_label": checks.words}
        graph.add_node(judged_, Node(partial(judge, self.place), judged_), metadata=look)
        ways: Ways = {"pass": align, "rework": name, "fail": END}
        if own.then == "ask":
            ways["ask"] = asked
            look = {"troupe_kind": "ask", "troupe_label": "ask a person"}
            graph.add_node(asked, Node(partial(ask_person, self.place), asked), metadata=look)
            said: Ways = {"approve": align, "respond": name, "reject": END}
            graph.add_conditional_edges(asked, Choice(lambda state: answered_way(state, state["package"].step)), said)
        graph.add_conditional_edges(judged_, Choice(lambda state: judged_way(state, state["package"].step)), ways)

    # --- from the team's state and back ---

    async def run(self, item: str, state: Any, here: Here) -> dict[str, Any]:
        """Do a package of the team's state, to its end."""
        packages: Mapping[str, Package] = state["packages"]
        package, done = packages[item], state.get("deliverables", {})
        here.scope.delivered(here.outer, state)  # counted from the whole, before a part of it is all that is seen
        under = binding(state.get("directives", {}), package, self.levels)
        known = [*(one.name for one in self.levels.managers), *(packages[need].step for need in package.needs)]
        given: dict[str, Any] = {key: state[key] for key in ("task", "messages", "turn", "origin") if key in state}
        if package.step in done:
            known.append(package.step)
            given["rounds"] = {package.step: state.get("rounds", {}).get(package.step, 1)}
        if (paused := state.get("paused", {}).get(item)) is not None:
            given |= paused.model_dump() | _of_package(package, state)
        given |= {
            "deliverables": {name: done[name] for name in known if name in done},
            "package": package,
            "objective": self._objective(package, here),
            "told": bounded({one.id: one.line() for one in under.values()}, here.scope.settings.brief_tokens // 4),
            "directives": under,
            "spot": [
                len(self.levels.managers) + list(packages).index(item),
                len(self.levels.managers) + len(packages) + 1,
            ],
        }
        out = await self.loop.ainvoke(given, {**here.framed(), "recursion_limit": self.bound})
        ended: Deliverable = out["deliverables"][package.step]
        criteria = out.get("criteria", {})
        waits = out["way"] == "ask"
        if not criteria and not waits:
            criteria = unjudged(package, criteria_of(package, under), f"There was nothing to judge: {why(ended)}")
        memo = {name: out[name] for name in Paused.model_fields if name in out} if waits else {}
        return {
            "deliverables": {package.step: ended},
            "rounds": {package.step: ended.rounds},
            "verdicts": out.get("verdicts", {}),
            "criteria": criteria,
            "escalations": out.get("escalations", {}),
            "paused": {item: Paused(**memo)},
        }

    def _objective(self, package: Package, here: Here) -> str:
        text = render(
            load("moves/package", here.scope.prompts),
            title=package.title,
            objective=package.objective,
            acceptance="\n".join(f"{at}. {one}" for at, one in enumerate(package.acceptance, 1)),
            authority=_authority(package),
        )
        return f"{self.step.objective}\n\n{text}" if self.step.objective else text

    # --- the nodes ---

    async def _work(self, state: Any, here: Here) -> dict[str, Any]:
        """One round of work, and what its author says about it; a question goes up before anything is judged."""
        package: Package = state["package"]
        before: Deliverable | None = state["deliverables"].get(package.step)
        brief = brief_for(self.place, state)
        feedback = "\n".join(one for one in (brief.feedback, state.get("finding", "")) if one)
        brief = brief.model_copy(update={"feedback": feedback})
        update = await deliver(self.place, brief, state, here.within(package.step))
        done: Deliverable = update["deliverables"][package.step]
        if done.status in ("failed", "skipped"):
            if not (self.step.recovered.ask and may_be_asked(done)):
                return {**update, "way": "failed"}
            return {**update, **self._open(self._failed(package, done, state), state)}
        # A version that is only the one before it again: its author could not be reached.
        stuck = before is not None and done.status == "partial" and done.content == before.content
        update["stuck"], update["way"] = stuck, "submitted"
        if stuck:
            return update
        if done.notes is None:
            text = render(load("moves/above", here.scope.prompts), authority=_authority(package))
            done = await noted(done, self.step.agent, brief, state, here, above=text)
        said = done.notes.escalation if done.notes is not None else None
        if said is not None and said.question.strip():
            raisable = [one for one in state.get("escalations", {}).values() if one.kind == "question"]
            if len(raisable) < ESCALATIONS:
                one = raised(package, said, len(state.get("escalations", {})) + 1, state["directives"])
                update |= self._open(one, state)
            else:
                message = f"It raised more than {ESCALATIONS} questions; the work stands as it is."
                done = _partial(done, Reason(kind="limit", message=message, step=package.step))
        return {**update, "deliverables": {package.step: done}}

    async def _align(self, state: Any, here: Here) -> dict[str, Any]:
        """Let the one who gave the work judge it, criterion by criterion; what is not judged is not met."""
        package: Package = state["package"]
        done: Deliverable = state["deliverables"][package.step]
        criteria = criteria_of(package, state["directives"])
        outcome = await self._judgement(package, done, criteria, state, here)
        said = outcome.value if isinstance(outcome, Ok) else Alignment(passed=False)
        if isinstance(outcome, Ok):
            found = judged(package, criteria, said, package.by)
        else:
            found = unjudged(package, criteria, f"{package.by} could not judge it: {_cause(outcome)}", package.by)
        met = sum(one.met for one in found.values())
        score = min(met / len(found), 1.0 if done.score is None else done.score)
        done = done.but(score=score, usage=done.usage + outcome.usage)
        aligned = said.passed and met == len(found)
        final = state.get("stuck", False) or not isinstance(outcome, Ok) or lost() is not None or _asked_above(state)
        finding = "" if aligned else complaint(found, said.feedback)
        update: dict[str, Any] = {"criteria": found, "finding": finding}
        if aligned:
            done = done.but(status="accepted") if done.status == "submitted" else done
            way = "ended"
        elif final:
            done, way = _partial(done, _unmet(package, found, said.feedback, outcome)), "ended"
        elif state.get("sent_back", 0) < self.reworks:
            update["rounds"] = {package.step: done.rounds + 1}
            update["sent_back"] = state.get("sent_back", 0) + 1
            done, way = _reopened(done), "rework"
        else:
            done = _reopened(done)
            update |= self._open(self._misaligned(package, found, said.feedback, state), state)
            way = update["way"]
        decision = "pass" if aligned else "partial" if way == "ended" else "rework"
        by, path = package.by, here.path(package.step)
        here.emit(Judged(now(), path, aligned, score, decision, finding, done.rounds, by))  # type: ignore[arg-type]
        if way == "ended":
            progress(here, state, done, state["spot"][1])
        return {**update, "deliverables": {package.step: done}, "way": way}

    async def _judgement(
        self, package: Package, done: Deliverable, criteria: Mapping[str, str], state: Any, here: Here
    ) -> Outcome:
        text = render(
            load("moves/align", here.scope.prompts),
            title=package.title,
            owner=package.owner,
            labels=", ".join(criteria),
            criteria="\n".join(f"{label}: {one}" for label, one in criteria.items()),
            work=_shown(done, here),
        )
        brief = Brief(
            task=state["task"],
            step=package.step,
            objective=text,
            guidance=_answers(state),
            conversation=conversation(state),
            round=done.rounds,
        )
        schema = alignment_schema(tuple(criteria))
        judge = self.levels.step(package.by)
        authors = [done.agent, self.step.agent.name]  # nobody judges their own work, neither in another's place
        return await here.call(
            judge.agent, brief, state, purpose="review", schema=schema, recovery=judge.recovered, but=authors
        )

    def _misaligned(self, package: Package, found: Mapping[str, Criterion], feedback: str, state: Any) -> Escalated:
        """The engine's own question, about work that reworks did not mend."""
        unmet = [name.partition("/")[2] for name, one in found.items() if not one.met]
        often = state.get("sent_back", 0) + 1
        rounds = f"{often} round{'' if often == 1 else 's'}"
        return Escalated(
            id=f"{package.id}/E{len(state.get('escalations', {})) + 1}",
            package=package.id,
            kind="alignment",
            question=f"After {rounds} of work the result is not as it must be:\n{complaint(found, feedback)}",
            directive=next((label for label in unmet if label in state["directives"]), ""),
        )

    def _failed(self, package: Package, done: Deliverable, state: Any) -> Escalated:
        """The engine's own question to a person, about work that failed for everybody who was turned to."""
        number = len(state.get("escalations", {})) + 1
        return Escalated(id=f"{package.id}/E{number}", package=package.id, kind="failure", question=why(done))

    async def _escalate(self, state: Any, here: Here) -> dict[str, Any]:
        """Ask the next one above."""
        package: Package = state["package"]
        one: Escalated = state["escalations"][state["asking"]]
        done: Deliverable = state["deliverables"][package.step]
        who = self._next(one, state)
        here.emit(Notice(now(), here.path(package.step), f"{one.id} goes to {who}: {shorten(one.question, 100)}"))
        text = render(
            load("moves/escalate", here.scope.prompts),
            title=package.title,
            owner=package.owner,
            question=_asked(one, package),
            work=_shown(done, here),
        )
        brief = Brief(
            task=state["task"],
            step=package.step,
            objective=text,
            guidance=(*state["told"], *_answers(state)),
            conversation=conversation(state),
            round=done.rounds,
        )
        above, own = self.levels.step(who), self.step.agent.name
        outcome = await here.call(
            above.agent, brief, state, purpose="decide", schema=Answer, recovery=above.recovered, but=[own]
        )
        done = done.but(usage=done.usage + outcome.usage)
        update: dict[str, Any] = {"deliverables": {package.step: done}}
        asked = one.model_copy(update={"asked": (*one.asked, who)})
        if isinstance(outcome, Ok):
            said: Answer = outcome.value
            if said.answered and said.guidance.strip():
                guidance, because = shorten(said.guidance, _GUIDANCE), shorten(said.why, 300)
                return {**update, **self._answered(asked, done, who, guidance, because)}
            reason = f"{who}: {said.why or 'gave no answer.'}"
        else:
            reason = f"{who}: {_cause(outcome)}"
        asked = asked.model_copy(update={"why": "\n".join(line for line in (one.why, shorten(reason, 150)) if line)})
        update["escalations"] = {one.id: asked}
        if (isinstance(outcome, Failed) and outcome.kind == "limit") or lost() is not None:
            # Nobody can be paid to answer, so nobody is asked to wait for it.
            kind: Any = "stopped" if lost() is not None else "limit"
            done = _partial(done, Reason(kind=kind, message=f"{one.id} was not answered. {reason}", step=package.step))
            progress(here, state, done, state["spot"][1])
            return {**update, "deliverables": {package.step: done}, "way": "ended"}
        return {**update, "way": "ask" if self._next(asked, state) == PERSON else "further up"}

    async def _ask(self, state: Any, here: Here) -> dict[str, Any]:
        """Ask a person; in a node of its own, because it starts again on resume."""
        package: Package = state["package"]
        one: Escalated = state["escalations"][state["asking"]]
        done: Deliverable = state["deliverables"][package.step]
        if one.kind == "failure":
            return await self._ask_about_failure(one, done, state, here)
        given = await heard(_question(one, package, done, here.path(package.step)), state, here)
        asked = one.model_copy(update={"asked": (*one.asked, PERSON)})
        mine: dict[str, Any] = {"answered_by": given.by, "guidance": given.text, "why": ""}
        if given.kind == "reject":
            reason = Reason(
                kind="person", message=given.text or f"A person rejected {package.title!r}.", step=package.step
            )
            done = done.but(status="failed", reason=reason)
        elif one.kind == "alignment" and (given.kind == "approve" or (given.kind == "edit" and given.text)):
            changes: dict[str, Any] = {"status": "accepted", "reason": None}
            if given.kind == "edit":
                changes |= {"content": given.text, "summary": summary(given.text), "data": None}
            done = done.but(**changes)
            mine["guidance"] = "Accepted as it is." if given.kind == "approve" else "Accepted, as edited."
        else:
            text = given.text or one.recommendation or next(iter(one.options), "") or "Go on as you think best."
            return self._answered(asked, done, given.by, text, "")
        word = Judgement(passed=done.usable, by=given.by, decision="pass" if done.usable else "fail")
        decided(here, here.path(package.step), word, done.rounds)
        progress(here, state, done, state["spot"][1])
        return {
            "deliverables": {package.step: done},
            "criteria": _waived(state.get("criteria", {}), done, given.by),
            "escalations": {one.id: asked.model_copy(update=mine)},
            "asking": "",
            "way": "reject" if done.status == "failed" else "approve",
        }

    async def _ask_about_failure(self, one: Escalated, failed: Deliverable, state: Any, here: Here) -> dict[str, Any]:
        adapt = self.step.recovered.adapt
        given = await heard(failure_question(failed, here.path(failed.step), adapt), state, here)
        asked = one.model_copy(update={"asked": (PERSON,)})
        said = Judgement(passed=False, feedback=given.text, by=given.by)
        key = f"{failed.step}#{failed.rounds}"
        if given.kind == "approve" and adapt is not None and not adapted_before(failed.step, state):
            told = "It is to be done in another way."
            return self._answered(asked, failed, given.by, told, "") | {"verdicts": {key: said.but(decision="adapt")}}
        if given.kind == "respond":
            return self._answered(asked, failed, given.by, given.text, "")
        done, decision = settled_by(given, failed)
        verdict = said.but(decision=decision, passed=done.usable)
        decided(here, here.path(done.step), verdict, done.rounds)
        progress(here, state, done, state["spot"][1])
        record = asked.model_copy(update={"answered_by": given.by, "guidance": given.text or given.kind})
        return {
            "deliverables": {done.step: done},
            "verdicts": {key: verdict},
            "escalations": {one.id: record},
            "asking": "",
            "way": "approve" if done.usable else "reject",
        }

    def _open(self, one: Escalated, state: Any) -> dict[str, Any]:
        way = "ask" if self._next(one, state) == PERSON else "question"
        return {"escalations": {one.id: one}, "asking": one.id, "way": way}

    def _next(self, one: Escalated, state: Any) -> str:
        """Who is asked next."""
        if one.kind == "failure":
            return PERSON  # nobody above can help where nobody could do it
        rungs = ladder(one, state["package"], state["directives"].get(one.directive), self.levels)
        return next(who for who in rungs if who not in one.asked)

    def _answered(self, one: Escalated, done: Deliverable, who: str, guidance: str, because: str) -> dict[str, Any]:
        """The author goes on, with the answer."""
        record = one.model_copy(update={"answered_by": who, "guidance": guidance.strip(), "why": because})
        return {
            "deliverables": {done.step: _reopened(done)},
            "escalations": {one.id: record},
            "rounds": {done.step: done.rounds + 1},
            "asking": "",
            "way": "answered",
        }


def _lead(graph: Any, node: str, ways: Ways) -> None:
    """The ways from a node; those that lead to one place are one."""
    joined = {part: word for word in ways for part in str(word).split(" or ")}
    graph.add_conditional_edges(node, Choice(lambda state: joined[state["way"]]), ways)


def _entry(state: Any) -> str:
    return "waiting" if state.get("asking") else "new"


def _of_package(package: Package, state: Any) -> dict[str, Any]:
    """What the team's state holds of a package besides its deliverable."""
    return {
        "verdicts": {
            name: one for name, one in state.get("verdicts", {}).items() if name.rpartition("#")[0] == package.step
        },
        "criteria": {name: one for name, one in state.get("criteria", {}).items() if one.package == package.id},
        "escalations": {name: one for name, one in state.get("escalations", {}).items() if one.package == package.id},
    }


def _told(state: Any) -> tuple[str, ...]:
    return (*state["told"], *_answers(state))


def _answers(state: Any) -> tuple[str, ...]:
    return tuple(one.told() for one in state.get("escalations", {}).values() if one.answered_by)


def _asked_above(state: Any) -> bool:
    return any(one.kind == "alignment" for one in state.get("escalations", {}).values())


def _authority(package: Package) -> str:
    return package.authority or "how you do the work; nothing that others must follow."


def _shown(done: Deliverable, here: Here) -> str:
    return fence(shorten(done.content, here.scope.settings.brief_tokens * 2 // 3), done.step, done.agent)


def _asked(one: Escalated, package: Package) -> str:
    """A question as whoever is above reads it."""
    parts = [one.question, *(f"- {option}" for option in one.options)]
    if one.recommendation:
        parts.append(f"The author recommends: {one.recommendation}")
    told = fence("\n".join(parts), "question", package.owner if one.kind == "question" else package.by)
    who = [f"The directive in question: {one.directive}"] if one.directive else []
    return "\n".join([told, *who, *([f"Asked before you:\n{one.why}"] if one.why else [])])


def _question(one: Escalated, package: Package, done: Deliverable, path: str) -> dict[str, Any]:
    """The same to a person, by the path of the package's step."""
    lines = [f"{package.title!r} ({package.owner}) asks: {one.question}", *(f"- {option}" for option in one.options)]
    if one.recommendation:
        lines.append(f"Recommended: {one.recommendation}")
    if one.why:
        lines.append(f"Nobody on the team could answer:\n{one.why}")
    if one.kind == "alignment":
        lines.append("Approve to accept it as it is, respond with what is to be done, or reject it.")
        name = f"accept {path}"
    else:
        best = "the recommendation" if one.recommendation else "the first option" if one.options else "their own choice"
        lines.append(f"Approve {best}, respond with what holds, or reject the work.")
        name = f"answer {path}"
    args = {
        "package": package.id,
        "title": package.title,
        "question": one.question,
        "options": list(one.options),
        "recommendation": one.recommendation,
        "directive": one.directive,
    }
    return ask_about("\n".join(lines), name, args, path, done.content, done.rounds)


def _waived(criteria: Mapping[str, Criterion], done: Deliverable, by: str) -> dict[str, Criterion]:
    """What was not met, when a person accepted the work for all that."""
    if done.status != "accepted":
        return {}
    return {
        name: one.model_copy(update={"met": True, "by": by, "finding": f"A person accepted it. Before: {one.finding}"})
        for name, one in criteria.items()
        if not one.met
    }


def _reopened(done: Deliverable) -> Deliverable:
    return done.but(status="submitted") if done.status == "accepted" else done


def _partial(done: Deliverable, reason: Reason) -> Deliverable:
    """The work as it is; what limited it first is still why."""
    return done.but(status="partial", reason=done.reason or reason)


def _unmet(package: Package, found: Mapping[str, Criterion], feedback: str, outcome: Outcome) -> Reason:
    names: Sequence[str] = [f"{one.text} {one.finding}".strip() for one in found.values() if not one.met]
    if not isinstance(outcome, Ok):
        kind: Any = "limit" if isinstance(outcome, Failed) and outcome.kind == "limit" else "error"
        return Reason(kind=kind, message=f"{package.by} could not judge it: {_cause(outcome)}", step=package.step)
    said = "; ".join(names[:3]) if names else feedback or "It was not passed."
    more = f" (and {len(names) - 3} more)" if len(names) > 3 else ""
    return Reason(kind="gate", message=f"{package.by}: not met: {shorten(said, 300)}{more}", step=package.step)


def _cause(outcome: Outcome) -> str:
    return outcome.cause if isinstance(outcome, Failed) else outcome.reason if not isinstance(outcome, Ok) else ""
