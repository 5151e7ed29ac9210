"""One model of a run for every view of it: the terminal, a notebook, a report, a page.

    view = RunView()
    run(team, task, listeners=[view])     # it takes in every event
    view.to_json()                        # the run as it stands, as plain data

A stored run is read back as the same events (`troupe/looking.py`), so that a run looks alike, whoever looks and when.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from troupe.agents.contracts import Decision, Deliverable, Kept, Reason, RunStatus, Status
from troupe.agents.events import (
    Answered,
    Attempt,
    Event,
    Judged,
    Notice,
    Progress,
    Recovered,
    Requested,
    Rerouted,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    Superseded,
    Waiting,
)
from troupe.graphs.drawing import Drawing
from troupe.graphs.drawing.states import State
from troupe.result import Result, flat
from troupe.view.intervals import Interval, critical_path, intervals
from troupe.view.lines import said_of
from troupe.view.words import line

STATES: dict[State, str] = {
    "pending": "○", "running": "●", "accepted": "✓", "reworked": "↻", "partial": "◐", "failed": "✕", "skipped": "–",
    "superseded": "↶", "waiting": "‖",
}  # fmt: skip
"""How a step stands, and its sign. `reworked` is sent back and not begun again yet; at its gate it is `running`."""

_JUDGED: dict[Decision, State] = {
    "pass": "accepted", "partial": "partial", "fail": "failed", "rework": "reworked", "again": "reworked",
    "adapt": "reworked", "rollback": "superseded", "ask": "waiting",
}  # fmt: skip
_WORK = ("work", "decide")
_SAID = 5_000  # characters of what happened


@dataclass(slots=True)
class Tried:
    """One attempt at a round's work; `cause` is empty where it succeeded, `wait` the pause after it."""

    round: int
    number: int
    agent: str
    started: float
    seconds: float
    failure: str = ""
    cause: str = ""
    wait: float = 0.0


@dataclass(slots=True)
class Round:
    """One version of a step's work: begun, delivered, judged."""

    number: int
    started: float
    ended: float | None = None
    judged: float | None = None


@dataclass(slots=True)
class Asked:
    """One request of a model."""

    path: str
    agent: str
    purpose: str
    round: int
    started: float
    seconds: float
    model: str
    tier: str
    input_tokens: int
    output_tokens: int
    usd: float | None
    cached: bool
    useless: bool


@dataclass(slots=True)
class Said:
    """What a gate, or a person in its place, said of a version."""

    at: float
    round: int
    passed: bool
    score: float | None
    decision: Decision
    by: str
    feedback: str
    findings: tuple[str, ...] = ()
    blame: str | None = None


@dataclass(slots=True)
class Fault:
    """A failed attempt of whatever call; `by` is who brought it to a good end after all."""

    at: float
    step: str
    agent: str
    purpose: str
    round: int
    number: int
    failure: str
    cause: str
    then: str = ""
    by: str = ""


@dataclass(slots=True)
class Moment:
    """Something that happened, in words, and the states that steps were in from then on."""

    at: float
    path: str
    text: str
    states: dict[str, tuple[State, bool]] = field(default_factory=dict)
    """By path: the state, and whether its gate was at work."""


@dataclass(slots=True)
class Word:
    """A question to a person, and its answer."""

    id: str
    step: str
    question: str
    asked: float
    options: tuple[str, ...] = ()
    content: str = ""
    expires: float | None = None
    answered: float | None = None
    answer: str = ""
    text: str = ""
    by: str = ""


@dataclass(slots=True)
class StepView:
    """A step as it stands; `path` is `outer/inner` when it is nested."""

    path: str
    agent: str = ""
    tier: str = ""
    objective: str = ""
    state: State = "pending"
    reviewing: bool = False
    """Whether its gate is at work."""
    round: int = 1
    score: float | None = None
    started: float | None = None
    ended: float | None = None
    content: str = ""
    summary: str = ""
    reason: str = ""
    sources: tuple[str, ...] = ()
    required: bool = True
    note: str = ""
    """The last thing that happened to it, while it is under way."""
    rounds: list[Round] = field(default_factory=list)
    attempts: list[Tried] = field(default_factory=list)
    verdicts: list[Said] = field(default_factory=list)
    artifacts: tuple[tuple[str, str], ...] = ()
    """Files in its content: path and content."""

    @property
    def name(self) -> str:
        """Its name in its own team."""
        return self.path.rpartition("/")[2]

    @property
    def outer(self) -> str:
        """The path of the step that it is nested in; empty at the top."""
        return self.path.rpartition("/")[0]

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be done about it, as far as is known."""
        return self.state in ("accepted", "partial", "failed", "skipped")

    def seconds(self, now: float) -> float:
        """How long it took, or has been under way."""
        return 0.0 if self.started is None else max(0.0, (self.ended or now) - self.started)


class RunView:
    """A run as it stands: a listener that takes in every event of it, in order.

    Args:
        run: the run's id, where it is known before the run begins.

    Attributes:
        drawing: the team's graph, where it is known.
        steps: by path, in the order of the team, nested ones after the one they are part of.
        requests: every request of a model.
        words: questions to people by id, with their answers.
        faults: failed attempts, with what recovered them.
        history: what happened, in words.
        record: what the pattern kept besides: `conflicts`, `escalations`, `assignments`, ...

    >>> from troupe import agent, run, scripted
    >>> view = RunView()
    >>> done = run(agent("poet", "Write."), "a haiku", model=scripted(["verse"]), db=":memory:", listeners=[view])
    >>> [(step.path, step.state) for step in view.steps.values()], view.status
    ([('poet', 'accepted')], 'completed')
    """

    def __init__(self, run: str = "") -> None:
        self._lock = threading.RLock()
        self.drawing: Drawing | None = None
        self._begin(run, "", "", 1, True)

    def _begin(self, run: str, workflow: str, task: str, turn: int, simulated: bool) -> None:
        self.run, self.workflow, self.task, self.turn, self.simulated = run, workflow, task, turn, simulated
        self.status: RunStatus = "running"
        self.reason: Reason | None = None
        self.answer = ""
        self.started: float | None = None
        self.ended: float | None = None
        self.last = 0.0
        """When the last event happened."""
        self.total = 0
        self.requests: list[Asked] = []
        self.words: dict[str, Word] = {}
        self.faults: list[Fault] = []
        self.notices: list[tuple[float, str, str]] = []
        self.record: Mapping[str, Mapping[str, Any]] = {}
        self.usd: float | None = 0.0
        self.estimated = False
        self._steps: dict[str, StepView] = {}
        self._planned: list[str] = []
        self.history: list[Moment] = []
        self._stood: dict[str, tuple[State, bool]] = {}

    # --- what happens ---

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        with self._lock:
            if not isinstance(event, RunStarted) or not event.resumed:
                self.last = max(self.last, event.at) if not isinstance(event, RunStarted) else event.at
            self._take(event)
            self._remember(event)

    def _remember(self, event: Event) -> None:
        """Write down what changed."""
        whole = isinstance(event, RunStarted | RunFinished)
        paths = list(self._steps) if whole else [event.path] if event.path in self._steps else []
        changed = {}
        for path in paths:
            stands = self._steps[path].state, self._steps[path].reviewing
            if self._stood.get(path) != stands:
                changed[path] = self._stood[path] = stands
        said = None if isinstance(event, Progress) else said_of(event)
        if said is not None or changed:
            self.history.append(Moment(event.at, event.path, line((said or "")[:_SAID]), changed))

    def _take(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._started(event)
            case RunFinished():
                self._finished(event)
            case StepStarted():
                self._step_started(event)
            case StepFinished():
                self._step_finished(event)
            case Judged():
                self._judged(event)
            case Requested():
                self._requested(event)
            case Attempt():
                self._failed(event)
            case Rerouted():
                self._rerouted(event)
            case Recovered():
                for one in self.faults:
                    if (one.step, one.purpose, one.round) == (event.path, event.purpose, event.round) and not one.by:
                        one.by = event.by
            case Superseded():
                step = self._step(event.path)
                step.state, step.reviewing, step.note = "superseded", False, "to be done again"
            case Waiting():
                self._waiting(event)
            case Answered():
                word = self.words.setdefault(event.id, Word(event.id, event.path, event.question, event.at))
                if word.answered is None:
                    word.answered, word.answer, word.text, word.by = event.at, event.answer, event.text, event.by
                if (asker := self._steps.get(event.path)) is not None and asker.state == "waiting":
                    asker.state, asker.note = "running", ""
            case Notice():
                self.notices.append((event.at, event.path, event.text))
            case Progress() if not event.path:
                self.total = event.total

    def _started(self, event: RunStarted) -> None:
        if not event.resumed or (event.run, event.turn) != (self.run, self.turn):
            self._begin(event.run, event.workflow, event.task, event.turn, event.simulated)
        self.status, self.reason, self.ended, self.last = "running", None, None, event.at
        self.started = event.at if self.started is None else self.started
        for one in event.steps:
            self._plan(one.name, one.agent, one.tier, one.objective)
        if event.standing is not None:
            self.settle(event.standing)

    def _plan(self, name: str, agent: str, tier: str, objective: str) -> None:
        step = self._step(name)
        if name not in self._planned:
            self._planned.append(name)
        step.agent, step.tier, step.objective = step.agent or agent, tier, objective

    def _step(self, path: str) -> StepView:
        return self._steps.setdefault(path, StepView(path))

    def _step_started(self, event: StepStarted) -> None:
        step = self._step(event.path)
        step.agent, step.tier = event.agent, event.tier or step.tier
        step.objective, step.sources = event.objective or step.objective, event.needs or step.sources
        step.state, step.reviewing, step.round, step.note = "running", False, event.round, ""
        step.started = event.at if step.started is None else step.started
        step.ended, step.reason = None, ""
        known = next((one for one in step.rounds if one.number == event.round), None)
        if known is None:
            step.rounds.append(Round(event.round, event.at))
        else:  # the process died in the middle of it, and it begins again
            known.ended = known.judged = None

    def _step_finished(self, event: StepFinished) -> None:
        step = self._step(event.path)
        if not step.rounds or step.rounds[-1].number != event.round:
            step.rounds.append(Round(event.round, event.at - event.seconds))
            step.started = step.rounds[0].started if step.started is None else step.started
        step.rounds[-1].ended = event.at
        step.round, step.agent, step.ended = event.round, event.agent or step.agent, event.at
        step.content, step.summary = event.content or step.content, event.summary or step.summary
        step.reason = event.cause
        self._stand(step, event.status)
        step.note = "recorded" if event.recalled else ""
        if step.reviewing or step.state in ("accepted", "partial"):
            begun = _begun(step, event.round)
            number = 1 + sum(one.round == event.round and one.agent == step.agent for one in step.attempts)
            step.attempts.append(Tried(event.round, number, step.agent, begun, max(0.0, event.at - begun)))

    def _stand(self, step: StepView, status: Status) -> None:
        step.reviewing = status == "submitted"
        step.state = "running" if status == "submitted" else status

    def _judged(self, event: Judged) -> None:
        step = self._step(event.path)
        step.verdicts.append(
            Said(
                event.at,
                event.round,
                event.passed,
                event.score,
                event.decision,
                event.by,
                event.feedback,
                event.findings,
                event.blame,
            )
        )
        step.state, step.reviewing = _JUDGED.get(event.decision, "running"), False
        step.score = step.score if event.score is None else event.score
        step.ended = event.at
        for one in step.rounds:
            if one.number == event.round:
                one.judged = event.at

    def _requested(self, event: Requested) -> None:
        given = {name: getattr(event, name) for name in Asked.__dataclass_fields__}
        self.requests.append(Asked(**given))
        self.usd = None if self.usd is None or event.usd is None else self.usd + event.usd
        self.estimated = self.estimated or event.estimated
        if event.purpose in _WORK and (step := self._steps.get(event.path)) is not None:
            step.tier = step.tier or event.tier

    def _failed(self, event: Attempt) -> None:
        then = "" if event.wait is None else f"again in {event.wait:.1f} s"
        began = event.started or event.at
        self.faults.append(
            Fault(
                at=began,
                step=event.path,
                agent=event.agent,
                purpose=event.purpose,
                round=event.round,
                number=event.number,
                failure=event.failure,
                cause=event.cause,
                then=then,
            )
        )
        step = self._steps.get(event.path)
        if step is None:
            return
        again = "" if event.wait is None else f", {then}"
        step.note = f"attempt {event.number} failed ({event.failure}){again}"
        if event.purpose in _WORK and not step.reviewing and step.state == "running":
            step.attempts.append(
                Tried(
                    event.round,
                    event.number,
                    event.agent,
                    began,
                    max(0.0, event.at - began),
                    event.failure,
                    event.cause,
                    event.wait or 0.0,
                )
            )

    def _rerouted(self, event: Rerouted) -> None:
        for one in reversed(self.faults):
            if one.step == event.path and one.agent == event.agent and not one.then:
                one.then = f"{event.to} takes over"
                break
        if (step := self._steps.get(event.path)) is not None:
            step.note = f"{event.agent} gave up, {event.to} takes over"

    def _waiting(self, event: Waiting) -> None:
        known = self.words.get(event.id)
        if known is None:
            more = event.options, event.content, event.expires
            self.words[event.id] = Word(event.id, event.path, event.question, event.at, *more)
        if (step := self._steps.get(event.path)) is not None:
            step.state, step.reviewing = "waiting", False

    def _finished(self, event: RunFinished) -> None:
        self.status, self.answer, self.ended = event.status, event.answer, event.at
        self.reason = Reason(kind="error", message=event.reason) if event.reason else None
        if event.result is not None:
            self.settle(event.result)
        else:
            for step in self._steps.values():
                if step.state == "running" and event.status != "running":
                    step.state, step.reviewing = "pending", False

    def settle(self, result: Result) -> None:
        """Take in how a turn stands: what no event tells, as who was given up for others, and what is on record."""
        with self._lock:
            self.run, self.workflow, self.turn = result.run, result.workflow, result.turn
            self.task = result.task or self.task
            self.status, self.reason, self.answer = result.status, result.reason, result.answer
            self.simulated, self.record = result.simulated, result.record
            done = flat(result.deliverables)
            for path, one in done.items():
                self._settled(self._step(path), one)
            for kept in (result.record.get("packages", {}), result.record.get("assignments", {})):
                for name, given in kept.items():
                    if (step := self._steps.get(getattr(given, "step", name))) is not None:
                        step.objective = given.objective
            asking = {open_.step for open_ in result.waiting}
            for open_ in result.waiting:
                what = open_.options, open_.content, open_.expires
                self._waiting(Waiting(self.last, open_.step, open_.id, open_.question, *what))
            for step in self._steps.values():
                if step.path in asking:
                    step.state, step.reviewing = "waiting", False
                elif step.state == "running" and result.status != "running" and not _ends_in(step.path, asking):
                    step.state, step.reviewing = ("reworked" if step.round > 1 else "pending"), False

    def _settled(self, step: StepView, done: Deliverable) -> None:
        if done.status != "submitted" and not (step.state == "running" and self.status == "running"):
            self._stand(step, done.status)
        step.agent = step.name if done.parts else done.agent or step.agent  # of a team, its last author says little
        step.round, step.score = done.rounds, done.score
        step.content, step.summary = done.content, done.summary
        step.reason = done.reason.message if done.reason is not None else ""
        step.sources, step.required = done.sources or step.sources, done.required
        step.artifacts = tuple((one.path, one.content) for one in done.artifacts)

    # --- what is seen ---

    @property
    def steps(self) -> dict[str, StepView]:
        """Every step by path: planned ones in their order, others as they began, nested ones after their outer one."""
        with self._lock:
            planned = {name: float(at) for at, name in enumerate(self._planned)}
            begun = sorted((self._began(name), at) for name, at in planned.items())
            latest = [*accumulate((at for _, at in begun), max)]

            def rank(path: str) -> float:
                """Behind whatever of the plan had begun before it, where it was not planned."""
                if path in planned:
                    return planned[path]
                before = bisect_right(begun, (self._began(path), float("inf")))
                return latest[before - 1] + 0.5 if before else -0.5

            def place(path: str) -> list[tuple[float, float, str]]:
                parts = path.split("/")
                every = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
                return [(rank(one), self._began(one), one) for one in every]

            return {path: self._steps[path] for path in sorted(self._steps, key=place)}

    def _began(self, path: str) -> float:
        step = self._steps.get(path)
        return step.started if step is not None and step.started is not None else float("inf")

    @property
    def progress(self) -> tuple[int, int]:
        """How many of the team's own steps have delivered, and how many there are."""
        own = [step for step in list(self._steps.values()) if not step.outer]
        return sum(step.state in ("accepted", "partial") for step in own), max(self.total, len(own))

    @property
    def under_way(self) -> list[StepView]:
        """The steps that somebody works on now: of nested ones the innermost."""
        live = [step for step in self.steps.values() if step.state == "running"]
        return [one for one in live if not any(other.outer == one.path for other in live)]

    def seconds(self, now: float | None = None) -> float:
        """How long the turn took, or has been under way."""
        if self.started is None:
            return 0.0
        return max(0.0, (self.ended or now or self.last) - self.started)

    def used(self, path: str = "") -> dict[str, Any]:
        """Tokens, USD and requests of a step, those of steps inside it included; without a path of the whole run."""
        return total(one for one in self.requests if not path or f"{one.path}/".startswith(f"{path}/"))

    def each_used(self) -> dict[str, dict[str, Any]]:
        """What `used` gives of every path, found in one go."""
        found: dict[str, list[Asked]] = {path: [] for path in list(self._steps)}
        for one in list(self.requests):
            parts = one.path.split("/")
            for depth in range(len(parts)):
                found.setdefault("/".join(parts[: depth + 1]), []).append(one)
        return {path: total(asked) for path, asked in found.items()}

    def by(self, what: Literal["agent", "tier", "model", "path", "purpose"]) -> dict[str, dict[str, Any]]:
        """What was used, by agent, tier, model, step or purpose: whatever costs most first."""
        found: dict[str, list[Asked]] = {}
        for one in self.requests:
            found.setdefault(getattr(one, what) or "unknown", []).append(one)
        summed = {name: total(asked) for name, asked in found.items()}
        return dict(sorted(summed.items(), key=lambda one: (-(one[1]["usd"] or 0), -one[1]["tokens"], one[0])))

    def intervals(self) -> list[Interval]:
        """What took its time, for a timeline."""
        return intervals(self)

    def critical_path(self) -> list[str]:
        """The steps that the run's length came from, first to last."""
        return critical_path(self)

    def to_json(self) -> dict[str, Any]:
        """The run as plain data, whole: what a page or a report shows.

        `steps` is a list in the order of the team; times are seconds since the epoch; `usd` is null where a price is
        unknown.
        """
        with self._lock:
            done, whole = self.progress
            critical = self.critical_path()
            used = self.each_used()
            return {
                "run": self.run,
                "workflow": self.workflow,
                "task": self.task,
                "turn": self.turn,
                "status": self.status,
                "reason": self.reason.model_dump(mode="json") if self.reason else None,
                "answer": self.answer,
                "simulated": self.simulated,
                "started": self.started,
                "ended": self.ended,
                "last": self.last,
                "seconds": round(self.seconds(), 3),
                "progress": {"done": done, "total": whole},
                "running": [step.path for step in self.under_way],
                "usage": {**self.used(), "estimated": self.estimated},
                "steps": [
                    self._step_json(step, step.path in critical, used[step.path]) for step in self.steps.values()
                ],
                "requests": [asdict(one) for one in sorted(self.requests, key=lambda one: one.started)],
                "intervals": [asdict(one) for one in self.intervals()],
                "critical": critical,
                "conflicts": _kept(self.record.get("conflicts", {})),
                "escalations": _kept(self.record.get("escalations", {})),
                "approvals": [asdict(one) for one in self.words.values()],
                "faults": [asdict(one) for one in sorted(self.faults, key=lambda one: one.at)],
                "notices": [{"at": at, "step": path, "text": text} for at, path, text in self.notices],
                "history": [asdict(one) for one in self.history],
                "record": {
                    name: _kept(kept)
                    for name, kept in self.record.items()
                    if name not in ("conflicts", "escalations", "answers")
                },
                "costs": {name: self.by(name) for name in ("agent", "tier", "model", "path")},
            }

    def _step_json(self, step: StepView, critical: bool, used: dict[str, Any]) -> dict[str, Any]:
        plain = {name: getattr(step, name) for name in _PLAIN}
        return {
            **plain,
            "name": step.name,
            "outer": step.outer,
            "sign": STATES[step.state],
            "seconds": round(step.seconds(self.last), 3),
            "critical": critical,
            **{name: value for name, value in used.items() if name != "seconds"},
            "sources": list(step.sources),
            "rounds": [asdict(one) for one in step.rounds],
            "attempts": [asdict(one) for one in step.attempts],
            "verdicts": [asdict(one) for one in step.verdicts],
            "artifacts": [{"path": path, "content": content} for path, content in step.artifacts],
        }


_PLAIN = (
    "path", "agent", "tier", "objective", "state", "reviewing", "round", "score", "started", "ended", "content",
    "summary", "reason", "required", "note",
)  # fmt: skip


def total(asked: Iterable[Asked]) -> dict[str, Any]:
    """What requests used together."""
    usd: float | None = 0.0
    tokens = [0, 0]
    seconds, count, cached = 0.0, 0, 0
    for one in asked:
        usd = None if usd is None or one.usd is None else usd + one.usd
        tokens[0] += one.input_tokens
        tokens[1] += one.output_tokens
        seconds += one.seconds
        count += not one.cached
        cached += one.cached
    return {
        "usd": usd,
        "tokens": sum(tokens),
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "seconds": round(seconds, 3),
        "requests": count,
        "cached": cached,
    }


def _begun(step: StepView, number: int) -> float:
    """When the attempt began that ends now: after the pause of the one before it, or with the round."""
    before = [one for one in step.attempts if one.round == number]
    if before:
        last = before[-1]
        return last.started + last.seconds + last.wait
    return next((one.started for one in reversed(step.rounds) if one.number == number), step.started or 0.0)


def _ends_in(path: str, asking: Iterable[str]) -> bool:
    """Whether something inside a step asks: the step is still under way."""
    return any(one.startswith(f"{path}/") for one in asking)


def _kept(kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Entries of a record with the line that each says itself in."""
    return list(_entries(kept))


def _entries(kept: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, one in kept.items():
        plain = to_jsonable_python(one, fallback=str)
        fields = plain if isinstance(plain, dict) else {"value": plain}
        yield {"id": name, **fields, "line": one.line() if isinstance(one, Kept) else str(one)}
