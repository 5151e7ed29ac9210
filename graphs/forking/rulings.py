"""Rulings: by which policy a conflict is settled, and by whom. What a policy leaves open, the order of the steps rules.

| policy | rules | model calls |
|---|---|---|
| `priority` | the step that was given first | 0 |
| `confidence` | the side whose author, or gate, is surest | 0 |
| `vote` | the authors, one vote each | 1 per author |
| `judge` | an agent | 1 |
| `ask` | a person | 0 |
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from troupe.agents.agent import Agent
from troupe.agents.brief import fence
from troupe.agents.contracts import Brief, Deliverable, Failed, Ok, Outcome
from troupe.agents.events import Notice
from troupe.agents.notes import Said, Text
from troupe.graphs.asking import ask_about
from troupe.graphs.forking.conflicts import Conflict, Policy, listed
from troupe.graphs.hearing import heard
from troupe.graphs.node import Here, now
from troupe.graphs.recovery import BY_ITSELF, STANDARD, Recovery
from troupe.prompts import load, render

NODE = "resolve"


class Ruling(Said):
    """What an agent says on one conflict."""

    conflict: str = Field(description="The conflict's id.")
    winner: str = Field(default="", description="The step whose side holds; empty if neither does.")
    ruling: Text = Field(default="", description="What holds, where neither side does.")
    why: Text = Field(default="", description="The reason, in a sentence.")


class Rulings(BaseModel):
    """One ruling for each conflict."""

    rulings: tuple[Ruling, ...] = Field(description="One for each conflict.")


async def rule(
    policy: Policy,
    open_: Sequence[Conflict],
    parts: Sequence[Deliverable],
    authors: Mapping[str, Agent],
    judge: Agent,
    state: Any,
    here: Here,
    recovery: Recovery = STANDARD,
) -> list[Conflict]:
    """The conflicts, ruled by a policy; `recovery` is the judge's."""
    if policy == "ask":
        return [await _asked(one, state, here) for one in open_]
    if policy == "confidence":
        return [_surest(one) for one in open_]
    if policy == "judge":
        work = listed(parts, _room(here))
        wrote = [*(one.agent for one in parts), *(one.name for one in authors.values())]
        said, by = await _decide(judge, "moves/rule", open_, state, here, recovery, wrote, work=work)
        return [_judged(one, said, by) for one in open_]
    if policy == "vote":
        voters = {step: agent for step, agent in authors.items() if agent.can_decide and _knows(step, parts)}
        # A vote is its author's own: nobody casts it for another.
        cast = await asyncio.gather(
            *(_decide(agent, "moves/vote", open_, state, here, BY_ITSELF, voter=step) for step, agent in voters.items())
        )
        ballots = {step: said for step, (said, _) in zip(voters, cast, strict=True)}
        return [_counted(one, ballots) for one in open_]
    return [_first(one, "") for one in open_]


def _first(conflict: Conflict, because: str) -> Conflict:
    winner = next(iter(conflict.sides))
    return conflict.ruled(winner, "priority", f"{because}It comes first in the order of the team.")


def _surest(conflict: Conflict) -> Conflict:
    best = max(conflict.confidence.values(), default=0.0)
    surest = [step for step in conflict.sides if conflict.confidence.get(step) == best]
    if len(surest) != 1:
        return _first(conflict, "Nobody is surer than the others. ")
    return conflict.ruled(surest[0], "confidence", f"Its author is the surest ({best:g}).")


def _judged(conflict: Conflict, said: Sequence[Ruling], judge: str) -> Conflict:
    ruling = next((one for one in said if one.conflict == conflict.id), None)
    if ruling is None or (ruling.winner not in conflict.sides and not ruling.ruling):
        return _first(conflict, f"{judge} gave no ruling on it. ")
    if ruling.winner in conflict.sides:
        return conflict.ruled(ruling.winner, judge, ruling.why)
    return conflict.ruled(None, judge, ruling.why, ruling.ruling)


def _counted(conflict: Conflict, ballots: Mapping[str, Sequence[Ruling]]) -> Conflict:
    votes: dict[str, str] = {}
    for step, ballot in ballots.items():
        mine = next((one.winner for one in ballot if one.conflict == conflict.id), "")
        if mine in conflict.sides:
            votes[step] = mine
    for step in conflict.sides:  # who cannot vote stands by what they said
        if step not in ballots:
            votes[step] = step
    count = Counter(votes.values())
    most = max(count.values(), default=0)
    leading = [step for step in conflict.sides if count[step] == most]
    shown = ", ".join(f"{voter} for {side}" for voter, side in votes.items()) or "nobody voted"
    if len(leading) != 1:
        return _first(conflict, f"The vote was even ({shown}). ")
    return conflict.ruled(leading[0], "vote", f"{most} of {len(votes)} votes ({shown}).")


async def _asked(conflict: Conflict, state: Any, here: Here) -> Conflict:
    """Ask a person; a text that is a step's name is a vote for its side, any other is the ruling itself."""
    sides = "\n".join(f"- {step}: {said}" for step, said in conflict.sides.items())
    first = next(iter(conflict.sides))
    text = (
        f"The team contradicts itself about {conflict.about}:\n{sides}\n"
        f"What holds? Approve for {first!r}, or respond with another name or with what holds."
    )
    args = {"conflict": conflict.id, **conflict.sides}
    versions = sum(state.get("rounds", {}).get(step, 1) for step in conflict.sides)
    asked = ask_about(text, f"rule on {conflict.about}", args, here.path(NODE), round=versions)
    answer = await heard(asked, state, here)
    if answer.kind == "reject":
        return conflict.ruled(None, "", answer.text or "A person left it open.")
    if answer.kind == "approve" or not answer.text:
        return conflict.ruled(first, answer.by, "")
    if answer.text.strip() in conflict.sides:
        return conflict.ruled(answer.text.strip(), answer.by, "")
    return conflict.ruled(None, answer.by, "", answer.text)


async def _decide(
    agent: Agent,
    move: str,
    open_: Sequence[Conflict],
    state: Any,
    here: Here,
    recovery: Recovery,
    but: Sequence[str] = (),
    voter: str = "",
    **fields: str,
) -> tuple[Sequence[Ruling], str]:
    """The rulings, and whose they are."""
    text = render(load(move, here.scope.prompts), conflicts=_shown(open_), **fields)
    brief = Brief(task=state["task"], step=f"{NODE} {voter}".strip(), objective=text)
    outcome: Outcome = await here.call(
        agent, brief, state, purpose="decide", schema=Rulings, recovery=recovery, but=but
    )
    if isinstance(outcome, Ok):
        rulings: Rulings = outcome.value
        return rulings.rulings, outcome.by or agent.name
    cause = outcome.cause if isinstance(outcome, Failed) else outcome.reason
    here.emit(Notice(now(), here.path(NODE), f"{agent.name} gave no ruling: {cause}"))
    return (), agent.name


def _shown(open_: Sequence[Conflict]) -> str:
    return "\n\n".join(
        f"{one.id}:\n"
        + "\n".join(fence(said, name) for name, said in [("what it is about", one.about), *one.sides.items()])
        for one in open_
    )


def _knows(step: str, parts: Sequence[Deliverable]) -> bool:
    return any(one.step == step for one in parts)


def _room(here: Here) -> int:
    return here.scope.settings.brief_tokens * 3 // 4
