"""The nodes that patterns share: a step works, its gate judges, a person is asked, the run is settled.

Each is a short function that returns only what it changes; which node comes next is a pure function of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from troupe.agents.agent import Agent
from troupe.agents.brief import fence
from troupe.agents.call import restored
from troupe.agents.chat import ChatAgent
from troupe.agents.contracts import (
    NO_USAGE,
    Brief,
    Deliverable,
    Failed,
    Judgement,
    Message,
    Ok,
    Outcome,
    Reason,
    RunStatus,
)
from troupe.agents.events import Judged, Notice, Progress, StepFinished, StepStarted, Superseded
from troupe.agents.functions import FunctionAgent, call_function
from troupe.agents.notes import Notes
from troupe.agents.race import lost
from troupe.agents.spans import ended as told_end
from troupe.agents.spans import evaluation
from troupe.agents.text import summary
from troupe.graphs.asking import question
from troupe.graphs.checks import Case
from troupe.graphs.gates import Gate
from troupe.graphs.hearing import heard
from troupe.graphs.node import Here, now
from troupe.graphs.recovery import BY_ITSELF, next_author
from troupe.graphs.step import Step
from troupe.prompts import load, render

_NULL = "leave it null."
CONVERSATION = 20  # earlier messages that a brief carries


@dataclass(frozen=True)
class Place:
    """Where in a team a step stands.

    Attributes:
        index: how many steps come before it, of `total` in all.
        earlier: the steps whose results it sees.
        needs: the names of those that it gets in full.
        redo: for each step that its gate may blame, the steps that are done again then.
        guidance: what it is told besides, from the state.
        item: the one of a list that it is about.
        bounded: whether it is told how much money and time is left.
        judges: the agents who judge it besides its gate: none of them stands in for its author.
    """

    step: Step
    index: int = 0
    total: int = 1
    earlier: Sequence[Step] = ()
    needs: Sequence[str] = ()
    redo: Mapping[str, Sequence[Step]] = field(default_factory=dict)
    guidance: Callable[[Any], tuple[str, ...]] = lambda _: ()
    item: str = ""
    bounded: bool = False
    judges: Sequence[str] = ()

    def at(self, state: Any) -> Place:
        """The place in this run, where part of it is decided at run time."""
        return self

    def name(self, state: Any) -> str:
        """The step's name in this run."""
        return self.step.name


def brief_for(place: Place, state: Any) -> Brief:
    """What a step gets: every usable earlier result, of which those it needs in full."""
    place = place.at(state)
    step = place.step
    done: dict[str, Deliverable] = state.get("deliverables", {})
    usable = {one.name: restored(done[one.name], one.returns) for one in place.earlier if _usable(done.get(one.name))}
    current_round = state.get("rounds", {}).get(step.name, 1)
    previous = done.get(step.name)
    lost = [one.name for one in place.earlier if one.name in done and done[one.name].status in ("failed", "skipped")]
    return Brief(
        task=state["task"],
        step=step.name,
        objective=step.objective,
        deliverables=usable,
        needs=tuple(name for name in place.needs if name in usable),
        previous=previous if current_round > 1 and previous is not None and previous.content else None,
        feedback=feedback_for(step.name, current_round, state),
        missing=missing(list(dict.fromkeys([*place.needs, *lost])), done),
        guidance=place.guidance(state),
        conversation=conversation(state),
        item=place.item,
        round=current_round,
    )


def missing(needs: Sequence[str], done: Mapping[str, Deliverable]) -> dict[str, str]:
    """Which of the needed results there are not, and why; one that nobody needs any more is not missed."""
    return {name: why(done[name]) for name in needs if name in done and not done[name].usable and done[name].required}


def feedback_for(name: str, current_round: int, state: Any) -> str:
    """Why the step is in this round: what its own gate said, or the gate that blamed it."""
    said = []
    for key, verdict in state.get("verdicts", {}).items():
        judged, _, number = key.rpartition("#")
        own = judged == name and int(number) == current_round - 1 and verdict.decision in ("rework", "again")
        blamed = verdict.decision == "rollback" and verdict.blame == name and current_round > 1
        if own or blamed:
            said.extend([verdict.feedback, *(f"- {one}" for one in verdict.findings if one != verdict.feedback)])
    return "\n".join(one for one in said if one)


def send_backs(name: str, state: Any) -> int:
    """How often a step's own gate has sent work back."""
    return sum(
        key.rpartition("#")[0] == name and one.decision in ("rework", "rollback")
        for key, one in state.get("verdicts", {}).items()
    )


def conversation(state: Any) -> tuple[Message, ...]:
    """The messages before this turn's task, newest last, bounded."""
    messages = state.get("messages", [])
    last = next((i for i in range(len(messages) - 1, -1, -1) if isinstance(messages[i], HumanMessage)), 0)
    return tuple(
        Message(role="user" if isinstance(one, HumanMessage) else "assistant", text=one.text)
        for one in messages[:last][-CONVERSATION:]
        if isinstance(one, HumanMessage | AIMessage) and one.text.strip()
    )


async def work(place: Place, state: Any, here: Here) -> dict[str, Any]:
    """Let a step work one round."""
    return await deliver(place, brief_for(place, state), state, here)


async def deliver(place: Place, brief: Brief, state: Any, here: Here) -> dict[str, Any]:
    """The step's deliverable for this brief."""
    place = place.at(state)
    step = place.step
    path = here.path(step.name)
    if place.bounded:
        brief = brief.model_copy(update={"limits": here.scope.left()})
    started(here, path, step, brief, place.index + 1, place.total)
    recovery = step.recovered
    own = step.gate.checks.for_author(step.agent).reviewers if isinstance(step.gate, Gate) else ()
    reviewers = (*own, *place.judges)
    author = next_author(recovery, step.agent, brief, send_backs(step.name, state), reviewers)
    if (verdict := state.get("verdicts", {}).get(f"{step.name}#{brief.round - 1}")) and verdict.decision == "adapt":
        assert recovery.adapt is not None  # noqa: S101 - decided only where there is another way
        from troupe.graphs.adapting import adapted  # made of teams, which are made of steps and of this

        author = adapted(recovery.adapt, step.agent, step.objective, step.returns)
    place_of_it = here.within(step.name)
    outcome = await place_of_it.call(author, brief, state, schema=step.returns, recovery=recovery, but=reviewers)
    done = settled(step, brief, outcome, state)
    finished(here, path, done, outcome)
    if done.status != "submitted":
        progress(here, state, done, place.total)
    update: dict[str, Any] = {"deliverables": {step.name: done}}
    if isinstance(outcome, Failed) and (standing := state.get("verdicts", {}).get(f"{step.name}#{brief.round - 1}")):
        # What an earlier round left is still judged as it was, and nobody is there to make it better.
        update["verdicts"] = {f"{step.name}#{brief.round}": standing.but(decision=None, final=True)}
    return update


async def noted(
    done: Deliverable,
    author: Agent,
    brief: Brief,
    state: Any,
    here: Here,
    above: str = _NULL,
    peers: str = _NULL,
    schema: type[Notes] = Notes,
) -> Deliverable:
    """The deliverable with what its author says about it; without, where the author cannot say it as data."""
    if not author.can_decide:
        return done
    text = render(
        load("moves/notes", here.scope.prompts),
        work=fence(done.content, done.step, done.agent),
        above=above,
        peers=peers,
    )
    asked = brief.model_copy(update={"objective": text, "previous": None, "feedback": "", "conversation": ()})
    outcome = await here.call(economical(author), asked, state, purpose="decide", schema=schema, recovery=BY_ITSELF)
    if isinstance(outcome, Ok):
        notes = Notes.model_validate(outcome.value.model_dump())  # whatever lists the schema had closed
        return done.but(notes=notes, usage=done.usage + outcome.usage)
    cause = outcome.cause if isinstance(outcome, Failed) else outcome.reason
    here.emit(Notice(now(), here.path(done.step), f"{author.name} gave no notes on its work: {cause}"))
    return done.but(usage=done.usage + outcome.usage)


def economical(agent: Agent) -> Agent:
    """The same agent, served by the cheapest class of model."""
    if isinstance(agent, ChatAgent) and agent.role.tier != "economy":
        return ChatAgent(agent.role.model_copy(update={"tier": "economy"}), model=agent.own_model)
    return agent


def settled(step: Step, brief: Brief, outcome: Outcome, state: Any) -> Deliverable:
    """The deliverable that an outcome makes; what an earlier round left is not lost by a later one's failure."""
    last: Deliverable | None = state.get("deliverables", {}).get(step.name)
    before = last.usage if last is not None else NO_USAGE
    if isinstance(outcome, Ok):
        done: Deliverable = outcome.value
        status = done.status
        if status in ("submitted", "accepted"):
            status = "accepted" if step.gate is None else "submitted"
        return done.but(
            step=step.name,
            summary=done.summary or summary(done.content),
            rounds=brief.round,
            attempts=max(outcome.attempts, 1),
            sources=brief.needs,
            usage=before + done.usage + outcome.usage,
            status=status,
        )
    if isinstance(outcome, Failed):
        reason = outcome.reason(step.name)
        changes: dict[str, Any] = {
            "rounds": brief.round,
            "attempts": outcome.attempts,
            "usage": before + outcome.usage,
            "reason": reason,
            "tried": outcome.tried,
        }
        if last is not None and last.status in ("submitted", "partial") and last.content:
            return last.but(status="partial", **changes)
        return Deliverable(step=step.name, agent=step.agent.name, status="failed", sources=brief.needs, **changes)
    reason = Reason(kind="stopped", message=outcome.reason, step=step.name)
    return Deliverable(step=step.name, agent=step.agent.name, status="skipped", rounds=brief.round, reason=reason)


async def judge(place: Place, state: Any, here: Here) -> dict[str, Any]:
    """Let a step's gate judge it; verdict and decision are state, so that the edge is a pure function."""
    place = place.at(state)
    step = place.step
    gate, submitted = step.gate, state["deliverables"][step.name]
    assert isinstance(gate, Gate)  # noqa: S101 - a gate node exists only where a gate does
    brief = brief_for(place, state).model_copy(update={"round": submitted.rounds})
    blamable = [name for name in place.redo if _usable(state["deliverables"].get(name))]

    async def ask(agent: Agent, brief: Brief, schema: Any) -> Outcome:
        authors = [submitted.agent, step.agent.name]  # nobody judges their own work, neither in another's place
        recovery = step.recovered.of_others
        return await here.call(agent, brief, state, purpose="review", schema=schema, recovery=recovery, but=authors)

    case = Case(restored(submitted, step.returns), brief, blamable, here.scope.prompts)
    standing = state.get("verdicts", {}).get(f"{step.name}#{submitted.rounds}")
    checks = here.scope.checks(gate.checks.for_author(step.agent), here.path(step.name))
    with evaluation(here.scope, here.path(step.name), gate.checks.words, gate.checks.at_least) as told:
        verdict = standing or await checks.judge(case, ask)
        sent_back = send_backs(step.name, state)
        # Work that nobody needs any more is not sent back, and no person is asked about it.
        decision = gate.decide(verdict, sent_back, blamable) if lost() is None else "partial"
        verdict = verdict.but(decision=decision)
        told(verdict)
    here.emit(
        Judged(
            at=now(),
            path=here.path(step.name),
            passed=verdict.passed,
            score=verdict.score,
            decision=decision,
            feedback=verdict.feedback,
            round=submitted.rounds,
            by=verdict.by,
            findings=verdict.findings,
            blame=verdict.blame if decision == "rollback" else None,
        )
    )
    judged = submitted.but(score=verdict.score, usage=submitted.usage + (NO_USAGE if standing else verdict.usage))
    update: dict[str, Any] = {"verdicts": {f"{step.name}#{submitted.rounds}": verdict}}
    if verdict.decision == "rollback":
        done = {**state["deliverables"], step.name: judged}
        return update | await roll_back(place.redo[str(verdict.blame)], done, state, here)
    if verdict.decision in ("pass", "partial", "fail"):
        judged = _judged(judged, verdict)
        progress(here, state, judged, place.total)
    update["deliverables"] = {step.name: judged}
    if verdict.decision == "rework":
        update["rounds"] = {step.name: submitted.rounds + 1}
    return update


def _judged(done: Deliverable, verdict: Judgement) -> Deliverable:
    if verdict.decision == "pass":
        return done.but(status="accepted") if done.status == "submitted" else done
    what = verdict.feedback or "The gate was not passed."
    reason = done.reason or Reason(
        kind="limit" if verdict.limit else "gate",
        message=f"{verdict.by}: {what}" if verdict.by else what,
        step=done.step,
    )
    return done.but(status="partial" if verdict.decision == "partial" else "failed", reason=reason)


async def roll_back(steps: Sequence[Step], done: dict[str, Deliverable], state: Any, here: Here) -> dict[str, Any]:
    """Supersede what these steps delivered, newest first, taking back their side effects; all of them do it again."""
    superseded: dict[str, Deliverable] = {}
    rounds: dict[str, int] = {}
    for step in reversed(steps):
        last = done.get(step.name)
        if last is None:
            continue
        rounds[step.name] = last.rounds + 1
        here.scope.delivered(here.outer, state).discard(step.name)
        superseded[step.name] = last.but(status="superseded")
        here.emit(Superseded(now(), here.path(step.name), last.rounds))
        if step.undo is not None and last.status in ("accepted", "partial", "submitted"):
            await _undo(step, last, state, here)
    return {"deliverables": superseded, "rounds": rounds}


async def _undo(step: Step, last: Deliverable, state: Any, here: Here) -> None:
    async def undo(brief: Brief) -> str:
        await call_function(step.undo, restored(last, step.returns))  # type: ignore[arg-type]
        return ""

    brief = Brief(task=state["task"], step=step.name, previous=last, round=last.rounds)
    outcome = await here.call(FunctionAgent(undo, name=f"undo {step.name}"), brief, state, purpose="undo")
    if isinstance(outcome, Failed):
        here.emit(Notice(now(), here.path(step.name), f"Undoing {step.name} failed: {outcome.cause}"))


async def ask_person(place: Place, state: Any, here: Here) -> dict[str, Any]:
    """Ask a person about a deliverable that did not pass; in a node of its own, because it starts again on resume."""
    place = place.at(state)
    step = place.step
    submitted: Deliverable = state["deliverables"][step.name]
    key = f"{step.name}#{submitted.rounds}"
    verdict: Judgement = state["verdicts"][key]
    answer = await heard(question(submitted, verdict, here.path(step.name)), state, here)
    said = verdict.but(feedback=answer.text, findings=(), by=answer.by)
    if answer.kind == "respond":
        guided = said.but(decision="rework")
        decided(here, here.path(step.name), guided, submitted.rounds)
        return {"verdicts": {key: guided}, "rounds": {step.name: submitted.rounds + 1}}
    if answer.kind == "reject":
        who = answer.by[:1].upper() + answer.by[1:]
        reason = Reason(kind="person", message=answer.text or f"{who} rejected the work.", step=step.name)
        done, said = submitted.but(status="failed", reason=reason), said.but(decision="fail")
    else:
        changes: dict[str, Any] = {}
        if answer.kind == "edit":
            changes = {"content": answer.text, "summary": summary(answer.text), "data": None}
            said = said.but(feedback="")
        done = submitted.but(status="accepted", reason=None, **changes)
        said = said.but(passed=True, decision="pass")
    decided(here, here.path(step.name), said, submitted.rounds)
    progress(here, state, done, place.total)
    return {"deliverables": {step.name: done}, "verdicts": {key: said}}


Composes = Callable[[Sequence[Deliverable]], str]


def last_usable(ended: Sequence[Deliverable]) -> str:
    """The content of the last result that can be used."""
    return next((one.content for one in reversed(ended) if one.usable), "")


async def settle(
    plan: Sequence[Step],
    state: Any,
    here: Here,
    answer: Composes = last_usable,
    reason: Reason | None = None,
    made: Sequence[str] = (),
) -> dict[str, Any]:
    """End the turn: status, reason and answer from what the steps delivered; steps never reached are skipped.

    `made` are the steps that were decided at run time, in their order: the state has them as they arrived.
    """
    done: dict[str, Deliverable] = state.get("deliverables", {})
    skipped = {
        step.name: Deliverable(
            step=step.name,
            agent=step.agent.name,
            status="skipped",
            reason=Reason(kind="error", message="An earlier step did not deliver.", step=step.name),
            rounds=state.get("rounds", {}).get(step.name, 1),
        )
        for step in plan
        if step.name not in done or done[step.name].status == "superseded"
    }
    planned = [step.name for step in plan]
    # What was decided at run time comes before the plan's own end, in one order whatever arrived first.
    other = sorted(name for name in done if name not in planned and name not in made)
    ended = [{**done, **skipped}[name] for name in [*(one for one in made if one in done), *other, *planned]]
    update = ending(ended, here, answer, reason)
    if skipped:
        update["deliverables"] = skipped
    return update


def ending(
    ended: Sequence[Deliverable], here: Here, answer: Composes = last_usable, reason: Reason | None = None
) -> dict[str, Any]:
    """The end of a turn whose steps ended so; a `reason` of its own keeps it from being completed."""
    status = status_of(ended)
    text = answer(ended)
    status = "partial" if reason is not None and status == "completed" else status
    reason = reason_of(ended) if reason is None else reason
    told_end(here.scope, status, reason)
    update: dict[str, Any] = {
        "status": status,
        "reason": reason,
        "answer": text,
        "simulated": here.scope.simulated,
    }
    if text:
        update["messages"] = [AIMessage(text, name=None)]
    return update


def status_of(ended: Sequence[Deliverable]) -> RunStatus:
    """How a run ended whose steps ended so.

    >>> status_of([Deliverable(step="a", status="accepted"), Deliverable(step="b", status="failed")])
    'partial'
    """
    needed = [one for one in ended if one.required]
    if needed and all(one.status == "accepted" for one in needed):
        return "completed"
    return "partial" if any(one.usable for one in ended) else "failed"


def reason_of(ended: Sequence[Deliverable]) -> Reason | None:
    """The first cause that kept a run from completing; a limit goes before others."""
    reasons = [one.reason for one in ended if one.required and one.status != "accepted" and one.reason is not None]
    return next((one for one in reasons if one.kind == "limit"), reasons[0] if reasons else None)


def _usable(done: Deliverable | None) -> bool:
    return done is not None and done.usable


def why(done: Deliverable) -> str:
    """Why a result is not what it should be."""
    return done.reason.message if done.reason else done.status


def started(here: Here, path: str, step: Step, brief: Brief, index: int, total: int) -> None:
    """Tell that a step begins a round."""
    here.emit(
        StepStarted(
            at=now(),
            path=path,
            agent=step.agent.name,
            round=brief.round,
            index=index,
            total=total,
            tier=step.agent.tier,
            objective=step.objective,
            needs=brief.needs,
        )
    )


def decided(here: Here, path: str, verdict: Judgement, round: int) -> None:
    """Tell what a person decided about work that had not passed."""
    decision = verdict.decision or "ask"
    here.emit(Judged(now(), path, verdict.passed, verdict.score, decision, verdict.feedback, round, verdict.by))


def finished(here: Here, path: str, done: Deliverable, outcome: Outcome) -> None:
    """Tell that a step's round has ended."""
    used = outcome.usage
    here.emit(
        StepFinished(
            at=now(),
            path=path,
            agent=done.agent,
            status=done.status,
            round=done.rounds,
            attempts=done.attempts,
            seconds=used.seconds,
            usd=used.usd,
            cause=done.reason.message if done.reason else "",
            recalled=isinstance(outcome, Ok) and outcome.attempts == 0,
            cached=used.cached,
            content=done.content,
            summary=done.summary,
        )
    )


def progress(here: Here, state: Any, last: Deliverable, total: int) -> None:
    """Tell how far the team is; steps that work at once do not see one another in the state, so the scope counts."""
    delivered = here.scope.delivered(here.outer, state)
    delivered.add(last.step) if last.usable else delivered.discard(last.step)
    seconds = here.scope.clock() - here.scope.started
    here.emit(Progress(now(), here.outer, len(delivered), total, seconds, here.scope.spent.usd))
