"""Running an evaluation: each variant on each case, in a thread of its own that is found again by what was asked.

An evaluation that was interrupted goes on when it is asked for again: what has ended is not run, or paid for, twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from troupe.agents.context import TeamContext
from troupe.agents.contracts import Deliverable, Reason
from troupe.agents.errors import InputError, SettingsError, UnknownRun
from troupe.agents.loop import run_sync
from troupe.agents.models import Models
from troupe.agents.models.identity import identity
from troupe.agents.settings import Settings
from troupe.catalogue import Target, refuse_while_loading, resolve
from troupe.doors import aresume, arun, run
from troupe.evaluation.cases import EvaluationCase, as_cases, as_variants, named
from troupe.evaluation.reading import read_cases
from troupe.evaluation.report import Evaluation, Scored
from troupe.evaluation.scoring import Score, Scorer, judging, need_a_model, paid, scorers_of, scores_of
from troupe.graphs.fingerprint import fingerprint
from troupe.inputs import as_input, stored, task_of, thread_id
from troupe.opening import opened
from troupe.result import Result
from troupe.serializer import types_of
from troupe.store.base import Store


def evaluate(target: Any, cases: Any, scorers: Sequence[Any] = (), **options: Any) -> Evaluation:
    """Run a team, or several variants of it, on cases, and score the answers; from code that is not async.

    Args:
        target: anything that `run` takes.
        cases: tasks, dictionaries or `EvaluationCase`s; or the path of a file of them.
        scorers: checks, as for a gate, or functions of the answer, or of the answer and the case, that return a bool,
            a score from 0 to 1, a complaint or a Verdict.
        options: those of `aevaluate`.

    >>> from troupe import agent, scripted
    >>> poet = agent("poet", "Write verse.")
    >>> told = evaluate(poet, [{"task": "a haiku", "expected": "pond"}], model=scripted(["An old pond"]), db=":memory:")
    >>> told["poet"].score.mean
    1.0
    """
    return run_sync(aevaluate(target, cases, scorers, caller=sys._getframe(1), **options))


async def aevaluate(
    target: Any,
    cases: Any,
    scorers: Sequence[Any] = (),
    *,
    name: str = "evaluation",
    variants: Mapping[str, Any] | None = None,
    model: Any = None,
    judge: Any = None,
    budget: float | None = None,
    deadline: float | None = None,
    context: TeamContext | None = None,
    db: Any = None,
    at_once: int = 4,
    told: Callable[[Scored], Any] | None = None,
    caller: FrameType | None = None,
) -> Evaluation:
    """Run a team, or several variants of it, on cases, and score the answers.

    Args:
        target: see `evaluate`; None where every variant has its own.
        cases: see `evaluate`.
        scorers: see `evaluate`.
        name: of the evaluation; under the same name, and in the same `db`, what has ended is found again.
        variants: by name, `Variant(target, model, prompts)`, or just a target.
        model: of every variant that has none of its own.
        judge: the model of scorers that ask one, the same for all variants; by default `model`, or the settings'.
        budget: USD for each run.
        deadline: seconds for each run.
        context: as for `run`.
        db: as for `run`.
        at_once: how many runs are under way at the same time.
        told: gets each run as it is scored.
        caller: whose module names the target; found by itself.

    Raises:
        InputError: no cases, no scorers, two of one name, or something that is none of these.
        SettingsError: a simulated judge for real work; or what `arun` raises.
    """
    refuse_while_loading()
    caller = caller or sys._getframe(1)
    if isinstance(cases, str | Path):
        given = await asyncio.to_thread(read_cases, cases)
        target, variants = target if target is not None else given.target, variants or given.variants or None
        cases, scorers = given.cases, [*given.scorers, *scorers]
        name = given.name if name == "evaluation" else name
    if not isinstance(cases, Iterable) or isinstance(cases, Mapping):
        raise InputError(f"cases= must be a list of tasks or cases, or the path of a file, not {type(cases).__name__}.")
    if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1:
        raise InputError(f"at_once={at_once!r}: say how many runs may be under way at once, 1 or more.")
    settings = await asyncio.to_thread(Settings.refresh)
    asked = as_cases(cases)
    scoring = {one.name: scorers_of(one, list(scorers)) for one in asked}
    plans = await asyncio.to_thread(_plans, target, variants, model, context, settings, caller)
    judges = Models(judge if judge is not None else model, settings)
    by_model = any(map(need_a_model, scoring.values()))
    if by_model and judges.simulated and (real := [one.name for one in plans if not one.models.simulated]):
        raise SettingsError(
            f"{', '.join(real)} would be judged by a simulated model, which says nothing. Say with which: judge=..."
        )
    bounds = {"budget": budget, "deadline": deadline}
    slots = asyncio.Semaphore(at_once)
    async with opened(None, db) as books:

        async def scored(plan: _Plan, case: EvaluationCase) -> Scored:
            async with slots:
                work = _Work(named("evaluation", name), plan, case, scoring[case.name], judges, books.kept)
                row = await work.done(bounds)
                if told is not None:
                    told(row)
                return row

        rows = await _together([scored(plan, case) for plan in plans for case in asked])
    return Evaluation(name, rows, judge_simulated=by_model and judges.simulated)


@dataclass(frozen=True)
class _Plan:
    """A variant, ready to run."""

    name: str
    where: Target
    model: Any
    models: Models
    context: TeamContext
    mark: str
    """A digest of all that it is."""


def _plans(
    target: Any, variants: Any, model: Any, context: TeamContext | None, settings: Settings, caller: FrameType
) -> list[_Plan]:
    known: dict[str | int, Target] = {}
    plans = []
    for name, one in as_variants(variants, "").items():
        wanted = one.target if one.target is not None else target
        if wanted is None:
            raise InputError(f"The variant {name!r} has no target, and the evaluation has none. Give one of them.")
        key = wanted if isinstance(wanted, str) else id(wanted)
        where = known[key] = known.get(key) or resolve(wanted, caller)
        chosen = one.model if one.model is not None else model
        base = context or where.team.builder.context_schema()  # type: ignore[misc]
        assert base is not None  # noqa: S101 - a team's context schema is a TeamContext
        if one.prompts is not None:
            base = base.model_copy(update={"prompts": str(one.prompts)})
        prompts = base.prompts or settings.prompts
        models = Models(chosen if chosen is not None else base.models, settings)
        mark = _digest(fingerprint(where.team, prompts), _identities(models))
        plans.append(_Plan(name or where.name.replace("/", "-"), where, chosen, models, base, mark))
    return plans


def _identities(models: Models) -> dict[str, str]:
    """What makes the models of each tier what they are."""
    told = {}
    for tier, one in models.chosen.items():
        own = None if isinstance(one, str) else identity(one)
        told[str(tier)] = one if isinstance(one, str) else own.text if own else type(one).__qualname__
    return told


@dataclass(frozen=True)
class _Work:
    """One variant on one case."""

    name: str
    plan: _Plan
    case: EvaluationCase
    scorers: Mapping[str, Scorer]
    judges: Models
    store: Store

    async def done(self, bounds: Mapping[str, Any]) -> Scored:
        """The run, made or found, and its scores."""
        plan, given = self.plan, as_input(self.case.task)
        thread = f"{self.name}/{plan.name}/{self.case.name}~{_digest(plan.mark, stored(given))}"
        options = {"model": plan.model, "context": plan.context, **bounds}
        result = await self._once(thread, plan.where, given, options)
        turn = await self.store.last(thread)
        scores, judging_usd = await self._scores(result, thread)
        return Scored(
            variant=plan.name,
            case=self.case.name,
            run=thread,
            status=result.status,
            answer=result.answer,
            scores=scores,
            reason=_why(result.reason, result),
            usd=result.usage.usd,
            seconds=(turn.finished or turn.started) - turn.started,
            judging_usd=judging_usd,
            simulated=result.simulated,
        )

    async def _once(self, thread: str, where: Target, given: Any, options: Mapping[str, Any]) -> Result:
        """The result of a thread's one turn: found, gone on with, or made now."""
        try:
            return await aresume(thread, target=where, db=self.store, **options)
        except UnknownRun:
            return await arun(where, given, thread=thread_id(thread), db=self.store, **options)

    async def _scores(self, result: Result, thread: str) -> tuple[Mapping[str, Score], float | None]:
        if result.status not in ("completed", "partial") or not result.answer.strip():
            why = f"The run is {result.status}: {_why(result.reason, result) or 'it gave no answer.'}"
            return dict.fromkeys(self.scorers, Score(0.0, False, why)), 0.0
        # What a schema was filled in with belongs to the answer, where it is one.
        data = next((one.data for one in result.deliverables.values() if one.content == result.answer), None)
        team = judging(self.scorers, Deliverable(step="answer", content=result.answer, data=data), self.case)
        mark = _digest(fingerprint(team), _identities(self.judges), result.answer)
        thread = f"{thread}/scores~{mark}"
        await self._once(thread, Target(team, "judging", None), _judged(self.case), {"model": dict(self.judges.chosen)})
        kept = team.copy({"checkpointer": self.store.fenced(None, types_of(team))})
        state = await kept.aget_state({"configurable": {"thread_id": thread}})
        verdicts = (state.values or {}).get("verdicts") or {}
        return scores_of(self.scorers, verdicts), paid(verdicts).usd


def _judged(case: EvaluationCase) -> dict[str, Any]:
    return {"task": task_of(as_input(case.task)) or case.name}


def _why(reason: Reason | None, result: Result) -> str:
    return reason.message if reason is not None else "; ".join(one.question for one in result.waiting)


async def _together(work: Sequence[Any]) -> list[Scored]:
    """All of it at once; when one cannot be begun, or the whole is cancelled, the others end before that is told."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()


def as_target(target: Any, **options: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A team as others' evaluations call it, LangSmith's `evaluate` among them: from inputs to outputs.

    Args:
        target: anything that `run` takes.
        options: those of `run`.

    >>> from troupe import agent, scripted
    >>> poet = as_target(agent("poet", "Write."), model=scripted(["An old pond"]), db=":memory:")
    >>> poet({"task": "a haiku"})["answer"]
    'An old pond'
    """
    where = resolve(target, sys._getframe(1))

    def answer(inputs: dict[str, Any]) -> dict[str, Any]:
        """Run the team on `task` or `messages`."""
        result = run(where, inputs, **options)
        return {
            "answer": result.answer,
            "status": result.status,
            "reason": result.reason.message if result.reason else None,
            "usd": result.usage.usd,
            "run": result.run,
            "simulated": result.simulated,
        }

    answer.__name__ = where.name
    return answer
