"""Scorers: any check of a gate, or a function. Judging is a run of its own: a gate each, in a thread of its own.

So reviews are recorded, bounded and never paid for twice, and other scorers judge the same answers anew.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from troupe.agents.agent import Agent
from troupe.agents.contracts import NO_USAGE, Brief, Deliverable, Judgement, Ok, Outcome, Usage, Verdict
from troupe.agents.errors import InputError
from troupe.evaluation.cases import EvaluationCase
from troupe.graphs.checks import Asks, Case, Check, Rule, as_check
from troupe.graphs.gates import gate
from troupe.graphs.sequential import sequential
from troupe.graphs.step import Step
from troupe.graphs.team import Team

EXPECTED = "expected"


@dataclass(frozen=True, slots=True)
class Score:
    """What one scorer says of one answer; `judged` is False where the scorer itself failed, and the score then 0."""

    value: float
    passed: bool
    why: str = ""
    judged: bool = True


@dataclass(frozen=True)
class Scorer(Check):
    """A check that also notes whether whoever judges could be reached at all."""

    inner: Check

    @property
    def free(self) -> bool:  # type: ignore[override]
        """See `Check`."""
        return self.inner.free

    @property
    def at_least(self) -> float | None:  # type: ignore[override]
        """See `Check`."""
        return self.inner.at_least

    @property
    def words(self) -> str:
        """See `Check`."""
        return self.inner.words

    @property
    def reviewers(self) -> tuple[str, ...]:
        """See `Check`."""
        return self.inner.reviewers

    def for_author(self, author: Agent) -> Check:
        """See `Check`."""
        return Scorer(self.inner.for_author(author))

    async def judge(self, case: Case, ask: Asks) -> Judgement:
        """See `Check`; `final` where a scorer failed, as nothing is known then."""
        failed: list[Outcome] = []

        async def asked(agent: Agent, brief: Brief, schema: Any) -> Outcome:
            outcome = await ask(agent, brief, schema)
            if not isinstance(outcome, Ok):
                failed.append(outcome)
            return outcome

        return (await self.inner.judge(case, asked)).but(final=bool(failed))


def scorers_of(case: EvaluationCase, shared: Sequence[Any]) -> dict[str, Scorer]:
    """The scorers of a case, by what they are called.

    Raises:
        InputError: there are none, and nothing is expected; or two have one name.
    """
    given = [*shared, *case.scorers] or ([EXPECTED] if case.expected is not None else [])
    if not given:
        raise InputError(
            f"Nothing says what a good answer to {case.name} is. Give scorers=[...], checks or functions, or expected=."
        )
    made: dict[str, Scorer] = {}
    for one in given:
        scorer = Scorer(_check(one, case))
        if scorer.words in made:
            raise InputError(f"Two scorers of {case.name} are called {scorer.words!r}. Give the functions other names.")
        made[scorer.words] = scorer
    return made


def _check(given: Any, case: EvaluationCase) -> Check:
    if isinstance(given, str):
        if given != EXPECTED:
            raise InputError(f"{given!r} is no scorer. A scorer is a check, a function, or 'expected'.")
        if case.expected is None:
            raise InputError(f"{case.name} is scored by what it expects, and expects nothing. Give it expected=.")
        return Rule(_Contains(case.expected), EXPECTED, builtin=True)
    if not isinstance(given, Check) and callable(given) and not isinstance(given, type) and _takes_case(given):
        return Rule(_Bound(given, case), getattr(given, "__name__", type(given).__name__))
    return as_check(given)


def _takes_case(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True


@dataclass(frozen=True)
class _Contains:
    """Whether an answer holds the expected text, whatever its case and spaces."""

    expected: str

    def __call__(self, work: Deliverable) -> str:
        found = _plain(self.expected) in _plain(work.content)
        return "" if found else f"The answer does not contain: {self.expected}"


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


@dataclass(frozen=True)
class _Bound:
    """A user's function of the answer and the case, for this case."""

    function: Any
    case: EvaluationCase

    def __call__(self, work: Deliverable) -> Any:
        return self.function(work, self.case)


def judging(scorers: Mapping[str, Scorer], answer: Deliverable, case: EvaluationCase) -> Team:
    """The team that judges an answer: a step for each scorer, that hands the answer to its gate."""

    async def given(brief: Brief) -> Deliverable:
        return answer.but(agent="answer")

    said = f"The expected answer is: {case.expected}" if case.expected is not None else ""
    steps = [
        Step(given, said, name=f"score {number}", gate=gate(one, rework=0))
        for number, one in enumerate(scorers.values(), 1)
    ]
    return sequential(*steps, name="judging").compile()


def scores_of(scorers: Mapping[str, Scorer], verdicts: Mapping[str, Verdict]) -> dict[str, Score]:
    """What the scorers said, from the verdicts in the judging team's state; what is not there was not judged."""
    scores: dict[str, Score] = {}
    for number, name in enumerate(scorers, 1):
        verdict = verdicts.get(f"score {number}#1")
        if not isinstance(verdict, Judgement):
            scores[name] = Score(0.0, False, "It was not judged.", judged=False)
            continue
        said = verdict.feedback or "; ".join(verdict.findings)
        if verdict.final or verdict.limit:
            scores[name] = Score(0.0, False, said, judged=False)
            continue
        scores[name] = Score(float(verdict.passed) if verdict.score is None else verdict.score, verdict.passed, said)
    return scores


def need_a_model(scorers: Mapping[str, Scorer]) -> bool:
    """Whether a model judges."""
    return not all(one.free for one in scorers.values())


def paid(verdicts: Mapping[str, Verdict]) -> Usage:
    """What judging used."""
    return sum((one.usage for one in verdicts.values() if isinstance(one, Judgement)), NO_USAGE)
