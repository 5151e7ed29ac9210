"""Pictures of graphs and of runs: how long a layout takes, and how many bytes a picture and a report have.

The graph of 30 nodes is drawn at random from a seed, each node led to by one or two of the six before it; that of 300
likewise, and the run has 15 steps with gates, each sent back once. Times are the processor's, so that what else the
machine does is not among them; a picture that is drawn again has its places already. Beside it: what LangGraph itself
can draw without a web service, its Mermaid text, which somebody else has to lay out. The live page is served by a
process of its own, 20 runs at once under way in it, to 10 viewers over HTTP: measured is from an event's own time, by
the clock on the wall, to its being at a viewer.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from _bench import Aim, Options, Report, Spread, options
from _page import latencies
from langgraph.graph import END, START, StateGraph

from troupe import RunView, Verdict, agent, gate, report, review, run, scripted, sequential, view_of
from troupe.graphs.drawing import Arrow, Card, Drawing, svg
from troupe.graphs.drawing.layout import layout
from troupe.view.picture import picture

SEED = 3
RUNS, VIEWERS = 20, 10


class State(TypedDict):
    """What the nodes of the anchor keep."""

    x: int


def edges(count: int) -> list[tuple[int, int]]:
    """Which nodes lead to which."""
    dice = random.Random(SEED)  # noqa: S311 - a graph, not a secret
    return sorted(
        {(dice.randrange(max(0, at - 6), at), at) for at in range(1, count) for _ in range(dice.choice([1, 2]))}
    )


def drawn(count: int, stated: bool = False) -> Drawing:
    """A drawing of so many cards, in the states of a run or in none."""
    more = {"state": "accepted", "facts": "0.91 · 12.3 s · $0.0123"} if stated else {}
    cards = tuple(Card(f"n{at}", f"task {at}", **more) for at in range(count))
    return Drawing(cards, tuple(Arrow(f"n{a}", f"n{b}") for a, b in edges(count)))


def anchor(count: int) -> Any:
    """The same as a graph of LangGraph's."""
    built: Any = StateGraph(State)
    for at in range(count):
        built.add_node(f"n{at}", lambda state: state)
    built.add_edge(START, "n0")
    sources = {a for a, _ in edges(count)}
    for a, b in edges(count):
        built.add_edge(f"n{a}", f"n{b}")
    for at in set(range(count)) - sources:
        built.add_edge(f"n{at}", END)
    return built.compile().get_graph()


def timed(act: Callable[[], object], times: int) -> Spread:
    """Milliseconds of the processor for each of so many calls, after one that is not counted."""
    act()
    taken = []
    for _ in range(times):
        began = time.process_time()
        act()
        taken.append((time.process_time() - began) * 1000)
    return Spread.of(taken, "ms")


def a_run(folder: Path) -> tuple[RunView, Path]:
    """A run of 15 steps, each sent back once, and where it is kept."""
    names = [f"step-{at}" for at in range(15)]
    words = "\n\n".join(["# A part", *["Some words about it, with **emphasis**. " * 8] * 12])
    bad = Verdict(passed=False, score=0.4, feedback="More of it.", findings=("Too short.", "No example."))
    lines: dict[str, Any] = {name: [words, words] for name in names}
    lines["qa-engineer"] = [bad, Verdict(passed=True, score=0.9)] * 15
    team = sequential(*(agent(name, "Work.") for name in names), gate=gate(review(by="qa-engineer")))
    path = folder / "runs.db"
    done = run(team, "A line of parts.", model=scripted(lines), db=path)
    return view_of(done.run, db=path, target=team), path


def measure(given: Options) -> Report:
    times = 3 if given.once else 20 if given.quick else 200
    report_ = Report("view", {"layouts": times, "large layouts": max(times // 10, 3)}, seeds=[SEED])
    for count, often in ((30, times), (300, max(times // 10, 3))):
        drawing, of_a_run = drawn(count), drawn(count, stated=True)
        report_.figures[f"layout, {count} nodes"] = timed(lambda drawing=drawing: layout(drawing), often)
        report_.figures[f"layout of a run, {count} nodes"] = timed(lambda drawing=of_a_run: layout(drawing), often)
        report_.figures[f"SVG of a run, {count} nodes, again"] = timed(lambda drawing=of_a_run: svg(drawing), often)
        size = len(svg(of_a_run).encode()) / 1000
        report_.figures[f"size of the SVG of a run, {count} nodes"] = Spread.of([size], "KB")
    report_.anchors["LangGraph's Mermaid text, 30 nodes"] = timed(anchor(30).draw_mermaid, times)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        view, _ = a_run(folder)
        report_.figures["picture of a run of 15 steps"] = timed(lambda: picture(view), max(times // 4, 5))
        report_.figures["view as plain data"] = timed(view.to_json, max(times // 4, 5))
        report_.figures["report of 15 steps"] = timed(lambda: report(view, folder / "run.html"), max(times // 10, 3))
        size = (folder / "run.html").stat().st_size / 1000
        report_.figures["size of the report of 15 steps"] = Spread.of([size], "KB")
        shown = latencies(folder, RUNS, VIEWERS)
        report_.runs |= {"runs at once": RUNS, "viewers": VIEWERS, "events seen": len(shown)}
        report_.figures[f"event to screen, {RUNS} runs, {VIEWERS} viewers"] = Spread.of(shown, "ms")
        slow = statistics.quantiles(shown, n=20)[-1]
        report_.figures["the same, 95th percentile"] = Spread.of([slow], "ms")
    aims = {
        "30 nodes laid out in under 10 ms": ("layout of a run, 30 nodes", 10, "ms"),
        "30 nodes in under 40 KB": ("size of the SVG of a run, 30 nodes", 40, "KB"),
        "300 nodes laid out in under a second": ("layout of a run, 300 nodes", 1000, "ms"),
        "an event on the screen in under 300 ms, 95 of 100": ("the same, 95th percentile", 300, "ms"),
        "a report of 15 steps in under 300 KB": ("size of the report of 15 steps", 300, "KB"),
    }
    report_.aims = {
        said: Aim(figure, report_.figures[figure].median, limit, unit) for said, (figure, limit, unit) in aims.items()
    }
    return report_


if __name__ == "__main__":
    given = options(__doc__)
    measure(given).show(given)
