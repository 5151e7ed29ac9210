"""What many trials come to: how long, how dear, where the time goes, and what each number was drawn from."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from troupe.graphs.history import covered
from troupe.graphs.rehearsing.cast import Performance, template
from troupe.graphs.rehearsing.odds import Source
from troupe.graphs.rehearsing.trial import Trial

_DIGITS = 6
PERSON = "(a person)"
"""What a person's time is listed under."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all trials.

    >>> Spread.of([1.0, 2.0, 3.0, 4.0])
    Spread(p50=2.5, p95=3.85, mean=2.5)
    """

    p50: float
    p95: float
    mean: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of values, of which there is at least one."""
        ordered = sorted(values)
        return cls(_at(ordered, 0.5), _at(ordered, 0.95), _rounded(fmean(ordered)))


@dataclass(frozen=True, slots=True)
class StepForecast:
    """What a step is likely to take; a fan-out's items count together. Seconds and USD are means per trial.

    Attributes:
        path: of the step.
        agent: who most often delivers it.
        share: of the trials that came to it.
        work: its first rounds, and its decisions.
        reviews: of its gate.
        rework: its later rounds.
        failures: attempts that came to nothing.
        waiting: for a slot, before another attempt, or for a circuit.
        critical: its share of the critical path: of the chain of calls that decided how long the run took.
        usd: None where a price is unknown.
        requests: of models.
        verdicts: of its gate.
        sent_back: the share of these that did not pass; None where there were none.
    """

    path: str
    agent: str
    share: float
    work: float
    reviews: float
    rework: float
    failures: float
    waiting: float
    critical: float
    usd: float | None
    requests: float
    verdicts: float
    sent_back: float | None


@dataclass(frozen=True)
class Figures:
    """What a number of trials come to.

    Attributes:
        seconds: the makespan.
        usd: None where a price is unknown.
        requests: of models, the mean per trial; failed ones are not among them.
        status: the share of trials that ended so.
        utilisation: busy time of slots over slots and makespan.
        critical_engine: the share of the critical path that no call accounts for.
        steps: in the order in which they begin.
    """

    seconds: Spread
    usd: Spread | None
    requests: float
    status: Mapping[str, float]
    utilisation: float
    critical_engine: float
    steps: tuple[StepForecast, ...]


@dataclass(frozen=True)
class Rehearsal:
    """A prediction by simulation: nothing real was called.

    Attributes:
        workflow: that was rehearsed.
        trials: that were played.
        seed: the same seed predicts the same.
        slots: calls at work at once.
        recorded: runs that numbers were drawn from.
        faults: that were asked for, in words; empty for none.
        figures: what the trials come to.
        without: the same without the faults, where there were some.
        sources: where each number comes from.
    """

    workflow: str
    task: str
    trials: int
    seed: int
    slots: int
    recorded: int
    faults: str
    figures: Figures
    without: Figures | None
    sources: tuple[Source, ...]
    simulated: bool = field(default=True, init=False)

    @property
    def seconds(self) -> Spread:
        """The makespan."""
        return self.figures.seconds

    @property
    def usd(self) -> Spread | None:
        """The cost; None where a price is unknown."""
        return self.figures.usd

    @property
    def utilisation(self) -> float:
        """Busy time of slots over slots and makespan."""
        return self.figures.utilisation

    def __getitem__(self, path: str) -> StepForecast:
        """The forecast of a step.

        Raises:
            KeyError: no trial came to it.
        """
        for one in self.figures.steps:
            if one.path == path:
                return one
        there = ", ".join(one.path for one in self.figures.steps)
        raise KeyError(f"No trial of {self.workflow!r} came to {path!r}. There are: {there or 'none'}.")

    def to_json(self) -> dict[str, Any]:
        """The same as plain data; it says that it is a simulation."""
        made = asdict(self)
        effect = None
        if (before := self.without) is not None:
            now = self.figures
            effect = {
                "seconds_p50": _rounded(now.seconds.p50 - before.seconds.p50),
                "seconds_p95": _rounded(now.seconds.p95 - before.seconds.p95),
                "usd_p50": None if now.usd is None or before.usd is None else _rounded(now.usd.p50 - before.usd.p50),
                "completed": _rounded(now.status.get("completed", 0.0) - before.status.get("completed", 0.0)),
            }
        return {"simulated": made.pop("simulated"), **made, "effect_of_faults": effect}


def figures(trials: Sequence[Trial], slots: int) -> Figures:
    """What trials come to, of which there is at least one."""
    count, whole = len(trials), sum(one.seconds for one in trials)
    costs = [one.record.usd for one in trials]
    statuses = Counter(str(one.record.status) for one in trials)
    busy = sum(
        end - start for one in trials for played in one.performances if played.slot for start, end in played.spans
    )
    critical: defaultdict[str, float] = defaultdict(float)
    for one in trials:
        for path, seconds in critical_path(one).items():
            critical[path] += seconds
    known = [usd for usd in costs if usd is not None]
    return Figures(
        seconds=Spread.of([one.seconds for one in trials]),
        usd=Spread.of(known) if len(known) == count else None,
        requests=_rounded(
            sum(asked.failure is None for one in trials for step in one.record.steps for asked in step.asked) / count
        ),
        status={name: _rounded(number / count) for name, number in sorted(statuses.items())},
        utilisation=_rounded(busy / (slots * whole) if whole else 0.0),
        critical_engine=_rounded(1 - sum(critical.values()) / whole if whole else 0.0),
        steps=tuple(_steps(trials, {path: seconds / whole if whole else 0.0 for path, seconds in critical.items()})),
    )


def critical_path(trial: Trial) -> dict[str, float]:
    """By step, its seconds on the chain of calls that decided how long a trial took.

    From the end backwards: whoever ended last, then whoever ended last before that one began, and so on.
    """
    spans = [(one.end, one.spans[0][0], template(one.path)) for one in trial.performances]
    spans += [(end, start, PERSON) for _, start, end in trial.waits]
    found: defaultdict[str, float] = defaultdict(float)
    at = math.inf
    for end, start, path in sorted(spans, reverse=True):
        if end <= at and end > start:
            found[path] += end - start
            at = start
    return dict(found)


def _steps(trials: Sequence[Trial], critical: Mapping[str, float]) -> Iterable[StepForecast]:
    played: defaultdict[str, list[Performance]] = defaultdict(list)
    began: defaultdict[str, list[float]] = defaultdict(list)
    """By step, when it began in each trial that came to it."""
    for one in trials:
        first: dict[str, float] = {}
        for each in one.performances:
            path = template(each.path)
            played[path].append(each)
            first[path] = min(each.start, first.get(path, each.start))
        for path, start in first.items():
            began[path].append(start)
    records: defaultdict[str, list[Any]] = defaultdict(list)
    for one in trials:
        for step in one.record.steps:
            records[step.template].append(step)
    verdicts: defaultdict[str, list[bool]] = defaultdict(list)
    for one in trials:
        for (name, _), passed in one.verdicts.items():
            verdicts[template(name)].append(passed)
    count = len(trials)
    for path in sorted(played, key=lambda path: (fmean(began[path]), path)):
        steps = [one for one in records[path] if not one.composed]
        costs = [asked.usd for step in steps for asked in step.asked]
        judged = verdicts[path]
        agents = Counter(step.agent for step in steps)
        yield StepForecast(
            path=path,
            agent=min(agents, key=lambda name: (-agents[name], name), default=""),
            share=_rounded(len(began[path]) / count),
            **{kind: _rounded(seconds / count) for kind, seconds in _kinds(played[path]).items()},
            critical=_rounded(critical.get(path, 0.0)),
            usd=None if None in costs else _rounded(sum(filter(None, costs)) / count),
            requests=_rounded(sum(asked.failure is None for step in steps for asked in step.asked) / count),
            verdicts=_rounded(len(judged) / count),
            sent_back=_rounded(judged.count(False) / len(judged)) if judged else None,
        )
    if waits := [(start, end) for one in trials for _, start, end in one.waits]:
        seconds = sum(covered([(start, end) for _, start, end in one.waits]) for one in trials)
        share = sum(bool(one.waits) for one in trials) / count
        nothing = {"work": 0.0, "reviews": 0.0, "rework": 0.0, "failures": 0.0}
        yield StepForecast(
            path=PERSON,
            agent=PERSON,
            share=_rounded(share),
            **nothing,
            waiting=_rounded(seconds / count),
            critical=_rounded(critical.get(PERSON, 0.0)),
            usd=0.0,
            requests=0.0,
            verdicts=_rounded(len(waits) / count),
            sent_back=None,
        )


def _kinds(played: Iterable[Performance]) -> dict[str, float]:
    """Where the seconds of calls went."""
    spent = {"work": 0.0, "reviews": 0.0, "rework": 0.0, "failures": 0.0, "waiting": 0.0}
    for one in played:
        kind = "reviews" if one.purpose == "review" else "rework" if one.purpose == "work" and one.round > 1 else "work"
        for (start, end), failed in zip(one.spans, one.failed, strict=True):
            spent["failures" if failed else kind] += end - start
        spent["waiting"] += max(0.0, one.end - one.start - covered(one.spans))
    return spent


def _at(ordered: Sequence[float], share: float) -> float:
    """A quantile, between the two values next to it."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return _rounded(ordered[low] + (ordered[high] - ordered[low]) * (place - low))


def _rounded(value: float) -> float:
    return round(value, _DIGITS)
