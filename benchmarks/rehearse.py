"""A rehearsal of a workflow of 12 steps, 200 trials: how long it takes, and how near it comes to what it predicts.

A plan, two streams that work at once, then five steps in a line; every step is reviewed, and one in five verdicts sends
work back. Each trial is a whole run through LangGraph, the Executor, the gates and the journal, in virtual time.

Beside it stands what was recorded: runs of the same workflow through `arun`, on a model with lognormal delays, in
virtual time. The rehearsal draws from them, and its median makespan is compared with theirs.
"""

from __future__ import annotations

import asyncio
import random
import time
from statistics import median
from typing import Any

from _bench import Aim, Options, Report, Spread, options
from langchain_core.messages import AIMessage

from troupe import (
    Executor,
    History,
    Step,
    TeamContext,
    TeamGraph,
    Verdict,
    ahistory,
    arun,
    gate,
    parallel,
    rehearse,
    review,
    sequential,
)
from troupe.agents.models.scripted import ScriptedChatModel
from troupe.agents.virtual import play
from troupe.sqlite import SqliteStore

SEED = 11
SLOTS = 4
TRIALS = 200
SECONDS, CPU, ERROR = "200 trials of 12 steps", "the same, CPU time", "error of the predicted makespan"
PASSES = 0.75


class Lognormal(ScriptedChatModel):
    """A model that takes its time, and as a reviewer passes three in four."""

    seed: int

    def _answer(self, messages: Any, tools: Any, forced: bool) -> AIMessage:
        self.asked.append(len(messages))
        if not forced:
            return AIMessage("some words " * 120)
        passed = self._drawn("verdict").random() < PASSES
        args = Verdict(passed=passed, feedback="" if passed else "again").model_dump(mode="json")
        return AIMessage("", tool_calls=[{"name": "Verdict", "args": args, "id": "1"}])

    def _delay(self, reply: AIMessage) -> float:
        return self._drawn("delay").lognormvariate(2.0 if reply.text else 1.0, 0.6)

    def _drawn(self, what: str) -> random.Random:
        return random.Random(f"{self.seed} {what} {len(self.asked)}")  # noqa: S311 - a simulation


def twelve() -> TeamGraph:
    """A plan, two streams of four and three steps at once, then integration, tests, documents and a release."""
    backend = sequential(
        *(step(name) for name in ("database-engineer", "python-engineer", "security-engineer")), name="b"
    )
    frontend = sequential(
        *(step(name) for name in ("ui-ux-designer", "frontend-engineer", "performance-engineer")), name="f"
    )
    streams = parallel(Step(frontend, name="frontend"), Step(backend, name="backend"), name="development")
    rest = [
        step(name)
        for name in ("integration-architect", "qa-engineer", "devops-engineer", "technical-writer", "git-helper")
    ]
    return sequential(step("product-manager"), Step(streams, name="development"), *rest, name="twelve")


def step(name: str) -> Step:
    """A step whose work is reviewed."""
    return Step(name, "Do your part.", gate=gate(review(by="sr-architect"), rework=2))


def recorded(runs: int) -> History:
    """So many runs of it, recorded in virtual time."""

    async def record() -> History:
        with SqliteStore(":memory:", clock=asyncio.get_running_loop().time) as store:
            for number in range(runs):
                model = Lognormal(lines={"*": []}, seed=SEED + number)
                await arun(twelve(), "a shop", context=TeamContext(models=model, executor=Executor(SLOTS)), db=store)
            return await ahistory("twelve", db=store, simulated=True)

    return play(record)


def timed(trials: int, history: History) -> tuple[float, float, float]:
    """The seconds that a rehearsal takes, those of CPU, and the median makespan that it predicts."""
    began, worked = time.perf_counter(), time.process_time()
    found = rehearse(twelve(), "a shop", trials=trials, seed=SEED, slots=SLOTS, history=history)
    return time.perf_counter() - began, time.process_time() - worked, found.seconds.p50


def measure(given: Options) -> Report:
    """Rehearse, record, and rehearse what was recorded."""
    trials, runs, times = (3, 2, 1) if given.once else (20, 10, 1) if given.quick else (TRIALS, 60, 3)
    timed(2, History())
    took = [timed(trials, History()) for _ in range(times)]
    known = recorded(runs)
    true = [one.seconds for one in known.runs]
    *_, predicted = timed(trials, known)
    report = Report("rehearse", {"trials": trials, "recorded runs": runs, "rehearsals": times}, [SEED])
    whole, worked = ([one[part] * TRIALS / trials for one in took] for part in (0, 1))
    report.figures = {
        SECONDS: Spread.of(whole, "s"),
        CPU: Spread.of(worked, "s"),
        "predicted makespan": Spread.of([predicted], "virtual s"),
        ERROR: Spread.of([100 * abs(predicted - median(true)) / median(true)], "%"),
    }
    report.anchors = {"recorded makespan": Spread.of(true, "virtual s")}
    report.aims = {
        "a rehearsal of 12 steps and 200 trials ends within a minute": Aim(SECONDS, median(whole), 60.0, "s"),
        "it comes within a tenth of what was recorded": Aim(ERROR, report.figures[ERROR].median, 10.0, "%"),
    }
    if trials != TRIALS:
        report.notes.append(f"Of {trials} trials, times {TRIALS / trials:g}.")
    return report


if __name__ == "__main__":
    given = options(__doc__)
    measure(given).show(given)
