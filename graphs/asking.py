"""Asking a person: one question that every front end understands, and one reading of whatever comes back.

The question carries the keys of LangChain's human-in-the-loop middleware (`action_requests`, `review_configs`) and of
the older Agent Inbox (`action_request`, `config`, `description`), so that today's chat front ends show it unchanged.
Its `id` is a digest of where in the run it is asked and of exactly what is shown: an approval holds for that and for
nothing else, whatever process or machine it is given on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from troupe.agents.contracts import Deliverable, Judgement
from troupe.agents.errors import InputError
from troupe.agents.text import clean

ANSWERS = ("approve", "edit", "respond", "reject")
PERSON = "a person"
"""Who answers, where nobody says it."""
Kind = Literal["approve", "edit", "respond", "reject"]
_ALIASES: dict[str, Kind] = {
    "approve": "approve", "accept": "approve", "approved": "approve", "yes": "approve", "ok": "approve",
    "edit": "edit", "respond": "respond", "response": "respond", "answer": "respond",
    "reject": "reject", "rejected": "reject", "ignore": "reject", "no": "reject",
}  # fmt: skip
_NESTED = ("decisions", "answer")
_NAME = 100  # characters of the name of whoever answers
_DEPTH = 8  # of wrappings around an answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said.

    Attributes:
        kind: what they decided.
        text: the new content (edit), the guidance (respond) or the reason (reject).
        by: who they are.
        id: of the question that it answers, where the answer names it.
    """

    kind: Kind
    text: str = ""
    by: str = PERSON
    id: str = ""

    def to_json(self) -> dict[str, str]:
        """The same as plain data, which `read_answer` reads."""
        return {"type": self.kind, "message": self.text, "by": self.by, "id": self.id}


def question(work: Deliverable, verdict: Judgement, path: str) -> dict[str, Any]:
    """The question about a deliverable that its gate did not pass, by the path of its step."""
    said = f" {verdict.by} says: {verdict.feedback}" if verdict.feedback else ""
    if work.reason is not None and work.reason.kind == "error":  # it is as it was judged before
        said += f" The round after that failed: {work.reason.message}"
    ask = f"{path!r} did not pass its gate.{said} Accept it as it is?"
    args = {"step": path, "agent": work.agent, "content": work.content}
    return ask_about(ask, f"accept {path}", args, path, work.content, work.rounds)


def ask_about(
    ask: str, name: str, args: Mapping[str, Any], step: str, content: str = "", round: int = 1
) -> dict[str, Any]:
    """A question to a person, in every shape that front ends read; `heard` gives it its id and asks it.

    Args:
        ask: the question.
        name: what an approval does, in a few words.
        args: what it is about, by name.
        step: the path of the step that asks.
        content: the work in question, if it is about one.
        round: of the step.
    """
    return {
        "question": ask,
        "options": list(ANSWERS),
        "step": step,
        "round": round,
        "content": content,
        "action_requests": [{"name": name, "args": dict(args), "description": ask}],
        "review_configs": [{"action_name": name, "allowed_decisions": list(ANSWERS)}],
        "action_request": {"action": name, "args": dict(args)},
        "config": {"allow_accept": True, "allow_edit": True, "allow_respond": True, "allow_ignore": True},
        "description": ask,
    }


def question_id(root: str, asked: Mapping[str, Any], asking: int = 1) -> str:
    """The id of a question: what is asked where in a run, and exactly what is shown.

    Args:
        root: what the journal's keys begin with where it is asked: thread, turn and the places around.
        asked: as `ask_about` made it.
        asking: 1 at first, one more each time that it is asked again because its time was over.

    >>> asked = ask_about("Accept it?", "accept a", {"content": "one"}, "a", "one")
    >>> question_id("t/1", asked) == question_id("t/1", asked) != question_id("t/2", asked)
    True
    """
    shown = [asked["step"], asked.get("round", 1), asked["question"], asked["content"], asked["action_requests"]]
    text = json.dumps([root, asking, *shown], sort_keys=True, ensure_ascii=False, default=str)
    return f"q{hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=10).hexdigest()}"


def is_ours(asked: Any) -> bool:
    """Whether a question is one of these, and not one that a user's own graph asks in its own way."""
    return isinstance(asked, Mapping) and asked.get("options") == list(ANSWERS) and "action_requests" in asked


def read_answer(given: Any) -> Answer:
    """A person's answer, in any of the shapes that front ends send; any other text is a response.

    Raises:
        InputError: it cannot be understood; the message shows the shapes.

    >>> read_answer({"decisions": [{"type": "reject", "message": "too long"}], "by": "ada"})
    Answer(kind='reject', text='too long', by='ada', id='')
    """
    by = about = ""
    inner = given
    for _ in range(_DEPTH):
        if isinstance(inner, list | tuple) and len(inner) == 1:
            inner = inner[0]
            continue
        if not isinstance(inner, Mapping):
            break
        by, about = _said(inner, "by") or by, _said(inner, "id") or _said(inner, "digest") or about
        wrapped = next((name for name in _NESTED if name in inner and "type" not in inner), None)
        if wrapped is None:
            break
        inner = inner[wrapped]
    answer = _read(inner, given)
    name = " ".join(clean(by).split())[:_NAME]
    return replace(answer, by=name or answer.by, id=about or answer.id)


def _read(given: Any, whole: Any) -> Answer:
    if isinstance(given, Answer):
        return given
    if isinstance(given, bool):
        return Answer("approve" if given else "reject")
    if isinstance(given, str) and given.strip():
        kind = _ALIASES.get(given.strip().lower())
        return Answer(kind) if kind in ("approve", "reject") else Answer("respond", clean(given))
    if isinstance(given, Mapping):
        kind = _ALIASES.get(str(given.get("type", given.get("kind", ""))).lower())
        text = clean(_text(given))
        if kind is not None and (text.strip() or kind not in ("edit", "respond")):
            return Answer(kind, text)
    raise _not_understood(whole)


def _said(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise _not_understood(given)
    return value or ""


def _not_understood(given: Any) -> InputError:
    return InputError(
        f"The answer {repr(given)[:300]} was not understood. Give True or False, 'approve', 'reject', a text to "
        "respond with, or {'type': 'approve' | 'edit' | 'respond' | 'reject', 'message': ...}; an edit or response "
        "needs its text."
    )


def _text(given: Mapping[str, Any]) -> str:
    for key in ("message", "text", "content", "response", "feedback", "args", "edited_action"):
        value = given.get(key)
        while isinstance(value, Mapping):
            value = value.get("args", value.get("content", json.dumps(value, default=str)))
        if isinstance(value, str) and value:
            return value
    return ""
