"""Asking a person in the terminal: each open question in turn, until it is answered or put off."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from troupe.cli import output
from troupe.view.words import line

if TYPE_CHECKING:
    from troupe.result import Question, Result

_WAYS = {"a": "approve", "e": "edit", "r": "respond", "j": "reject", "s": "skip"}


def can_ask() -> bool:
    """Whether somebody sits at a terminal here."""
    return all(one is not None and one.isatty() for one in (sys.stdin, sys.stderr))


def ask(result: Result, by: str | None, put_off: set[str]) -> dict[str, Any]:
    """The answers that are given now, by question; what is skipped stays open, and is put off."""
    answers: dict[str, Any] = {}
    signed = {"by": by} if by else {}
    asked = [one for one in result.waiting if one.id not in put_off]
    for number, one in enumerate(asked, 1):
        put_off.add(one.id)
        if one.content:
            output.note(f"\n{one.content}")
        output.note(f"\nquestion {number} of {len(asked)}  {one.id}  {line(one.question)}")
        try:
            said = _one(one)
        except click.Abort:  # the end of what is typed
            break
        if said is not None:
            answers[one.id] = {**said, **signed}
    return answers


def _one(asked: Question) -> dict[str, Any] | None:
    ours = set(_WAYS.values()) & set(asked.options)
    if not ours:
        text = _prompt("answer (empty: later)")
        return {"answer": text} if text else None
    way = ""
    while way not in _WAYS:
        way = _prompt("[a]pprove, [e]dit, [r]espond, re[j]ect, [s]kip", "s").strip().lower()[:1]
    if way == "s":
        return None
    message = ""
    if way == "e":
        message = _edited(asked.content)
    elif way in "rj":
        message = _prompt("what to change" if way == "r" else "why")
    if way in "er" and not message.strip():
        return None
    return {"type": _WAYS[way], "message": message}


def _edited(content: str) -> str:
    """The work as a person wants it: from their editor, or a file."""
    if os.environ.get("VISUAL") or os.environ.get("EDITOR"):
        return click.edit(content, extension=".md") or ""
    while name := _prompt("the file with the new text (empty: later)"):
        try:
            return Path(name).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            output.error(f"{name} cannot be read: {error}")
    return ""


def _prompt(text: str, default: str = "") -> str:
    said: str = click.prompt(text, default=default, show_default=False, err=True)
    return said
