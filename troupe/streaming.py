"""A run as a stream of typed events, for apps that show what happens while it happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessageChunk
from langgraph.types import Command

from troupe.agents.contracts import NO_USAGE
from troupe.agents.events import Event, RunFinished, Token, Waiting
from troupe.agents.loop import iterate
from troupe.catalogue import resolve
from troupe.graphs.node import now
from troupe.graphs.team import Team
from troupe.inputs import as_input
from troupe.questions import by_interrupt, named_by_us, open_questions, read_question


async def astream(
    app: Any,
    input: Any,
    *,
    thread: str | None = None,
    context: Any = None,
    config: Any = None,
) -> AsyncGenerator[Event]:
    """The events of one turn: steps, tokens, verdicts, questions, and at last `RunFinished`.

    Closing the stream stops the calls under way; with a checkpointer the run can be resumed.

    Args:
        app: a compiled team (with your checkpointer), or anything that `run` takes.
        input: a task, messages, `{"task": ..., "messages": [...]}`, None to go on, or `Command(resume={id: answer})`
            with the id of a `waiting` event.
        thread: the thread's id; needed with a checkpointer.
        context: a `TeamContext`, or a dict of its fields.
        config: LangGraph's.
    """
    team = app if isinstance(app, Team) else resolve(app).team
    given = input if input is None or isinstance(input, Command) else as_input(input)
    inside = dict((config or {}).get("configurable") or {})
    if thread is not None:
        inside["thread_id"] = thread
    config = {**(config or {}), "configurable": inside}
    if isinstance(given, Command) and named_by_us(given.resume):
        asked = open_questions((await team.aget_state(config)).interrupts)
        answers: Any = given.resume
        given = replace(given, resume=by_interrupt(answers, asked))
    values: dict[str, Any] = {}
    started = now()
    durability = {"durability": "sync"} if team.checkpointer else {}
    modes = ["custom", "messages", "values"]
    parts = team.astream(given, config, context=context, stream_mode=modes, subgraphs=True, version="v2", **durability)
    async with aclosing(parts) as stream:  # type: ignore[type-var]
        async for part in stream:
            kind, data = part["type"], part["data"]
            if kind == "custom" and isinstance(data, Event):
                yield data
            elif kind == "messages":
                chunk, meta = data
                if isinstance(chunk, AIMessageChunk) and chunk.text and "troupe:answer" in (meta.get("tags") or ()):
                    yield Token(now(), str(meta.get("troupe_path", "")), chunk.text)
            elif kind == "values" and not part["ns"]:
                values = data
                for one in map(read_question, part.get("interrupts") or ()):
                    yield Waiting(now(), one.step, one.id, one.question, one.options, one.content, one.expires)
    yield _finished(values, inside.get("thread_id", ""), started)


def stream(app: Any, input: Any, **options: Any) -> Iterator[Event]:
    """The same as `astream`, for code that is not async."""
    yield from iterate(astream(app, input, **options))


def _finished(values: Mapping[str, Any], run: str, started: float) -> RunFinished:
    """The end of a turn that a plain stream came to, from the last values it saw."""
    status = values.get("status", "running")
    reason = values.get("reason")
    usages = [one.usage for one in (values.get("deliverables") or {}).values()]
    usd = sum(usages, NO_USAGE).usd
    return RunFinished(
        at=now(),
        path="",
        run=run,
        status="waiting" if status == "running" else status,
        answer=values.get("answer") or "",
        reason=reason.message if reason else "",
        seconds=now() - started,
        usd=usd,
    )
