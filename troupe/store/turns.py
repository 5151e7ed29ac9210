"""What was asked of a thread, turn by turn, and how each ended."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from troupe.agents.contracts import NO_USAGE, Usage
from troupe.agents.errors import Blocked, UnknownRun
from troupe.signing import signature
from troupe.store.database import Cursor, Database

_COLUMNS = (
    "thread", "turn", "workflow", "reference", "task", "input", "models", "simulated", "budget", "deadline", "status",
    "reason", "usage", "started", "finished", "fingerprint", "signature",
)  # fmt: skip
_LISTED = ", ".join(_COLUMNS)


@dataclass(frozen=True, slots=True)
class Turn:
    """What is known of a turn of a run before, while and after it is worked on."""

    thread: str
    turn: int
    workflow: str
    task: str
    input: dict[str, Any]
    reference: str | None = None
    models: dict[str, str] | None = None
    simulated: bool = True
    budget: float | None = None
    deadline: float | None = None
    status: str = "running"
    reason: str | None = None
    usage: Usage = NO_USAGE
    started: float = 0.0
    finished: float | None = None
    fingerprint: dict[str, str] | None = None
    """By step, a digest of what it was when the turn began."""
    signature: str | None = None
    """Of thread, turn, reference and workflow, by the user who recorded them."""


class Turns(Database):
    """The table of turns."""

    async def begin(self, turn: Turn) -> Turn:
        """Record a new turn, before anything of it is done; gives it its number."""
        return await self.threaded(self._begin, turn)

    def _begin(self, turn: Turn) -> Turn:
        mark = uuid.uuid4().hex
        return self.write(lambda cursor: self._begun(cursor, turn, mark))

    def _begun(self, cursor: Cursor, turn: Turn, mark: str) -> Turn:
        query = "SELECT turn, started FROM troupe_turns WHERE thread = ? AND mark = ?"
        again = cursor.execute(query, (turn.thread, mark)).fetchone()
        if again is not None:  # it was recorded, and only the answer of the database got lost
            return replace(turn, turn=again[0], started=again[1])
        query = "SELECT COALESCE(MAX(turn), 0) + 1 FROM troupe_turns WHERE thread = ?"
        (number,) = cursor.execute(query, (turn.thread,)).fetchone()
        turn = replace(turn, turn=number, started=self.now(cursor))
        query = "SELECT turn FROM troupe_turns WHERE thread = ? AND status IN ('running', 'waiting')"
        for (open_,) in cursor.execute(query, (turn.thread,)).fetchall():
            why = self.seal("A new turn began.", _place(turn.thread, open_, "reason"))
            query = "UPDATE troupe_turns SET status = 'stopped', reason = ? WHERE thread = ? AND turn = ?"
            cursor.execute(query, (why, turn.thread, open_))
        turn = replace(turn, signature=signature(turn.thread, turn.turn, turn.reference, turn.workflow))
        place = (turn.thread, turn.turn)
        values = (
            turn.thread, turn.turn, turn.workflow, turn.reference, self.seal(turn.task, _place(*place, "task")),
            self.pack(turn.input, _place(*place, "input")), self.pack(turn.models, _place(*place, "models")),
            int(turn.simulated), turn.budget, turn.deadline, turn.status,
            self.seal(turn.reason, _place(*place, "reason")), turn.usage.model_dump_json(), turn.started,
            turn.finished, self.pack(turn.fingerprint, _place(*place, "fingerprint")), turn.signature, mark,
        )  # fmt: skip
        marks = ", ".join("?" * len(values))
        cursor.execute(f"INSERT INTO troupe_turns ({_LISTED}, mark) VALUES ({marks})", values)  # noqa: S608
        return turn

    async def end(self, turn: Turn, status: str, reason: str | None, usage: Usage) -> None:
        """Record how far a turn came."""
        await self.threaded(self._end, turn, status, reason, usage)

    def _end(self, turn: Turn, status: str, reason: str | None, usage: Usage) -> None:
        def act(cursor: Cursor) -> None:
            finished = None if status in ("running", "waiting", "stopped") else self.now(cursor)
            why = self.seal(reason, _place(turn.thread, turn.turn, "reason"))
            cursor.execute(
                "UPDATE troupe_turns SET status = ?, reason = ?, usage = ?, finished = ? WHERE thread = ? AND turn = ?",
                (status, why, usage.model_dump_json(), finished, turn.thread, turn.turn),
            )

        self.write(act)

    async def refingerprint(self, turn: Turn) -> None:
        """Record with what graph a turn goes on."""

        def act(cursor: Cursor) -> None:
            lines = self.pack(turn.fingerprint, _place(turn.thread, turn.turn, "fingerprint"))
            query = "UPDATE troupe_turns SET fingerprint = ? WHERE thread = ? AND turn = ?"
            cursor.execute(query, (lines, turn.thread, turn.turn))

        await self.threaded(self.write, act)

    async def turns(self, thread: str | None = None) -> list[Turn]:
        """The turns of a thread, oldest first; without one the last turn of every thread, newest first."""
        args: tuple[str, ...] = ()
        if thread is not None:
            query, args = f"SELECT {_LISTED} FROM troupe_turns WHERE thread = ? ORDER BY turn", (thread,)  # noqa: S608
        else:
            query = (
                f"SELECT {_LISTED} FROM troupe_turns t WHERE turn = "  # noqa: S608
                "(SELECT MAX(turn) FROM troupe_turns WHERE thread = t.thread) ORDER BY started DESC"
            )
        return [self._turn(one) for one in await self.threaded(self.rows_of, query, args)]

    async def ended(self, workflow: str | None, simulated: bool, limit: int) -> list[Turn]:
        """The newest turns that came to an end, of one workflow or of all; simulated ones only where wanted."""
        query = f"SELECT {_LISTED} FROM troupe_turns WHERE status IN ('completed', 'partial', 'failed')"  # noqa: S608
        args: list[Any] = []
        if workflow is not None:
            query, args = f"{query} AND workflow = ?", [workflow]
        query += "" if simulated else " AND simulated = 0"
        query += " ORDER BY started DESC, thread, turn DESC LIMIT ?"
        return [self._turn(one) for one in await self.threaded(self.rows_of, query, (*args, limit))]

    async def last(self, thread: str) -> Turn:
        """The last turn of a thread.

        Raises:
            UnknownRun: there is none.
        """
        query = f"SELECT {_LISTED} FROM troupe_turns WHERE thread = ? ORDER BY turn DESC LIMIT 1"  # noqa: S608
        rows = await self.threaded(self.rows_of, query, (thread,))
        if not rows:
            raise UnknownRun(f"There is no run {thread!r} in {self.path}. See those that there are with: troupe runs")
        return self._turn(rows[0])

    def _turn(self, row: Sequence[Any]) -> Turn:
        values = dict(zip(_COLUMNS, row, strict=True))
        place = (values["thread"], values["turn"])
        for name in ("input", "models", "fingerprint"):
            values[name] = self.unpack(values[name], _place(*place, name))
        for name in ("task", "reason"):
            values[name] = self.unseal(values[name], _place(*place, name))
        try:
            values["usage"] = Usage.model_validate_json(values["usage"])
        except (ValidationError, TypeError):
            raise Blocked(f"{self.path}: {_place(*place, 'usage')} cannot be read.") from None
        if not isinstance(values["input"], dict):
            raise Blocked(f"{self.path}: {_place(*place, 'input')} is no input of a team.")
        values["simulated"] = bool(values["simulated"])
        return Turn(**values)


def _place(thread: str, turn: int, column: str) -> str:
    return f"turn {turn} of thread {thread!r}, {column}"
