"""A campaign of kills: a run is killed at every boundary of its database, then gone on with by another process.

One parent imports everything and forks a child for each life of a run, so that a life costs milliseconds. The loopback
server's log is the ground truth of paid calls. Prints one JSON line per kill.

    python -m tests.support.campaign --folder F --log server.jsonl [--team parallel] [--durability async] [--steps 3]
        [--every 1]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import langchain_openai  # noqa: F401 - imported before the forks

from troupe import Brief, StoreError, agent, parallel, resume, run, sequential
from troupe.agents.money.prices import known
from troupe.graphs.team import TeamGraph
from troupe.sqlite import SqliteStore
from troupe.underway import Durability

# Everything that the store writes; a kill comes before or after the n-th of them.
BOUNDARIES = ("put", "put_writes", "_reserve", "_record", "_begin", "_end", "_acquire", "_release")
MODEL = "openai:gpt-4o-mini"


def team(steps: int) -> TeamGraph:
    """A chain whose answers tell which step they are of."""
    return sequential(*(agent(f"step-{number}", f"You are step-{number}.") for number in range(1, steps + 1)))


async def joined(brief: Brief) -> str:
    """What the branches of a fan-out delivered."""
    return ", ".join(brief.deliverables[name].content for name in brief.needs)


def fan_out(steps: int) -> TeamGraph:
    """The same agents at once."""
    return parallel(
        *(agent(f"step-{number}", f"You are step-{number}.") for number in range(1, steps + 1)), merge=joined
    )


TEAMS = {"sequential": team, "parallel": fan_out}


def count_writes(kill_at: int, when: str) -> list[str]:
    """Count what the store writes, and die at the `kill_at`-th (0 for never)."""
    written: list[str] = []

    def watched(name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def watch(self: SqliteStore, *args: Any, **options: Any) -> Any:
            written.append(name)
            dies = len(written) == kill_at
            if dies and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = write(self, *args, **options)
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return watch

    for name in BOUNDARIES:
        setattr(SqliteStore, name, watched(name, getattr(SqliteStore, name)))
    return written


def live(act: Callable[[], Any], out: Path) -> bool:
    """Do something in a child; its result is written to `out`. False if it was killed."""
    pid = os.fork()
    if pid:
        return not os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    try:
        out.write_text(json.dumps(act()))
    except BaseException:  # noqa: BLE001 - a child must never go on as its parent
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def first_life(db: Path, steps: int, durability: Durability, kill_at: int, when: str) -> list[str]:
    written = count_writes(kill_at, when)
    run(team(steps), "the task", model=MODEL, db=db, thread="T", durability=durability)
    return written


def second_life(db: Path, steps: int, durability: Durability) -> dict[str, Any]:
    try:
        result = resume("T", target=team(steps), db=db, durability=durability)
    except StoreError:  # killed before the request was recorded, and so before the run's id was known to anyone
        result = run(team(steps), "the task", model=MODEL, db=db, thread="T", durability=durability)
    contents = {name: done.content for name, done in result.deliverables.items()}
    return {"status": result.status, "contents": contents, "calls": result.usage.calls}


def paid(log: Path, since: int) -> Counter[str]:
    """How often the server was asked, by whom (the first line of the system prompt), since so many lines of its log."""
    lines = [json.loads(line) for line in log.read_text().splitlines()[since:]]
    return Counter(line["system"].partition("\n")[0] for line in lines if line["event"] == "received")


def recorded(db: Path) -> list[str]:
    """Who has an answer in the journal."""
    try:
        with sqlite3.connect(db) as connection:
            rows = connection.execute("SELECT sent FROM troupe_journal WHERE kind = 'request'").fetchall()
    except sqlite3.OperationalError:  # killed before there were tables
        return []
    return [json.loads(sent)["messages"][0]["data"]["content"].partition("\n")[0] for (sent,) in rows]


def main() -> None:
    global team
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--team", choices=TEAMS)
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--log", type=Path, required=True)
    arguments.add_argument("--durability", choices=("sync", "async"), default="sync")
    arguments.add_argument("--steps", type=int, default=3)
    arguments.add_argument("--every", type=int, default=1)
    given = arguments.parse_args()
    team = TEAMS.get(given.team, team)
    known("gpt-4o-mini", "openai")  # reads the price table before the forks
    out = given.folder / "out.json"
    live(lambda: first_life(given.folder / "whole.db", given.steps, given.durability, 0, ""), out)
    boundaries = json.loads(out.read_text())
    for number in range(1, len(boundaries) + 1, given.every):
        for when in ("before", "after"):
            db = given.folder / f"{number}-{when}.db"
            before = len(given.log.read_text().splitlines())
            survived = live(lambda: first_life(db, given.steps, given.durability, number, when), out)  # noqa: B023
            kept = recorded(db)
            live(lambda: second_life(db, given.steps, given.durability), out)  # noqa: B023
            ended = json.loads(out.read_text())
            out.unlink()
            kill = {"at": boundaries[number - 1], "number": number, "when": when, "killed": not survived}
            asked = paid(given.log, before)
            print(json.dumps({**kill, **ended, "recorded": kept, "asked": asked}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
