"""The nodes that patterns share: a step works, its gate judges, a person is asked, the run is settled.

Each is a short function that returns only what it changes; which node comes next is a pure function of the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.types import interrupt

from troupe.agents.agent import Agent
from troupe.agents.call import restored
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
from troupe.agents.errors import InputError
from troupe.agents.events import Judged, Notice, Progress, StepFinished, StepStarted
from troupe.agents.functions import FunctionAgent, call_function
from troupe.agents.text import summary
from troupe.graphs.asking import Answer, question, read_answer
from troupe.graphs.checks import Case
from troupe.graphs.gates import Gate
from troupe.graphs.node import Here, now
from troupe.graphs.step import Step

CONVERSATION = 20  # earlier messages that a brief carries


def brief_for(step: Step, state: Any, earlier: Sequence[Step], needs: Sequence[str] = ()) -> Brief:
    """What `step` gets: every usable earlier result, of which those it needs in full."""
    done: dict[str, Deliverable] = state.get("deliverables", {})
    usable = {one.name: restored(done[one.name], one.returns) for one in earlier if _usable(done.get(one.name))}
    current_round = state.get("rounds", {}).get(step.name, 1)
    previous = done.get(step.name)
    feedback = feedback_for(step.name, current_round, state)
    return Brief(
        task=state["task"],
        step=step.name,
        objective=step.objective,
        deliverables=usable,
        needs=tuple(name for name in needs if name in usable),
        previous=previous if current_round > 1 and previous is not None and previous.content else None,
        feedback=feedback,
        missing={name: _why(done[name]) for name in needs if name in done and name not in usable},
        conversation=conversation(state),
        round=current_round,
    )


def feedback_for(name: str, current_round: int, state: Any) -> str:
    """Why the step is in this round: what its own gate said, or the gate that blamed it."""
    said = []
    for key, verdict in state.get("verdicts", {}).items():
        judged, _, number = key.rpartition("#")
        own = judged == name and int(number) == current_round - 1 and verdict.decision == "rework"
        blamed = verdict.decision == "rollback" and verdict.blame == name and current_round > 1
        if own or blamed:
            said.extend([verdict.feedback, *(f"- {one}" for one in verdict.findings if one != verdict.feedback)])
    return "\n".join(one for one in said if one)


def conversation(state: Any) -> tuple[Message, ...]:
    """The messages before this turn's task, newest last, bounded."""
    messages = state.get("messages", [])
    last = next((i for i in range(len(messages) - 1, -1, -1) if isinstance(messages[i], HumanMessage)), 0)
    return tuple(
        Message(role="user" if isinstance(one, HumanMessage) else "assistant", text=one.text)
        for one in messages[:last][-CONVERSATION:]
        if isinstance(one, HumanMessage | AIMessage) and one.text.strip()
    )


async def work(
    step: Step, index: int, plan: Sequence[Step], needs: Sequence[str], state: Any, here: Here
) -> dict[str, Any]:
    """Let a step work one round."""
    brief = brief_for(step, state, plan[:index], needs)
    path = here.path(step.name)
    here.emit(StepStarted(now(), path, step.agent.name, brief.round, index + 1, len(plan)))
    outcome = await here.call(step.agent, brief, state, schema=step.returns)
    done = _settled(step, brief, outcome, state)
    _finished(here, path, done, outcome)
    if done.status != "submitted":
        _progress(here, state, done, plan)
    update: dict[str, Any] = {"deliverables": {step.name: done}}
    if isinstance(outcome, Failed) and (standing := state.get("verdicts", {}).get(f"{step.name}#{brief.round - 1}")):
        # What an earlier round left is still judged as it was, and nobody is there to make it better.
        update["verdicts"] = {f"{step.name}#{brief.round}": standing.but(decision=None, final=True)}
    return update


def _settled(step: Step, brief: Brief, outcome: Outcome, state: Any) -> Deliverable:
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
        }
        if last is not None and last.status in ("submitted", "partial") and last.content:
            return last.but(status="partial", **changes)
        return Deliverable(step=step.name, agent=step.agent.name, status="failed", **changes)
    reason = Reason(kind="stopped", message=outcome.reason, step=step.name)
    return Deliverable(step=step.name, agent=step.agent.name, status="skipped", rounds=brief.round, reason=reason)


async def judge(
    step: Step, index: int, plan: Sequence[Step], needs: Sequence[str], state: Any, here: Here
) -> dict[str, Any]:
    """Let a step's gate judge it; verdict and decision are state, so that the edge is a pure function."""
    gate, submitted = step.gate, state["deliverables"][step.name]
    assert isinstance(gate, Gate)  # noqa: S101 - a gate node exists only where a gate does
    before = [one.name for one in plan[:index]]
    brief = brief_for(step, state, plan[:index], needs).model_copy(update={"round": submitted.rounds})
    blamable = [name for name in before if _usable(state["deliverables"].get(name))]

    async def ask(agent: Agent, brief: Brief, schema: Any) -> Outcome:
        return await here.call(agent, brief, state, purpose="review", schema=schema)

    case = Case(restored(submitted, step.returns), brief, blamable, here.scope.prompts)
    standing = state.get("verdicts", {}).get(f"{step.name}#{submitted.rounds}")
    verdict = standing or await gate.checks.for_author(step.agent).judge(case, ask)
    sent_back = sum(
        key.rpartition("#")[0] == step.name and one.decision in ("rework", "rollback")
        for key, one in state.get("verdicts", {}).items()
    )
    decision = gate.decide(verdict, sent_back, blamable)
    verdict = verdict.but(decision=decision)
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
        )
    )
    judged = submitted.but(score=verdict.score, usage=submitted.usage + (NO_USAGE if standing else verdict.usage))
    update: dict[str, Any] = {"verdicts": {f"{step.name}#{submitted.rounds}": verdict}}
    if verdict.decision == "rollback":
        start = before.index(str(verdict.blame))
        passed_over = plan[start : index + 1]
        done = {**state["deliverables"], step.name: judged}
        return update | await roll_back(passed_over, done, state, here)
    if verdict.decision in ("pass", "partial", "fail"):
        judged = _judged(judged, verdict)
        _progress(here, state, judged, plan)
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
        superseded[step.name] = last.but(status="superseded")
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


async def ask_person(step: Step, plan: Sequence[Step], state: Any, here: Here) -> dict[str, Any]:
    """Ask a person about a deliverable that did not pass; in a node of its own, because it starts again on resume."""
    submitted: Deliverable = state["deliverables"][step.name]
    key = f"{step.name}#{submitted.rounds}"
    verdict: Judgement = state["verdicts"][key]
    answer = _heard(question(submitted, verdict))
    if answer.kind == "respond":
        guided = verdict.but(decision="rework", feedback=answer.text, findings=(), by="a person")
        return {"verdicts": {key: guided}, "rounds": {step.name: submitted.rounds + 1}}
    if answer.kind == "reject":
        reason = Reason(kind="person", message=answer.text or "A person rejected the work.", step=step.name)
        done = submitted.but(status="failed", reason=reason)
    elif answer.kind == "edit" and answer.text:
        changes = {"content": answer.text, "summary": summary(answer.text), "data": None}
        done = submitted.but(status="accepted", reason=None, **changes)
    else:
        done = submitted.but(status="accepted", reason=None)
    _progress(here, state, done, plan)
    return {"deliverables": {step.name: done}}


def _heard(asked: dict[str, Any]) -> Answer:
    """The person's answer; one that cannot be understood is kept by LangGraph, so it is asked again after it."""
    while True:
        given = interrupt(asked)
        try:
            return read_answer(given)
        except InputError as error:
            again = f"{error} {asked['question']}"
            asked = {**asked, "question": again, "description": again}


async def settle(plan: Sequence[Step], state: Any, here: Here) -> dict[str, Any]:
    """End the turn: status, reason and answer from what the steps delivered; steps never reached are skipped."""
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
    ended = [done[step.name] if step.name not in skipped else skipped[step.name] for step in plan]
    status = status_of(ended)
    usable = [one for one in ended if one.usable]
    answer = usable[-1].content if usable else ""
    update: dict[str, Any] = {"status": status, "reason": reason_of(ended), "answer": answer}
    update["simulated"] = here.scope.simulated
    if skipped:
        update["deliverables"] = skipped
    if answer:
        update["messages"] = [AIMessage(answer, name=None)]
    return update


def status_of(ended: Sequence[Deliverable]) -> RunStatus:
    """How a run ended whose required steps ended so.

    >>> status_of([Deliverable(step="a", status="accepted"), Deliverable(step="b", status="failed")])
    'partial'
    """
    if ended and all(one.status == "accepted" for one in ended):
        return "completed"
    return "partial" if any(one.usable for one in ended) else "failed"


def reason_of(ended: Sequence[Deliverable]) -> Reason | None:
    """The first cause that kept a run from completing; a limit goes before others."""
    reasons = [one.reason for one in ended if one.status != "accepted" and one.reason is not None]
    return next((one for one in reasons if one.kind == "limit"), reasons[0] if reasons else None)


def _usable(done: Deliverable | None) -> bool:
    return done is not None and done.usable


def _why(done: Deliverable) -> str:
    return done.reason.message if done.reason else done.status


def _finished(here: Here, path: str, done: Deliverable, outcome: Outcome) -> None:
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
        )
    )


def _progress(here: Here, state: Any, last: Deliverable, plan: Sequence[Step]) -> None:
    done = state.get("deliverables", {})
    count = sum(1 for step in plan if step.name == last.step or _usable(done.get(step.name)))
    spent = here.scope.spent
    seconds = here.scope.clock() - here.scope.started
    here.emit(Progress(now(), here.outer, count if last.usable else count - 1, len(plan), seconds, spent.usd))
