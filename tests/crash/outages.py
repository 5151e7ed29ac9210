"""Outages: PostgreSQL is restarted every few seconds while runs are under way.

    python -m tests.crash.outages [--runs 200] [--seed 0] [--jobs 4] [--longest 5]

`pg_ctl stop -m immediate` is a crash of the server; it stays away for up to `--longest` seconds. No caller may see an
exception, every run must come to the end that it would have had, and no call may be made twice. Exits with 1 if any of
that is broken.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from tests.crash.cast import PLAYS
from tests.crash.lives import begin, told, warm
from tests.crash.stage import Stage, Whole, staged

SLOW = 0.15
"""Seconds that a call takes at most, so that outages find runs in the middle."""


@dataclass(frozen=True)
class Outlived:
    """A run through outages."""

    name: str
    seconds: float
    broken: str


def one_run(stage: Stage, store: Any, name: str, play: str, whole: Whole, draw: random.Random) -> Outlived:
    """A run in an open store."""
    life = stage.life(name, play, "postgres", draw.choice(("run", "arun")), draw.choice(("sync", "async")))
    life = replace(life, longest=SLOW, place=replace(life.place, store=store))
    started = time.monotonic()
    try:
        seen = life.live()
    except Exception as error:  # noqa: BLE001 - what a caller sees is what this is about
        return Outlived(f"{play} {life.door} {life.durability}", time.monotonic() - started, f"It raised {error!r}")
    asked = Counter(one.who for one in stage.truth.calls(name) if one.who in whole.who)
    broken = "" if seen == whole.seen else f"It came to {seen}, and not to {whole.seen}"
    if asked != Counter(whole.who):
        broken += f" It asked {asked}"
    return Outlived(f"{play} {life.door} {life.durability}", time.monotonic() - started, broken)


def share(stage: Stage, numbers: Sequence[int], wholes: dict[str, Whole], seed: int) -> list[Any]:
    """Some of the runs, one after the other in one process that keeps its store open."""
    plays, done = list(wholes), []
    life = stage.life("open", plays[0], "postgres", "run", "sync")
    store = life.place.open()
    try:
        for number in numbers:
            play, draw = plays[number % len(plays)], random.Random(f"{seed} {number}")
            done.append(asdict(one_run(stage, store, f"outage-{number}", play, wholes[play], draw)))
    finally:
        store.close()
    return done


def campaign(stage: Stage, runs: int, seed: int, jobs: int, longest: float) -> tuple[list[Outlived], int]:
    """So many runs, and how often the server was restarted meanwhile."""
    assert stage.server is not None
    plays = [name for name, play in PLAYS.items() if play.answer is None]
    wholes = {play: stage.whole(play, "postgres", "run", "sync") for play in plays}
    draw = random.Random(seed)
    acts = [partial(share, stage, range(job, runs, jobs), wholes, seed) for job in range(jobs)]
    workers = {begin(act, stage.folder, patience=0) for act in acts}
    ends, restarts = [], 0
    while workers:
        time.sleep(draw.uniform(0.5, 2.0))
        for pid in tuple(workers):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                workers.remove(pid)
                ends.append(told(pid, status, stage.folder))
        if workers:
            stage.server.restart(draw.uniform(0, longest))
            restarts += 1
    assert not any(one.error for one in ends), [one.error for one in ends]
    return [Outlived(**one) for ended in ends for one in ended.value], restarts


def main() -> int:
    """The campaign from the command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--jobs", type=int, default=4)
    arguments.add_argument("--longest", type=float, default=5.0)
    given = arguments.parse_args()
    warm()
    with staged(["postgres"]) as stage:
        done, restarts = campaign(stage, given.runs, given.seed, given.jobs, given.longest)
    broken = [one for one in done if one.broken]
    for one in broken:
        print(f"{one.name}\n    {one.broken}")
    longest = max(one.seconds for one in done)
    print(f"runs: {len(done)}, restarts of PostgreSQL meanwhile: {restarts}, the longest run took {longest:.1f} s")
    print(f"broken: {len(broken)}")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
