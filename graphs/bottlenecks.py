"""Which step's duration moves the end of a run most: each is made a little shorter, and the run is timed again.

    intervals and what each step was built on --timed--> makespan --a tenth less of one step--> what that would save

Pure functions: over one run's spans, over recorded runs, or over a turn that is under way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from troupe.graphs.history import History, RunRecord

LESS = 0.1
"""By how much of its duration a step is shortened to see what that does."""
_SAME_TIME = 1e-6


@dataclass(frozen=True, slots=True)
class Span:
    """When a step ran, and what it was built on.

    Attributes:
        sources: the steps that it could not begin without, as far as that is known.
    """

    step: str
    start: float
    end: float
    sources: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max(0.0, self.end - self.start)


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What a step's duration does to the end.

    Attributes:
        share: seconds that the end comes sooner for each second less of the step; 0 where others are waited for.
        seconds: that the step takes.
        saving: what a tenth less of the step would save of the whole, as a share of it.
        runs: in how many runs it was looked at.
    """

    step: str
    share: float
    seconds: float
    saving: float
    runs: int = 1

    def line(self) -> str:
        """It in a sentence.

        >>> Bottleneck("draft", 1.0, 8.0, 0.04).line()
        'draft: 8 s, of which every second less is 1 s less in all; a tenth less would save 4.0%'
        """
        return (
            f"{self.step}: {self.seconds:.3g} s, of which every second less is {self.share:.2g} s less in all; "
            f"a tenth less would save {self.saving:.1%}"
        )


def bottlenecks(spans: Iterable[Span]) -> tuple[Bottleneck, ...]:
    """The steps of one run, the one whose duration moves its end most first.

    A step that is not known to be built on another is taken to have waited for whatever ended last before it began.

    >>> found = bottlenecks([Span("a", 0, 8), Span("b", 0, 2), Span("c", 8, 10, ("a", "b"))])
    >>> [(one.step, one.share) for one in found]
    [('a', 1.0), ('c', 1.0), ('b', 0.0)]
    """
    known = {one.step: one for one in sorted(spans, key=lambda one: (one.start, one.end, one.step))}
    order = list(known.values())
    waited = {one.step: _waited_for(one, known, order) for one in order}
    durations = {one.step: one.seconds for one in order}
    # The time between what it waited for and its start is not its own, and stays.
    begin = min((one.start for one in order), default=0.0)
    gaps = {
        one.step: max(0.0, one.start - max((known[name].end for name in waited[one.step]), default=begin))
        for one in order
    }
    whole = _makespan(order, waited, gaps, durations)
    found = []
    for one in order:
        if one.seconds <= _SAME_TIME:
            continue
        saved = whole - _makespan(order, waited, gaps, {**durations, one.step: one.seconds * (1 - LESS)})
        share = round(saved / (one.seconds * LESS), 3)
        found.append(Bottleneck(one.step, share, one.seconds, round(saved / whole, 4) if whole else 0.0))
    return tuple(sorted(found, key=lambda one: (-one.saving, -one.seconds, one.step)))


def _waited_for(one: Span, known: Mapping[str, Span], order: Sequence[Span]) -> tuple[str, ...]:
    told = [name for name in one.sources if name in known and known[name].end <= one.start + _SAME_TIME]
    if told:
        return tuple(told)
    before = [other for other in order if other.step != one.step and other.end <= one.start + _SAME_TIME]
    before = [other for other in before if other.start < one.start or other.seconds]
    return (max(before, key=lambda other: (other.end, other.step)).step,) if before else ()


def _makespan(
    order: Sequence[Span],
    waited: Mapping[str, Sequence[str]],
    gaps: Mapping[str, float],
    durations: Mapping[str, float],
) -> float:
    ends: dict[str, float] = {}
    for one in order:  # whatever a step waited for began before it
        ends[one.step] = max((ends.get(name, 0.0) for name in waited[one.step]), default=0.0)
        ends[one.step] += gaps[one.step] + durations[one.step]
    return max(ends.values(), default=0.0)


def spans_of(run: RunRecord) -> tuple[Span, ...]:
    """The steps of a recorded run that work themselves; of a nested team those inside."""
    found = []
    for one in run.steps:
        if not one.composed:
            outer, slash, _ = one.path.rpartition("/")
            sources = tuple(f"{outer}{slash}{name}" for name in one.sources)
            found.append(Span(one.path, one.started, one.started + one.seconds, sources))
    return tuple(found)


def slowest(history: History, least: float = 0.01) -> tuple[Bottleneck, ...]:
    """The same over recorded runs: by step the means over those that it was in, where it matters at all.

    Args:
        history: recorded runs, best of one workflow.
        least: the saving below which a step is left out.
    """
    found: dict[str, list[Bottleneck]] = defaultdict(list)
    for run in history.runs:
        for one in bottlenecks(spans_of(run)):
            found[one.step].append(one)
    means = (
        Bottleneck(
            step,
            round(sum(one.share for one in each) / len(each), 3),
            sum(one.seconds for one in each) / len(each),
            round(sum(one.saving for one in each) / len(history.runs), 4),
            len(each),
        )
        for step, each in found.items()
    )
    return tuple(sorted((one for one in means if one.saving >= least), key=lambda one: (-one.saving, one.step)))
