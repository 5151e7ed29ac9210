"""The choice of a way of working, with everything that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from troupe.agents.contracts import Kept, Value
from troupe.agents.notes import Text
from troupe.graphs.choosing.assessment import Assessment
from troupe.graphs.choosing.evidence import best, scored
from troupe.graphs.choosing.forecasting import Forecast
from troupe.graphs.choosing.learning import beliefs, drawn, kind_of, outcomes
from troupe.graphs.choosing.selection import CHANGES, PATTERNS, Pattern, by_table
from troupe.graphs.history import History

By = Literal["table", "evidence", "recorded runs", "resources", "change"]


class Chosen(Kept):
    """A way of working that was chosen, by what, and why."""

    attempt: int = 1
    pattern: Pattern
    by: By
    why: Text
    kind: str
    """The kind of task, as runs are compared by it."""
    scores: dict[Pattern, float]
    """Of every pattern: what the evidence and recorded runs say."""

    def line(self) -> str:
        """See `Kept`."""
        return f"{self.pattern}, by the {self.by}: {self.why}" if self.by == "table" else f"{self.pattern}: {self.why}"


class Ruled(Value):
    """A pattern that cannot be had, and why."""

    pattern: Pattern
    why: Text


def ruled_out(
    assessment: Assessment, expected: Sequence[Forecast], allowed: Sequence[Pattern] = PATTERNS, free: bool = False
) -> tuple[Ruled, ...]:
    """The patterns that there are no people, money or time for.

    Args:
        assessment: with its resources.
        expected: what each pattern would cost and take.
        allowed: the patterns that may be chosen at all.
        free: whether nothing costs anything, as in a simulated run: then neither money nor time rules out anything.
    """
    has, found = assessment.resources, []
    for one in expected:
        why = ""
        if one.pattern not in allowed:
            why = "it is not among the patterns that may be chosen"
        elif one.pattern != "single" and has.agents < 2:
            why = "there is only one agent"
        elif not free and has.budget is not None and one.usd > has.budget:
            why = f"it would cost about ${one.usd:.3f}, and ${has.budget:.3f} are left"
        elif not free and has.deadline is not None and one.seconds > has.deadline:
            why = f"it would take about {one.seconds:.0f} s, and {has.deadline:.0f} s are left"
        if why:
            found.append(Ruled(pattern=one.pattern, why=why))
    return tuple(found)


def choose(
    task: str,
    assessment: Assessment,
    ruled: Sequence[Ruled] = (),
    history: History | None = None,
    learn: bool = False,
    allowed: Sequence[Pattern] = PATTERNS,
) -> Chosen:
    """The way of working for a task.

    Args:
        task: as it was put.
        assessment: of it.
        ruled: what cannot be had.
        history: recorded runs.
        learn: whether evidence and recorded runs may overrule the table.
        allowed: the patterns that may be chosen at all.
    """
    out = {one.pattern: one.why for one in ruled}
    # Something must be done: where nothing can be had, the cheapest that is allowed is.
    left = [one for one in PATTERNS if one in allowed and one not in out] or [
        one for one in PATTERNS if one in allowed
    ][:1]
    kind, evidence = kind_of(task), scored(assessment)
    scores: dict[Pattern, float] = {one.pattern: one.score for one in evidence}
    by: By = "table"
    row = by_table(assessment)
    pattern, why = row.pattern, row.why
    if learn:
        known = [one for one in outcomes(history) if one.kind == kind] if history else []
        if known:
            believed = beliefs(kind, known, evidence)
            scores = {one: round(belief.mean, 3) for one, belief in believed.items()}
            pattern, by = drawn(believed, left, f"{task}|{len(known)}"), "recorded runs"
            runs = f"{len(known)} recorded run{'s' if len(known) > 1 else ''}"
            why = f"drawn from what {runs} of {kind} tasks and the evidence say"
        else:
            winner = best(tuple(one for one in evidence if one.pattern in left))
            pattern, by, why = winner.pattern, "evidence", "; ".join(winner.reasons)
    if pattern not in left:
        wanted, pattern = pattern, best(tuple(one for one in evidence if one.pattern in left)).pattern
        why, by = f"{wanted} would fit, but {out.get(wanted, 'it is not among those allowed')}", "resources"
    return Chosen(pattern=pattern, by=by, why=why, kind=kind, scores=scores)


def changed(last: Chosen, why: str, tried: Sequence[Pattern], out: Sequence[Pattern]) -> Chosen | None:
    """What is tried next after `last` did not do; None where nothing is left."""
    following = next((one for one in CHANGES[last.pattern] if one not in tried and one not in out), None)
    if following is None:
        return None
    return last.model_copy(update={"attempt": last.attempt + 1, "pattern": following, "by": "change", "why": why})
