"""What failed: in one run, attempt by attempt; or over all of them, by agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from troupe.cli import output
from troupe.cli.books import must_exist, opened
from troupe.view.words import counted, duration, line, money

if TYPE_CHECKING:
    from troupe.faults import Fault


def show(run: str | None, db: str | None, as_json: bool) -> None:
    """The log of errors of a run; without one, who fails and on what."""
    if run is None:
        _show_tally(db, as_json)
        return
    must_exist(db, run)
    found = asyncio.run(_faults(run, db))
    if as_json:
        output.as_json({"run": run, "errors": [one.to_json() for one in found]})
    elif not found:
        output.note("Nothing failed in this run.")
    else:
        output.table(
            ["TIME", "STEP", "AGENT", "TRY", "KIND", "THEN", "TOOK", "USD", "ERROR"],
            [_cells(one) for one in found],
            spare=("USD", "TOOK", "TIME"),
        )
        lost = sum(not one.recovered for one in found)
        output.note(f"{counted(len(found), 'failed attempt')}, {lost} of them in calls that came to no good end")


async def _faults(run: str, db: str | None) -> list[Fault]:
    from troupe.faults import faults

    async with opened(db) as store:
        assert store is not None  # noqa: S101 - must_exist() was asked before
        await store.last(run)  # says so if there is none
        return await faults(await store.failures(f"{quote(run, safe='')}/"), store)


def _cells(one: Fault) -> tuple[str, ...]:
    then = one.then or (f"{one.by} did it" if one.by else "given up")
    at = time.strftime("%H:%M:%S", time.localtime(one.at))
    return (
        at, one.step, one.agent, str(one.attempt), one.kind, then, duration(one.seconds), money(one.usd),
        line(one.message),
    )  # fmt: skip


def _show_tally(db: str | None, as_json: bool) -> None:
    rows = [_rated(agent, counts) for agent, counts in sorted(asyncio.run(_tally(db)).items()) if agent]
    rows = sorted((one for one in rows if one["failures"]), key=lambda one: (-one["rate"], one["agent"]))
    if as_json:
        output.as_json({"agents": rows})
    elif not rows:
        output.note("Nobody has failed in the runs that are kept.")
    else:
        output.table(
            ["AGENT", "CALLS", "FAILED", "RATE", "ON WHAT"],
            [
                (
                    one["agent"],
                    str(one["calls"]),
                    str(sum(one["failures"].values())),
                    f"{one['rate']:.0%}",
                    ", ".join(f"{kind} {count}" for kind, count in one["failures"].items()),
                )
                for one in rows
            ],
        )


async def _tally(db: str | None) -> Mapping[str, Mapping[str, int]]:
    async with opened(db) as store:
        return {} if store is None else await store.tally()


def _rated(agent: str, counts: Mapping[str, int]) -> dict[str, Any]:
    failures = {kind: number for kind, number in sorted(counts.items()) if kind != "outcome"}
    attempts = counts.get("outcome", 0) + sum(failures.values())
    rate = sum(failures.values()) / attempts if attempts else 0.0
    return {"agent": agent, "calls": counts.get("outcome", 0), "failures": failures, "rate": round(rate, 4)}
