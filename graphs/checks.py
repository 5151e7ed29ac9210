"""Checks: what judges a deliverable. They combine with `&` and `|`.

    non_empty() & contains("order") & review(by="qa-engineer", at_least=0.8)

Those that cost nothing run first; a reviewing agent is asked only where they leave the question open. Whatever cannot
be read, or raises, counts as not passed.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError

from troupe.agents import brief as briefs
from troupe.agents.agent import Agent
from troupe.agents.chat import ChatAgent, agent
from troupe.agents.contracts import (
    NO_USAGE,
    Brief,
    Deliverable,
    Failed,
    Judgement,
    Ok,
    Outcome,
    Usage,
    Verdict,
)
from troupe.agents.errors import BuildError, InvalidOutput, complaints
from troupe.agents.functions import call_function, must_be_users
from troupe.graphs.adapters import as_agent
from troupe.prompts import load, render

Asks = Callable[[Agent, Brief, type[BaseModel]], Awaitable[Outcome]]
"""How a check asks an agent: through the Executor, as `(agent, brief, schema)`."""


@dataclass(frozen=True)
class Case:
    """What is judged: the deliverable, the brief it answers, and the earlier steps that may be to blame."""

    work: Deliverable
    brief: Brief
    blamable: Sequence[str] = ()
    prompts: Any = None


class Check(ABC):
    """Something that judges; combine with `&` (both must pass) and `|` (one is enough)."""

    free: bool = True
    """Whether judging costs no model call."""
    at_least: float | None = None
    """The score that is needed, where one is."""

    @abstractmethod
    async def judge(self, case: Case, ask: Asks) -> Judgement:
        """The judgement of a deliverable."""

    def for_author(self, author: Agent) -> Check:
        """The same check for this author's work: the reviewer is never the author."""
        return self

    @property
    def reviewers(self) -> tuple[str, ...]:
        """The agents who judge, by name: none of them does the work, neither in another's place."""
        return ()

    @property
    def words(self) -> str:
        """The check in a few words, for pictures."""
        return type(self).__name__

    def __and__(self, other: Any) -> Check:
        return All(_flat(All, self, as_check(other)))

    def __rand__(self, other: Any) -> Check:
        return as_check(other) & self

    def __or__(self, other: Any) -> Check:
        return Any_(_flat(Any_, self, as_check(other)))

    def __ror__(self, other: Any) -> Check:
        return as_check(other) | self


@dataclass(frozen=True)
class Combined(Check):
    """Several checks as one."""

    parts: tuple[Check, ...]
    sign: ClassVar[str]

    @property
    def free(self) -> bool:  # type: ignore[override]
        """Whether every part is."""
        return all(part.free for part in self.parts)

    @property
    def at_least(self) -> float | None:  # type: ignore[override]
        """The highest that a part needs."""
        return max((one.at_least for one in self.parts if one.at_least is not None), default=None)

    @property
    def words(self) -> str:
        """The parts' words."""
        return self.sign.join(part.words for part in self.parts)

    @property
    def reviewers(self) -> tuple[str, ...]:
        """Those of every part."""
        return tuple(name for part in self.parts for name in part.reviewers)

    def for_author(self, author: Agent) -> Check:
        """See `Check`."""
        return type(self)(tuple(part.for_author(author) for part in self.parts))


class All(Combined):
    """Passes when every part does; stops at the first that does not, the free ones first."""

    sign = " & "

    async def judge(self, case: Case, ask: Asks) -> Judgement:
        """See `Check`."""
        verdicts = []
        for part in _free_first(self.parts):
            verdicts.append(await part.judge(case, ask))
            if not verdicts[-1].passed:
                break
        return _joined(verdicts, verdicts[-1].passed)


class Any_(Combined):
    """Passes when one part does; asks no further then, the free ones first."""

    sign = " | "

    async def judge(self, case: Case, ask: Asks) -> Judgement:
        """See `Check`."""
        verdicts = []
        for part in _free_first(self.parts):
            verdicts.append(await part.judge(case, ask))
            if verdicts[-1].passed:
                paid = sum((one.usage for one in verdicts), NO_USAGE)
                return _joined([verdicts[-1]], True).but(usage=paid)
        return _joined(verdicts, False)


@dataclass(frozen=True)
class Rule(Check):
    """A function of the Deliverable (or of Deliverable and Brief); see `check`."""

    function: Callable[..., Any]
    label: str
    at_least: float | None = None
    builtin: bool = False

    @property
    def words(self) -> str:
        """See `Check`."""
        return self.label

    async def judge(self, case: Case, ask: Asks) -> Judgement:
        """See `Check`."""
        if self.builtin:
            return Judgement.of(self.read(self.function(case.work)), by=self.label)
        outcome = await ask(_Judge(self, case), case.brief, Verdict)
        if isinstance(outcome, Ok):
            return Judgement.of(outcome.value, by=self.label)
        why = outcome.cause if isinstance(outcome, Failed) else outcome.reason
        return _refused(f"The check {self.label} did not work: {why}", self.label)

    def read(self, value: Any) -> Verdict:
        """What the function returned, as a verdict.

        Raises:
            InvalidOutput: it is none of the kinds that a check returns, or a score out of range.
        """
        if isinstance(value, Verdict):
            return value
        if isinstance(value, str):  # a complaint, or "" for none
            return Verdict(passed=not value, findings=(value,) if value else (), feedback=value)
        if isinstance(value, bool) or value is None:
            return Verdict(passed=bool(value), feedback="" if value else f"The check {self.label} did not pass.")
        if isinstance(value, int | float) and 0 <= value <= 1:
            needed = 0.5 if self.at_least is None else self.at_least
            feedback = "" if value >= needed else f"The check {self.label} gave {value:g}; {needed:g} is needed."
            return Verdict(passed=value >= needed, score=value, feedback=feedback)
        raise InvalidOutput(
            f"{self.label} returned {value!r}; a check returns bool, a score from 0 to 1, "
            "a complaint (text, empty for none) or a Verdict."
        )


@dataclass(frozen=True)
class Review(Check):
    """An agent that reads the work and gives a verdict; see `review`."""

    by: Agent
    at_least: float | None = None
    free = False

    @property
    def words(self) -> str:
        """See `Check`."""
        return f"{self.by.name}{'' if self.at_least is None else f' ≥ {self.at_least:g}'}"

    @property
    def reviewers(self) -> tuple[str, ...]:
        """See `Check`."""
        return (self.by.name,)

    def for_author(self, author: Agent) -> Check:
        """See `Check`."""
        if self.by.name != author.name:
            return self
        for name in self.by.role.backups if isinstance(self.by, ChatAgent) else ():
            if name != author.name:
                return Review(agent(name), self.at_least)
        raise BuildError(
            f"{author.name!r} would review its own work. Give this step another reviewer: "
            "Step(..., gate=gate(review(by=...)))."
        )

    async def judge(self, case: Case, ask: Asks) -> Judgement:
        """See `Check`."""
        author = case.work.agent
        threshold = "" if self.at_least is None else f" Needed to pass: {self.at_least:g}."
        part = render(
            load("moves/review", case.prompts),
            step=case.work.step,
            author=author,
            threshold=threshold,
            blamable=", ".join(case.blamable) or "(there is no earlier step)",
            work=briefs.fence(case.work.content, case.work.step, author),
        )
        objective = f"The author's objective was: {case.brief.objective}\n\n{part}" if case.brief.objective else part
        brief = case.brief.model_copy(
            update={"objective": objective, "previous": None, "feedback": "", "guidance": (), "conversation": ()}
        )
        outcome = await ask(self.by, brief, Verdict)
        if not isinstance(outcome, Ok):
            why = outcome.cause if isinstance(outcome, Failed) else outcome.reason
            kind = outcome.kind if isinstance(outcome, Failed) else "code"
            refused = _refused(f"The review by {self.by.name} failed: {why}", self.by.name, outcome.usage)
            return refused.but(limit=kind == "limit", final=kind != "invalid_output")
        verdict = Judgement.of(outcome.value, by=outcome.by or self.by.name, usage=outcome.usage)
        if not verdict.passed or self.at_least is None:
            return verdict
        if verdict.score is not None and verdict.score >= self.at_least:
            return verdict
        said = "no score" if verdict.score is None else f"a score of {verdict.score:g}"
        finding = f"{self.by.name} gave {said}; {self.at_least:g} is needed."
        feedback = "\n".join(one for one in (verdict.feedback, finding) if one)
        return verdict.but(passed=False, feedback=feedback, findings=(*verdict.findings, finding))


@dataclass(frozen=True)
class Conclusion(Check):
    """What the author's own report comes to, as data; see `conclusion`."""

    author: Agent | None = None
    free = False

    @property
    def words(self) -> str:
        """See `Check`."""
        return f"{self.author.name} concludes" if self.author else "conclusion"

    def for_author(self, author: Agent) -> Check:
        """See `Check`."""
        if not author.can_decide:
            raise BuildError(
                f"{author.name!r} cannot decide, so its report has no conclusion. Use an agent with a model."
            )
        return Conclusion(author)

    async def judge(self, case: Case, ask: Asks) -> Judgement:
        """See `Check`."""
        assert self.author is not None  # noqa: S101 - a gate asks for its author's check
        text = render(
            load("moves/conclusion", case.prompts),
            blamable=", ".join(case.blamable) or "(there is no part)",
            work=briefs.fence(case.work.content, case.work.step, case.work.agent),
        )
        brief = case.brief.model_copy(update={"objective": text, "previous": None, "feedback": "", "conversation": ()})
        outcome = await ask(self.author, brief, Verdict)
        if not isinstance(outcome, Ok):
            why = outcome.cause if isinstance(outcome, Failed) else outcome.reason
            kind = outcome.kind if isinstance(outcome, Failed) else "code"
            refused = _refused(f"{self.author.name} gave no conclusion: {why}", self.author.name, outcome.usage)
            return refused.but(limit=kind == "limit", final=True)
        verdict = Judgement.of(outcome.value, by=self.author.name, usage=outcome.usage)
        # Writing the report again mends nothing: only the part that is to blame can.
        return verdict.but(final=not verdict.passed and verdict.blame not in case.blamable)


class _Judge(Agent):
    """A user's function as the one who decides, so that it runs through the Executor like everything else."""

    holds_slot = False

    def __init__(self, rule: Rule, case: Case) -> None:
        self.rule = rule
        self.case = case
        self.name = rule.label

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        raise BuildError(f"{self.name!r} judges and does not work.")

    async def decide(self, brief: Brief, schema: Any) -> Any:
        function = self.rule.function
        args = (self.case.work, self.case.brief) if _takes_two(function) else (self.case.work,)
        return self.rule.read(await call_function(function, *args))


def review(by: Any, at_least: float | None = None) -> Check:
    """An agent reviews the work: one model call.

    Args:
        by: a role name or agent; where it is the author itself, its first backup reviews.
        at_least: the score from 0 to 1 that is needed; where it is given, no score is not passed.
    """
    reviewer = as_agent(by)
    if not reviewer.can_decide:
        raise BuildError(f"{reviewer.name!r} cannot decide, so it cannot review. Use a role or an agent with a model.")
    return Review(reviewer, _threshold(at_least))


def conclusion() -> Check:
    """The author of a report says as data what it found: passed, or which earlier part is to blame; one model call.

    For the step that validates others: `Step("qa-engineer", "Validate it.", gate=gate(conclusion()))` sends the part
    to blame back, and does its own work again after that.
    """
    return Conclusion()


def check(function: Callable[..., Any], at_least: float | None = None) -> Check:
    """A function as a check: it gets the Deliverable (and the Brief, if it takes two) and returns a bool, a score from
    0 to 1, a complaint (text, empty for none) or a Verdict.
    """
    if not callable(function):
        raise BuildError(f"{function!r} is not a function of a Deliverable.")
    must_be_users(function)
    return Rule(function, getattr(function, "__name__", type(function).__name__), _threshold(at_least))


def non_empty() -> Check:
    """The work holds some text."""
    return Rule(lambda work: "" if work.content.strip() else "The work is empty.", "non-empty", builtin=True)


def contains(*texts: str) -> Check:
    """The work contains each of these texts, as they are."""
    if not texts or not all(isinstance(one, str) and one for one in texts):
        raise BuildError('contains() needs texts that are not empty: contains("order id").')

    def missing(work: Deliverable) -> str:
        absent = [one for one in texts if one not in work.content]
        return f"The work must contain: {', '.join(map(repr, absent))}." if absent else ""

    return Rule(missing, f"contains {', '.join(texts)}", builtin=True)


def matches(schema: type[BaseModel]) -> Check:
    """The work is JSON that is valid against a pydantic model (its `data`, or its text)."""
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        raise BuildError(f"matches() needs a pydantic model class, not {schema!r}.")

    def invalid(work: Deliverable) -> str:
        try:
            if work.data is not None:
                schema.model_validate(work.data.model_dump() if isinstance(work.data, BaseModel) else work.data)
            else:
                schema.model_validate_json(work.content)
        except ValidationError as error:
            return f"The work is not a valid {schema.__name__}: {complaints(error)}"
        return ""

    return Rule(invalid, f"is a {schema.__name__}", builtin=True)


def as_check(given: Any) -> Check:
    """A check, or a function as one."""
    if isinstance(given, Check):
        return given
    if callable(given) and not isinstance(given, type):
        return check(given)
    raise BuildError(f"{given!r} is not a check: use review(by=...), contains(...), matches(...), or a function.")


def _threshold(at_least: float | None) -> float | None:
    if at_least is not None and not (isinstance(at_least, int | float) and 0 <= at_least <= 1):
        raise BuildError(f"at_least={at_least!r}: a score lies between 0 and 1.")
    return at_least


def _refused(why: str, by: str, usage: Usage = NO_USAGE) -> Judgement:
    return Judgement(passed=False, findings=(why,), feedback=why, by=by, usage=usage)


def _joined(verdicts: Sequence[Judgement], passed: bool) -> Judgement:
    """One judgement of several: the lowest score, all findings, the first blame."""
    scores = [one.score for one in verdicts if one.score is not None]
    return Judgement(
        passed=passed,
        score=min(scores, default=None),
        findings=tuple(finding for one in verdicts for finding in one.findings),
        feedback="\n".join(one.feedback for one in verdicts if one.feedback),
        blame=next((one.blame for one in verdicts if one.blame), None),
        by=", ".join(one.by for one in verdicts if one.by and (passed or not one.passed)),
        usage=sum((one.usage for one in verdicts[1:]), verdicts[0].usage),
        limit=any(one.limit for one in verdicts),
        final=any(one.final for one in verdicts),
    )


def _free_first(parts: Sequence[Check]) -> list[Check]:
    return sorted(parts, key=lambda part: not part.free)


def _flat(kind: type[All] | type[Any_], *checks: Check) -> tuple[Check, ...]:
    return tuple(part for one in checks for part in (one.parts if isinstance(one, kind) else (one,)))


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        needed = [
            one
            for one in inspect.signature(function).parameters.values()
            if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.default is one.empty
        ]
    except (TypeError, ValueError):
        return False
    return len(needed) >= 2
