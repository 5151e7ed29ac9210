"""A mesh over 1,000 rounds, each one distinct assignment with 2 KB of output: its database, loading, and its routing.

The hub is a function that decides at once, so what is measured is ours: state, checkpoints and the switchboard. The
rounds are written to our SQLite store, every superstep before the next begins. Beside it: the same outputs appended to
a list on LangGraph's SqliteSaver, a hub and a worker taking turns. That one grows with the square of the rounds, so its
size at 1,000 is computed from three smaller runs, and said to be.
"""

from __future__ import annotations

import gc
import operator
import random
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

from _bench import Aim, Options, Report, Spread, options
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from troupe import Agent, Brief, Deliverable, Guards, Role, Step, agent, mesh
from troupe.agents.matching import Lexicon, need, profile
from troupe.graphs.meshing.routing import choose, kept, price, ranked, shortlist, standings
from troupe.sqlite import SqliteStore

ROUNDS = 1000
SIZE = 2000
SEED = 11
POOL = 100
WORDS = [first + last for first in ("ka", "lo", "mi", "ru", "te", "vo") for last in ("ban", "dola", "fer", "nisos")]
SKILLS = ["sql", "python", "testing", "design", "security", "writing", "deployment", "analysis", "caching", "training"]
CONFIG: Any = {"configurable": {"thread_id": "rounds"}}


def text(index: int, size: int = SIZE) -> str:
    """So many characters that no other round has."""
    drawn = random.Random(SEED * 1_000_000 + index)  # noqa: S311 - a text, not a secret
    return f"{index} " + " ".join(drawn.choices(WORDS, k=size // 4))[: size - 6]


class Leader(Agent):
    """Gives one assignment in each round, to one member after the other."""

    name = "leader"
    holds_slot = False

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds

    async def work(self, brief: Brief, schema: Any = None) -> Deliverable:
        return Deliverable(step=brief.step, content="All of it.")

    async def decide(self, brief: Brief, schema: Any) -> Any:
        if brief.round > self.rounds:
            return schema(finish=True)
        return schema(assignments=[{"objective": f"Part {brief.round}: {text(brief.round, 80)}"}])


def worker(brief: Brief) -> str:
    return text(number_of(brief.objective))


def number_of(objective: str) -> int:
    return int(objective.split(":")[0].removeprefix("Part "))


def graph(rounds: int) -> Any:
    members = [Step(worker, f"Do the {skill}.", name=skill) for skill in SKILLS[:8]]
    return mesh(members, hub=Leader(rounds), guards=Guards(hops=rounds + 1, stalls=2))


def ours(folder: Path, rounds: int, loads: int) -> tuple[int, float, list[float]]:
    """Bytes, seconds for all rounds, and milliseconds of each load of the state through a store just opened."""
    path = folder / f"ours-{rounds}.db"
    team = graph(rounds)
    with SqliteStore(path) as store:
        app = team.compile(store)
        began = time.perf_counter()
        state = app.invoke({"task": "Go round."}, CONFIG, durability="sync")
        took = time.perf_counter() - began
        assert state["status"] == "completed", state["reason"]
    taken = []
    # What the rounds left in memory is none of the load's business: whoever loads begins with an empty process.
    del state
    gc.collect()
    gc.freeze()
    for _ in range(loads):
        with SqliteStore(path) as store:
            app = team.compile(store)
            began = time.perf_counter()
            loaded = app.get_state(CONFIG)
            taken.append((time.perf_counter() - began) * 1000)
            assert len(loaded.values["assignments"]) == rounds
    return size(path), took, taken


class Plain(TypedDict):
    """The state as one would write it by hand."""

    done: Annotated[list[str], operator.add]


def plain(folder: Path, rounds: int) -> int:
    """Bytes of a hand-written hub and worker on LangGraph's saver."""
    path = folder / f"plain-{rounds}.db"
    built: Any = StateGraph(Plain)
    built.add_node("hub", lambda state: {})
    built.add_node("worker", lambda state: {"done": [text(len(state["done"]) + 1)]})
    built.add_edge(START, "hub")
    built.add_conditional_edges("hub", lambda state: len(state["done"]) >= rounds, {False: "worker", True: END})
    built.add_edge("worker", "hub")
    with SqliteSaver.from_conn_string(str(path)) as saver:
        config = {**CONFIG, "recursion_limit": 3 * rounds + 10}
        built.compile(saver).invoke({"done": []}, config, durability="sync")
    return size(path)


def size(path: Path) -> int:
    """Bytes of the database when all that was written is in the one file."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))


def routing(count: int) -> list[float]:
    """Milliseconds of each decision for a pool of a hundred: need, scores, shortlist, choice. No model, no cache."""
    drawn = random.Random(SEED)  # noqa: S311 - a pool, not a secret
    members = {
        f"member-{number}": agent(
            Role(
                name=f"member-{number}",
                title=f"Does {drawn.choice(SKILLS)} and {drawn.choice(SKILLS)}",
                prompt="Work.",
                skills=tuple(drawn.sample(SKILLS, 4)) + tuple(drawn.choices(WORDS, k=6)),
            )
        )
        for number in range(POOL)
    }
    lexicon = Lexicon({name: profile(one) for name, one in members.items()})
    prices = {name: price(one) for name, one in members.items()}
    taken = []
    for number in range(count):
        objective = f"Number {number}: {' '.join(drawn.choices(SKILLS + WORDS, k=12))}"
        began = time.perf_counter()
        standing = standings(members, {}, {})
        ranking = ranked(lexicon.capabilities(need(objective, drawn.choices(SKILLS, k=2), "A shop")), standing, prices)
        chosen, _, _ = choose("", ranking, shortlist(ranking))
        kept(chosen, ranking)
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def grown(points: dict[int, float], rounds: int) -> float:
    """The parabola through three points, further on."""
    total = 0.0
    for at, value in points.items():
        for other in points:
            if other != at:
                value *= (rounds - other) / (at - other)
        total += value
    return total


def measure(given: Options) -> Report:
    rounds = 250 if given.once else ROUNDS
    loads, decisions = (2, 20) if given.once else (5, 400) if given.quick else (25, 5000)
    report = Report("mesh", {"rounds": rounds, "loads": loads, "decisions": decisions}, seeds=[SEED])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bytes_, took, taken = ours(folder, rounds, loads)
        report.figures[f"size at {rounds:,} rounds"] = Spread.of([bytes_ / 1e6], "MB")
        report.figures[f"load at {rounds:,} rounds"] = Spread.of(taken, "ms")
        report.figures["a round, all in all"] = Spread.of([took / rounds * 1000], "ms")
        points: dict[int, float] = {one: plain(folder, one) for one in (50, 100, 200)}
        what = f"list on SqliteSaver: size at {rounds:,} rounds, computed"
        report.anchors[what] = Spread.of([grown(points, rounds) / 1e6], "MB")
        report.notes.append(f"Computed: the parabola through the sizes at {', '.join(map(str, points))} rounds.")
    report.figures[f"routing decision, pool of {POOL}"] = Spread.of(routing(decisions), "ms")
    aims = {
        f"at most 18 MB at {rounds:,} rounds": (f"size at {rounds:,} rounds", 18, "MB"),
        f"load in at most 100 ms at {rounds:,} rounds": (f"load at {rounds:,} rounds", 100, "ms"),
        f"routing under 1 ms for a pool of {POOL}": (f"routing decision, pool of {POOL}", 1, "ms"),
    }
    report.aims = {
        said: Aim(figure, report.figures[figure].median, limit, unit) for said, (figure, limit, unit) in aims.items()
    }
    return report


if __name__ == "__main__":
    given = options(__doc__)
    measure(given).show(given)
