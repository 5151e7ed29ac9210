"""Why a way of working is chosen, or would be: the assessment, every pattern's score, cost and time, the reasons."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from troupe.agents.contracts import Value
from troupe.agents.errors import UnknownName
from troupe.agents.notes import Text
from troupe.graphs.choosing.assessment import Assessment, Reading
from troupe.graphs.choosing.choice import Chosen, Ruled
from troupe.graphs.choosing.evidence import scored
from troupe.graphs.choosing.forecasting import Forecast
from troupe.graphs.choosing.learning import outcomes
from troupe.graphs.choosing.selection import by_table
from troupe.graphs.history import History


class Option(Value):
    """One pattern as it was weighed."""

    pattern: str
    score: float
    """What the evidence says of it for this task, from 0 to 1."""
    runs: int
    """How many recorded runs of this kind of task used it."""
    reasons: tuple[str, ...]
    forecast: Forecast
    ruled_out: Text = ""
    """Why it cannot be had, if it cannot."""


class Explanation(BaseModel):
    """What would be chosen for a task, and why; `print` it, or read its fields."""

    model_config = ConfigDict(frozen=True)

    task: Text
    assessment: Assessment
    chosen: Chosen
    table: str
    """What the table says."""
    options: tuple[Option, ...]
    bottlenecks: tuple[str, ...] = ()
    """Which steps moved the end of recorded runs most, where there are any."""
    notices: tuple[str, ...] = ()

    @property
    def pattern(self) -> str:
        """The pattern that is chosen."""
        return self.chosen.pattern

    def __getitem__(self, pattern: str) -> Option:
        """One of the options, by its pattern.

        Raises:
            UnknownName: there is no such pattern.
        """
        found = {one.pattern: one for one in self.options}
        if pattern not in found:
            raise UnknownName("pattern", pattern, found)
        return found[pattern]

    def to_json(self) -> dict[str, Any]:
        """It as plain data; the command line's `--json`."""
        return {"pattern": self.pattern, **self.model_dump(mode="json")}

    def __str__(self) -> str:
        seen = self.assessment
        lines = [f"{self.chosen.line()}", "", "The task"]
        for name in Reading.model_fields:
            value = getattr(seen, name)
            shown = ", ".join(value) or "none" if isinstance(value, tuple) else f"{value}"
            lines.append(f"  {name:<13} {shown}  ({seen.sources[name]})")
        has = seen.resources
        bounds = [f"{has.agents} agents", f"{has.slots} calls at once"]
        bounds += [f"${has.budget:.2f}"] if has.budget is not None else []
        bounds += [f"{has.deadline:.0f} s"] if has.deadline is not None else []
        lines += [f"  {'resources':<13} {', '.join(bounds)}  (measured)", ""]
        lines += [f"The table says {self.table}. The evidence:"]
        for one in sorted(self.options, key=lambda one: -one.score):
            mark = "*" if one.pattern == self.pattern else " "
            lines.append(f"{mark} {one.pattern:<13} {one.score:.2f}  {one.forecast.line()}")
            lines += [f"    - {why}" for why in one.reasons]
            lines += [f"    - cannot be had: {one.ruled_out}"] if one.ruled_out else []
        if self.bottlenecks:
            lines += ["", "What took longest in recorded runs", *(f"  {one}" for one in self.bottlenecks)]
        lines += ["", *self.notices] if self.notices else []
        return "\n".join(lines)


def explained(
    task: str,
    assessment: Assessment,
    chosen: Chosen,
    expected: tuple[Forecast, ...],
    ruled: tuple[Ruled, ...] = (),
    history: History | None = None,
    slow: tuple[str, ...] = (),
    notices: tuple[str, ...] = (),
) -> Explanation:
    """The explanation of a choice that was made of these."""
    known = [one for one in outcomes(history) if one.kind == chosen.kind] if history else []
    out = {one.pattern: one.why for one in ruled}
    row = by_table(assessment)
    options = tuple(
        Option(
            pattern=one.pattern,
            score=chosen.scores.get(one.pattern, one.score),
            runs=sum(other.pattern == one.pattern for other in known),
            reasons=one.reasons,
            forecast=next(other for other in expected if other.pattern == one.pattern),
            ruled_out=out.get(one.pattern, ""),
        )
        for one in scored(assessment)
    )
    return Explanation(
        task=task,
        assessment=assessment,
        chosen=chosen,
        table=f"{row.pattern}: {row.why}",
        options=options,
        bottlenecks=slow,
        notices=notices,
    )
