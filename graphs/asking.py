"""Asking a person: one question that every front end understands, and one reading of whatever comes back.

The question carries the keys of LangChain's human-in-the-loop middleware (`action_requests`, `review_configs`) and of
the older Agent Inbox (`action_request`, `config`, `description`), so that today's chat front ends show it unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from troupe.agents.contracts import Deliverable, Judgement
from troupe.agents.errors import InputError
from troupe.agents.text import clean

ANSWERS = ("approve", "edit", "respond", "reject")
Kind = Literal["approve", "edit", "respond", "reject"]
_ALIASES: dict[str, Kind] = {
    "approve": "approve", "accept": "approve", "approved": "approve", "yes": "approve", "ok": "approve",
    "edit": "edit", "respond": "respond", "response": "respond", "answer": "respond",
    "reject": "reject", "rejected": "reject", "ignore": "reject", "no": "reject",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said: `text` is the new content (edit), the guidance (respond) or the reason (reject)."""

    kind: Kind
    text: str = ""


def question(work: Deliverable, verdict: Judgement, path: str) -> dict[str, Any]:
    """The question about a deliverable that its gate did not pass, by the path of its step."""
    said = f" {verdict.by} says: {verdict.feedback}" if verdict.feedback else ""
    ask = f"{path!r} did not pass its gate.{said} Accept it as it is?"
    args = {"step": path, "agent": work.agent, "content": work.content}
    return ask_about(ask, f"accept {path}", args, path, work.content)


def ask_about(ask: str, name: str, args: Mapping[str, Any], step: str, content: str = "") -> dict[str, Any]:
    """A question to a person, in every shape that front ends read.

    Args:
        ask: the question.
        name: what an approval does, in a few words.
        args: what it is about, by name.
        step: the path of the step that asks.
        content: the work in question, if it is about one.
    """
    return {
        "question": ask,
        "options": list(ANSWERS),
        "step": step,
        "content": content,
        "action_requests": [{"name": name, "args": dict(args), "description": ask}],
        "review_configs": [{"action_name": name, "allowed_decisions": list(ANSWERS)}],
        "action_request": {"action": name, "args": dict(args)},
        "config": {"allow_accept": True, "allow_edit": True, "allow_respond": True, "allow_ignore": True},
        "description": ask,
    }


def is_ours(asked: Any) -> bool:
    """Whether a question is one of these, and not one that a user's own graph asks in its own way."""
    return isinstance(asked, Mapping) and asked.get("options") == list(ANSWERS) and "action_requests" in asked


def read_answer(given: Any) -> Answer:
    """A person's answer, in any of the shapes that front ends send; any other text is a response.

    Raises:
        InputError: it cannot be understood; the message shows the shapes.

    >>> read_answer({"decisions": [{"type": "reject", "message": "too long"}]})
    Answer(kind='reject', text='too long')
    """
    if isinstance(given, Answer):
        return given
    if isinstance(given, bool):
        return Answer("approve" if given else "reject")
    if isinstance(given, str) and given.strip():
        kind = _ALIASES.get(given.strip().lower())
        return Answer(kind) if kind in ("approve", "reject") else Answer("respond", clean(given))
    if isinstance(given, list | tuple) and len(given) == 1:
        return read_answer(given[0])
    if isinstance(given, Mapping):
        if isinstance(given.get("decisions"), list | tuple):
            return read_answer(given["decisions"])
        kind = _ALIASES.get(str(given.get("type", given.get("kind", ""))).lower())
        if kind is not None:
            return Answer(kind, clean(_text(given)))
    raise InputError(
        f"The answer {given!r} was not understood. Give True or False, 'approve', 'reject', a text to respond with, "
        "or {'type': 'approve' | 'edit' | 'respond' | 'reject', 'message': ...}."
    )


def _text(given: Mapping[str, Any]) -> str:
    for key in ("message", "text", "content", "response", "feedback", "args", "edited_action"):
        value = given.get(key)
        while isinstance(value, Mapping):
            value = value.get("args", value.get("content", json.dumps(value, default=str)))
        if isinstance(value, str) and value:
            return value
    return ""
