"""Which way of working fits a task: by a table, as long as nobody asks for more.

simple --> single, exploratory --> mesh, many of a kind --> parallel, moderate --> sequential, large --> hierarchical
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from troupe.agents.context import Quality, Timeline
from troupe.graphs.choosing.assessment import COMPLEXITIES, HALF, Assessment, Complexity

Pattern = Literal["single", "sequential", "parallel", "hierarchical", "mesh"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
"""From the one that costs least."""
MANY = 3
"""From here on, things that the same is done for are many."""


@dataclass(frozen=True)
class Row:
    """A line of the table: a pattern, and what must hold of a task for it."""

    pattern: Pattern
    why: str
    complexity: tuple[Complexity, ...] = COMPLEXITIES
    quality: tuple[Quality, ...] = get_args(Quality)
    timeline: tuple[Timeline, ...] = get_args(Timeline)
    exploratory: float = 0.0
    """At least."""
    decomposable: float = 0.0
    """At least."""
    sequential: float = 1.0
    """At most."""
    items: int = 0
    """At least."""

    def holds(self, task: Assessment) -> bool:
        """Whether a task is of that kind."""
        return (
            task.complexity in self.complexity
            and task.quality in self.quality
            and task.timeline in self.timeline
            and task.exploratory >= self.exploratory
            and task.decomposable >= self.decomposable
            and task.sequential <= self.sequential
            and task.items >= self.items
        )


TABLE: tuple[Row, ...] = (
    Row("single", "it is simple: one agent does it", complexity=("simple",), quality=("standard", "high")),
    Row("sequential", "it is simple, but critical: somebody else judges the work", complexity=("simple",)),
    Row("mesh", "it is exploratory: who must do what shows on the way", exploratory=HALF),
    Row("hierarchical", "it is large: seniors decide, guide and judge", complexity=("complex", "enterprise")),
    Row("parallel", "the same is done many times over", decomposable=HALF, sequential=HALF, items=MANY),
    Row(
        "parallel", "it is urgent, and its parts do not need each other",
        timeline=("urgent",), decomposable=HALF, sequential=0.3,
    ),
    Row("sequential", "it is moderate: each step builds on the last, with a gate between them"),
)  # fmt: skip
"""The first row that holds decides."""

CHANGES: dict[Pattern, tuple[Pattern, ...]] = {
    "single": ("sequential", "hierarchical", "mesh"),
    "sequential": ("hierarchical", "mesh", "single"),
    "parallel": ("hierarchical", "sequential", "single"),
    "hierarchical": ("mesh", "sequential", "single"),
    "mesh": ("hierarchical", "sequential", "single"),
}
"""What is tried next where a way of working did not do."""


def by_table(task: Assessment) -> Row:
    """The row that decides."""
    return next(row for row in TABLE if row.holds(task))
