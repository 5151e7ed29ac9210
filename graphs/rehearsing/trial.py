"""One trial: a team's turn from its beginning to its end, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.types import Command
from langsmith import tracing_context

from troupe.agents.context import TeamContext
from troupe.agents.contracts import Judgement, RunStatus, Tier
from troupe.agents.journal import MemoryJournal
from troupe.agents.money.budget import Purse
from troupe.agents.scope import RunScope
from troupe.agents.settings import Settings
from troupe.agents.virtual import play
from troupe.graphs.checks import All, Any_, Asks, Case, Check, Combined, Conclusion, Review
from troupe.graphs.dialects import as_asked
from troupe.graphs.history import RunRecord, record
from troupe.graphs.node import SCOPE
from troupe.graphs.rehearsing.cast import Cast, Performance, RehearsalExecutor, rehearsed
from troupe.graphs.rehearsing.odds import Odds
from troupe.graphs.team import Team

THREAD = "rehearsal"
_QUESTIONS = 1000  # of one trial; whoever is asked more often is going round in circles


@dataclass(frozen=True)
class Stage:
    """What all trials of a rehearsal have in common.

    Attributes:
        context: of the run, without anything that would be called or told.
        given: the run's models, for their prices.
        slots: calls at work at once.
        answers_after: seconds until a person answers.
        tiers: of the agents that take part, by name.
    """

    team: Team
    workflow: str
    input: Mapping[str, Any]
    context: TeamContext
    given: Any
    settings: Settings
    slots: int
    answers_after: float
    tiers: Mapping[str, Tier]


@dataclass(frozen=True)
class Trial:
    """What one trial came to.

    Attributes:
        seconds: from its beginning to its end.
        record: step by step, as of a recorded run.
        performances: every call, in the order in which they ended.
        verdicts: by step and round, whether its gate passed it.
        waits: when a person was waited for, and by which step.
    """

    seconds: float
    record: RunRecord
    performances: tuple[Performance, ...]
    verdicts: Mapping[tuple[str, int], bool]
    waits: tuple[tuple[str, float, float], ...]


def trial(stage: Stage, odds: Odds, number: int) -> Trial:
    """Play one."""
    return play(lambda: _trial(stage, odds, number))


async def _trial(stage: Stage, odds: Odds, number: int) -> Trial:
    clock = asyncio.get_running_loop().time
    cast = Cast(stage.given, stage.settings, odds, number)
    journal = MemoryJournal()
    scope = _Scope(stage, cast, journal)
    team = rehearsed(stage.team).copy({"checkpointer": InMemorySaver(serde=_AsItIs())})
    config: RunnableConfig = {"configurable": {"thread_id": THREAD, SCOPE: scope}}
    waits: list[tuple[str, float, float]] = []
    given: Any = dict(stage.input)
    status: RunStatus = "failed"
    with tracing_context(enabled=False):
        for _ in range(_QUESTIONS):
            try:
                state = await team.ainvoke(given, config, context=stage.context, durability="exit")
            except GraphRecursionError:
                status = "partial"
                break
            asked = state.get("__interrupt__") or ()
            if not asked and state["status"] != "running":
                status = state["status"]
                break
            since = clock()
            await asyncio.sleep(stage.answers_after)
            odds.assumed("a person's answer", f"approves after {stage.answers_after / 60:g} min")
            waits += [(_step_of(one.value), since, clock()) for one in asked] or [("", since, clock())]
            # Where the caller has it interrupted before or after a node, nothing is asked and it just goes on.
            given = Command(resume={one.id: as_asked(one.value, "approve") for one in asked}) if asked else None
            scope.started = clock()  # whoever goes on with a run has its deadline before them
    seconds = clock()
    spent = scope.spent
    known = RunRecord(THREAD, number, stage.workflow, "", status, True, 0.0, seconds, spent.usd)
    found = record(known, [row for row in await journal.rows("") if row.kind != "question"], stage.tiers)
    return Trial(seconds, found, tuple(cast.performances), cast.verdicts, tuple(waits))


def _step_of(asked: Any) -> str:
    return str(asked.get("step") or "") if isinstance(asked, Mapping) else ""


class _Scope(RunScope):
    """A turn in virtual time, in which nothing real is called, kept or told."""

    def __init__(self, stage: Stage, cast: Cast, journal: MemoryJournal) -> None:
        clock = asyncio.get_running_loop().time
        settings = stage.settings
        executor = RehearsalExecutor(cast, stage.slots, retries=settings.retries, timeout=settings.timeout)
        super().__init__(
            stage.context, THREAD, settings=settings, journal=journal, executor=executor, clock=clock, wall=clock
        )
        self.cast = self.models = cast
        self.purse = Purse(self.limits, stage.context.budget)
        self.replies = None
        self.tracer = None

    def checks(self, checks: Any, path: str) -> Any:
        """The same checks as far as agents make them; others are drawn, with one verdict for all of a gate."""
        return _drawn(checks, path, self.cast)


def _drawn(check: Check, path: str, cast: Cast) -> Check:
    if isinstance(check, Review | Conclusion):
        return check
    if isinstance(check, Combined):
        deciding = tuple(_drawn(part, path, cast) for part in check.parts if _asks(part))
        if len(deciding) > 1:
            return (All if isinstance(check, All) else Any_)(deciding)
        if deciding:
            return deciding[0]
    return _Drawn(check.words, path, cast)


def _asks(check: Check) -> bool:
    """Whether an agent is asked."""
    return isinstance(check, Review | Conclusion) or (
        isinstance(check, Combined) and any(_asks(part) for part in check.parts)
    )


class _Drawn(Check):
    """In the place of checks that are not made: passes as often as is drawn."""

    def __init__(self, words: str, path: str, cast: Cast) -> None:
        self._words, self._path, self._cast = words, path, cast

    @property
    def words(self) -> str:
        """See `Check`."""
        return self._words

    async def judge(self, case: Case, ask: Asks) -> Judgement:
        """See `Check`."""
        passed = self._cast.passes(self._path, case.work.rounds)
        return Judgement(passed=passed, feedback="" if passed else "[simulated] It did not pass.", by=self._words)


class _AsItIs:
    """Keeps values as they are: they are frozen, and end with the trial."""

    def dumps_typed(self, obj: Any) -> tuple[str, Any]:
        """See LangGraph."""
        return "value", obj

    def loads_typed(self, data: tuple[str, Any]) -> Any:
        """See LangGraph."""
        return data[1]
