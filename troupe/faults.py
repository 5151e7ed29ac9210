"""The log of errors: every failed attempt of a run's calls, what was tried next, and what came of it in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from troupe.agents.contracts import FailureKind
from troupe.agents.journal import Journal, Row
from troupe.agents.loop import run_sync
from troupe.opening import opened
from troupe.store.base import Store


@dataclass(frozen=True, slots=True)
class Fault:
    """One failed attempt.

    Attributes:
        at: seconds since the epoch.
        run, turn, step: where; the step is a path, `outer/inner` when nested.
        agent: who failed, in whoever's place.
        purpose: `work`, `decide`, `review` or `undo`.
        attempt: of this agent, 1 for the first.
        kind: how the failure is classed; what may pass is tried again.
        error: the exception's class.
        message: secrets redacted, on one line.
        then: what was done next about this attempt; empty where it was the agent's last.
        by: who brought the call to a good end after all; empty where nobody did.
        usd: what the attempt cost; None where a price is unknown.
        seconds: how long it took.
        excerpt: the beginning of what was asked.
    """

    at: float
    run: str
    turn: int
    step: str
    agent: str
    purpose: str
    attempt: int
    kind: FailureKind
    error: str
    message: str
    then: str
    by: str
    usd: float | None
    seconds: float
    excerpt: str

    @property
    def recovered(self) -> bool:
        """Whether the call came to a good end after all."""
        return bool(self.by)

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**asdict(self), "recovered": self.recovered}


def error_log(run: str, *, db: str | Path | Store | None = None) -> list[Fault]:
    """Every failed attempt of a run, oldest first.

    Args:
        run: its id.
        db: where it is kept; see `arun`.

    Raises:
        UnknownRun: no such run.

    >>> from troupe import agent, run, scripted
    >>> model = scripted({"poet": [ConnectionError("nobody answers"), "verse"]})
    >>> done = run(agent("poet", "Write."), "a haiku", model=model, db="faults.db")
    >>> [(one.agent, one.kind, one.recovered) for one in error_log(done.run, db="faults.db")]
    [('poet', 'connection', True)]
    """
    return run_sync(aerror_log(run, db=db))


async def aerror_log(run: str, *, db: str | Path | Store | None = None) -> list[Fault]:
    """Every failed attempt of a run; see `error_log`."""
    async with opened(None, db) as books:
        await books.kept.last(run)
        rows = await books.kept.failures(f"{quote(run, safe='')}/")
        return await faults(rows, books.kept)


async def faults(rows: Sequence[Row], journal: Journal) -> list[Fault]:
    """Rows of failures as what they tell."""
    ends = {base: await journal.find(base) for base in {base_key(row.key) for row in rows}}
    return [_fault(row, ends[base_key(row.key)]) for row in rows]


def _fault(row: Row, end: Row | None) -> Fault:
    said: Mapping[str, Any] = row.received if isinstance(row.received, Mapping) else {}
    thread, turn, *_ = row.key.split("/")
    return Fault(
        at=row.started,
        run=unquote(thread),
        turn=int(turn) if turn.isdecimal() else 0,
        step=row.path,
        agent=row.agent,
        purpose=str(said.get("purpose", "")),
        attempt=int(said.get("attempt", 1)),
        kind=row.failure or "code",
        error=str(said.get("error", "")),
        message=str(said.get("message", "")),
        then=str(said.get("then", "")),
        by=end.agent if end is not None and not _failed(end) else "",
        usd=_usd(said.get("usd", row.usage.usd)),
        seconds=row.seconds,
        excerpt=str(said.get("excerpt", "")),
    )


def _failed(end: Row) -> bool:
    """Whether a call came to a deliverable that is none, as that of a team of which nobody delivered."""
    return isinstance(end.received, Mapping) and end.received.get("status") == "failed"


def _usd(said: Any) -> float | None:
    return float(said) if isinstance(said, int | float) else None


def base_key(key: str) -> str:
    """The key of the call that an attempt belongs to, in whoever's place it was made."""
    parts = key.split("/")[:-1]
    while parts and parts[-1].startswith("~"):
        parts.pop()
    return "/".join(parts)
