"""A model that answers from the journal of a recorded run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from langchain_core.messages import messages_from_dict

from troupe.agents.loop import run_sync
from troupe.agents.models.scripted import scripted
from troupe.checkpoints import store_at

if TYPE_CHECKING:
    from troupe.agents.models.scripted import ScriptedChatModel
    from troupe.result import Result


def replay(run: Result | str, *, db: str | Path | None = None) -> ScriptedChatModel:
    """A model that answers as the model of a recorded run did, step by step and role by role.

    Args:
        run: a run's result or id.
        db: where it is kept; by default where `run()` keeps runs.

    Raises:
        UnknownRun: there is no such run.
    """
    return run_sync(_replay(run if isinstance(run, str) else run.run, db))


async def _replay(run: str, db: str | Path | None) -> ScriptedChatModel:
    store = await asyncio.to_thread(store_at, db)
    try:
        last = await store.last(run)
        rows = await store.rows(f"{quote(run, safe='')}/{last.turn}/")
    finally:
        await asyncio.to_thread(store.close)
    lines: dict[str, list[Any]] = {}
    for row in rows:
        if row.kind == "request":
            worked = row.key.split("/")[-3].startswith("work.")  # the call's own part: outer calls come before it
            step = row.path.rpartition("/")[2]
            lines.setdefault(step if worked else row.agent, []).extend(messages_from_dict([row.received]))
    model = scripted(lines or {"*": []})
    model.replayed = True
    return model
