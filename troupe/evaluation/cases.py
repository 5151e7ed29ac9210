"""What a team is evaluated on: cases, and the variants that are compared. Data, checked before anything is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from troupe.agents.errors import InputError, UnknownName
from troupe.agents.text import clean

_LONGEST = 100


@dataclass(frozen=True)
class EvaluationCase:
    """One task, and what is known about a good answer.

    Args:
        task: as for `run`: a text, messages, or `{"task": ..., "messages": [...]}`.
        expected: what the answer should say; reviewers are told it, functions find it here, and where there is no
            scorer at all, the answer must contain it.
        name: by which results are told apart and found again; by default its number.
        scorers: of this case besides those of all.
    """

    task: Any
    expected: str | None = None
    name: str = ""
    scorers: Sequence[Any] = ()


@dataclass(frozen=True)
class Variant:
    """One way of doing it.

    Args:
        target: anything that `run` takes; by default that of the evaluation.
        model: in place of the evaluation's.
        prompts: a folder whose texts replace ours.
    """

    target: Any = None
    model: Any = None
    prompts: str | Path | None = None


def as_cases(given: Iterable[Any]) -> list[EvaluationCase]:
    """Cases from texts, dictionaries and cases, each with a name.

    Raises:
        InputError: there are none, two have one name, or one is no case.
    """
    cases = [_as_case(one, number) for number, one in enumerate(given, 1)]
    if not cases:
        raise InputError("There are no cases. Give a list of tasks, or of EvaluationCase(task, expected).")
    seen: set[str] = set()
    for one in cases:
        if one.name in seen:
            raise InputError(f"Two cases are named {one.name!r}. Results are found again by name: give another.")
        seen.add(one.name)
    return cases


def _as_case(given: Any, number: int) -> EvaluationCase:
    fields = EvaluationCase.__dataclass_fields__
    if isinstance(given, Mapping):
        if unknown := [name for name in given if name not in fields]:
            raise UnknownName(f"key in case {number}", unknown[0], fields)
        if "task" not in given:
            raise InputError(f"Case {number} has no task. It has: {', '.join(map(str, given)) or 'nothing'}.")
        given = EvaluationCase(**given)
    case = given if isinstance(given, EvaluationCase) else EvaluationCase(given)
    case = replace(case, name=named("case", case.name) if case.name else f"case-{number}")
    if isinstance(case.task, str) and not case.task.strip():
        raise InputError(f"The task of {case.name} is empty. Say what is to be done.")
    if case.expected is not None and not (isinstance(case.expected, str) and case.expected.strip()):
        raise InputError(f"What {case.name} expects must be a text that is not empty, not {case.expected!r}.")
    return case


def named(what: str, name: object) -> str:
    """A name that can be a part of a run's id.

    Raises:
        InputError: it cannot.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST or clean(name) != name or "/" in name:
        raise InputError(f"The name of a {what} is a text of 1 to {_LONGEST} characters without '/', not {name!r}.")
    return name


def as_variants(given: Any, fallback: str) -> dict[str, Variant]:
    """Variants by name: of a mapping to variants, or to targets; without any, the one of the evaluation itself.

    Raises:
        InputError: it is no mapping.
    """
    if given is None:
        return {fallback: Variant()}
    if not isinstance(given, Mapping) or not given:
        raise InputError('variants= must name each: {"small": Variant(model="openai:gpt-5-nano"), "mesh": team}.')
    return {
        named("variant", name): one if isinstance(one, Variant) else Variant(target=one) for name, one in given.items()
    }
