"""What all benchmarks share: arguments, medians and spreads, a table for people, one JSON object for machines.

With `--json` a benchmark prints one object and nothing else:

    name       of the benchmark
    figures    ours, by name: {"median", "q1", "q3", "n", "unit"}
    anchors    what stands beside ours in the same process, in the same shape
    aims       by sentence: {"figure", "value", "limit", "unit", "met"}; a missed aim is reported, never hidden
    runs       how often what was run
    seeds      of everything that is drawn at random
    versions   of Python, the packages and the machine

The exit code is 0 whether the aims are met or not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

PACKAGES = ("agent-troupe", "langgraph", "langchain-core", "langgraph-checkpoint-sqlite", "pydantic")


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    quick: bool
    once: bool
    """Whether it only shows that it works: nothing is measured well enough to be quoted."""
    json: bool


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles, over `n` measurements."""

    median: float
    q1: float
    q3: float
    n: int
    unit: str

    @classmethod
    def of(cls, values: Sequence[float], unit: str) -> Spread:
        """The spread of measured values."""
        several = values if len(values) > 1 else [*values, *values]
        q1, median, q3 = statistics.quantiles(several, n=4, method="inclusive")
        return cls(_rounded(median), _rounded(q1), _rounded(q3), len(values), unit)


@dataclass(frozen=True)
class Aim:
    """A bound that was promised, and what was measured."""

    figure: str
    value: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the promise is kept."""
        return self.value <= self.limit


@dataclass
class Report:
    """What a benchmark found."""

    name: str
    runs: dict[str, int]
    seeds: list[int] = field(default_factory=list)
    figures: dict[str, Spread] = field(default_factory=dict)
    anchors: dict[str, Spread] = field(default_factory=dict)
    aims: dict[str, Aim] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """For people, below the table."""

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "name": self.name,
            "figures": {name: asdict(one) for name, one in self.figures.items()},
            "anchors": {name: asdict(one) for name, one in self.anchors.items()},
            "aims": {said: asdict(aim) | {"met": aim.met} for said, aim in self.aims.items()},
            "runs": self.runs,
            "seeds": self.seeds,
            "versions": versions(),
        }

    def show(self, options: Options) -> None:
        """Print it, for whom it was asked."""
        if options.json:
            print(json.dumps(self.to_json(), indent=2))
        else:
            _table(self)


def options(doc: str | None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer runs: ends within 50 s on 2 cores")
    parser.add_argument("--once", action="store_true", help="as few as it takes to see that it works")
    parser.add_argument("--json", action="store_true", help="one JSON object in place of the table")
    given = parser.parse_args()
    return Options(given.quick or given.once, given.once, given.json)


def versions() -> dict[str, str]:
    """What the figures were measured with."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _table(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 140)
    table = Table(title=report.name, title_justify="left")
    for heading in ("", "median", "quartiles", "unit", "n"):
        table.add_column(heading, justify="left" if heading in ("", "unit") else "right")
    for kind in (report.anchors, report.figures):
        for name, one in kind.items():
            table.add_row(name, f"{one.median:g}", f"{one.q1:g} to {one.q3:g}", one.unit, str(one.n))
        table.add_section()
    console.print(table)
    for said, aim in report.aims.items():
        mark = "[green]met[/]   " if aim.met else "[red]missed[/]"
        console.print(f"{mark} {said}: {aim.value:.4g} {aim.unit} (at most {aim.limit:g})")
    for note in report.notes:
        console.print(f"[dim]{note}[/]")
