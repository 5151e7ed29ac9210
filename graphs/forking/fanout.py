"""A fan-out over a list that is decided at run time: one branch per item.

parallel(each("specialist-engineer", items=lambda brief: brief.task.splitlines()))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, Field

from troupe.agents.agent import Agent
from troupe.agents.contracts import Brief, Deliverable, Failed, Ok, Outcome, Reason
from troupe.agents.errors import BuildError
from troupe.agents.functions import FunctionAgent
from troupe.agents.limits import WIDEST
from troupe.agents.notes import Text
from troupe.agents.text import clean
from troupe.graphs.adapters import as_agent
from troupe.graphs.forking.branches import Branch
from troupe.graphs.node import Here
from troupe.graphs.step import Step
from troupe.graphs.work import Place, brief_for
from troupe.prompts import load, render

MOST = WIDEST


class Items(BaseModel):
    """What an agent that splits a task gives."""

    items: tuple[Text, ...] = Field(description="One text per part, each complete enough to be worked on alone.")


@dataclass(frozen=True, repr=False)
class Each:
    """See `each`."""

    step: Step
    items: Agent
    most: int

    def __repr__(self) -> str:
        return f"each({self.step.name!r}, ...)"


def each(what: Any, items: Any, most: int = MOST) -> Each:
    """One branch per item of a list.

    Args:
        what: who works on an item: anything that can be a step. `brief.item` is the item as text, JSON if it is none.
        items: the list; or a function of the Brief that returns it; or an agent that decides on it.
        most: how many items are worked on at most; what is beyond is left out, and the run is partial.

    Raises:
        BuildError: an empty or too long list, a bound that is not 1 to 1,000, or somebody who cannot decide.

    >>> each(lambda brief: brief.item.upper(), ["a", "b"]).most
    1000
    """
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MOST:
        raise BuildError(f"each(most={most!r}): give a whole number from 1 to {MOST:,}.")
    step = what if isinstance(what, Step) else Step(what)
    if isinstance(items, list | tuple):
        given = list(items)
        if not 1 <= len(given) <= most:
            raise BuildError(f"each(items=...) has {len(given):,} items; give 1 to {most:,}.")

        async def listed(_: Brief) -> dict[str, Any]:  # async, so that it takes no thread
            return {"items": given}

        return Each(step, FunctionAgent(listed, f"{step.name}.items"), most)
    kinds = "a list, a function of the Brief, or an agent that decides"
    try:
        by = as_agent(items)
    except BuildError as error:
        raise BuildError(f"each(items={items!r}): it must be {kinds}. {error}") from None
    if not (by.can_decide or isinstance(by, FunctionAgent)):
        raise BuildError(f"each(items={by.name!r}): it must be {kinds}.")
    return Each(step, by, most)


def names(step: Step, count: int) -> list[str]:
    """The names of the items' steps: `worker.1`, `worker.2`, ..."""
    return [f"{step.name}.{number}" for number in range(1, count + 1)]


async def split(given: Each, place: Place, state: Any, here: Here) -> dict[str, Any]:
    """Find out the items; a list that cannot be had, is empty or too long is the fan-out's own failed deliverable."""
    name = given.step.name
    most, bound = here.scope.limits.narrowest(given.most, "most=")
    recovery = given.step.recovered.of_others
    brief = brief_for(place, state)
    if given.items.can_decide:
        text = render(load("moves/split", here.scope.prompts), objective=given.step.objective, most=str(most))
        asked = brief.model_copy(update={"objective": text})
        outcome = await here.call(given.items, asked, state, purpose="decide", schema=Items, recovery=recovery)
    else:
        outcome = await here.call(given.items, brief, state, recovery=recovery)
    items, problem, kind = _read(outcome)
    if not problem and len(items) > most:
        problem = f"There are {len(items):,} items; the first {most:,} are worked on. The bound is {bound}."
        kind, items = "limit", items[:most]
    update: dict[str, Any] = {"items": {name: items}}
    if problem:
        reason = Reason(kind=kind, message=problem, step=name)
        update["deliverables"] = {name: Deliverable(step=name, agent=given.items.name, status="failed", reason=reason)}
    return update


def _read(outcome: Outcome) -> tuple[list[str], str, Any]:
    if isinstance(outcome, Failed):
        return [], f"The items could not be found: {outcome.cause}", "limit" if outcome.kind == "limit" else "error"
    if not isinstance(outcome, Ok):
        return [], outcome.reason, "stopped"
    value = outcome.value.items if isinstance(outcome.value, Items) else outcome.value.data
    found = value.get("items") if isinstance(value, Mapping) else value
    if not isinstance(found, Sequence) or isinstance(found, str):
        return [], "The items are no list: a function of the Brief must return one.", "error"
    if not found:
        return [], "The list of items is empty.", "error"
    texts = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False, default=str) for one in found]
    return [clean(one) for one in texts], "", ""


def item_branch(template: Branch, place: Place, number: int, item: str) -> Branch:
    """The branch of one item, made of the one that stands for all of them."""
    step = place.step.named(f"{place.step.name}.{number}")
    return replace(template, place=replace(place, step=step, index=place.index + number - 1, item=item))
