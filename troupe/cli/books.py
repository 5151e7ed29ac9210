"""The runs that are kept, as tables and one by one. Nothing is called, and no database is made only to look into it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from troupe.cli import output
from troupe.cli.ending import Ending
from troupe.view.words import counted, duration, line, money, size

if TYPE_CHECKING:
    from troupe.result import Result
    from troupe.store.base import Store
    from troupe.store.turns import Turn

T = TypeVar("T")


@asynccontextmanager
async def opened(db: str | None) -> AsyncIterator[Store | None]:
    """The database, or None where there is none yet."""
    from troupe.checkpoints import default_place, is_missing, store_at

    place = db or default_place()
    if is_missing(place):
        yield None
        return
    store = await asyncio.to_thread(store_at, place)
    try:
        yield store
    finally:
        await asyncio.to_thread(store.close)


def must_exist(db: str | None, run: str) -> None:
    """Refuse to look for a run in a database that is not there.

    Raises:
        UnknownRun: there is none.
    """
    from troupe.agents.errors import UnknownRun
    from troupe.checkpoints import default_place, is_missing

    place = db or default_place()
    if is_missing(place):
        raise UnknownRun(f"There is no run {run!r}: there is no database {place} yet. Is another one meant (--db)?")


def is_kept(run: str, db: str | None) -> bool:
    """Whether there is such a run."""

    async def found() -> bool:
        async with opened(db) as store:
            return store is not None and bool(await store.turns(run))

    return asyncio.run(found())


def read(work: Coroutine[Any, Any, T]) -> T:
    """The end of something that only reads; users' code that it imports cannot reach standard output."""
    from troupe.cli.running import reserved

    with reserved():
        return asyncio.run(work)


# --- all runs -------------------------------------------------------------------------------------------------------


def show_runs(db: str | None, as_json: bool) -> None:
    """The last turn of every run, newest first, and what they take up."""
    rows, sizes, whole = asyncio.run(_measured(db))
    if as_json:
        runs = [{**turn_json(turn, status), "bytes": sizes.get(turn.thread, 0)} for turn, status in rows]
        output.as_json({"runs": runs, "bytes": sum(sizes.values()), "database_bytes": whole})
    elif not rows:
        output.note("There are no runs yet. Begin with: troupe run sequential 'TASK'")
    else:
        output.table(
            ["RUN", "WORKFLOW", "TURN", "STATUS", "STARTED", "TOOK", "USD", "SIZE", "TASK"],
            [
                (turn.thread, turn.workflow, *cells, size(sizes.get(turn.thread, 0)), task)
                for turn, status in rows
                for *cells, task in [_cells(turn, status)]
            ],
            spare=("STARTED", "TURN", "TOOK", "SIZE"),
        )
        output.note(f"{counted(len(rows), 'run')}, {size(sum(sizes.values()))} in a database of {size(whole)}")


async def _measured(db: str | None) -> tuple[list[tuple[Turn, str]], Mapping[str, int], int]:
    from troupe.looking import standing

    async with opened(db) as store:
        if store is None:
            return [], {}, 0
        turns = [(await _paid(store, turn), await standing(store, turn)) for turn in await store.turns()]
        return turns, await store.sizes(), await store.threaded(store.size)


def show_history(run: str, db: str | None, as_json: bool) -> None:
    """Every turn of a run, oldest first."""
    must_exist(db, run)
    rows = asyncio.run(_turns(db, run))
    if as_json:
        output.as_json({"run": run, "turns": [turn_json(turn, status) for turn, status in rows]})
    else:
        output.table(
            ["TURN", "STATUS", "STARTED", "TOOK", "USD", "TASK"], [_cells(turn, status) for turn, status in rows]
        )


async def _turns(db: str | None, run: str) -> list[tuple[Turn, str]]:
    from troupe.looking import standing

    async with opened(db) as store:
        assert store is not None  # noqa: S101 - must_exist() was asked before
        await store.last(run)  # says so if there is none
        turns = await store.turns(run)
        return [(await _paid(store, turn), await standing(store, turn)) for turn in turns]


async def _paid(store: Store, turn: Turn) -> Turn:
    """The turn with what it cost so far: that is written at its end, and the journal knows it before."""
    from troupe.looking import root_of

    return replace(turn, usage=await store.spent(root_of(turn))) if turn.status == "running" else turn


def turn_json(turn: Turn, status: str) -> dict[str, Any]:
    """A turn as plain data."""
    from troupe.result import usage_json

    return {
        "run": turn.thread,
        "turn": turn.turn,
        "workflow": turn.workflow,
        "status": status,
        "reason": turn.reason,
        "task": turn.task,
        "models": turn.models,
        "simulated": turn.simulated,
        "started": turn.started,
        "finished": turn.finished,
        "usage": usage_json(turn.usage),
    }


def _cells(turn: Turn, status: str) -> tuple[str, ...]:
    ended = turn.finished or (time.time() if status == "running" else None)
    return (
        str(turn.turn),
        status,
        _clock(turn.started),
        duration(ended - turn.started) if ended else "-",
        "simulated" if turn.simulated else money(turn.usage.usd),
        line(turn.task, 200),
    )


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


# --- one run --------------------------------------------------------------------------------------------------------


def show_run(run: str, db: str | None, as_json: bool) -> None:
    """A run's last turn: its steps, its answer, and what can be done now."""
    must_exist(db, run)
    result, turn = read(_standing(db, run))
    if as_json:
        known = {"started": turn.started, "finished": turn.finished, "models": turn.models}
        output.as_json({**result.to_json(), **known})
        return
    models = "simulated" if result.simulated else ", ".join(sorted(set((turn.models or {"": "?"}).values())))
    facts = {
        "run": f"{result.run}{f', turn {result.turn}' if result.turn > 1 else ''}",
        "workflow": result.workflow,
        "task": line(result.task, 500),
        "status": result.status,
        "model": models,
        "started": _clock(turn.started) + (f", took {duration(turn.finished - turn.started)}" if turn.finished else ""),
    }
    for label, text in facts.items():
        output.out(f"{label:<11}{text}")
    output.out("")
    _show_steps(result)
    _show_record(result)
    if result.answer and result.status not in ("waiting", "stopped"):
        output.out(f"\n{result.answer}\n")
    ending = Ending(db)
    for text in [*ending.account(result), *ending.next(result)]:
        output.out(text)
    if result.deliverables:
        step = next(iter(result.deliverables))
        output.note(f"\nSee what was sent and received: {ending.command('show', result.run, step)}")
        output.note(f"All of it as a page: {ending.command('report', result.run, '-o', 'run.html')}")


def _show_steps(result: Result) -> None:
    from troupe.result import flat

    rows = []
    for path, done in flat(result.deliverables).items():
        score = "" if done.score is None else f"{done.score:.2f}"
        usd = "-" if result.simulated else money(done.usage.usd)
        said = done.reason.message if done.reason else done.content
        calls = f"{done.usage.calls}{f' +{done.usage.cached} cached' if done.usage.cached else ''}"
        used = (str(done.rounds), score, calls, duration(done.usage.seconds), usd)
        rows.append((path, done.agent, done.status, *used, line(said, 200)))
    header = ["STEP", "AGENT", "STATUS", "ROUND", "SCORE", "CALLS", "TOOK", "USD", ""]
    if not rows:
        output.out("nothing is delivered yet")
        return
    output.table(header, rows, spare=("AGENT", "CALLS", "TOOK", "ROUND"))


def _show_record(result: Result) -> None:
    """What the pattern kept besides: conflicts and their rulings, assignments and why, criteria, ..."""
    from troupe.agents.contracts import Kept

    for name, kept in result.record.items():
        lines = [one.line() for one in kept.values() if isinstance(one, Kept)]
        if lines:
            output.out(f"\n{name.replace('_', ' ')}")
        for text in lines:
            output.out(f"- {line(text, 500)}")


async def _standing(db: str | None, run: str) -> tuple[Result, Turn]:
    """A run as its graph sees it; where that cannot be imported, as the books do."""
    from troupe.agents.errors import StoreError, TroupeError
    from troupe.doors import ainspect
    from troupe.looking import recorded

    async with opened(db) as store:
        assert store is not None  # noqa: S101 - must_exist() was asked before
        turn = await store.last(run)
        try:
            return await ainspect(run, db=store), turn
        except StoreError:
            raise
        except TroupeError as error:
            output.note(f"What ran cannot be imported here, so this is what the journal holds. {error}")
            return await recorded(store, turn), turn
