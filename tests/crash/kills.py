"""Kills: runs die at every write of their store, go on in another process, and their histories are checked.

    python -m tests.crash.kills [--kills 2000] [--seed 0] [--store sqlite] [--play mesh] [--jobs 2] [--json]

A history is three things: what the recorder was paid for (the truth), what was on record at the moment of the kill,
and the end. Prints a table of figures; exits with 1 if any promise was broken.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, get_args

from tests.crash.cast import PLAYS
from tests.crash.lives import (
    BOUNDARIES,
    DOORS,
    JOURNALLED,
    Door,
    Ended,
    Kind,
    Life,
    Point,
    begin,
    end,
    live,
    warm,
    watched,
)
from tests.crash.recorder import Paid
from tests.crash.stage import Combo, Stage, Whole, lost, staged
from troupe.underway import Durability

DURABILITIES: tuple[Durability, ...] = ("sync", "async")
PLAIN_BOUNDARIES = ("put", "put_writes")
AGAIN = 4
"""One run in so many is killed a second time while it is being gone on with."""


@dataclass(frozen=True)
class Kill:
    """One run that was killed: where (and where again, if it was), and what came of it."""

    play: str
    store: str
    door: str
    durability: str
    point: Point
    again: Point | None
    killed: int
    recorded: int
    repeated: int
    in_flight: int
    broken: Sequence[str] = field(default=())
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Enough to do it again."""
        again = f", then {self.again}" if self.again else ""
        return f"{self.play}, {self.store}, {self.door}, {self.durability}: {self.point}{again}"


# --- what is promised -------------------------------------------------------------------------------------------------


def check(life: Life, whole: Whole, paid: Sequence[Paid], records: Sequence[Sequence[str]], ended: Ended) -> list[str]:
    """What of the promises a history breaks; `records` is what was on record when each life but the first began."""
    if ended.error or ended.killed:
        return [f"the run did not go on: {ended.error or 'killed'}"]
    value = dict(ended.value)
    if not life.journalled:
        value["deliverables"] = _without(life, value["deliverables"])
        whole = replace(whole, seen={**whole.seen, "deliverables": _without(life, whole.seen["deliverables"])})
    broken = [
        f"{key} is {value[key]!r}, and {said!r} without the kill"
        for key, said in whole.seen.items()
        if value[key] != said
    ]
    lives: dict[str, Counter[int]] = defaultdict(Counter)
    for one in paid:
        lives[one.who][one.life] += 1
    broken += [f"{who} was asked more than once in one life" for who, times in lives.items() if max(times.values()) > 1]
    for number, recorded in enumerate(records, 2):
        kept = sorted(_on_record(life, paid, recorded))
        broken += [f"{who} was on record and asked again" for who in kept if max(lives[who]) >= number]
    if odd := {who for who in lives if not lost(life, who)} ^ whole.who:
        broken.append(f"the calls are not those of a run that nobody killed: {sorted(odd)}")
    return broken


def _on_record(life: Life, paid: Sequence[Paid], recorded: Sequence[str]) -> set[str]:
    """The calls whose answer was on record when the run was killed."""
    if life.journalled:
        return {one.who for one in paid if one.asked in recorded}
    return {one.who for one in paid if " work by " in one.who and _round(one) in recorded}


def _round(one: Paid) -> str:
    """`step#round`."""
    return one.who.partition(" ")[0].rpartition("/")[2]


def _without(life: Life, delivered: Mapping[str, Any]) -> dict[str, Any]:
    """Deliverables but for those that may be there or not."""
    return {name: one for name, one in delivered.items() if name not in life.plot.loses}


# --- the campaign -----------------------------------------------------------------------------------------------------


def combos(plays: Sequence[str], stores: Sequence[Kind], doors: Sequence[Door] = DOORS) -> list[Combo]:
    """Every way in which a play can be given."""
    return list(itertools.product(plays, stores, doors, DURABILITIES))


def points(whole: Whole, journalled: bool, draw: random.Random, offset: int) -> Iterator[Point]:
    """Every point at which such a run can be killed: all kinds of writes in turn, and drawn at random within a kind."""
    kinds = list(itertools.product(BOUNDARIES if journalled else PLAIN_BOUNDARIES, ("before", "after")))
    drawn = {
        (write, when): draw.sample(range(1, whole.writes.get(write, 0) + 1), whole.writes.get(write, 0))
        for write, when in kinds
    }
    turn = itertools.cycle(kinds[offset % len(kinds) :] + kinds[: offset % len(kinds)])
    while any(drawn.values()):
        write, when = next(turn)
        if drawn[write, when]:
            yield Point(write, drawn[write, when].pop(), when)  # type: ignore[arg-type]


def drawn(wholes: Mapping[Combo, Whole], kills: int, seed: int) -> list[tuple[Combo, Point]]:
    """So many kills, spread over all ways and over all kinds of writes."""
    order = random.Random(seed).sample(list(wholes), len(wholes))
    # Steps of 3 through the 16 or 4 kinds, so that neighbours in the matrix do not die of the same thing.
    supply = {
        one: points(wholes[one], one[2] in JOURNALLED, random.Random(f"{seed} {one}"), 3 * at + at // 16)
        for at, one in enumerate(order)
    }
    chosen: list[tuple[Combo, Point]] = []
    while supply and len(chosen) < kills:
        for one in order:
            if one in supply and len(chosen) < kills:
                if (point := next(supply[one], None)) is None:
                    del supply[one]
                else:
                    chosen.append((one, point))
    return chosen


def kill(stage: Stage, number: int, whole: Whole, combo: Combo, *points: Point) -> Kill:
    """Kill a run at a point, or at one in each of its lives, and go on with it."""
    name = f"kill-{number}-{os.getpid()}"
    life = stage.life(name, *combo)
    started = time.monotonic()

    records, deaths = [], 0
    ended = live(partial(doomed, life, points[0]), stage.folder)
    for at, point in enumerate((*points[1:], None), 2):
        if ended.error:
            break
        deaths += ended.killed
        records.append(live(life.recorded, stage.folder).value or [])
        ended = live(partial(doomed, replace(life, number=at), point), stage.folder)
    seconds = time.monotonic() - started
    paid = stage.truth.calls(name)
    broken = check(life, whole, paid, records, ended)
    stage.clear(name)
    return Kill(
        *combo,
        points[0],
        points[1] if len(points) > 1 else None,
        deaths,
        recorded=sum(map(len, records)),
        repeated=len(paid) - len({one.who for one in paid}),
        in_flight=sum(not one.answered for one in paid if one.life <= len(records)),
        broken=broken,
        seconds=seconds,
    )


def doomed(life: Life, point: Point | None) -> dict[str, Any]:
    """A life that ends at a point, if there is one."""
    if point is not None:
        watched(point)
    return life.live()


def campaign(stage: Stage, ways: Sequence[Combo], kills: int, seed: int, jobs: int = 1) -> list[Kill]:
    """Kill so many runs, in as many processes."""
    # What a run comes to is the same wherever it is kept, and about how often it writes, too.
    told = {(play, door in JOURNALLED): (play, store, door, durability) for play, store, door, durability in ways}
    known = {kind: stage.whole(*one) for kind, one in told.items()}
    wholes = {one: known[one[0], one[2] in JOURNALLED] for one in ways}
    chosen = drawn(wholes, kills, seed)

    def share(job: int) -> list[Any]:
        done = []
        for number in range(job, len(chosen), jobs):
            way, *deaths = chosen[number]
            if number % AGAIN == 0:
                deaths.append(_soon(way[2], random.Random(f"{seed} {number}")))
            done.append(asdict(kill(stage, number, wholes[way], way, *deaths)))
        return done

    workers = [begin(partial(share, job), stage.folder, patience=0) for job in range(jobs)]
    done: list[Kill] = []
    for worker in workers:
        ended = end(worker, stage.folder)
        assert ended.value is not None, ended.error
        for one in ended.value:
            again = Point(**one["again"]) if one["again"] else None
            done.append(Kill(**{**one, "point": Point(**one["point"]), "again": again}))
    return done


def _soon(door: Door, draw: random.Random) -> Point:
    """Where a second life ends, which may be short."""
    writes = BOUNDARIES if door in JOURNALLED else PLAIN_BOUNDARIES
    return Point(draw.choice(writes), draw.randint(1, 3), draw.choice(("before", "after")))


def table(kills: Sequence[Kill]) -> str:
    """Figures, by play and store."""
    rows = defaultdict[tuple[str, str], list[Kill]](list)
    for one in kills:
        rows[one.play, one.store].append(one)
    lines = ["play          store       kills  in flight  repeated  on record  broken  s/kill"]
    for (play, store), those in [*sorted(rows.items()), (("all", ""), list(kills))]:
        dead = sum(one.killed for one in those)
        seconds = sum(one.seconds for one in those) / max(1, len(those))
        lines.append(
            f"{play:14}{store:10}{dead:7}{sum(one.in_flight for one in those):11}"
            f"{sum(one.repeated for one in those):10}{sum(one.recorded for one in those):11}"
            f"{sum(bool(one.broken) for one in those):8}{seconds:8.2f}"
        )
    return "\n".join(lines)


def main() -> int:
    """The campaign from the command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=2000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--store", choices=get_args(Kind), action="append")
    arguments.add_argument("--play", choices=PLAYS, action="append")
    arguments.add_argument("--door", choices=DOORS, action="append")
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--json", action="store_true", help="one JSON object per kill")
    given = arguments.parse_args()
    warm()
    stores: list[Kind] = given.store or list(get_args(Kind))
    with staged(stores) as stage:
        ways = combos(given.play or list(PLAYS), stores, given.door or DOORS)
        kills = campaign(stage, ways, given.kills, given.seed, given.jobs)
    for one in kills:
        if given.json:
            print(json.dumps(asdict(one)))
        elif one.broken:
            print(f"{one.name}\n    " + "\n    ".join(one.broken))
    if not given.json:
        print(table(kills))
    return int(any(one.broken for one in kills))


if __name__ == "__main__":
    sys.exit(main())
