"""Explaining what an adaptive team would choose for a task, without doing it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from troupe.agents.agent import Agent
from troupe.agents.alone import decide_alone, work_alone
from troupe.agents.context import TeamContext
from troupe.agents.contracts import Failed, Ok
from troupe.agents.errors import InputError, TroupeError
from troupe.agents.functions import FunctionAgent
from troupe.agents.loop import run_sync
from troupe.agents.models import Models
from troupe.agents.roster import known_roles
from troupe.agents.settings import Settings
from troupe.agents.text import clean
from troupe.graphs.bottlenecks import slowest
from troupe.graphs.choosing.assessing import ASSESSOR, as_assessor, may_be_asked, of_context, what_to_assess
from troupe.graphs.choosing.assessment import Reading, Resources, assessed, must_be_stated
from troupe.graphs.choosing.choice import choose, ruled_out
from troupe.graphs.choosing.explaining import Explanation, explained
from troupe.graphs.choosing.forecasting import forecasts, prices
from troupe.graphs.choosing.learning import with_pattern
from troupe.graphs.choosing.reading import read
from troupe.graphs.history import History
from troupe.records import ahistory
from troupe.store.base import Store

_SLOW = 3  # bottlenecks that are shown


def explain(task: str, **options: Any) -> Explanation:
    """What an adaptive team would choose for a task, and why. Calls a model only if one is configured.

    Args:
        task: what is to be done.
        options: those of `aexplain`.

    Raises:
        InputError: the task is empty, or something stated cannot be.
        UnknownName: a field that there is not.

    >>> explain("Summarise this paragraph.").pattern, explain("Summarise this paragraph.", quality="critical").pattern
    ('single', 'sequential')
    """
    return run_sync(aexplain(task, **options))


async def aexplain(
    task: str,
    *,
    model: Any = None,
    learn: bool = False,
    pool: Sequence[Any] | None = None,
    assessor: Any = ASSESSOR,
    budget: float | None = None,
    deadline: float | None = None,
    context: TeamContext | None = None,
    history: History | None = None,
    db: str | Path | Store | None = None,
    **stated: Any,
) -> Explanation:
    """What an adaptive team would choose for a task, and why; see `explain`.

    Args:
        task: what is to be done.
        model: as of `arun`; it reads the task.
        learn: whether the evidence and recorded runs may overrule the table.
        pool: who could work on it; by default the roster.
        assessor: who assesses the task, as of `adaptive`.
        budget: USD that there are.
        deadline: seconds that there are.
        context: a `TeamContext` with more than the above.
        history: recorded runs; by default those of the database.
        db: where runs are kept, as of `arun`.
        stated: what is known of the task: `complexity="complex"`, `quality="critical"`, `timeline="urgent"`, ...
    """
    if not isinstance(task, str) or not task.strip():
        raise InputError("The task is empty. Say what is to be done.")
    task = clean(task)
    settings = await asyncio.to_thread(Settings.refresh)
    context = context or TeamContext()
    given = {"models": model, "budget": budget, "deadline": deadline}
    context = context.model_copy(update={name: one for name, one in given.items() if one is not None})
    models = Models(context.models, settings)
    known = {**of_context(context), **must_be_stated(stated)}
    notices: list[str] = []
    said = None
    if (agent := as_assessor(assessor)) is not None and await may_be_asked(agent, models):
        said, more, problem = await _asked(agent, task, context)
        known = {**more, **known}
        notices += (
            [f"The words alone were read, as {agent.name} could not assess the task: {problem}"] if problem else []
        )
    count = len(await asyncio.to_thread(known_roles)) if pool is None else len(pool)
    resources = Resources(
        agents=max(1, count), slots=settings.max_concurrency, budget=context.budget, deadline=context.deadline
    )
    assessment = assessed(read(task), resources, said, known)
    if history is None:
        history = await ahistory(db=db)
    expected = forecasts(task, assessment, history, prices(models.specs))
    ruled = ruled_out(assessment, expected)
    chosen = choose(task, assessment, ruled, history, learn)
    slow = tuple(one.line() for one in slowest(with_pattern(history, chosen.pattern))[:_SLOW])
    if models.simulated and not history:
        notices.append("No model is configured and no run is recorded: words, table and published evidence decide.")
    return explained(task, assessment, chosen, expected, ruled, history, slow, tuple(notices))


async def _asked(agent: Agent, task: str, context: TeamContext) -> tuple[Reading | None, dict[str, Any], str]:
    """What an assessor says, what it states, or why it could say nothing."""
    brief = what_to_assess(task, context.prompts)
    if isinstance(agent, FunctionAgent):
        try:
            return None, must_be_stated((await work_alone(agent, brief)).data or {}), ""
        except TroupeError as error:
            return None, {}, str(error)
    outcome = await decide_alone(agent, brief, Reading, context)
    if isinstance(outcome, Ok):
        return Reading.model_validate(outcome.value.model_dump()), {}, ""
    return None, {}, outcome.cause if isinstance(outcome, Failed) else outcome.reason
