"""What recorded runs say of the ways of working, by kind of task: discounted Thompson sampling.

Each pattern is an arm with a Beta belief, which begins with what the published evidence says. A run adds its reward and
counts less the more runs of the kind came after it, so that a change of models or prompts is noticed. The seed is made
of what is known: the same task over the same record is decided alike.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from troupe.agents.contracts import RunStatus
from troupe.graphs.choosing.assessment import Resources, assessed
from troupe.graphs.choosing.evidence import Scored
from troupe.graphs.choosing.reading import read
from troupe.graphs.choosing.selection import PATTERNS, Pattern
from troupe.graphs.history import History, RunRecord, StepRecord

STRENGTH = 4.0
"""How many runs the published evidence counts as."""
DISCOUNT = 0.97
"""What a run counts, by every later run of its kind."""
THRIFT = 0.1
"""The part of a reward that the dearest run of its kind loses."""
_HALF_DONE = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a recorded run, or of one attempt in it."""

    kind: str
    pattern: Pattern
    status: RunStatus
    score: float | None
    calls: int
    seconds: float
    usd: float | None


@dataclass(frozen=True, slots=True)
class Belief:
    """How good a pattern is, as a Beta distribution."""

    alpha: float
    beta: float
    runs: int = 0
    """How many recorded runs are in it."""

    @property
    def mean(self) -> float:
        """The reward to be expected."""
        return self.alpha / (self.alpha + self.beta)


def kind_of(task: str) -> str:
    """The kind of a task by its words, so that runs before and after are told apart in the same way."""
    return assessed(read(task), Resources(agents=1, slots=1)).kind


def outcomes(history: History) -> tuple[Outcome, ...]:
    """What came of the runs that tell something of a pattern, newest first."""
    return tuple(one for run in history.runs for one in _outcomes(run))


def with_pattern(history: History, pattern: Pattern) -> History:
    """The runs that worked in that way, by itself or because it was chosen."""
    return History(tuple(run for run in history.runs if run.workflow == pattern or pattern in run.paths))


def _outcomes(run: RunRecord) -> Iterable[Outcome]:
    """A pattern that ran by itself, or each attempt of an adaptive run: all but the last did not do."""
    kind = kind_of(run.task)
    tried = [one for one in run.steps if one.path in PATTERNS]
    if tried and run.workflow not in PATTERNS:
        for number, one in enumerate(tried, 1):
            last = number == len(tried)
            status = run.status if last else "partial" if one.delivered else "failed"
            yield _of_step(one, run, kind, status)
    if run.workflow in PATTERNS:
        score = _mean(run.steps)
        calls = sum(one.calls for one in run.steps if "/" not in one.path)
        pattern = next(one for one in PATTERNS if one == run.workflow)
        yield Outcome(kind, pattern, run.status, score, calls, run.seconds, run.usd)


def _of_step(one: StepRecord, run: RunRecord, kind: str, status: RunStatus) -> Outcome:
    pattern = next(name for name in PATTERNS if name == one.path)
    score = _mean([one]) if one.score is not None else _mean(run.steps, f"{one.path}/")
    return Outcome(kind, pattern, status, score, one.calls, one.seconds, one.usd)


def _mean(steps: Iterable[StepRecord], within: str = "") -> float | None:
    """How the steps below a path were judged, where they were."""
    scores = [one.score for one in steps if one.score is not None and one.path.startswith(within)]
    return sum(scores) / len(scores) if scores else None


def reward(one: Outcome, dearest: float) -> float:
    """How good a run was, from 0 to 1: what came of it, how it was judged, and a little what it cost.

    >>> reward(Outcome("k", "single", "completed", None, 1, 1.0, 0.0), 1.0)
    1.0
    """
    if one.status == "failed":
        return 0.0
    worth = (1.0 if one.score is None else one.score) * (1.0 if one.status == "completed" else _HALF_DONE)
    share = (one.usd or 0.0) / dearest if dearest > 0 else 0.0
    return min(1.0, max(0.0, worth * (1 - THRIFT * share)))


def beliefs(kind: str, known: Sequence[Outcome], evidence: Sequence[Scored]) -> dict[Pattern, Belief]:
    """What is believed of each pattern for this kind of task.

    Args:
        kind: of task.
        known: what came of recorded runs, newest first.
        evidence: where the beliefs begin.
    """
    alpha = {one.pattern: 1 + STRENGTH * one.score for one in evidence}
    beta = {one.pattern: 1 + STRENGTH * (1 - one.score) for one in evidence}
    runs = dict.fromkeys(alpha, 0)
    own = [one for one in known if one.kind == kind]
    dearest = max((one.usd or 0.0 for one in own), default=0.0)
    for later, one in enumerate(own):
        if one.pattern in alpha:
            weight, worth = DISCOUNT**later, reward(one, dearest)
            alpha[one.pattern] += weight * worth
            beta[one.pattern] += weight * (1 - worth)
            runs[one.pattern] += 1
    return {pattern: Belief(alpha[pattern], beta[pattern], runs[pattern]) for pattern in alpha}


def drawn(believed: Mapping[Pattern, Belief], allowed: Sequence[Pattern], seed: str) -> Pattern:
    """Thompson's choice: a draw from every belief, and the pattern with the highest."""
    random_ = random.Random(seed)  # noqa: S311 - to explore, not to hide
    draws = {one: random_.betavariate(believed[one].alpha, believed[one].beta) for one in PATTERNS if one in believed}
    return max((one for one in draws if one in allowed), key=lambda one: draws[one])
