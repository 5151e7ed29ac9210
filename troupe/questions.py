"""Questions to a person: what an interrupt asks, and which answer belongs to which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from troupe.agents.errors import InputError
from troupe.graphs.asking import is_ours, read_answer
from troupe.result import Question


def answers_by_id(given: Any, asked: Mapping[str, Any], run: str) -> dict[str, Any]:
    """A caller's answers by the ids of the questions, each of which can be understood.

    Raises:
        InputError: nothing is asked, it is not clear which question is answered, or an answer is none.
    """
    if not asked:
        raise InputError(f"Run {run} asks nothing.")
    if isinstance(given, Mapping) and given and set(map(str, given)) <= set(asked):
        answers = {str(one): answer for one, answer in given.items()}
    elif len(asked) == 1:
        answers = {next(iter(asked)): given}
    else:
        raise InputError(f"Run {run} asks {len(asked)} questions; answer by id: {', '.join(asked)}.")
    for one, answer in answers.items():
        if is_ours(asked[one]):
            read_answer(answer)  # what cannot be understood is refused before anything is resumed
    return answers


def read_question(interrupt: Any) -> Question:
    """What an interrupt asks, for people."""
    value = interrupt.value
    if isinstance(value, Mapping):
        text = value.get("question") or value.get("description") or str(value)
        step, content = str(value.get("step") or ""), str(value.get("content") or "")
        return Question(interrupt.id, str(text), tuple(value.get("options") or ()), step, content)
    return Question(interrupt.id, str(value))
