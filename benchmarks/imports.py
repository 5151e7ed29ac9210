"""Seconds until `import troupe` and `troupe --help` are done, each in a process of its own, Python's start included."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from _bench import Aim, Options, Report, Spread, options

SCRIPT = Path(sys.executable).with_name("troupe")
HELP = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "troupe"]
ANCHORS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import langgraph.graph": [sys.executable, "-c", "import langgraph.graph"],
}
OURS = {
    "import troupe": [sys.executable, "-c", "import troupe"],
    "troupe --help": [*HELP, "--help"],
}
AIMS = {"import troupe": 0.15, "troupe --help": 0.6}


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def measure(given: Options) -> Report:
    rounds = 1 if given.once else 5 if given.quick else 25
    report = Report("imports", {"processes of each": rounds})
    commands = ANCHORS | OURS
    for command in commands.values():  # files that no process has read yet are not what is measured
        seconds(command)
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            taken[name].append(seconds(command))
    report.anchors = {name: Spread.of(taken[name], "s") for name in ANCHORS}
    report.figures = {name: Spread.of(taken[name], "s") for name in OURS}
    report.aims = {name: Aim(name, report.figures[name].median, limit, "s") for name, limit in AIMS.items()}
    return report


if __name__ == "__main__":
    given = options(__doc__)
    measure(given).show(given)
