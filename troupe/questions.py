"""Questions that a run asks people: which are open, which answer is for which, and what becomes of an answer.

An answer is for one question as it was shown, in its time, and is used once: what is recorded first holds. It is in
the journal before the run goes on, so that a crash loses none.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import to_jsonable_python

from troupe.agents.contracts import Kept
from troupe.agents.errors import InputError
from troupe.agents.journal import Journal, Row
from troupe.graphs.asking import PERSON, is_ours, read_answer
from troupe.graphs.dialects import as_asked
from troupe.graphs.hearing import answer_key, put_again, question_key
from troupe.result import Question

_OURS = re.compile(r"q[0-9a-f]{20}")
_LANGGRAPHS = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that is open.

    Attributes:
        id: what people name it by.
        interrupt: LangGraph's name for where the run waits for it.
        shown: what is asked.
    """

    id: str
    interrupt: str
    shown: Any

    @property
    def ours(self) -> bool:
        """Whether we ask it, and not a user's own graph."""
        return is_ours(self.shown)

    @property
    def expires(self) -> float | None:
        """Until when it can be answered."""
        return self.shown.get("expires") if self.ours else None


class Said(Kept):
    """An answer on record: to what, by whom, when."""

    id: str
    step: str = ""
    question: str = ""
    answer: Any = None
    by: str = ""
    at: float = 0.0

    def line(self) -> str:
        """See `Kept`."""
        about = f"{self.step}: " if self.step else ""
        return f"{about}{self.by} answered at {_clock(self.at)}: {_words(self.answer)}"


def open_questions(interrupts: Iterable[Any]) -> dict[str, Asked]:
    """The questions in a snapshot's interrupts, by id."""
    found = {}
    for one in interrupts:
        named = is_ours(one.value) and one.value.get("id")
        asked = Asked(named or one.id, one.id, one.value)
        found[asked.id] = asked
    return found


def read_question(interrupt: Any) -> Question:
    """What an interrupt asks, for people."""
    (asked,) = open_questions([interrupt]).values()
    shown = asked.shown
    if not isinstance(shown, Mapping):
        return Question(asked.id, str(shown))
    text = shown.get("question") or shown.get("description") or str(shown)
    step, content = str(shown.get("step") or ""), str(shown.get("content") or "")
    return Question(asked.id, str(text), tuple(shown.get("options") or ()), step, content, asked.expires)


def by_id(given: Any, asked: Mapping[str, Asked], run: str) -> dict[str, Any]:
    """A caller's answers by the ids of the questions; an answer without one is for the only question that is open.

    Raises:
        InputError: nothing is asked, or it is not clear which question is answered.
    """
    if isinstance(given, Mapping) and given and all(_is_id(str(one)) or one in asked for one in given):
        ours = {one.interrupt: one.id for one in asked.values()}
        return {ours.get(str(one), str(one)): answer for one, answer in given.items()}
    if isinstance(given, Mapping) and isinstance(about := given.get("id"), str) and about:
        return {about: given}
    if not asked:
        raise InputError(f"Run {run} asks nothing.")
    if len(asked) > 1:
        raise InputError(f"Run {run} asks {len(asked)} questions; answer by id: {', '.join(asked)}.")
    return {next(iter(asked)): given}


def _is_id(text: str) -> bool:
    return bool(_OURS.fullmatch(text) or _LANGGRAPHS.fullmatch(text))


def named_by_us(answers: Any) -> bool:
    """Whether answers are given by ids of ours."""
    return isinstance(answers, Mapping) and bool(answers) and all(_OURS.fullmatch(str(one)) for one in answers)


def by_interrupt(answers: Mapping[str, Any], asked: Mapping[str, Asked]) -> dict[str, Any]:
    """The same answers by LangGraph's names for where they are waited for.

    Raises:
        InputError: one is to no open question.
    """
    if unknown := [one for one in answers if one not in asked]:
        raise InputError(
            f"Nothing is asked by the id {unknown[0]!r}: it was answered, or what was asked has changed; look again. "
            f"Open questions: {', '.join(asked) or 'none'}."
        )
    return {asked[one].interrupt: given for one, given in answers.items()}


class Desk:
    """Where answers to the questions of a run's turn come in.

    Args:
        journal: where questions and answers are kept.
        place: the `thread/turn` of its keys.
        run: the run's id.
        clock: seconds since the epoch.
    """

    def __init__(self, journal: Journal, place: str, run: str, clock: Callable[[], float]) -> None:
        self.journal, self.place, self.run, self.clock = journal, place, run, clock

    async def take(self, answers: Mapping[str, Any], asked: Mapping[str, Asked]) -> dict[str, Any]:
        """Record answers, all of them or none where one is refused, and give them as LangGraph takes them.

        Raises:
            InputError: an answer that cannot be understood, is for nothing that is asked, comes too late, or is
                another one than that which was used.
        """
        rows = [row for one, given in answers.items() if (row := await self._row(one, given, asked)) is not None]
        for row in rows:
            await self.journal.record(row)
        # Whether a question of somebody else's has been answered, LangGraph knows.
        theirs = {
            one.interrupt: as_asked(one.shown, answers[one.id])
            for one in asked.values()
            if one.id in answers and not one.ours
        }
        return theirs | await self.kept(asked)

    async def kept(self, asked: Mapping[str, Asked]) -> dict[str, Any]:
        """The recorded answers to open questions of ours, as LangGraph takes them: by interrupt."""
        found = {}
        for one in asked.values():
            if one.ours and (row := await self._answer(one.id)) is not None:
                found[one.interrupt] = row.received
        return found

    async def late(self, answers: Iterable[str], asked: Mapping[str, Asked]) -> list[Asked]:
        """Those of the open questions whose time is over, and that nobody answered in it."""
        over = [asked[one] for one in answers if one in asked and self._over(asked[one])]
        return [one for one in over if await self._answer(one.id) is None]

    async def renew(self, late: Iterable[Asked], within: float | None) -> dict[str, str]:
        """Ask again what can no longer be answered; gives old and new ids. The run must go on for it to be shown."""
        again = {}
        for one in late:
            if (row := await self.journal.find(question_key(self.place, one.id))) is not None:
                again[one.id] = await put_again(row, self.journal, self.clock(), within)
        return again

    def _over(self, one: Asked) -> bool:
        return one.expires is not None and one.expires <= self.clock()

    async def _row(self, id: str, given: Any, asked: Mapping[str, Asked]) -> Row | None:
        """The row of an answer; None for one that is on record already."""
        one, before = asked.get(id), await self._answer(id)
        if before is not None:
            if (one is None or one.ours) and not self._same(id, given, before):
                raise InputError(
                    f"Question {id} of run {self.run} was answered at {_clock(before.started)} by "
                    f"{before.agent}: {_words(before.received)} An answer is used once. "
                    f"See how the run stands: troupe runs {self.run}"
                )
            return None
        if one is None:
            raise InputError(await self._unasked(id, asked))
        step = str(one.shown.get("step", "")) if isinstance(one.shown, Mapping) else ""
        received = self._read(id, given) if one.ours else as_asked(one.shown, given)
        by = received["by"] if one.ours else given.get("by") if isinstance(given, Mapping) else None
        sent = {"given": to_jsonable_python(given, fallback=str), "id": id}
        sent["round"] = one.shown.get("round", 1) if one.ours else 1
        return Row(answer_key(self.place, id), "answer", step, str(by or PERSON), sent, received, started=self.clock())

    def _same(self, id: str, given: Any, before: Row) -> bool:
        """Whether an answer is that which was used; who gives it makes no difference."""
        if not _is_form(before.received):
            return bool(before.sent["given"] == to_jsonable_python(given, fallback=str))
        answer = self._read(id, given)
        return all(answer[name] == before.received[name] for name in ("type", "message"))

    def _read(self, id: str, given: Any) -> dict[str, str]:
        answer = read_answer(given)
        if answer.id not in ("", id):
            raise InputError(
                f"The answer is for question {answer.id} and was given to {id}: what was asked has changed; "
                f"look again: troupe runs {self.run}"
            )
        return replace(answer, id=id).to_json()

    async def _unasked(self, id: str, asked: Mapping[str, Asked]) -> str:
        now = f"Open questions: {', '.join(asked)}." if asked else f"Run {self.run} asks nothing now."
        if await self.journal.find(question_key(self.place, id)) is not None:
            return f"What was asked as {id} has changed; look again: troupe runs {self.run}. {now}"
        return f"Run {self.run} does not ask {id!r}. {now}"

    async def _answer(self, id: str) -> Row | None:
        return await self.journal.find(answer_key(self.place, id))


def answers_on_record(rows: Sequence[Row]) -> dict[str, Said]:
    """The answers among a turn's rows, by question, in their order."""
    asked = {row.key: row.sent for row in rows if row.kind == "question"}
    found = {}
    for row in rows:
        if row.kind == "answer":
            question = row.key.removesuffix("/answer")
            id = question.rpartition("?")[2]
            text = (asked.get(question) or {}).get("question", "")
            found[id] = Said(id=id, step=row.path, question=text, answer=row.received, by=row.agent, at=row.started)
    return found


def _is_form(received: Any) -> bool:
    return isinstance(received, Mapping) and set(received) == {"type", "message", "by", "id"}


def _words(received: Any) -> str:
    if not _is_form(received):
        return f"{received!r:.200}."
    return f"{received['type']}{': ' if received['message'] else ''}{received['message']:.200}."


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
