"""Deleting runs: what will go is said, and asked about, before it goes."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from troupe.cli import output
from troupe.cli.books import must_exist
from troupe.view.words import counted, size

if TYPE_CHECKING:
    from troupe.retention import Removed


def delete_run(run: str, db: str | None, sure: bool, as_json: bool) -> None:
    """One run, whole."""
    from troupe.retention import adelete

    must_exist(db, run)
    _ask(f"Delete run {run}, and all that was recorded of it?", sure)
    _show(asyncio.run(adelete(run, db=db)), as_json, dry_run=False)


def prune_runs(older_than: str, db: str | None, dry_run: bool, sure: bool, as_json: bool) -> None:
    """All runs that nobody has worked on for a while."""
    from troupe.caching import prune_cache
    from troupe.checkpoints import default_place, is_missing
    from troupe.retention import Removed, aprune, duration

    seconds, place = duration(older_than), db or default_place()
    if is_missing(place):
        _show(Removed(), as_json, dry_run)
        return
    found = asyncio.run(aprune(seconds, db=db, dry_run=True))
    if dry_run or not found.runs:
        if not dry_run:
            prune_cache(str(place))
        _show(found, as_json, dry_run)
        return
    them = "it" if len(found.runs) == 1 else "them"
    _ask(f"Delete {counted(len(found.runs), 'run')} ({size(found.bytes)}), and all that was recorded of {them}?", sure)
    _show(asyncio.run(aprune(seconds, db=db)), as_json, dry_run=False)


def _ask(question: str, sure: bool) -> None:
    from troupe.agents.errors import SettingsError

    if sure:
        return
    if not sys.stdin.isatty():
        raise SettingsError(f"{question} Nobody is there to say so; give --yes.")
    output.note(f"{question} [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        output.note("Nothing was deleted.")
        sys.exit(1)


def _show(removed: Removed, as_json: bool, dry_run: bool) -> None:
    if as_json:
        kept = {"held": list(removed.held), "freed": removed.freed, "dry_run": dry_run}
        output.as_json({"runs": list(removed.runs), "bytes": removed.bytes, **kept})
        return
    for run in removed.runs:
        output.out(run)
    what = "would be deleted" if dry_run else "deleted"
    freed = f"; the database is {size(removed.freed)} smaller" if removed.freed else ""
    output.note(f"{counted(len(removed.runs), 'run')} {what}, {size(removed.bytes)}{freed}")
    if removed.held:
        output.note(f"left, as somebody works on them: {', '.join(removed.held)}")
