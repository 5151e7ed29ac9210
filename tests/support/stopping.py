"""Teams of each pattern whose workers ask a model, and whose managers decide without one: so calls can be counted."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from tests.support.hubs import fixed, quiet
from tests.support.people import ASKS, joined
from troupe import (
    Brief,
    Recovery,
    Step,
    TeamGraph,
    agent,
    contains,
    each,
    gate,
    hierarchical,
    mesh,
    parallel,
    sequential,
)
from troupe.agents.chat import ChatAgent

ALONE = Recovery(retries=1, backups=False, models=False, matched=False)
GATED = gate(contains("ok"), rework=0)
PLAN = {
    "design": "the plan",
    "packages": [{"owner": name, "title": f"build {name}", "objective": "do it"} for name in ("one", "two")],
    "criteria": [{"criterion": "1", "met": True}],
    "passed": True,
}


class Lead(ChatAgent):
    """Plans and judges without a model."""

    holds_slot = False

    async def decide(self, brief: Brief, schema: type[BaseModel]) -> Any:
        return schema.model_validate({name: one for name, one in PLAN.items() if name in schema.model_fields})


def worker(name: str, **options: Any) -> Step:
    return Step(quiet(name, f"You are {name}."), recovery=ALONE, **options)


async def says(brief: Brief) -> str:
    return "bad"


_moves = [{"assignments": [{"objective": f"Do {name}.", "agent": name} for name in ("one", "two")]}, {"finish": True}]
_inner = sequential(worker("two"), worker("three"), name="inner")

line = sequential(worker("one"), worker("two"), worker("three"), name="line")
fan = parallel(
    worker("one", gate=GATED), worker("two"), each(worker("three"), ["x", "y"]), merge=worker("four"), name="fan"
)
levels = hierarchical(None, Lead(agent("lead", "You are lead.").role), [worker("one"), worker("two")], name="levels")
hub = mesh([worker("one"), worker("two")], hub=fixed("switch", *_moves), name="hub")
nested = parallel(worker("one"), Step(_inner, name="x"), merge=worker("four"), name="nested")
asking = parallel(Step(says, name="asks", gate=ASKS), worker("one"), merge=joined, name="asking")

STOPPED: dict[str, tuple[TeamGraph, list[str], list[str]]] = {
    "line": (line, ["one"], ["two", "three"]),
    "fan": (fan, ["one", "two", "three", "three"], ["four"]),
    "levels": (levels, ["one", "two"], ["lead"]),
    "hub": (hub, ["one", "two"], ["Lead"]),
    "nested": (nested, ["one", "two"], ["three", "four"]),
}
"""By name, the team, whose calls are in flight when it is stopped, and who is asked when it goes on."""
