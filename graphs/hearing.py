"""Hearing a person: a question is put once, and its answer is looked up before anybody is asked.

The journal keeps both, under the question's id. What LangGraph keeps is only where the run waits: its own ids are those
of tasks, and change when a task is made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from langgraph.errors import GraphInterrupt
from langgraph.types import interrupt

from troupe.agents.errors import InputError
from troupe.agents.events import Answered
from troupe.agents.journal import Journal, Row, root
from troupe.agents.spans import waits
from troupe.graphs.asking import Answer, question_id, read_answer
from troupe.graphs.node import Here, now

CHANGED = "What was asked has changed; look again."


async def heard(asked: dict[str, Any], state: Any, here: Here) -> Answer:
    """A person's answer to what `ask_about` made; the node is left until there is one, and then starts again.

    An answer that cannot be understood, or that names another question, is asked for again.
    """
    where = await here.root(state)
    asked = await _put(asked, where, here)
    known = await here.scope.journal.find(answer_key(root(where), asked["id"]))
    wanted: str = asked["question"]
    while True:
        try:
            given = interrupt(asked)  # also where the answer is known: LangGraph counts them
        except GraphInterrupt:
            if known is None:
                waits(here.scope, here.path(asked["step"]))
                raise
            return _told(asked, read_answer(known.received), here)
        if known is not None:
            return _told(asked, read_answer(known.received), here)
        try:
            return _told(asked, _to_this(given, asked["id"]), here)
        except InputError as error:
            asked = {**asked, "question": f"{error} {wanted}", "description": f"{error} {wanted}"}


def _told(asked: Mapping[str, Any], answer: Answer, here: Here) -> Answer:
    here.emit(Answered(now(), asked["step"], asked["id"], asked["question"], answer.kind, answer.text, answer.by))
    return answer


def _to_this(given: Any, id: str) -> Answer:
    if isinstance(given, Mapping) and set(given) == {id}:
        given = given[id]
    answer = read_answer(given)
    if answer.id not in ("", id):
        raise InputError(CHANGED)
    return answer


async def _put(asked: dict[str, Any], where: str, here: Here) -> dict[str, Any]:
    """The question with its id and its time limit: as it was put before, or put now."""
    journal, place = here.scope.journal, root(where)
    number, id = 1, question_id(where, asked)
    row = await journal.find(question_key(place, id))
    if row is None:
        within = here.scope.context.answer_within or here.scope.settings.answer_within
        row = put(asked, where, id, here.scope.wall(), within)
        await journal.record(row)
    while True:
        following = question_id(where, asked, number + 1)
        if (again := await journal.find(question_key(place, following))) is None:
            return {**asked, "id": id, "expires": row.sent["expires"]}
        number, id, row = number + 1, following, again


def put(asked: Mapping[str, Any], where: str, id: str, at: float, within: float | None, asking: int = 1) -> Row:
    """The row of a question: what is shown, where it is asked, since when, and until when it can be answered."""
    expires = None if within is None else at + within
    sent = {**asked, "id": id, "expires": expires, "within": within, "where": where, "asking": asking}
    return Row(question_key(root(where), id), "question", asked["step"], "", sent, None, started=at)


async def put_again(row: Row, journal: Journal, at: float, within: float | None) -> str:
    """Ask a question again whose time is over; gives its new id."""
    sent = row.sent
    asking = int(sent["asking"]) + 1
    id = question_id(sent["where"], sent, asking)
    await journal.record(put(sent, sent["where"], id, at, within or sent["within"], asking))
    return id


def place_of(thread: str, turn: int) -> str:
    """The `thread/turn` that the journal's keys of a run's turn begin with."""
    return f"{quote(thread, safe='')}/{turn}"


def question_key(place: str, id: str) -> str:
    """Where the journal keeps a question."""
    return f"{place}/?{quote(id, safe='')}"


def answer_key(place: str, id: str) -> str:
    """Where the journal keeps its answer."""
    return f"{question_key(place, id)}/answer"
