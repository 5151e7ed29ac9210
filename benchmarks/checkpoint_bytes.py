"""Bytes on disk and time to load the state after 100 and 1,000 turns of one loop, each a distinct step of 2 KB.

The loop runs on our state and our SQLite store, every turn written before the next begins. Beside it: the same loop
with a plain dictionary that each step adds to, on LangGraph's SqliteSaver. That one grows with the square of the
turns, so with --quick its size at 1,000 is computed from three smaller runs, and said to be.
"""

from __future__ import annotations

import operator
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

from _bench import Aim, Options, Report, Spread, options
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from troupe import Deliverable, TeamState
from troupe.agents.text import summary
from troupe.sqlite import SqliteStore

SHORT, LONG = 100, 1000
SIZE = 2000
SEED = 7
WORDS = [first + last for first in ("ka", "lo", "mi", "ru", "te", "vo") for last in ("ban", "dola", "fer", "nisos")]
CONFIG: Any = {"configurable": {"thread_id": "loop"}, "recursion_limit": LONG + 10}


class Plain(TypedDict):
    """The state as one would write it by hand."""

    done: Annotated[dict[str, str], operator.or_]


def text(index: int) -> str:
    """2 KB that no other step has."""
    drawn = random.Random(SEED * 1_000_000 + index)  # noqa: S311 - a text, not a secret
    return " ".join(drawn.choices(WORDS, k=SIZE // 4))[:SIZE]


def loop(schema: Any, write: Callable[[Any], dict[str, Any]], field: str, turns: int) -> Any:
    """A node that works until it has worked `turns` times."""

    def enough(state: Any) -> bool:
        return len(state[field]) >= turns

    graph: Any = StateGraph(schema)
    graph.add_node("step", write)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", enough, {False: "step", True: END})
    return graph


def write_ours(state: Any) -> dict[str, Any]:
    index = len(state.get("deliverables", {}))
    name, content = f"step {index}", text(index)
    done = Deliverable(step=name, agent="writer", status="accepted", content=content, summary=summary(content))
    return {"deliverables": {name: done}}


def write_plain(state: Any) -> dict[str, Any]:
    index = len(state["done"])
    return {"done": {f"step {index}": text(index)}}


def ours(folder: Path, turns: int, loads: int) -> tuple[int, list[float]]:
    """Bytes, and milliseconds of each load of the state through a store that was just opened."""
    path = folder / f"ours-{turns}.db"
    graph = loop(TeamState, write_ours, "deliverables", turns)
    with SqliteStore(path) as store:
        graph.compile(store).invoke({"task": "Go round.", "status": "running"}, CONFIG, durability="sync")
    taken = []
    for _ in range(loads):
        with SqliteStore(path) as store:
            app = graph.compile(store)
            started = time.perf_counter()
            state = app.get_state(CONFIG)
            taken.append((time.perf_counter() - started) * 1000)
            assert len(state.values["deliverables"]) == turns
    return size(path), taken


def plain(folder: Path, turns: int, loads: int) -> tuple[int, list[float]]:
    """The same of the hand-written state on LangGraph's saver."""
    path = folder / f"plain-{turns}.db"
    graph = loop(Plain, write_plain, "done", turns)
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph.compile(saver).invoke({"done": {}}, CONFIG, durability="sync")
    taken = []
    for _ in range(loads):
        with SqliteSaver.from_conn_string(str(path)) as saver:
            app = graph.compile(saver)
            started = time.perf_counter()
            state = app.get_state(CONFIG)
            taken.append((time.perf_counter() - started) * 1000)
            assert len(state.values["done"]) == turns
    return size(path), taken


def size(path: Path) -> int:
    """Bytes of the database when all that was written is in the one file."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))


def grown(points: dict[int, float], turns: int) -> float:
    """The parabola through three points, further on."""
    total = 0.0
    for at, value in points.items():
        for other in points:
            if other != at:
                value *= (turns - other) / (at - other)
        total += value
    return total


def measure(given: Options) -> Report:
    loads = 7 if given.quick else 25
    report = Report("checkpoint_bytes", {"turns, short": SHORT, "turns, long": LONG, "loads": loads}, seeds=[SEED])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {}
        for turns in (SHORT, LONG):
            sizes[turns], taken = ours(folder, turns, loads)
            report.figures[f"size at {turns:,} turns"] = megabytes(sizes[turns])
            report.figures[f"load at {turns:,} turns"] = Spread.of(taken, "ms")
        smaller: dict[int, float] = {}
        for turns in (SHORT // 2, SHORT, SHORT * 2):
            smaller[turns], taken = plain(folder, turns, loads)
            if turns == SHORT:
                report.anchors[f"dictionary on SqliteSaver: size at {turns:,} turns"] = megabytes(smaller[turns])
                report.anchors[f"dictionary on SqliteSaver: load at {turns:,} turns"] = Spread.of(taken, "ms")
        what = f"dictionary on SqliteSaver: size at {LONG:,} turns"
        if given.quick:
            report.anchors[f"{what}, computed"] = megabytes(grown(smaller, LONG))
            report.notes.append(f"Computed: the parabola through the sizes at {', '.join(map(str, smaller))} turns.")
        else:
            bytes_, taken = plain(folder, LONG, loads)
            report.anchors[what] = megabytes(bytes_)
            report.anchors[f"dictionary on SqliteSaver: load at {LONG:,} turns"] = Spread.of(taken, "ms")
    times = sizes[LONG] / sizes[SHORT]
    report.figures["growth"] = Spread.of([times], "times")
    report.aims = {
        f"at most 12 MB at {LONG:,} turns": Aim(f"size at {LONG:,} turns", sizes[LONG] / 1e6, 12, "MB"),
        f"at most 12 times the bytes of {SHORT} turns": Aim("growth", times, 12, "times"),
    }
    return report


def megabytes(size: float) -> Spread:
    return Spread.of([size / 1e6], "MB")


if __name__ == "__main__":
    given = options(__doc__)
    measure(given).show(given)
