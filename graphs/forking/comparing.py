"""Comparing the results of branches before they are merged: by code, and by the judge where a policy was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from troupe.agents.brief import fence
from troupe.agents.contracts import Brief, Deliverable, Failed, Ok, Outcome, Reason
from troupe.graphs.forking.conflicts import Conflict, Contradictions, differences, listed, reported
from troupe.graphs.forking.merging import Merge
from troupe.graphs.node import Here
from troupe.graphs.recovery import STANDARD, Recovery
from troupe.prompts import load, render

NODE = "join"


async def compare(
    parts: Sequence[Deliverable],
    alike: Mapping[str, str],
    merge: Merge,
    state: Any,
    here: Here,
    recovery: Recovery = STANDARD,
) -> dict[str, Any]:
    """What the parts say differently; that nobody could read them is the join's own failed deliverable."""
    known: dict[str, Conflict] = state.get("conflicts", {})
    found = [*differences(parts, alike), *_unchanged(known, parts)]
    update: dict[str, Any] = {}
    if merge.conflicts is not None and len(parts) > 1:
        outcome = await _read(parts, found, merge, state, here, recovery)
        if isinstance(outcome, Ok):
            found += reported(outcome.value, parts, found)
        update["deliverables"] = _unread(outcome, merge, state)
    # After a rework, one that was ruled on keeps its ruling, and one that is not there any more stands no longer.
    past = {key: one.model_copy(update={"stands": False}) for key, one in known.items()}
    update["conflicts"] = past | {
        one.id: known.get(one.id, one).model_copy(update={"stands": True, "rounds": one.rounds}) for one in found
    }
    return update


def _unchanged(known: Mapping[str, Conflict], parts: Sequence[Deliverable]) -> list[Conflict]:
    """What a reviewer found in results that are still the same: another reading would find it in other words."""
    now = {one.step: one.rounds for one in parts}
    return [one for one in known.values() if one.stands and one.rounds and one.rounds.items() <= now.items()]


def standing(state: Any) -> list[Conflict]:
    """The conflicts of the results as they are now."""
    return [one for _, one in sorted(state.get("conflicts", {}).items()) if one.stands]


def open_conflicts(state: Any) -> list[Conflict]:
    """Those that nobody has ruled on, or refused to."""
    return [one for one in standing(state) if not one.by and not one.why]


def rulings_of(state: Any) -> tuple[str, ...]:
    """What whoever merges is told."""
    return tuple(one.line() for one in standing(state))


def told(state: Any) -> tuple[str, ...]:
    """The same for an agent: sides and rulings are what others wrote."""
    lines = "\n".join(rulings_of(state))
    return (f"These rulings on contradictions hold:\n{fence(lines, 'rulings')}",) if lines else ()


async def _read(
    parts: Sequence[Deliverable], found: Sequence[Conflict], merge: Merge, state: Any, here: Here, recovery: Recovery
) -> Outcome:
    text = render(
        load("moves/compare", here.scope.prompts),
        steps=", ".join(one.step for one in parts),
        known=fence("\n".join(one.about for one in found), "found") if found else "nothing yet.",
        work=listed(parts, here.scope.settings.brief_tokens * 3 // 4),
    )
    brief = Brief(task=state["task"], step=NODE, objective=text)
    return await here.call(merge.judge, brief, state, purpose="decide", schema=Contradictions, recovery=recovery)


def _unread(outcome: Outcome, merge: Merge, state: Any) -> dict[str, Deliverable]:
    if isinstance(outcome, Ok):
        before = state.get("deliverables", {}).get(NODE)
        return {NODE: before.but(required=False)} if before is not None else {}
    cause = outcome.cause if isinstance(outcome, Failed) else outcome.reason
    limit = isinstance(outcome, Failed) and outcome.kind == "limit"
    message = f"{merge.judge.name} could not compare the branches: {cause}"
    reason = Reason(kind="limit" if limit else "error", message=message, step=NODE)
    return {NODE: Deliverable(step=NODE, agent=merge.judge.name, status="failed", reason=reason)}
