"""Answers in the dialect of whoever asks, where that is not us: a user's own agent in a team, with tools to approve.

| asks | wants |
|---|---|
| LangChain's middleware, all actions at once (`action_requests`) | `{"decisions": [{"type": "approve"}, ...]}` |
| the same, call by call (`tool_approval`) | `{"type": "approve"}` |
| the Agent Inbox (`action_request`, `config`; alone or in a list) | `[{"type": "accept", "args": None}, ...]` |
| anything else | whatever was given |
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from troupe.agents.errors import InputError
from troupe.graphs.asking import read_answer

_WRAPPING = {"id", "digest", "by", "answer"}
_INBOX = {"approve": "accept", "edit": "edit", "respond": "response", "reject": "ignore"}


def as_asked(asked: Any, given: Any) -> Any:
    """An answer, in any shape that `read_answer` knows, as the one that asks wants it.

    Raises:
        InputError: it cannot be understood, is not allowed, or does not fit the number of actions.

    >>> as_asked({"action_requests": [{"name": "pay", "args": {}}], "review_configs": []}, True)
    {'decisions': [{'type': 'approve'}]}
    """
    if isinstance(given, Mapping) and "answer" in given and set(given) <= _WRAPPING:
        given = given["answer"]
    if isinstance(asked, Mapping) and isinstance(asked.get("action_requests"), list | tuple):
        requests = asked["action_requests"]
        allowed = {one.get("action_name"): one.get("allowed_decisions") for one in asked.get("review_configs") or ()}
        told = _each(given, len(requests))
        pairs = zip(requests, told, strict=True)
        return {"decisions": [_decision(one, said, allowed.get(one.get("name"))) for one, said in pairs]}
    if isinstance(asked, Mapping) and asked.get("type") == "tool_approval":
        return _decision(asked, _each(given, 1)[0], None)
    inbox = asked if isinstance(asked, list | tuple) else [asked]
    if inbox and all(isinstance(one, Mapping) and "action_request" in one for one in inbox):
        return [_reply(one, said) for one, said in zip(inbox, _each(given, len(inbox)), strict=True)]
    return given


def _each(given: Any, count: int) -> Sequence[Any]:
    """One answer per action; a bare yes or no is for all of them."""
    listed = given.get("decisions", given) if isinstance(given, Mapping) else given
    if isinstance(listed, list | tuple):
        if len(listed) != count:
            raise InputError(
                f"{count} actions are to be decided, and {len(listed)} decisions were given; give one each."
            )
        return listed
    if count != 1 and read_answer(listed).kind not in ("approve", "reject"):
        raise InputError(f"{count} actions are to be decided: give {{'decisions': [...]}} with one for each, in order.")
    return [listed] * count


def _decision(action: Mapping[str, Any], given: Any, allowed: Sequence[str] | None) -> dict[str, Any]:
    """A decision of LangChain's middleware."""
    edited = _edited(given)
    kind, text = ("edit", "") if edited is not None else _kind_and_text(given)
    name = str(action.get("name"))
    if allowed and kind not in allowed:
        raise InputError(f"{name!r} does not allow {kind!r}. Allowed: {', '.join(map(str, allowed))}.")
    if edited is not None:
        changed, args = _changed(edited, name)
        return {"type": "edit", "edited_action": {"name": changed, "args": args}}
    return {"type": kind, **({"message": text} if text and kind != "approve" else {})}


def _reply(request: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """A reply of the Agent Inbox."""
    action, config = request["action_request"], request.get("config") or {}
    edited = _edited(given)
    kind, text = ("edit", "") if edited is not None else _kind_and_text(given)
    word = _INBOX[kind]
    switch = {"accept": "allow_accept", "edit": "allow_edit", "response": "allow_respond", "ignore": "allow_ignore"}
    if config.get(switch[word]) is False:
        raise InputError(f"{action.get('action')!r} does not allow {kind!r}.")
    if edited is not None:
        changed, args = _changed(edited, str(action.get("action")))
        return {"type": "edit", "args": {"action": changed, "args": args}}
    return {"type": word, "args": text or None}


def _changed(edited: Mapping[str, Any], name: str) -> tuple[str, Any]:
    """Name and arguments of a changed action; bare arguments are of the action that was asked about."""
    if "args" in edited and set(edited) <= {"name", "action", "args"}:
        return str(edited.get("name") or edited.get("action") or name), edited["args"]
    return name, dict(edited)


def _kind_and_text(given: Any) -> tuple[str, str]:
    answer = read_answer(given)
    if answer.kind == "edit":
        raise InputError("An edit of an action needs its arguments: {'type': 'edit', 'args': {...}}.")
    return answer.kind, answer.text


def _edited(given: Any) -> Mapping[str, Any] | None:
    """The changed action in an edit, also as JSON in its text; None for any other answer."""
    if not isinstance(given, Mapping) or given.get("type") != "edit":
        return None
    found = given.get("edited_action", given.get("args", given.get("message")))
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            return None
    return found if isinstance(found, Mapping) else None
