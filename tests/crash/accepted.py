"""Accepted is accepted: runs are killed between the record of their request and their first checkpoint.

    python -m tests.crash.accepted [--runs 100] [--seed 0] [--store sqlite]

Each dies at a moment drawn at random after its turn was recorded, and at its first checkpoint at the latest. `resume`
must know it and bring it to the end that it would have had. Exits with 1 if one was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from tests.crash.cast import PLAYS
from tests.crash.lives import DOORS, JOURNALLED, Door, Kind, Life, die, live, stores_there_are, warm
from tests.crash.stage import Stage, staged
from troupe import aresume, resume
from troupe.underway import Durability

LONGEST = 0.02
"""Seconds that a run lives on, at most, once it is accepted; the first checkpoint comes sooner."""


@dataclass(frozen=True)
class Accepted:
    """A run that was accepted, and what became of it."""

    name: str
    killed: bool
    broken: str


def doom(after: float) -> None:
    """Die `after` so many seconds from when the turn is recorded, and before the first checkpoint."""

    def late() -> None:
        time.sleep(after)
        die()

    def begun(write: Any) -> Any:
        def begin(self: Any, *args: Any) -> Any:
            turn = write(self, *args)
            threading.Thread(target=late).start()
            return turn

        return begin

    for store in stores_there_are():
        store._begin = begun(store._begin)
        store.put = lambda *_, **__: die()


def doomed(life: Life, after: float) -> dict[str, Any]:
    """A life that ends soon."""
    doom(after)
    return life.live()


def gone_on_with(life: Life) -> dict[str, Any]:
    """What `resume` makes of it; a run that is unknown is lost."""
    options: dict[str, Any] = {"target": life.plot.make(), "model": life.model(), "db": life.place.at}
    result = resume(life.run, **options) if life.door == "run" else asyncio.run(aresume(life.run, **options))
    return {"status": result.status, "answer": result.answer, "calls": result.usage.calls}


def campaign(stage: Stage, stores: Sequence[Kind], runs: int, seed: int) -> list[Accepted]:
    """So many runs, through both doors, in all patterns."""
    draw = random.Random(seed)
    plays = [name for name, play in PLAYS.items() if play.answer is None]
    doors: list[Door] = [one for one in DOORS if one in JOURNALLED]
    durabilities: tuple[Durability, ...] = ("sync", "async")
    done = []
    wholes = {play: stage.whole(play, "sqlite", "run", "sync").seen for play in plays}
    for number in range(runs):
        play = plays[number % len(plays)]
        life = stage.life(
            f"accepted-{number}", play, draw.choice(stores), draw.choice(doors), draw.choice(durabilities)
        )
        after = draw.uniform(0, LONGEST)
        first = live(partial(doomed, life, after), stage.folder)
        again = live(partial(gone_on_with, life), stage.folder)
        want = {key: wholes[play][key] for key in ("status", "answer", "calls")}
        broken = again.error or ("" if again.value == want else f"{again.value}, and not {want}")
        if not first.killed:
            broken = f"It was not killed: {first.error or first.value}"
        name = f"{play}, {life.place.kind}, {life.door}, {life.durability}, {after * 1000:.1f} ms after"
        done.append(Accepted(name, first.killed, broken))
        stage.clear(life.run)
    return done


def main() -> int:
    """The campaign from the command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--store", choices=get_args(Kind), action="append")
    given = arguments.parse_args()
    warm()
    stores: list[Kind] = given.store or list(get_args(Kind))
    with staged(stores) as stage:
        done = campaign(stage, stores, given.runs, given.seed)
    for one in done:
        if one.broken:
            print(f"{one.name}\n    {one.broken}")
    lost = sum(bool(one.broken) for one in done)
    print(f"accepted runs killed before their first checkpoint: {sum(one.killed for one in done)}, lost: {lost}")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
