"""Which way of working is chosen: agreement with described tasks and with published winners, and what a choice takes.

The tasks are those of tests/graphs/tasks.yaml, written before the words that are looked for; no model is asked. Beside
ours: what always choosing the same pattern would have got right. A third of the tasks was held out while the words were
chosen on the others; when these were first looked at, the table had 18 of 19 right, and the evidence 5 of 6. What the
words are worth on tasks that they were not made for is shown by tests/graphs/fresh.yaml, on which nothing was tuned.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import yaml
from _bench import Aim, Options, Report, Spread, options

from troupe.graphs.choosing import reading
from troupe.graphs.choosing.assessment import Resources, assessed
from troupe.graphs.choosing.choice import choose, ruled_out
from troupe.graphs.choosing.forecasting import forecasts
from troupe.graphs.choosing.reading import read

FOLDER = Path(__file__).parents[1] / "tests" / "graphs"
HAS = Resources(agents=19, slots=32)
FEWEST = 0.87
"""The share of published winners that is to be agreed with: that of held-out configurations in 2512.08296."""


def pattern_of(task: str, learn: bool) -> str:
    """What would be chosen."""
    reading._read.cache_clear()
    seen = assessed(read(task), HAS)
    return choose(task, seen, ruled_out(seen, forecasts(task, seen)), learn=learn).pattern


def tasks_of(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Described tasks with the pattern that they should get."""
    found: dict[str, list[dict[str, Any]]] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))
    return [({"simple": "single"}.get(kind, kind), one) for kind, each in found.items() for one in each]


def share(right: int, of: int) -> Spread:
    """So many of so many, as a share."""
    return Spread(round(right / of, 4), round(right / of, 4), round(right / of, 4), of, "share")


def main(chosen: Options) -> Report:
    """Choose for every task."""
    tasks, fresh = tasks_of("tasks"), tasks_of("fresh")
    published = [one for _, one in tasks if "published" in one]
    report = Report("selection", {"tasks": len(tasks), "published": len(published), "fresh": len(fresh)})
    table = sum(pattern_of(one["task"], learn=False) == pattern for pattern, one in tasks)
    evidence = sum(pattern_of(one["task"], learn=True) == one["published"] for one in published)
    report.figures["the table decides as described"] = share(table, len(tasks))
    report.figures["the evidence agrees with the published winner"] = share(evidence, len(published))
    untried = sum(pattern_of(one["task"], learn=False) == pattern for pattern, one in fresh)
    report.figures["the same, of tasks that were written afterwards"] = share(untried, len(fresh))
    report.figures["not as described"] = share(len(tasks) - table, len(tasks))
    report.figures["not as published"] = share(len(published) - evidence, len(published))
    for pattern in ("single", "hierarchical"):
        always = sum(one["published"] == pattern for one in published)
        report.anchors[f"always {pattern}: agrees with the published winner"] = share(always, len(published))
    took = []
    for _ in range(3 if chosen.quick else 20):
        for _, one in tasks:
            began = time.perf_counter()
            pattern_of(one["task"], learn=False)
            took.append((time.perf_counter() - began) * 1000)
    report.figures["a choice"] = Spread.of(took, "ms")
    report.aims["the table decides every described task"] = Aim(
        "not as described", report.figures["not as described"].median, 0.0, "share"
    )
    report.aims[f"the evidence agrees with {FEWEST:.0%} of the published winners"] = Aim(
        "not as published", report.figures["not as published"].median, round(1 - FEWEST, 2), "share"
    )
    report.aims["a choice takes less than 5 ms"] = Aim("a choice", report.figures["a choice"].median, 5.0, "ms")
    report.notes.append(
        f"table: {table} of {len(tasks)}; evidence: {evidence} of {len(published)}; fresh: {untried} of {len(fresh)}"
    )
    return report


if __name__ == "__main__":
    asked = options(__doc__)
    main(asked).show(asked)
