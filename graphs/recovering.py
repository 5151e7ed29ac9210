"""Asking a person what to do about a step that failed, when nobody else could help; and what follows from the answer.

approve: go on without it, or in another way      edit: their own words are the result
respond: again, with this guidance                reject: end here
"""

from __future__ import annotations

from typing import Any

from troupe.agents.contracts import Decision, Deliverable, Judgement, Reason, Tried
from troupe.agents.text import summary
from troupe.graphs.asking import Answer, ask_about
from troupe.graphs.hearing import heard
from troupe.graphs.node import Here
from troupe.graphs.recovery import Adapt
from troupe.graphs.work import Place, decided, progress, why

_APPROVAL = {
    "split": "Try it in parts",
    "guide": "Try it with a senior's guidance",
    None: "Go on without it",
}


def failure_question(failed: Deliverable, path: str, adapt: Adapt | None = None) -> dict[str, Any]:
    """The question about a step that failed for everybody who was turned to, by its path."""
    ask = (
        f"{path!r} failed: {why(failed)}\n{_APPROVAL[adapt]}? Or edit: give its content yourself; respond: say how to "
        "do it, and it is tried again; reject: end here."
    )
    args = {"step": path, "agent": failed.agent, "cause": why(failed), "tried": [one.line() for one in failed.tried]}
    return ask_about(ask, f"{_APPROVAL[adapt].lower()}: {path}", args, path, round=failed.rounds)


def may_be_asked(done: Deliverable) -> bool:
    """Whether a person could help: not where a limit ended it, or it is not needed any more."""
    return done.status == "failed" and (done.reason is None or done.reason.kind == "error")


async def ask_how_to_recover(place: Place, state: Any, here: Here) -> dict[str, Any]:
    """Ask; in a node of its own, because it starts again on resume."""
    place = place.at(state)
    step, adapt = place.step, place.step.recovered.adapt
    failed: Deliverable = state["deliverables"][step.name]
    key = f"{step.name}#{failed.rounds}"
    answer = await heard(failure_question(failed, here.path(step.name), adapt), state, here)
    said = Judgement(passed=False, feedback=answer.text, by=answer.by)
    # Another way of working is tried once: a second approval is for going on without it.
    again = answer.kind == "approve" and adapt is not None and not adapted_before(step.name, state)
    if answer.kind == "respond" or again:
        decision: Decision = "adapt" if again else "again"
        decided(here, here.path(step.name), said.but(decision=decision), failed.rounds)
        return {"verdicts": {key: said.but(decision=decision)}, "rounds": {step.name: failed.rounds + 1}}
    done, decision = settled_by(answer, failed)
    progress(here, state, done, place.total)
    verdict = said.but(decision=decision, passed=done.usable)
    decided(here, here.path(step.name), verdict, failed.rounds)
    return {"verdicts": {key: verdict}, "deliverables": {step.name: done}}


def settled_by(answer: Answer, failed: Deliverable) -> tuple[Deliverable, Decision]:
    """What is left of a failed step when a person has said the last word on it, and what that comes to."""
    if answer.kind == "reject":
        who = answer.by[:1].upper() + answer.by[1:]
        message = answer.text or f"{who} ended it here. {why(failed)}"
        return failed.but(reason=Reason(kind="person", message=message, step=failed.step)), "fail"
    if answer.kind == "edit":
        tried = (*failed.tried, Tried(how="person", agent=answer.by))
        changes = {"content": answer.text, "summary": summary(answer.text), "agent": answer.by, "data": None}
        return failed.but(status="accepted", reason=None, tried=tried, **changes), "pass"
    gone_on = Tried(how="drop", agent=answer.by, cause="gone on without it.")
    return failed.but(tried=(*failed.tried, gone_on)), "partial"


def adapted_before(name: str, state: Any) -> bool:
    """Whether another way of working was tried for a step already."""
    return any(
        key.rpartition("#")[0] == name and one.decision == "adapt" for key, one in state.get("verdicts", {}).items()
    )
