"""What a step sent and received, request by request and attempt by attempt, as the journal holds it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from troupe.agents.text import redact
from troupe.cli import output
from troupe.view.words import duration, line, money

if TYPE_CHECKING:
    from troupe.agents.journal import Row


def show_step(run: str, step: str, turn: int | None, db: str | None, as_json: bool) -> None:
    """Everything that the calls of a step said and heard, without credentials."""
    from troupe.cli.books import must_exist

    must_exist(db, run)
    number, rows = asyncio.run(_rows(run, step, turn, db))
    exchanges = read(rows)
    if as_json:
        output.as_json({"run": run, "turn": number, "step": step, "exchanges": exchanges})
        return
    for one in exchanges:
        _show(one)
    if not any(map(_is_exchange, exchanges)):
        output.note("No model was asked: the step is a function or a graph.")


async def _rows(run: str, step: str, turn: int | None, db: str | None) -> tuple[int, list[Row]]:
    from troupe.agents.errors import InputError, UnknownName
    from troupe.cli.books import opened

    async with opened(db) as store:
        assert store is not None  # noqa: S101 - must_exist() was asked before
        last = (await store.last(run)).turn
        if turn is not None and turn > last:
            raise InputError(f"Run {run} has {last} turns and no turn {turn}.")
        rows = await store.rows(f"{quote(run, safe='')}/{turn or last}/")
    own = [row for row in rows if row.path == step]
    if not own:
        raise UnknownName("step", step, {row.path for row in rows}, f"(In run {run}, turn {turn or last}.)")
    return turn or last, own


def read(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows of the journal as plain data for people: requests, tool calls, failures, and what a call came to."""
    failures: dict[str, int] = {}
    found = []
    for row in rows:
        key, _, again = row.key.partition("!")
        if again:
            failures[key] = failures.get(key, 0) + 1
        where, purpose, agent, round_ = _place(row)
        found.append(
            {
                "kind": row.kind,
                "purpose": purpose,
                "agent": agent,
                "round": round_,
                "request": where,
                "attempt": failures.get(key, 0) + (0 if again else 1),
                "started": row.started,
                "seconds": round(row.seconds, 3),
                "tokens": {"input": row.usage.tokens.input, "output": row.usage.tokens.output},
                "usd": row.usage.usd,
                "cached": bool(row.usage.cached),
                "sent": _without_secrets(_sent(row)),
                "received": _without_secrets(_received(row)),
            }
        )
    # A call's outcome repeats its last reply; it says something only where no model was asked.
    return [one for one in found if one["kind"] != "outcome"] if any(map(_is_exchange, found)) else found


def _is_exchange(one: dict[str, Any]) -> bool:
    return one["kind"] not in ("outcome", "question", "answer")


def _place(row: Row) -> tuple[str, str, str, int]:
    """Request, purpose, agent and round out of `.../step#round/purpose.agent/digest[/request[!attempt]]`."""
    if row.kind in ("question", "answer"):
        return "", row.kind, row.agent or "a person", int(row.sent.get("round", 1))
    parts = row.key.partition("!")[0].split("/")
    if row.kind == "outcome":
        parts.append("")
    step, call, _, request = parts[-4:]
    purpose, _, agent = call.partition(".")
    return request, purpose, unquote(agent), int(step.rpartition("#")[2])


def _sent(row: Row) -> Any:
    sent = dict(row.sent or {})
    if row.kind in ("question", "answer"):
        return {name: sent[name] for name in ("question", "content", "id") if sent.get(name)}
    for name in ("seal", "model", "tier"):
        sent.pop(name, None)
    if "messages" in sent:
        sent["messages"] = [_message(one) for one in sent["messages"]]
    return sent


def _received(row: Row) -> Any:
    got = row.received
    if row.kind == "answer" and isinstance(got, dict) and "type" in got:
        return {"text": f"{got['type']}: {got['message']}" if got.get("message") else str(got["type"])}
    if row.kind == "outcome":
        return {"text": got.get("content", got)} if isinstance(got, dict) else {"text": got}
    return _message(got) if isinstance(got, dict) and "data" in got else got


def _message(stored: dict[str, Any]) -> dict[str, Any]:
    data = stored.get("data", {})
    role = {"human": "user", "ai": "assistant"}.get(stored["type"], stored["type"])
    message: dict[str, Any] = {"role": role, "text": _text(data.get("content", ""))}
    if calls := data.get("tool_calls"):
        message["tool_calls"] = [{"name": one["name"], "args": one["args"]} for one in calls]
    return message


def _text(content: Any) -> str:
    """A message's text; parts that are no text are named."""
    if isinstance(content, str):
        return content
    return "".join(
        one if isinstance(one, str) else str(one.get("text", f"[{one.get('type', 'part')}]")) for one in content
    )


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _without_secrets(one) for key, one in value.items()}
    return [_without_secrets(one) for one in value] if isinstance(value, list) else value


# --- for people -----------------------------------------------------------------------------------------------------


def _show(one: dict[str, Any]) -> None:
    output.out(_title(one))
    sent, received = one["sent"], one["received"]
    for message in sent.pop("messages", ()):
        _say(message["role"], message)
    if one["kind"] == "tool":
        output.out(f"  {sent.get('tool')}({_short(sent.get('args'))})")
    else:
        for name, value in sent.items():
            _block(name, _short(value))
    if isinstance(received, dict) and "error" in received:
        _block("error", str(received.get("message") or received["error"]))
    elif isinstance(received, dict) and "text" in received:
        _say("received", received)
    elif received is not None:
        _block("received", _short(received))
    output.out("")


def _title(one: dict[str, Any]) -> str:
    what = "tool" if one["kind"] == "tool" else one["purpose"]
    parts = [what, one["agent"], f"round {one['round']}"]
    if one["attempt"] > 1 or one["kind"] == "failure":
        parts.append(f"attempt {one['attempt']}" + (", failed" if one["kind"] == "failure" else ""))
    parts.append(duration(one["seconds"]))
    if one["cached"]:
        parts.append("from the cache")
    elif one["kind"] == "request":
        parts += [f"{one['tokens']['input']:,} tokens in, {one['tokens']['output']:,} out", money(one["usd"])]
    return f"--- {line(' | '.join(parts))} ---"


def _say(label: str, message: dict[str, Any]) -> None:
    if message["text"]:
        _block(label, message["text"])
    for call in message.get("tool_calls", ()):
        _block(label, f"calls {call['name']}({_short(call['args'])})")


def _block(label: str, text: str) -> None:
    output.out(f"{label}:")
    for one in text.splitlines() or [""]:
        output.out(f"  {one}")


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
