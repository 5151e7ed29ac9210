"""What goes into a run, and how it is kept so that a turn can begin again."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages, messages_from_dict, messages_to_dict

from troupe.agents.errors import InputError
from troupe.agents.text import clean


def as_input(task: Any) -> dict[str, Any]:
    """A team's input from a text, messages or a dictionary.

    Raises:
        InputError: there is nothing in it.
    """
    if isinstance(task, Mapping):
        return dict(task)
    if isinstance(task, BaseMessage):
        return {"messages": [task]}
    if isinstance(task, list | tuple):
        return {"messages": list(task)}
    if not isinstance(task, str) or not task.strip():
        raise InputError("The task is empty. Say what is to be done.")
    return {"task": task}


def task_of(given: Mapping[str, Any]) -> str:
    """The task of an input, for people."""
    if isinstance(given.get("task"), str):
        return clean(given["task"])
    messages = convert_to_messages(given.get("messages") or [])
    return next((clean(one.text) for one in reversed(messages) if isinstance(one, HumanMessage)), "")


def stored(given: Mapping[str, Any]) -> dict[str, Any]:
    """The input as plain data, so that a turn that crashed before its first checkpoint can begin again."""
    if not given.get("messages"):
        return dict(given)
    return {**given, "messages": messages_to_dict(convert_to_messages(given["messages"]))}


def restored(given: Mapping[str, Any]) -> dict[str, Any]:
    """The input again, from what `stored` made of it."""
    if not given.get("messages"):
        return dict(given)
    return {**given, "messages": messages_from_dict(given["messages"])}


def thread_id(thread: str | None) -> str:
    """A thread's id that can be stored; a new one for None.

    Raises:
        InputError: it cannot be stored.
    """
    if thread is None:
        return f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    if not isinstance(thread, str) or not thread.strip() or len(thread) > 500 or clean(thread) != thread:
        raise InputError("A thread's id is a text of 1 to 500 characters without NUL.")
    return thread
