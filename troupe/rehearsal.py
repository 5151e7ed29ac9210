"""The rehearsal: a workflow played many times on a virtual clock, to predict what a run takes. It is a simulation.

Real are the graph, the Executor, gates, recovery and prompts. Played are models, functions, tools, checks and people:
they take time, tokens and wrong turns as recorded runs did, or as stated defaults say.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from troupe.agents.chat import ChatAgent
from troupe.agents.context import TeamContext
from troupe.agents.contracts import TIERS, Tier
from troupe.agents.errors import InputError, complaints
from troupe.agents.loop import run_sync
from troupe.agents.roster import known_roles
from troupe.agents.settings import Settings
from troupe.catalogue import refuse_while_loading, resolve
from troupe.graphs.adapters import GraphAgent
from troupe.graphs.history import History
from troupe.graphs.rehearsing.faults import Faults
from troupe.graphs.rehearsing.forecast import Rehearsal, figures
from troupe.graphs.rehearsing.odds import Odds
from troupe.graphs.rehearsing.trial import Stage, Trial, trial
from troupe.graphs.team import Team
from troupe.inputs import as_input, task_of
from troupe.records import ahistory
from troupe.store.base import Store

TRIALS = 200
MOST = 10_000
ANSWERS_AFTER = 600.0
"""Seconds until a person answers."""


def rehearse(target: Any, task: Any = None, **options: Any) -> Rehearsal:
    """Predict by simulation what a run would take; nothing real is called. Other arguments: see `arehearse`.

    >>> from troupe import agent, sequential
    >>> line = sequential(agent("author", "Write."), agent("editor", "Edit."), name="line")
    >>> found = rehearse(line, "a story", trials=20, history=History())
    >>> found.simulated, found.trials, found.seconds.p50 < found.seconds.p95
    (True, 20, True)
    """
    refuse_while_loading()
    return run_sync(arehearse(target, task, caller=sys._getframe(1), **options))


async def arehearse(
    target: Any,
    task: Any = None,
    *,
    trials: int = TRIALS,
    faults: str | Faults = "",
    seed: int = 0,
    slots: int | None = None,
    history: History | None = None,
    model: Any = None,
    budget: float | None = None,
    deadline: float | None = None,
    answers_after: float = ANSWERS_AFTER,
    context: TeamContext | None = None,
    db: str | Path | Store | None = None,
    caller: FrameType | None = None,
) -> Rehearsal:
    """Predict by simulation what a run would take; nothing real is called.

    Args:
        target: see `run`.
        task: see `run`.
        trials: how often it is played.
        faults: what goes wrong besides what is recorded: `"rate_limit=0.1,timeout=0.02,down:python-engineer"`. The
            same is played without them, too.
        seed: the same seed predicts the same.
        slots: calls at work at once; by default the setting `max_concurrency`.
        history: recorded runs to draw from; by default the real ones in `db`.
        model: whose prices count; see `run`. By default the settings' models, and stand-ins for simulated ones.
        budget, deadline: of the run, in USD and seconds.
        answers_after: seconds until a person answers a question; the answer is to approve.
        context: a `TeamContext`, of which prompts and limits count.
        db: where runs are kept; see `arun`.
        caller: whose module names the target; found by itself.

    Raises:
        BuildError, InputError, SettingsError, StoreError: before anything is played.
    """
    refuse_while_loading()
    wrong = Faults.read(faults) if isinstance(faults, str) else faults
    count = _whole("trials", trials, MOST)
    where = resolve(target, caller or sys._getframe(1))
    settings = await asyncio.to_thread(Settings.refresh)
    slots = _whole("slots", settings.max_concurrency if slots is None else slots, MOST)
    given = as_input(task)
    where.team.checked(given)
    if not answers_after >= 0:
        raise InputError(f"answers_after={answers_after!r}: give seconds, 0 or more.")
    agents = dict(_agents(where.team))
    wrong.must_be_of({*agents, *TIERS, *known_roles()})
    known = await ahistory(db=db) if history is None else history
    stage = Stage(
        team=where.team,
        workflow=where.name,
        input=given,
        context=_context(where.team, context, budget, deadline),
        given=model if model is not None else (context.models if context else None),
        settings=settings,
        slots=slots,
        answers_after=float(answers_after),
        tiers={name: role.tier for name, role in known_roles().items()} | agents,
    )
    odds = Odds(known, where.name, seed, wrong)
    played = await _apart(stage, odds, count)
    without = await _apart(stage, Odds(known, where.name, seed), count) if wrong else None
    if wrong:
        odds.given("faults", str(wrong))
    return Rehearsal(
        workflow=where.name,
        task=task_of(given),
        trials=count,
        seed=seed,
        slots=slots,
        recorded=len(known.of(where.name)),
        faults=str(wrong),
        figures=figures(played, slots),
        without=figures(without, slots) if without is not None else None,
        sources=tuple(odds.sources[what] for what in sorted(odds.sources)),
    )


async def _apart(stage: Stage, odds: Odds, count: int) -> list[Trial]:
    """All trials, in a thread: an event loop runs here, and theirs is another."""
    stop = threading.Event()

    def all_of_them() -> list[Trial]:
        found = []
        for number in range(count):
            if stop.is_set():
                break
            found.append(trial(stage, odds, number))
        return found

    try:
        return await asyncio.to_thread(all_of_them)
    finally:
        stop.set()


def _context(team: Team, given: TeamContext | None, budget: float | None, deadline: float | None) -> TeamContext:
    """The run's context, without whatever is called or told."""
    from pydantic import ValidationError

    context = given or team.builder.context_schema()  # type: ignore[misc]
    assert context is not None  # noqa: S101 - a team's context schema is a TeamContext
    fields = {name: getattr(context, name) for name in type(context).model_fields}
    fields |= {"models": None, "cache": False, "listeners": (), "executor": None}
    fields |= {name: value for name, value in (("budget", budget), ("deadline", deadline)) if value is not None}
    try:
        return type(context)(**fields)
    except ValidationError as error:
        raise InputError(f"{complaints(error)}.") from None


def _whole(name: str, given: int, most: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= most:
        raise InputError(f"{name}={given!r}: give a whole number from 1 to {most:,}.")
    return given


def _agents(team: Team) -> Iterator[tuple[str, Tier]]:
    """The agents of a team and of those inside it, with their tiers."""
    for step in team.builder.outline:
        if isinstance(step.agent, ChatAgent):
            yield step.agent.name, step.agent.role.tier
        elif isinstance(step.agent, GraphAgent) and isinstance(step.agent.graph, Team):
            yield from _agents(step.agent.graph)
