"""What an evaluation found: every run with its scores, and a row for each variant. Nothing is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from troupe.agents.contracts import RunStatus
from troupe.evaluation.intervals import Interval, of_amounts, of_scores
from troupe.evaluation.scoring import Score

HEADER = ("variant", "cases", "score", "passed", "ended", "usd", "seconds")


@dataclass(frozen=True, slots=True)
class Scored:
    """One variant's run of one case.

    Attributes:
        run: its id; `troupe runs ID` shows it.
        scores: by scorer; where the run gave no answer each is 0.
        reason: why it is not `completed`.
        usd: what the run cost; None where a price is unknown.
        seconds: from its request to its end.
        judging_usd: what its scorers cost.
        simulated: whether no real model was called.
    """

    variant: str
    case: str
    run: str
    status: RunStatus
    answer: str
    scores: Mapping[str, Score]
    reason: str
    usd: float | None
    seconds: float
    judging_usd: float | None
    simulated: bool

    @property
    def score(self) -> float:
        """The mean of its scores."""
        return fmean(one.value for one in self.scores.values())

    @property
    def passed(self) -> bool:
        """Whether every scorer was satisfied."""
        return all(one.passed for one in self.scores.values())

    @property
    def judged(self) -> bool:
        """Whether every scorer could do its work."""
        return all(one.judged for one in self.scores.values())

    def to_json(self) -> dict[str, Any]:
        """It as plain data."""
        scores = {name: asdict(one) for name, one in self.scores.items()}
        own = {name: getattr(self, name) for name in self.__slots__ if name not in ("variant", "scores")}
        return {**own, "score": self.score, "passed": self.passed, "scores": scores}


@dataclass(frozen=True, slots=True)
class Summary:
    """One variant over all cases. `ended` counts runs by their status, `unjudged` those whose scorers failed."""

    variant: str
    cases: int
    score: Interval
    passed: int
    ended: Mapping[str, int]
    unjudged: int
    usd: Interval | None
    seconds: Interval
    simulated: bool

    @classmethod
    def of(cls, variant: str, rows: Sequence[Scored]) -> Summary:
        """The summary of a variant's runs."""
        paid = [one.usd for one in rows if one.usd is not None]
        return cls(
            variant=variant,
            cases=len(rows),
            score=of_scores([one.score for one in rows]),
            passed=sum(one.passed for one in rows),
            ended=dict(Counter(one.status for one in rows)),
            unjudged=sum(not one.judged for one in rows),
            usd=of_amounts(paid) if len(paid) == len(rows) else None,
            seconds=of_amounts([one.seconds for one in rows]),
            simulated=any(one.simulated for one in rows),
        )

    def cells(self) -> tuple[str, ...]:
        """The row of a table, as `HEADER` names its columns."""
        ended = ", ".join(f"{count} {status}" for status, count in sorted(self.ended.items()))
        if self.unjudged:
            ended += f", {self.unjudged} not judged"
        return (
            f"{self.variant}{' (simulated)' if self.simulated else ''}",
            str(self.cases),
            _shown(self.score, "{:.2f}"),
            f"{self.passed} of {self.cases}",
            ended,
            "unknown" if self.usd is None else "0" if not self.usd.high else _shown(self.usd, "{:.4f}"),
            _shown(self.seconds, "{:.1f}"),
        )

    def to_json(self) -> dict[str, Any]:
        """It as plain data."""
        return {
            "variant": self.variant,
            "cases": self.cases,
            "score": self.score.to_json(),
            "passed": self.passed,
            "ended": dict(self.ended),
            "unjudged": self.unjudged,
            "usd": self.usd.to_json() if self.usd is not None else None,
            "seconds": self.seconds.to_json(),
            "simulated": self.simulated,
        }


@dataclass(frozen=True)
class Evaluation:
    """Every run of every variant, in order.

    Attributes:
        name: by which it is found and gone on with.
        rows: one for each variant and case.
        judge_simulated: whether verdicts of models were simulated: such scores say nothing.
    """

    name: str
    rows: Sequence[Scored]
    judge_simulated: bool = False

    @property
    def summaries(self) -> list[Summary]:
        """One for each variant."""
        variants = dict.fromkeys(one.variant for one in self.rows)
        return [Summary.of(name, [one for one in self.rows if one.variant == name]) for name in variants]

    def __getitem__(self, variant: str) -> Summary:
        """A variant's summary."""
        for one in self.summaries:
            if one.variant == variant:
                return one
        raise KeyError(f"{variant!r} is no variant. There are: {', '.join(one.variant for one in self.summaries)}.")

    @property
    def complete(self) -> bool:
        """Whether every run completed and was judged."""
        return all(one.status == "completed" and one.judged for one in self.rows)

    @property
    def notes(self) -> list[str]:
        """What a reader must know to read the table."""
        said = ["In brackets: where the mean lies with 95 % confidence, as far as so many cases tell."]
        if any(one.simulated for one in self.rows):
            said.append("SIMULATED: no model was called for variants so marked; their words and scores mean nothing.")
        if self.judge_simulated:
            said.append("SIMULATED: no model judged; scores that a reviewer gave mean nothing.")
        return said

    def to_json(self) -> dict[str, Any]:
        """The evaluation as plain data; the command line's `--json`."""
        return {
            "evaluation": self.name,
            "judge_simulated": self.judge_simulated,
            "variants": [
                {**one.to_json(), "runs": [row.to_json() for row in self.rows if row.variant == one.variant]}
                for one in self.summaries
            ],
        }

    def __str__(self) -> str:
        lines = [HEADER, *(one.cells() for one in self.summaries)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([*(row.rstrip() for row in rows), *self.notes])


def _shown(one: Interval, pattern: str) -> str:
    mean = pattern.format(one.mean)
    if one.low is None or one.high is None:
        return f"{mean} (-)"
    return f"{mean} ({pattern.format(one.low)} to {pattern.format(one.high)})"
