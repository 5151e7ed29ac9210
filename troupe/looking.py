"""A stored run as a view: the journal and the last checkpoint, read back as the events that made them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from troupe.agents.contracts import NO_USAGE as _NOTHING
from troupe.agents.contracts import Decision, Deliverable, Judgement, Reason
from troupe.agents.errors import InputError, SettingsError, StoreError, TroupeError, UnknownRun
from troupe.agents.events import (
    Answered,
    Attempt,
    Event,
    Judged,
    Planned,
    Recovered,
    Requested,
    Rerouted,
    RunStarted,
    StepFinished,
    StepStarted,
    Waiting,
)
from troupe.agents.journal import Row
from troupe.agents.loop import run_sync
from troupe.agents.roles import Role
from troupe.agents.roster import known_roles
from troupe.catalogue import resolve
from troupe.doors import ainspect
from troupe.faults import base_key
from troupe.graphs.asking import read_answer
from troupe.opening import opened
from troupe.questions import read_question
from troupe.result import Result, flat
from troupe.store.base import Store
from troupe.store.turns import Turn
from troupe.underway import planned
from troupe.view.picture import graph_of
from troupe.view.report import page
from troupe.view.runview import RunView
from troupe.view.words import counted


def view_of(run: Result | str, **options: Any) -> RunView:
    """A stored run as a view; see `aview`."""
    return run_sync(aview(run, **options))


async def aview(
    run: Result | str, *, db: str | Path | Store | None = None, target: Any = None, turn: int | None = None
) -> RunView:
    """A stored run as a view, finished or not; give it to `listeners` to see how the run goes on.

    Args:
        run: its id, or a result.
        db: where it is kept; see `arun`.
        target: what ran, if it was built in code that cannot be imported.
        turn: which one; by default the last. Of earlier turns there is what the journal holds.

    Raises:
        UnknownRun: no such run.
    """
    name = run if isinstance(run, str) else run.run
    async with opened(None, db) as books:
        store = books.kept
        last = await store.last(name)
        number = turn or (last.turn if isinstance(run, str) else run.turn)
        chosen = next((one for one in await store.turns(name) if one.turn == number), None)
        if chosen is None:
            raise InputError(f"Run {name} has {counted(last.turn, 'turn')} and no turn {number}.")
        steps, drawing = tuple[Planned, ...](), None
        result = await recorded(store, chosen)
        if chosen.turn == last.turn:
            try:
                result = await ainspect(name, target=target, db=store)
                team = resolve(target if target is not None else chosen.reference).team
                steps, drawing = planned(team), graph_of(team)
            except StoreError:
                raise
            except TroupeError:  # what ran cannot be imported here: the journal holds what it holds
                result = run if isinstance(run, Result) else result
        rows = await store.rows(f"{root_of(chosen)}/")
    view = RunView()
    view.drawing = drawing
    for event in events_of(chosen, rows, result, steps):
        view(event)
    view.settle(result)
    if result.status != "running":
        view.ended = chosen.finished or view.last
    return view


def report(run: RunView | Result | str, path: str | Path, **options: Any) -> Path:
    """Write a run into one HTML file that needs nothing else; see `areport`."""
    return run_sync(areport(run, path, **options))


async def areport(
    run: RunView | Result | str,
    path: str | Path,
    *,
    db: str | Path | Store | None = None,
    target: Any = None,
    turn: int | None = None,
) -> Path:
    """Write a run into one HTML file that needs nothing else, as it stands: graph, timeline, costs, verdicts, words.

    Args:
        run: its id, its result, or a view of it.
        path: the file; one that is there is written over.
        db, target, turn: see `aview`.

    Returns:
        The file.

    Raises:
        UnknownRun: no such run.
        SettingsError: the file cannot be written.
    """
    if isinstance(run, RunView):
        view = run
    else:
        try:
            view = await aview(run, db=db, target=target, turn=turn)
        except UnknownRun:
            if isinstance(run, str):
                raise
            view = RunView(run.run)  # it was kept nowhere
            view.settle(run)
    file = Path(path)
    try:
        await asyncio.to_thread(file.write_text, page(view), "utf-8")
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error}.") from None
    return file


def root_of(turn: Turn) -> str:
    """Where a turn's rows lie in the journal."""
    return f"{quote(turn.thread, safe='')}/{turn.turn}"


async def standing(store: Store, turn: Turn) -> str:
    """A turn's status; one that nobody works on any more is stopped, whatever it says."""
    return "stopped" if turn.status == "running" and await store.holder(turn.thread) is None else turn.status


async def recorded(store: Store, turn: Turn) -> Result:
    """A turn as the journal and the last checkpoint know it, without its graph."""
    status: Any = await standing(store, turn)
    done: dict[str, Deliverable] = {}
    for row in await store.rows(f"{root_of(turn)}/"):
        if row.kind == "outcome" and row.key.split("/")[-2].startswith("work."):  # its own part: outer calls come first
            done[row.path] = Deliverable.model_validate(row.received).but(usage=row.usage, parts={})
    last = await store.aget_tuple({"configurable": {"thread_id": turn.thread, "checkpoint_ns": ""}})
    writes = (last.pending_writes if last else None) or []
    asked = [one for _, channel, value in writes if channel == "__interrupt__" for one in value]
    return Result(
        run=turn.thread,
        workflow=turn.workflow,
        task=turn.task,
        turn=turn.turn,
        status=status,
        reason=Reason(kind="stopped" if status == "stopped" else "error", message=turn.reason) if turn.reason else None,
        answer=list(done.values())[-1].content if done and status in ("completed", "partial") else "",
        deliverables=done,
        usage=await store.spent(root_of(turn)),
        waiting=tuple(map(read_question, asked)) if status == "waiting" else (),
        simulated=turn.simulated,
    )


# --- rows as events -------------------------------------------------------------------------------------------------


@dataclass
class _Call:
    """One call: its rows, and where and when it was made."""

    path: str
    round: int
    purpose: str
    rows: list[Row] = field(default_factory=list)
    end: Row | None = None

    @property
    def started(self) -> float:
        return min(one.started for one in self._all)

    @property
    def ended(self) -> float:
        return max(one.started + one.seconds for one in self._all)

    @property
    def failures(self) -> list[Row]:
        return [one for one in self.rows if one.kind == "failure"]

    @property
    def _all(self) -> list[Row]:
        return [*self.rows, *([self.end] if self.end else [])]


def events_of(turn: Turn, rows: Sequence[Row], result: Result, steps: Sequence[Planned]) -> list[Event]:
    """What the rows of a turn's journal tell, in the order in which it happened."""
    plan = tuple(steps)
    begun = RunStarted(
        at=turn.started,
        path="",
        run=turn.thread,
        workflow=turn.workflow,
        turn=turn.turn,
        simulated=result.simulated,
        resumed=False,
        task=turn.task,
        steps=plan,
    )
    calls, roles = _calls(rows), known_roles()
    found: list[Event] = [*_people(rows)]
    for call in calls:
        found += _asked(call, roles)
    works = set(flat(result.deliverables)) | {one.name for one in plan}
    works |= {call.path for call in calls if call.purpose == "work"}
    tiers = {one.name: one for one in plan}
    for path in works:
        own = [call for call in calls if call.path == path]
        found += _of_step(path, own, result, tiers.get(path) or tiers.get(path.rpartition(".")[0]))
    return [begun, *sorted(found, key=lambda one: (one.at, _ORDER.index(type(one))))]


_ORDER: list[type[Event]] = [
    StepStarted, Requested, Attempt, Rerouted, Recovered, StepFinished, Judged, Waiting, Answered,
]  # fmt: skip


def _calls(rows: Sequence[Row]) -> list[_Call]:
    """The calls that rows belong to, in the order in which they began."""
    found: dict[str, _Call] = {}
    for row in rows:
        if row.kind in ("question", "answer"):
            continue
        key = row.key if row.kind == "outcome" else base_key(row.key)
        place, _, call = key.rpartition("/")[0].rpartition("/")
        purpose, number = call.partition(".")[0], place.rpartition("#")[2]
        if not number.isdecimal():
            continue
        one = found.setdefault(key, _Call(row.path, int(number), purpose))
        if row.kind == "outcome":
            one.end, one.path = row, row.path
        else:
            one.rows.append(row)
    return sorted(found.values(), key=lambda one: one.started)


def _people(rows: Sequence[Row]) -> Iterator[Event]:
    questions = {row.sent["id"]: row for row in rows if row.kind == "question"}
    for id, row in questions.items():
        sent = row.sent
        more = tuple(sent.get("options") or ()), sent.get("content") or "", sent.get("expires")
        yield Waiting(row.started, row.path, id, sent["question"], *more)
    for row in rows:
        if row.kind == "answer" and (id := (row.sent or {}).get("id")) in questions:
            said = read_answer(row.received)
            asked = questions[id]
            by = row.agent or said.by
            yield Answered(row.started, asked.path, id, asked.sent["question"], said.kind, said.text, by)


def _asked(call: _Call, roles: Mapping[str, Role]) -> Iterator[Event]:
    """The requests of a call, its failed attempts, and who brought it to a good end after all."""
    for row in call.rows:
        sent: Mapping[str, Any] = row.sent if isinstance(row.sent, Mapping) else {}
        if row.kind == "request" or (row.kind == "failure" and row.usage.calls):
            yield Requested(
                at=row.started + row.seconds,
                path=row.path,
                agent=row.agent,
                purpose=call.purpose,
                round=call.round,
                started=row.started,
                seconds=row.usage.seconds or row.seconds,
                model=sent.get("model", ""),
                tier=sent.get("tier", "") or (roles[row.agent].tier if row.agent in roles else ""),
                input_tokens=row.usage.tokens.input,
                output_tokens=row.usage.tokens.output,
                usd=row.usage.usd,
                cached=bool(row.usage.cached),
                estimated=row.usage.estimated,
                useless=row.kind == "failure",
            )
        if row.kind == "failure":
            said: Mapping[str, Any] = row.received if isinstance(row.received, Mapping) else {}
            yield Attempt(
                at=row.started + row.seconds,
                path=row.path,
                agent=row.agent,
                purpose=call.purpose,
                number=int(said.get("attempt", 1)),
                failure=row.failure or "code",
                cause=str(said.get("message", "")),
                wait=_wait(str(said.get("then", ""))),
                round=call.round,
                started=row.started,
            )
    yield from _rerouted(call)
    if call.end is not None and call.failures and not _failed(call.end):
        agent = call.failures[0].agent
        yield Recovered(call.ended, call.path, agent, call.end.agent, call.purpose, call.round)


def _rerouted(call: _Call) -> Iterator[Rerouted]:
    """Who was turned to when somebody had failed for good: their rows lie under `~how.name` of the call's key."""
    rows = sorted(call.rows, key=lambda row: row.started)
    for row, after in pairwise([*rows, call.end]):
        assert row is not None  # noqa: S101 - only the last may be missing
        if row.kind != "failure" or after is None or after.agent == row.agent:
            continue
        how: Any = next((part[1:].partition(".")[0] for part in after.key.split("/") if part.startswith("~")), "backup")
        cause = str(row.received.get("message", "")) if isinstance(row.received, Mapping) else ""
        yield Rerouted(row.started + row.seconds, row.path, row.agent, after.agent, how, cause)


def _of_step(path: str, calls: Sequence[_Call], result: Result, known: Planned | None) -> Iterator[Event]:
    """The rounds of a step: begun, delivered, judged."""
    done = flat(result.deliverables).get(path)
    name = path.rpartition("/")[2]
    verdicts = result.verdicts if "/" not in path else {}
    numbers = sorted({call.round for call in calls})
    for number in numbers:
        own = [call for call in calls if call.round == number and call.purpose in ("work", "decide")]
        main = next((call for call in own if call.purpose == "work"), own[0] if own else None)
        reviews = [call for call in calls if call.round == number and call.purpose == "review"]
        if main is None:
            continue
        last = done if done is not None and done.rounds == number else None
        agent = known.agent if known is not None else (done.agent if done else main.rows[0].agent if main.rows else "")
        needs = last.sources if last is not None else done.sources if done is not None else ()
        told = ("", "") if known is None else (known.tier, known.objective)
        yield StepStarted(main.started, path, agent, number, 0, 0, *told, needs=needs)
        verdict = verdicts.get(f"{name}#{number}")
        gone_on = number != numbers[-1] or result.status != "running"
        if main.end is None and not (main.failures and gone_on):
            continue
        yield _delivered(path, number, main, last, agent, judged=bool(reviews) or verdict is not None)
        ended = max([main.ended, *(call.ended for call in reviews)])
        if verdict is not None:
            yield _judgement(ended, path, number, verdict)
        elif reviews and reviews[-1].end is not None:
            yield _reviewed(ended, path, number, reviews[-1].end, last, again=number != numbers[-1])


def _delivered(path: str, number: int, main: _Call, last: Deliverable | None, agent: str, judged: bool) -> StepFinished:
    received = main.end.received if main.end is not None and isinstance(main.end.received, Mapping) else {}
    content, summary = str(received.get("content", "")), str(received.get("summary", ""))
    if last is not None:
        content, summary = last.content, last.summary
    status: Any = received.get("status", "failed" if main.end is None else "submitted")
    if status in ("submitted", "accepted"):
        status = "submitted" if judged else "accepted"
    cause = ""
    if main.end is None:
        status = "failed"
        cause = str(main.failures[-1].received.get("message", ""))
    who = main.end.agent if main.end is not None else main.failures[-1].agent
    usage = sum((row.usage for row in main.rows if row.kind in ("request", "failure")), start=_NOTHING)
    return StepFinished(
        at=main.ended,
        path=path,
        agent=last.agent if last is not None and last.agent else who or agent,
        status=status,
        round=number,
        attempts=1 + len(main.failures),
        seconds=main.ended - main.started,
        usd=usage.usd,
        cause=cause,
        recalled=False,
        cached=usage.cached,
        content=content,
        summary=summary,
    )


def _judgement(at: float, path: str, number: int, verdict: Judgement) -> Judged:
    return Judged(
        at=at,
        path=path,
        passed=verdict.passed,
        score=verdict.score,
        decision=verdict.decision or "ask",
        feedback=verdict.feedback,
        round=number,
        by=verdict.by,
        findings=verdict.findings,
        blame=verdict.blame if verdict.decision == "rollback" else None,
    )


def _reviewed(at: float, path: str, number: int, end: Row, last: Deliverable | None, again: bool) -> Judged:
    """What a reviewer said, where the state that had the gate's verdict is gone or lies deeper."""
    said: Mapping[str, Any] = end.received if isinstance(end.received, Mapping) else {}
    passed = bool(said.get("passed")) if not again else False
    status = last.status if last is not None else "submitted"
    ways: dict[str, Any] = {"accepted": "pass", "partial": "partial", "failed": "fail"}
    decision: Decision = "rework" if again else ways.get(status, "pass" if passed else "ask")
    score = last.score if last is not None and last.score is not None else said.get("score")
    findings = tuple(map(str, said.get("findings") or ()))
    feedback = "" if passed else str(said.get("feedback") or "")
    return Judged(at, path, passed, score, decision, feedback, number, end.agent, findings)


def _wait(then: str) -> float | None:
    """The pause that a row of a failure tells of."""
    words = then.split()
    return float(words[2]) if then.startswith("again in ") and len(words) == 4 else None


def _failed(end: Row) -> bool:
    return isinstance(end.received, Mapping) and end.received.get("status") == "failed"
