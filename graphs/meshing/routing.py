"""Who gets an assignment: scores from what they can do, how they did, how busy they are and what they already hold.

Plain code: the same state gives the same choice, in whatever order the pool was written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from troupe.agents.agent import Agent
from troupe.agents.chat import ChatAgent
from troupe.agents.contracts import Deliverable
from troupe.agents.functions import FunctionAgent
from troupe.graphs.meshing.assignments import Assignment, Candidate, Scores

SHORTLIST = 16
"""How many candidates a hub chooses from, and how many are kept."""

CAPABILITY, LOAD, RECORD, CONTEXT, PRICE = 0.5, 0.2, 0.15, 0.1, 0.05
"""How much each score counts in the total."""

EARLIER = 2.0
"""How many assignments the record of earlier runs counts for."""
NOTHING_KNOWN: Mapping[str, float] = {}

_PRICES = {"economy": 1.0, "standard": 0.5, "premium": 0.0}


@dataclass
class Standing:
    """How somebody stands in this turn."""

    good: float = 0.0
    bad: float = 0.0
    load: int = 0
    given: int = 0
    holds: set[str] = field(default_factory=set)

    @property
    def record(self) -> float:
        """How often their work was accepted, nothing known being 0.5 (Laplace's rule)."""
        return (self.good + 1) / (self.good + self.bad + 2)


def standings(
    names: Iterable[str],
    assignments: Mapping[str, Assignment],
    done: Mapping[str, Deliverable],
    history: Mapping[str, float] = NOTHING_KNOWN,
) -> dict[str, Standing]:
    """Everybody's standing: what they delivered, what they have to do, what they know.

    Args:
        history: by name, how reliable they were in earlier runs, which counts as much as two assignments of this one.
    """
    found = {name: _before(history.get(name)) for name in names}
    for one in assignments.values():
        if (who := found.get(one.agent)) is None or one.dropped:
            continue
        who.given += 1
        who.holds.add(one.id)
        who.holds.update(one.needs)
        if (result := done.get(one.id)) is None:
            who.load += 1
        elif result.status == "accepted":
            who.good += 1
        elif result.status == "partial":
            who.good += 0.5
            who.bad += 0.5
        else:
            who.bad += 1
    return found


def _before(reliability: float | None) -> Standing:
    if reliability is None:
        return Standing()
    return Standing(good=EARLIER * reliability, bad=EARLIER * (1 - reliability))


def price(agent: Agent) -> float:
    """How cheap somebody is, from 0 to 1: functions cost nothing, a graph is taken to be of the middle."""
    if isinstance(agent, ChatAgent):
        return _PRICES[agent.role.tier]
    return 1.0 if isinstance(agent, FunctionAgent) else 0.5


def ranked(
    capabilities: Mapping[str, float],
    standing: Mapping[str, Standing],
    prices: Mapping[str, float],
    needs: Sequence[str] = (),
) -> list[Candidate]:
    """Everybody as a candidate, best first; equals by who was given less so far, then by name."""
    wanted = set(needs)
    found = []
    for name, capability in capabilities.items():
        stands = standing[name]
        context = len(wanted & stands.holds) / len(wanted) if wanted else 0.0
        record, free = stands.record, 1 / (1 + stands.load)
        total = CAPABILITY * capability + LOAD * free + RECORD * record + CONTEXT * context + PRICE * prices[name]
        scores = (round(capability, 3), round(record, 3), stands.load, round(context, 3), prices[name], round(total, 3))
        found.append((-scores[5], stands.given, name, scores))
    found.sort()
    return [Candidate(name, *scores) for _, _, name, scores in found]


def shortlist(ranking: Sequence[Candidate]) -> list[str]:
    """The names that a hub chooses from."""
    return [one.agent for one in ranking[:SHORTLIST]]


def choose(named: str, ranking: Sequence[Candidate], listed: Sequence[str]) -> tuple[Candidate, str, str]:
    """Who gets it, why, and what was wrong with the hub's answer: a choice that it may make is respected.

    Args:
        named: whom the hub named, empty where it lets them bid.
        ranking: everybody, best first.
        listed: whom it was offered.
    """
    best = ranking[0]
    if named and named in listed:
        chosen = next(one for one in ranking if one.agent == named)
        return chosen, f"the hub's choice{_scores(chosen, ranking)}", ""
    if named:
        wrong = f"the hub's answer {named[:80]!r} is not on the shortlist"
        return best, f"the best score, because {wrong}{_scores(best, ranking)}", wrong
    return best, f"won the bidding{_scores(best, ranking)}", ""


def kept(chosen: Candidate, ranking: Sequence[Candidate]) -> dict[str, Scores]:
    """The scores that are kept: those of the best, and always of the one that was chosen."""
    top = ranking[:SHORTLIST]
    top = top if chosen in top else [*top[:-1], chosen]
    return {one.agent: one[1:] for one in top}


def _scores(chosen: Candidate, ranking: Sequence[Candidate]) -> str:
    others = ", ".join(f"{one.agent} {one.total:g}" for one in ranking[:4] if one.agent != chosen.agent)
    mine = (
        f"{chosen.total:g}: capability {chosen.capability:g}, record {chosen.record:g}, load {chosen.load}, "
        f"context {chosen.context:g}, price {chosen.price:g}"
    )
    return f" ({mine}; {others})" if others else f" ({mine})"
