"""Single writer: several processes go on with one thread at once, and their holder may be paused past its lease.

    python -m tests.crash.leases [--rounds 200] [--seed 0] [--store sqlite] [--jobs 2]

A round is a run that was killed on its way, and 2 to 8 processes that all resume it. In a quarter of the rounds whoever
holds the lease then stops itself (SIGSTOP) at a write or call drawn at random; in another quarter nobody is killed, and
it is the process that began the run which stops. It is woken (SIGCONT) when others have taken over, or have even ended.
All must return the same result, the checkpoints must be one line, and no call may be made twice but those that were in
flight when their process was killed or paused. Exits with 1 if any of that is broken.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from tests.crash import recorder
from tests.crash.cast import PLAYS
from tests.crash.lives import (
    Door,
    Ended,
    Kind,
    Life,
    Point,
    begin,
    end,
    live,
    stores_there_are,
    told,
    warm,
    watched,
)
from tests.crash.recorder import Paid
from tests.crash.stage import Stage, Whole, staged
from troupe.agents.errors import Held
from troupe.store.leases import Leases

TERM = 1.0
"""Seconds that a lease lasts in a campaign."""
PAUSES = ("_reserve", "_record", "put", "put_writes", "_end", "call")
"""Where a holder may fall asleep; one that goes on with a run also when it has just got the lease."""


@dataclass(frozen=True)
class Round:
    """One round, and what came of it."""

    play: str
    store: str
    processes: int
    paused: str
    repeated: int = 0
    refused: int = 0
    takeover: float | None = None
    broken: Sequence[str] = field(default=())

    @property
    def name(self) -> str:
        """Enough to find it again."""
        return f"{self.play}, {self.store}, {self.processes} processes, paused: {self.paused or 'nobody'}"


# --- what a racer does ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pause:
    """Where the first holder falls asleep: before or after the `nth` write of a kind, or call."""

    point: Point
    flag: Path

    def here(self, when: str) -> None:
        """Fall asleep if nobody has yet."""
        if when == self.point.when:
            try:
                self.flag.touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGSTOP)


def sleepy(pause: Pause) -> None:
    """Have this process fall asleep at a write of its store, or at a call."""
    seen = Counter[str]()

    def here(when: str) -> None:
        seen[when] += 1
        if seen[when] == pause.point.nth:
            pause.here(when)

    def watch(write: Callable[..., Any]) -> Callable[..., Any]:
        def watching(*args: Any, **options: Any) -> Any:
            here("before")
            result = write(*args, **options)
            here("after")
            return result

        return watching

    paid = recorder.pay

    async def pay(*args: Any, **call: Any) -> None:
        here("before")
        await paid(*args, **call)
        here("after")

    if pause.point.write == "call":
        recorder.pay = pay
    for store in stores_there_are() if pause.point.write != "call" else ():
        setattr(store, pause.point.write, watch(getattr(store, pause.point.write)))


@dataclass
class Noted:
    """What a racer notes besides."""

    refused: int = 0
    acquired: list[float] = field(default_factory=list)

    def watch(self) -> None:
        """Note the writes that are refused because another has the lease, and when a lease is ours."""
        check, acquire = Leases._check, Leases._acquire

        def checked(store: Any, cursor: Any) -> None:
            try:
                check(store, cursor)
            except Held:
                self.refused += 1
                raise

        def acquired(store: Any, thread: str) -> Any:
            lease = acquire(store, thread)
            self.acquired.append(time.monotonic())
            return lease

        Leases._check = checked  # type: ignore[method-assign, assignment]
        Leases._acquire = acquired  # type: ignore[method-assign, assignment]


def racer(life: Life, pause: Pause | None) -> dict[str, Any]:
    """Go on with the run, or begin it in its first life."""
    noted = Noted()
    noted.watch()
    if pause is not None:
        sleepy(pause)
    return {"seen": life.live(), "refused": noted.refused, "acquired": noted.acquired}


def forks(life: Life) -> list[str]:
    """Checkpoints from which a history goes on twice."""
    store = life.place.open()
    try:
        found = store.list({"configurable": {"thread_id": life.run}})
        parents = Counter(
            f"{one.config['configurable']['checkpoint_ns']}/{one.parent_config['configurable']['checkpoint_id']}"
            for one in found
            if one.parent_config
        )
    finally:
        store.close()
    return [f"the history goes on {times} times from {parent}" for parent, times in parents.items() if times > 1]


def locked(life: Life) -> bool:
    """Whether a file is being written to, by somebody who takes their time."""
    if life.place.kind != "sqlite":
        return False
    try:
        with closing(sqlite3.connect(life.place.at, timeout=1.0, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    return False


# --- what is promised -------------------------------------------------------------------------------------------------


def check(
    whole: Whole,
    paid: Sequence[Paid],
    killed: int,
    at_kill: Sequence[str],
    overtaken: set[int],
    at_pause: Sequence[str],
) -> list[str]:
    """Which calls were doubled that need not have been: by lives that were neither killed nor overtaken."""
    lives: dict[str, Counter[int]] = defaultdict(Counter)
    for one in paid:
        lives[one.who][one.life] += 1
    then, later = ({one.who for one in paid if one.asked in there} for there in (at_kill, at_pause))
    broken = []
    for who, times in lives.items():
        if who in then and times.total() > 1:
            broken.append(f"{who} was on record when the run was killed, and asked again")
        if who in later and sum(count for number, count in times.items() if number != killed) > 1:
            broken.append(f"{who} was on record when its process was paused, and asked again")
        if sum(count for number, count in times.items() if number != killed and number not in overtaken) > 1:
            broken.append(f"{who} was asked twice by processes that nobody killed or overtook")
        if max(times.values()) > 1:
            broken.append(f"{who} was asked twice by one process")
    if missing := whole.who - set(lives):
        broken.append(f"calls were not made: {sorted(missing)}")
    return broken


# --- the campaign -----------------------------------------------------------------------------------------------------


@dataclass
class Race:
    """The processes of a round."""

    folder: Path
    lives: dict[int, Life] = field(default_factory=dict)
    ended: dict[int, Ended] = field(default_factory=dict)

    def start(self, lives: Sequence[Life], pause: Pause | None) -> None:
        """Start them, all at the same moment."""
        gate, start = os.pipe()
        for life in lives:
            self.lives[begin(partial(_at_once, gate, start, partial(racer, life, pause)), self.folder)] = life
        os.close(gate)
        os.close(start)

    def asleep(self) -> int:
        """The process that falls asleep, or 0 if all end without."""
        while len(self.ended) < len(self.lives):
            for pid in self.lives.keys() - self.ended.keys():
                found, status = os.waitpid(pid, os.WUNTRACED | os.WNOHANG)
                if found and os.WIFSTOPPED(status):
                    return pid
                if found:
                    self.ended[pid] = told(pid, status, self.folder)
            time.sleep(0.005)
        return 0

    def wait(self, but: int = 0) -> None:
        """Wait for all but one."""
        for pid in self.lives.keys() - self.ended.keys() - {but}:
            self.ended[pid] = end(pid, self.folder)

    def broken(self, whole: Whole) -> list[str]:
        """Whoever did not get the result."""
        count = len(self.lives)
        said = [(f"Process {self.lives[pid].number} of {count}", one) for pid, one in self.ended.items()]
        wrong = [f"{name} ended with: {one.error or 'a kill'}" for name, one in said if one.value is None]
        values = [(name, one.value["seen"]) for name, one in said if one.value is not None]
        return wrong + [f"{name} got {seen}, and not {whole.seen}" for name, seen in values if seen != whole.seen]


@dataclass(frozen=True)
class Sleep:
    """A process that fell asleep: what was on record then, and whether it left the database free for others."""

    pid: int = 0
    number: int = 0
    since: float = 0.0
    recorded: Sequence[str] = ()
    free: bool = True


AWAKE = Sleep()


def fallen_asleep(race: Race, life: Life) -> Sleep:
    """Wait until one has fallen asleep, or all have ended without."""
    if not (pid := race.asleep()):
        return AWAKE
    since, number = time.monotonic(), race.lives[pid].number
    if live(partial(locked, life), race.folder).value:
        return Sleep(pid, number, since, free=False)  # in the middle of a write: nobody else can give the file free
    recorded = live(life.recorded, race.folder).value
    # A lease that was renewed just before ends no sooner than that; what is read later may be somebody else's.
    soon = len(race.lives) == 1 or time.monotonic() - since < TERM / 2
    return Sleep(pid, number, since, recorded if soon else ())


def one_round(stage: Stage, number: int, whole: Whole, play: str, store: Kind, draw: random.Random) -> Round:
    """Have several processes resume one run that was killed on its way, or whose first process fell asleep."""
    life = stage.life(f"round-{number}-{os.getpid()}", play, store, "run", "sync")
    places = PAUSES if number % 4 == 3 else (*PAUSES, "_acquire")
    place = Point(draw.choice(places), draw.randint(1, 3), draw.choice(("before", "after")))
    pause = Pause(place, stage.folder / f"{life.run}.asleep") if number % 2 else None
    race, sleep, killed, at_kill = Race(stage.folder), AWAKE, 0, []
    if number % 4 == 3:
        race.start([life], pause)
        sleep, pause = fallen_asleep(race, life), None
    else:
        point = Point("_record", draw.randint(1, max(1, whole.writes["_record"] // 2)), "after")
        first = live(lambda: (watched(point), life.live()), stage.folder)
        if not first.killed:
            return Round(play, store, 0, "", broken=[f"It was not killed: {first.error or first.value}"])
        killed, at_kill = 1, live(life.recorded, stage.folder).value
    doors: list[Door] = [draw.choice(("run", "arun")) for _ in range(draw.randint(2, 8))]
    race.start([replace(life, number=2 + at, door=door) for at, door in enumerate(doors)], pause)
    if pause is not None:
        sleep = fallen_asleep(race, life)
    late = sleep.free and draw.random() < 0.3
    if sleep.pid:
        if late:
            race.wait(but=sleep.pid)
        else:
            time.sleep(max(0.0, sleep.since + draw.uniform(TERM, TERM + 1.5) - time.monotonic()))
        os.kill(sleep.pid, signal.SIGCONT)
    race.wait()
    paid = stage.truth.calls(life.run)
    # On a machine that is too busy a process may be late without having slept.
    late_ones = {race.lives[pid].number for pid, one in race.ended.items() if one.value and one.value["refused"]}
    broken = race.broken(whole)
    broken += check(whole, paid, killed, at_kill, {sleep.number, *late_ones}, sleep.recorded)
    broken += live(lambda: forks(life), stage.folder).value
    stage.clear(life.run)
    values = [one.value for one in race.ended.values() if one.value is not None]
    after = [at - sleep.since for one in values for at in one["acquired"] if sleep.pid and at > sleep.since]
    return Round(
        play,
        store,
        len(race.lives),
        f"process {sleep.number}{', until all others had ended' if late else ''}" if sleep.pid else "",
        repeated=len(paid) - len({one.who for one in paid}),
        refused=sum(one["refused"] for one in values),
        takeover=min(after, default=None),
        broken=broken,
    )


def _at_once(gate: int, start: int, act: Callable[[], Any]) -> Any:
    os.close(start)
    os.read(gate, 1)  # there is nothing to be read: it returns when the parent closes its end
    return act()


def campaign(stage: Stage, stores: Sequence[Kind], rounds: int, seed: int, jobs: int = 1) -> list[Round]:
    """So many rounds, in as many processes."""
    plays = [name for name, play in PLAYS.items() if play.answer is None]
    wholes = {play: stage.whole(play, "sqlite", "run", "sync") for play in plays}
    Leases.term = TERM

    def share(job: int) -> list[Any]:
        done = []
        for number in range(job, rounds, jobs):
            draw = random.Random(f"{seed} {number}")
            play, store = plays[number // 2 % len(plays)], stores[number // 2 % len(stores)]
            done.append(asdict(one_round(stage, number, wholes[play], play, store, draw)))
        return done

    workers = [begin(partial(share, job), stage.folder, patience=0) for job in range(jobs)]
    shares = [end(worker, stage.folder) for worker in workers]
    assert not any(one.error for one in shares), [one.error for one in shares]
    return [Round(**one) for share in shares for one in share.value]


def table(rounds: Sequence[Round]) -> str:
    """Figures, by store and whether somebody was paused."""
    lines = ["store       paused  rounds  processes  refused writes  repeated  broken  takeover p50, p95 (s)"]
    for store, paused in sorted({(one.store, bool(one.paused)) for one in rounds}):
        those = [one for one in rounds if (one.store, bool(one.paused)) == (store, paused)]
        took = sorted(one.takeover for one in those if one.takeover is not None)
        middle = f"{took[len(took) // 2]:.2f}, {took[int(len(took) * 0.95)]:.2f}" if took else ""
        lines.append(
            f"{store:12}{'yes' if paused else 'no':6}{len(those):8}{sum(one.processes for one in those):11}"
            f"{sum(one.refused for one in those):16}{sum(one.repeated for one in those):10}"
            f"{sum(bool(one.broken) for one in those):8}  {middle}"
        )
    return "\n".join(lines)


def main() -> int:
    """The campaign from the command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--jobs", type=int, default=1)
    arguments.add_argument("--store", choices=get_args(Kind), action="append")
    given = arguments.parse_args()
    warm()
    stores: list[Kind] = given.store or list(get_args(Kind))
    with staged(stores) as stage:
        rounds = campaign(stage, stores, given.rounds, given.seed, given.jobs)
    for one in rounds:
        if one.broken:
            print(f"{one.name}\n    " + "\n    ".join(one.broken))
    print(table(rounds))
    return int(any(one.broken for one in rounds))


if __name__ == "__main__":
    sys.exit(main())
