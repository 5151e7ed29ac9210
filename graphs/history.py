"""What recorded runs took: by run, by step, and by what was asked. Plain values; `troupe.records` reads them.

    rows of the journal --record--> RunRecord --of StepRecords--> History: seconds, USD, pass and failure rates

Adaptive orchestration predicts with them, and a rehearsal draws from them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from troupe.agents.call import Purpose
from troupe.agents.contracts import (
    NO_USAGE,
    Deliverable,
    FailureKind,
    Judgement,
    RunStatus,
    Status,
    Tier,
    Tokens,
    Usage,
)
from troupe.agents.journal import Row
from troupe.graphs.state import part

# A call's part of a key: `step#round/purpose.agent/digest`; that of the innermost call comes last.
_CALL = re.compile(rf"([^/]+)#(\d+)/({'|'.join(get_args(Purpose))})\.([^/]*)/[0-9a-f]+")
_NO_TIERS: Mapping[str, Tier] = {}


@dataclass(frozen=True, slots=True)
class Asked:
    """One model request, or one attempt that failed.

    Attributes:
        agent: who asked, in whoever's place.
        tier: of its model; None where nobody of the known roles has that name.
        purpose: what for.
        round: of the step.
        started: seconds since the epoch.
        seconds: until the reply, or until it failed.
        usd: None where the price is unknown.
        tokens: that were sent and that came back.
        failure: why it failed, if it did.
    """

    agent: str
    tier: Tier | None
    purpose: Purpose
    round: int
    started: float
    seconds: float
    usd: float | None
    tokens: Tokens
    failure: FailureKind | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What one step of one run took.

    Attributes:
        path: `outer/inner` when nested; an item of a fan-out has its number: `worker.2`.
        agent: who delivered, or else who was asked last.
        tier: of that agent; None where nobody of the known roles has that name.
        status: how it ended; `submitted` where only that it delivered is known.
        rounds: of work.
        attempts: at the work, those that failed included.
        calls: model requests, reviews included; of a graph with those inside, as are `usd` and `tokens`.
        started: seconds since the epoch.
        seconds: that something of it was under way: work, retries, reviews and reworks, waits for a slot included.
        usd: None where a price is unknown.
        score: of the last verdict.
        judged: whether each verdict of its gate passed it, in order.
        sent_back: how often its gate sent it back.
        sources: the steps whose results it was built on, as far as that is known.
        asked: its own requests and failed attempts, oldest first.
        content: what it delivered, where the turn's last state is at hand.
        composed: whether it is a graph whose steps are records of their own.
    """

    path: str
    agent: str = ""
    tier: Tier | None = None
    status: Status = "submitted"
    rounds: int = 1
    attempts: int = 1
    calls: int = 0
    started: float = 0.0
    seconds: float = 0.0
    usd: float | None = 0.0
    tokens: Tokens = NO_USAGE.tokens
    score: float | None = None
    judged: tuple[bool, ...] = ()
    sent_back: int = 0
    sources: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    composed: bool = False
    content: str = field(default="", repr=False)

    @property
    def delivered(self) -> bool:
        """Whether anything came of it."""
        return self.status in ("submitted", "accepted", "partial")

    @property
    def template(self) -> str:
        """Its path without the number of an item.

        >>> StepRecord("scan/worker.12").template
        'scan/worker'
        """
        head, dot, number = self.path.rpartition(".")
        return head if dot and number.isdecimal() else self.path


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What one turn of a run took.

    Attributes:
        run: the thread's id.
        workflow: its name.
        status: how it ended.
        simulated: whether no real model was called.
        started: seconds since the epoch.
        seconds: from its start to its end, without the time in which nothing but a person was waited for.
        usd: None where a price is unknown.
        steps: in the order in which they began, nested ones after the graph that they are part of.
    """

    run: str
    turn: int
    workflow: str
    task: str
    status: RunStatus
    simulated: bool
    started: float
    seconds: float
    usd: float | None
    steps: tuple[StepRecord, ...] = ()

    def __getitem__(self, path: str) -> StepRecord:
        """The record of a step.

        Raises:
            KeyError: nothing is known of it.
        """
        for one in self.steps:
            if one.path == path:
                return one
        raise KeyError(f"Run {self.run} has no record of {path!r}. There are: {', '.join(self.paths) or 'none'}.")

    @property
    def paths(self) -> tuple[str, ...]:
        """Of its steps."""
        return tuple(one.path for one in self.steps)


@dataclass(frozen=True)
class History:
    """Recorded runs, newest first. A step is named by its path; that of a fan-out also finds its items.

    >>> step = StepRecord("draft", seconds=2.0, judged=(False, True), sent_back=1)
    >>> run = RunRecord("r", 1, "line", "a shop", "completed", False, 0.0, 2.5, 0.1, (step,))
    >>> History((run,)).seconds("draft"), History((run,)).pass_rate("draft")
    ((2.0,), 0.5)
    """

    runs: tuple[RunRecord, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def of(self, workflow: str) -> History:
        """The runs of one workflow."""
        return replace(self, runs=tuple(one for one in self.runs if one.workflow == workflow))

    def steps(self, step: str | None = None) -> Iterator[StepRecord]:
        """The records of a step, or of all."""
        for run in self.runs:
            for one in run.steps:
                if step is None or step in (one.path, one.template):
                    yield one

    def seconds(self, step: str) -> tuple[float, ...]:
        """What a step took, wherever it delivered."""
        return tuple(one.seconds for one in self.steps(step) if one.delivered)

    def usd(self, step: str) -> tuple[float, ...]:
        """What a step cost, wherever it delivered and every price is known."""
        return tuple(one.usd for one in self.steps(step) if one.delivered and one.usd is not None)

    def verdicts(self, step: str) -> tuple[bool, ...]:
        """Whether each verdict on a step passed it."""
        found = list(self.steps(step))
        # A check that is no call leaves no trace where it passes at once; that there is one shows in other runs.
        passed = (True,) if any(one.judged for one in found) else ()
        return tuple(each for one in found for each in one.judged or (passed if one.delivered else ()))

    def pass_rate(self, step: str) -> float | None:
        """The share of verdicts that passed; None where it was never judged."""
        judged = self.verdicts(step)
        return sum(judged) / len(judged) if judged else None

    def failure_rate(self, agent: str) -> float | None:
        """The share of an agent's attempts that failed; None where it was never asked."""
        asked = [one for one in self.asked() if one.agent == agent]
        return sum(one.failure is not None for one in asked) / len(asked) if asked else None

    def asked(self, step: str | None = None) -> Iterator[Asked]:
        """What was asked in a step, or in all."""
        for one in self.steps(step):
            yield from one.asked


# --- from the journal's rows ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Found:
    """What the rows of one path say."""

    asked: list[Asked] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)
    used: Usage = NO_USAGE
    by: str = ""
    requested: str = ""
    """Who asked last."""
    worked: dict[int, float] = field(default_factory=dict)
    """By round, when its work began."""
    attempts: int = 0
    ended: bool = False
    failed: bool = False
    reviews: dict[int, tuple[float, bool, float | None, bool]] = field(default_factory=dict)
    """By round the last review's end, whether it passed, its score, and whether it blamed another step."""
    questions: set[int] = field(default_factory=set)


def record(
    of: RunRecord,
    rows: Iterable[Row],
    tiers: Mapping[str, Tier] = _NO_TIERS,
    deliverables: Mapping[str, Deliverable] | None = None,
    verdicts: Mapping[str, Judgement] | None = None,
) -> RunRecord:
    """A run's record with its steps, from what the journal has of its turn.

    Args:
        of: what is known of the run besides; `seconds` is without what a person took when it comes back.
        rows: of the turn, in any order.
        tiers: of agents, by name.
        deliverables: by path, where the turn's last state is at hand: it knows more than the journal.
        verdicts: by `step#round`, the same.
    """
    found: dict[str, _Found] = defaultdict(_Found)
    asked, answered = dict[str, float](), dict[str, float]()
    for row in sorted(rows, key=lambda one: (one.started, one.key)):
        if row.kind in ("question", "answer"):
            place = row.key.removesuffix("/answer")
            (asked if row.kind == "question" else answered)[place] = row.started
            if row.kind == "question" and isinstance(row.sent, Mapping):
                found[row.path].questions.add(int(row.sent.get("round") or 1))
        elif (calls := _CALL.findall(row.key)) and row.path:
            _take_in(found[row.path], row, calls[-1], tiers)
    paths = [path for path, one in found.items() if one.spans]
    blamed = [(end, path) for path in paths for end, passed, _, blames in found[path].reviews.values() if blames]
    steps = [_step(path, found, tiers, blamed, deliverables or {}, verdicts or {}) for path in paths]
    steps.sort(key=lambda one: (_began_of(one.path, found), one.path))
    busy = [span for one in found.values() for span in one.spans]
    waits = [(at, answered[place]) for place, at in asked.items() if place in answered]
    return replace(of, seconds=max(0.0, of.seconds - (covered([*busy, *waits]) - covered(busy))), steps=tuple(steps))


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """How much of the time lies in any of these spans.

    >>> covered([(0, 2), (1, 3), (5, 6)])
    4.0
    """
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _take_in(one: _Found, row: Row, call: tuple[str, str, str, str], tiers: Mapping[str, Tier]) -> None:
    _, number, purpose, _ = call
    round_, end = int(number), row.started + row.seconds
    if row.kind in ("request", "failure"):
        one.used = one.used + row.usage
        one.requested = row.agent
        what: tuple[Any, ...] = row.seconds, row.usage.usd, row.usage.tokens, row.failure
        one.asked.append(Asked(row.agent, tiers.get(row.agent), purpose, round_, row.started, *what))  # type: ignore[arg-type]
    if row.kind in ("outcome", "failure"):
        one.spans.append((row.started, end))
    if purpose == "work":
        one.worked[round_] = min(row.started, one.worked.get(round_, row.started))
        one.attempts += row.kind in ("outcome", "failure")
        if row.kind == "outcome":
            one.ended, one.by = True, row.agent
    if purpose == "review" and row.kind == "outcome" and row.received is not None:
        passed, score, blame = (_said(row.received, name) for name in ("passed", "score", "blame"))
        one.reviews[round_] = end, bool(passed), score, bool(blame) and not passed


def _said(value: Any, field: str) -> Any:
    try:
        return part(value, field)
    except (AttributeError, KeyError):
        return None


def _step(
    path: str,
    found: Mapping[str, _Found],
    tiers: Mapping[str, Tier],
    blamed: Sequence[tuple[float, str]],
    deliverables: Mapping[str, Deliverable],
    verdicts: Mapping[str, Judgement],
) -> StepRecord:
    one, done = found[path], deliverables.get(path)
    inside = [part for name, part in found.items() if name.startswith(f"{path}/")]
    used = sum((part.used for part in inside), one.used)
    rounds = max([*one.worked, done.rounds if done else 1])
    passes = _passes(path, one, rounds, blamed, verdicts)
    status: Status = done.status if done else "submitted" if one.ended else "failed"
    scores = [score for _, _, score, _ in one.reviews.values()]
    agent = (done.agent if done else "") or one.by or one.requested
    return StepRecord(
        path=path,
        agent=agent,
        tier=tiers.get(agent),
        status=status,
        rounds=rounds,
        attempts=max(1, one.attempts),
        calls=used.calls,
        started=min(start for start, _ in one.spans),
        seconds=covered(one.spans),
        usd=used.usd,
        tokens=used.tokens,
        score=done.score if done else scores[-1] if scores else None,
        judged=tuple(passes.values()),
        sent_back=sum(not passed for number, passed in passes.items() if number < rounds),
        sources=done.sources if done else (),
        asked=tuple(one.asked),
        composed=bool(inside),
        content=done.content if done else "",
    )


def _passes(
    path: str, one: _Found, rounds: int, blamed: Sequence[tuple[float, str]], verdicts: Mapping[str, Judgement]
) -> dict[int, bool]:
    """By round, whether the gate passed it, where there was a verdict."""
    passes: dict[int, bool] = {}
    for number in range(1, rounds + 1):
        again = one.worked.get(number + 1)
        verdict = verdicts.get(f"{path}#{number}")
        review = one.reviews.get(number)
        if number in one.questions and number in one.worked:  # a person was asked, and may have said the last word
            passes[number] = False
        elif verdict is not None and verdict.decision not in ("again", "adapt"):
            passes[number] = verdict.passed
        elif again is None:
            if review is not None or passes:
                passes[number] = review is None or review[1]
        elif review is None or review[1]:
            # It worked again: a check that is no call did not pass, or a later step laid the blame on it, or before it.
            began = review[0] if review is not None else one.worked.get(number, again)
            elsewhere = any(began <= end <= again and other != path for end, other in blamed)
            if not elsewhere or review is not None:
                passes[number] = elsewhere
        else:
            passes[number] = False
    return passes


def _began_of(path: str, found: Mapping[str, _Found]) -> list[float]:
    """When each of the steps around it began, and it."""
    parts = path.split("/")
    around = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    return [min(start for start, _ in found[one].spans) for one in around if one in found and found[one].spans]
