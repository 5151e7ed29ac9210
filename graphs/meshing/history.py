"""How reliable everybody of a pool was in earlier runs, looked up once in a turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from troupe.agents.journal import Row, reliability
from troupe.graphs.node import Here
from troupe.graphs.step import Step


async def history(members: Mapping[str, Step], state: Any, here: Here) -> dict[str, float]:
    """By member, how likely their calls came to a good end; who never worked is not in it.

    The journal keeps what was found: a turn that goes on after a crash must choose as it did before.
    """
    if not here.scope.durable:  # what this process did besides is no record of anybody
        return {}
    journal, key = here.scope.journal, f"{await here.root(state)}/history"
    if (row := await journal.find(key)) is None:
        known = reliability(await journal.tally())
        found = {name: round(known[one.agent.name], 3) for name, one in members.items() if one.agent.name in known}
        await journal.record(Row(key, "outcome", here.outer, "", None, found))
        row = await journal.find(key)
    return dict(row.received) if row is not None else {}
