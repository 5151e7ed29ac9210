"""What a kill costs: outputs lost, calls made twice, and the time until another process has taken over.

Runs of every pattern are killed (SIGKILL) before and after writes of their store, drawn at random, and gone on with by
another process; a recorder in a process of its own knows every call that was paid for. Ours is `run` and `arun`, with
the journal. Beside it, with the same teams and the same database: LangGraph's own `invoke`, whose checkpoints know
what nodes have ended, but not what was asked inside of them.

A takeover is measured from the death of a holder (or from when it was stopped for good, and had to lose its lease by
expiry) to the moment at which a process that had been waiting for it holds the lease. The lease is set to 2 s here;
users have 15 s. `make crash` is the whole campaign.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from _bench import Aim, Options, Report, Spread, options

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.crash.cast import PLAYS
from tests.crash.kills import Kill, campaign, combos
from tests.crash.leases import Noted
from tests.crash.lives import Door, begin, end, warm
from tests.crash.stage import Stage, staged
from troupe.store.leases import Leases

SEED = 11
TERM = 2.0
OURS: tuple[Door, ...] = ("run", "arun")
BARE: tuple[Door, ...] = ("invoke", "ainvoke")
LOST, REPEATED, IN_FLIGHT = "outputs lost per kill", "recorded calls repeated per kill", "calls repeated per kill"
SECONDS, DIED, EXPIRED = "seconds per kill", "takeover after a death", "takeover after expiry"


def killed(stage: Stage, doors: Sequence[Door], count: int) -> list[Kill]:
    """So many kills through these doors."""
    kills = campaign(stage, combos(list(PLAYS), ["sqlite"], doors), count, SEED)
    return [one for one in kills if one.killed]


def takeover(stage: Stage, number: int, expires: bool, draw: random.Random) -> float:
    """Seconds from the end of a holder to its successor's lease."""
    life = stage.life(f"takeover-{number}", "sequential", "sqlite", "run", "sync")
    stuck = begin(replace(life, longest=3600.0).live, stage.folder, patience=120)
    while not stage.truth.calls(life.run):
        time.sleep(0.005)

    def wait() -> float:
        noted = Noted()
        noted.watch()
        replace(life, number=2).live()
        return noted.acquired[0]

    heir = begin(wait, stage.folder, patience=120)
    time.sleep(draw.uniform(0.5, 2.5))  # by then it waits
    os.kill(stuck, signal.SIGSTOP if expires else signal.SIGKILL)
    ended = time.monotonic()
    if not expires:
        end(stuck, stage.folder)
    took = end(heir, stage.folder)
    assert took.value is not None, took.error
    if expires:
        os.kill(stuck, signal.SIGKILL)
        end(stuck, stage.folder)
    return float(took.value - ended)


def takeovers(stage: Stage, count: int, expires: bool) -> list[float]:
    """So many, several at once: most of their time is waiting."""
    Leases.term = TERM
    jobs = min(4, count)

    def share(job: int) -> list[float]:
        draw = random.Random(f"{SEED} {job}")  # noqa: S311 - moments, not secrets
        return [takeover(stage, 1000 * expires + one, expires, draw) for one in range(job, count, jobs)]

    workers = [begin(partial(share, job), stage.folder, patience=0) for job in range(jobs)]
    shares = [end(worker, stage.folder) for worker in workers]
    assert not any(one.error for one in shares), [one.error for one in shares]
    return [took for one in shares for took in one.value]


def measure(given: Options) -> Report:
    """Kill, and see."""
    count, waits = (6, 2) if given.once else (36, 8) if given.quick else (400, 40)
    warm()
    with staged(["sqlite"]) as stage:
        ours, bare = killed(stage, OURS, count), killed(stage, BARE, count // 2)
        died, expired = takeovers(stage, waits, False), takeovers(stage, 1 if given.once else max(4, waits // 4), True)
    broken = [why for one in ours for why in one.broken]
    report = Report("durability", {"kills": len(ours), "kills beside": len(bare), "takeovers": waits}, [SEED])
    report.figures = {
        LOST: Spread.of([float(sum("on record" not in why for why in one.broken)) for one in ours], "outputs"),
        REPEATED: Spread.of([float(sum("on record" in why for why in one.broken)) for one in ours], "calls"),
        IN_FLIGHT: Spread.of([float(one.repeated) for one in ours], "calls"),
        SECONDS: Spread.of([one.seconds for one in ours], "s"),
        DIED: Spread.of(died, "s"),
        EXPIRED: Spread.of(expired, "s"),
    }
    report.anchors = {
        f"{IN_FLIGHT}, LangGraph's own": Spread.of([float(one.repeated) for one in bare], "calls"),
        f"{SECONDS}, LangGraph's own": Spread.of([one.seconds for one in bare], "s"),
    }
    lost = sum(bool(one.broken) for one in ours)
    report.aims = {
        "nothing recorded is lost or asked again, in all kills": Aim(LOST, float(lost), 0.0, "kills"),
        "95% of takeovers after a death": Aim(DIED, sorted(died)[int(0.95 * (len(died) - 1))], 1.0, "s"),
        "95% of takeovers after expiry": Aim(EXPIRED, sorted(expired)[int(0.95 * (len(expired) - 1))], TERM + 2, "s"),
    }
    total = sum(one.repeated for one in ours)
    said = f"{len(ours)} kills: {lost} broke a promise; {total} calls that had no record yet were made once more"
    report.notes = [said, *broken[:5], f"LangGraph's own, in {len(bare)}: {sum(one.repeated for one in bare)} calls"]
    return report


if __name__ == "__main__":
    asked = options(__doc__)
    measure(asked).show(asked)
