"""What a run tells while it works: typed events, on LangGraph's custom stream and to listeners. Nothing prints here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from troupe.agents.contracts import Decision, FailureKind, How, RunStatus, Status


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: `at` is seconds since the epoch, `path` the step (`outer/inner` when nested)."""

    at: float
    path: str
    kind: str = field(init=False, default="event")

    def to_json(self) -> dict[str, Any]:
        """The event as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Planned:
    """A step that is known of before it begins."""

    name: str
    agent: str
    tier: str = ""
    objective: str = ""


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A turn began. `simulated`: no real model is called."""

    kind: str = field(init=False, default="run_started")
    run: str
    workflow: str
    turn: int
    simulated: bool
    resumed: bool
    task: str = ""
    steps: tuple[Planned, ...] = ()
    """Those that are known of before they begin."""
    standing: Any = field(default=None, repr=False, compare=False)
    """Of a turn that goes on, the `Result` so far; it is no part of the event as plain data."""

    def to_json(self) -> dict[str, Any]:
        """The event as plain data."""
        return _without(self, "standing")


@dataclass(frozen=True, slots=True)
class StepStarted(Event):
    """A step began its round `round`; it is step `index` of `total`."""

    kind: str = field(init=False, default="step_started")
    agent: str
    round: int
    index: int
    total: int
    tier: str = ""
    """The class of model that its agent is served by."""
    objective: str = ""
    needs: tuple[str, ...] = ()
    """The steps whose results it was given in full."""


@dataclass(frozen=True, slots=True)
class Requested(Event):
    """A model was asked: by whom, what for, since when (`started`), and what it used."""

    kind: str = field(init=False, default="request")
    agent: str
    purpose: str
    round: int
    started: float
    seconds: float
    model: str = ""
    tier: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = 0.0
    cached: bool = False
    """True when a cache answered."""
    estimated: bool = False
    useless: bool = False
    """True when nothing could be made of the reply."""


@dataclass(frozen=True, slots=True)
class Attempt(Event):
    """One attempt of a call failed; `wait` is the seconds until the next one, None if there is none."""

    kind: str = field(init=False, default="attempt")
    agent: str
    purpose: str
    number: int
    failure: FailureKind
    cause: str
    wait: float | None
    round: int = 1
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class Recovered(Event):
    """A call of which attempts had failed came to a good end: `by` made it, in whoever's place."""

    kind: str = field(init=False, default="recovered")
    agent: str
    by: str
    purpose: str
    round: int


@dataclass(frozen=True, slots=True)
class Rerouted(Event):
    """A call failed for good and is made by somebody else now: `how` says why by them."""

    kind: str = field(init=False, default="rerouted")
    agent: str
    to: str
    how: How
    cause: str


@dataclass(frozen=True, slots=True)
class Judged(Event):
    """A gate gave its verdict."""

    kind: str = field(init=False, default="verdict")
    passed: bool
    score: float | None
    decision: Decision
    feedback: str
    round: int
    by: str
    findings: tuple[str, ...] = ()
    blame: str | None = None
    """The earlier step that caused the fault."""


@dataclass(frozen=True, slots=True)
class Superseded(Event):
    """What a step delivered is not built on any more: a rollback passed over it, and it is done again."""

    kind: str = field(init=False, default="superseded")
    round: int


@dataclass(frozen=True, slots=True)
class StepFinished(Event):
    """A step's round ended, with what its calls used in that round."""

    kind: str = field(init=False, default="step_finished")
    agent: str
    status: Status
    round: int
    attempts: int
    seconds: float
    usd: float | None
    cause: str
    recalled: bool
    """True when the content came from the journal and nothing was called."""
    cached: int = 0
    """Requests that a cache answered."""
    content: str = ""
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """How far the run is: `done` of `total` steps, and what it used so far."""

    kind: str = field(init=False, default="progress")
    done: int
    total: int
    seconds: float
    usd: float | None


@dataclass(frozen=True, slots=True)
class Waiting(Event):
    """The run needs a person: answer with `resume`, by the question's `id`."""

    kind: str = field(init=False, default="waiting")
    id: str
    question: str
    options: tuple[str, ...]
    content: str = ""
    """The work in question, if it is about one."""
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Answered(Event):
    """A person answered the question `id`: `answer` is what they decided, `text` what they said."""

    kind: str = field(init=False, default="answered")
    id: str
    question: str
    answer: str
    text: str
    by: str


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something the caller should know, in a sentence."""

    kind: str = field(init=False, default="notice")
    text: str


@dataclass(frozen=True, slots=True)
class Token(Event):
    """A piece of the text that a step is writing."""

    kind: str = field(init=False, default="token")
    text: str


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """A turn ended."""

    kind: str = field(init=False, default="run_finished")
    run: str
    status: RunStatus
    answer: str
    reason: str
    seconds: float
    usd: float | None
    result: Any = field(default=None, repr=False, compare=False)
    """The whole `Result`, for listeners of a door; it is no part of the event as plain data."""

    def to_json(self) -> dict[str, Any]:
        """The event as plain data."""
        return _without(self, "result")


def _without(event: Event, name: str) -> dict[str, Any]:
    """An event as plain data, without a field that is none."""
    changes: dict[str, Any] = {name: None}
    return {key: value for key, value in asdict(replace(event, **changes)).items() if key != name}


Listener = Callable[[Event], Any]
