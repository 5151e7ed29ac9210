"""95 % intervals of means that stay honest when there are few values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

_Z = 1.959964
# Student's t for 1 to 8 degrees of freedom; beyond that a short formula is right to three digits.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, and where it may lie; `low` and `high` are None where one value says nothing about that."""

    mean: float
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """It as plain data."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def of_scores(values: Sequence[float]) -> Interval:
    """Of scores from 0 to 1: Wilson's interval, which no set of such values makes too narrow, however alike they are.

    A variance can be no larger than that of as many passes and fails with the same mean, which is what it supposes.

    >>> one = of_scores([1, 1, 1])
    >>> one.mean, round(one.low or 0, 2), one.high
    (1.0, 0.44, 1.0)
    """
    count, mean = len(values), fmean(values)
    scale = 1 + _Z**2 / count
    middle = (mean + _Z**2 / (2 * count)) / scale
    half = _Z * math.sqrt(mean * (1 - mean) / count + _Z**2 / (4 * count**2)) / scale
    return Interval(mean, max(0.0, middle - half), min(1.0, round(middle + half, 12)))


def of_amounts(values: Sequence[float]) -> Interval:
    """Of USD or seconds: Student's t, never below 0.

    >>> one = of_amounts([1.0, 2.0, 3.0])
    >>> one.mean, one.low, round(one.high or 0, 2)
    (2.0, 0.0, 4.48)
    >>> of_amounts([5.0]).low is None
    True
    """
    mean, free = fmean(values), len(values) - 1
    if not free:
        return Interval(mean, None, None)
    quantile = _T[free - 1] if free <= len(_T) else _Z + 2.37 / free + 2.82 / free**2
    half = quantile * stdev(values) / math.sqrt(len(values))
    return Interval(mean, max(0.0, mean - half), mean + half)
