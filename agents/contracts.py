"""The vocabulary that every floor speaks: what an agent gets, what it hands back, and how a call ends.

    Brief --> Agent --> Deliverable --> Gate --> Verdict
                \\-> Ok | Failed | Skipped   (an Outcome: how one call ended, never an exception)

All values are frozen. Text is plain `str` without NUL characters or lone surrogates, money is USD (`None` where a
price is unknown), time is seconds, scores lie in 0 to 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, field_serializer
from pydantic_core import to_jsonable_python

from troupe.agents.notes import Artifact, Notes, Text, artifacts

Tier = Literal["economy", "standard", "premium"]
TIERS: tuple[Tier, ...] = ("economy", "standard", "premium")

Status = Literal["submitted", "accepted", "partial", "failed", "skipped", "superseded"]
"""How a step stands: `submitted` waits for its gate, the others are ends (`superseded`: redone after a rollback)."""

RunStatus = Literal["running", "completed", "partial", "failed", "waiting", "stopped"]

Decision = Literal["pass", "rework", "rollback", "ask", "partial", "fail", "again", "adapt"]
"""What the engine did after a verdict; of a step that failed, a person had it done `again`, or in another way."""

How = Literal["first", "backup", "model", "skills", "pattern", "split", "guide", "person", "drop"]
"""Who or what was turned to: the agent itself, a backup of its role, another tier's or provider's model, whoever has
the skills, a team in its place, its task split or guided by a senior, a person; `drop`: the run went on without it."""

FailureKind = Literal[
    "limit", "timeout", "rate_limit", "connection", "server", "auth", "not_found", "bad_request", "context_length",
    "content_filter", "invalid_output", "tool", "code", "journal",
]  # fmt: skip
"""Why a call failed; only `timeout`, `rate_limit`, `connection`, `server` and `invalid_output` are worth a retry."""


class Value(BaseModel):
    """A frozen value that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Kept(Value, ABC):
    """Something that a pattern keeps in its state besides deliverables, and that people want to read in a line."""

    @abstractmethod
    def line(self) -> str:
        """It in a sentence or two."""


class Tokens(Value):
    """Tokens of one or many calls."""

    input: int = 0
    output: int = 0

    @property
    def total(self) -> int:
        """Input and output together."""
        return self.input + self.output

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(input=self.input + other.input, output=self.output + other.output)


class Usage(Value):
    """What calls used. `usd` is None as soon as one of them has an unknown price; `calls` counts model requests.

    >>> (Usage(usd=0.5, calls=1) + Usage(usd=None, calls=1)).usd is None
    True
    """

    tokens: Tokens = Tokens()
    usd: float | None = 0.0
    seconds: float = 0.0
    calls: int = 0
    estimated: bool = False
    """True when the provider sent no usage and tokens were counted from the text."""
    cached: int = Field(default=0, exclude_if=lambda count: count == 0)
    """Requests that a cache answered: they cost nothing, and are not among `calls`."""

    def __add__(self, other: Usage) -> Usage:
        if other is NO_USAGE or (not other.calls and other == NO_USAGE):
            return self
        if self is NO_USAGE or (not self.calls and self == NO_USAGE):
            return other
        return Usage(
            tokens=self.tokens + other.tokens,
            usd=None if self.usd is None or other.usd is None else self.usd + other.usd,
            seconds=self.seconds + other.seconds,
            calls=self.calls + other.calls,
            estimated=self.estimated or other.estimated,
            cached=self.cached + other.cached,
        )


NO_USAGE = Usage()

TURNED_TO: dict[How, str] = {
    "first": "as asked",
    "backup": "in its place",
    "model": "on another model",
    "skills": "chosen by skills",
    "pattern": "a team in its place",
    "split": "in parts",
    "guide": "with guidance",
    "person": "asked",
    "drop": "gone on without",
}


class Tried(Value):
    """One attempt at a piece of work: by whom, on what model, and why it failed (`kind` is None where it did not)."""

    how: How
    agent: str
    kind: FailureKind | None = None
    cause: Text = ""
    usage: Usage = NO_USAGE

    def line(self) -> str:
        """It in a sentence."""
        who = self.agent if self.how == "first" else f"{self.agent} ({TURNED_TO[self.how]})"
        return f"{who}: {self.cause or 'delivered.'}"


class Reason(Value):
    """Why a step or a run ended other than well. `kind` is `limit` for every bound that was hit."""

    kind: Literal["limit", "error", "gate", "person", "stopped"]
    message: Text
    step: str | None = None


class Deliverable(Value):
    """What a step hands back: the content, and where it came from."""

    step: str
    agent: str = ""
    """The role (or function, or graph) that produced the content."""
    status: Status = "submitted"
    content: Text = ""
    summary: Text = ""
    """A short extract of `content`; later briefs carry it in place of the whole."""
    data: Annotated[Any, SkipValidation] = None
    """An instance of the step's `returns` schema (as plain JSON after it was read back from a checkpoint)."""
    rounds: int = 1
    """1 for the first version, one more for each rework or rollback."""
    attempts: int = 1
    score: float | None = None
    usage: Usage = NO_USAGE
    """Of every round so far, the gate's reviews included."""
    reason: Reason | None = None
    parts: dict[str, Deliverable] = {}
    """The deliverables of a nested graph, by step."""
    notes: Notes | None = None
    """What the author says about it as data, where the pattern asked."""
    sources: tuple[str, ...] = ()
    """The steps whose results it was built on."""
    required: bool = True
    """Whether the run needs it to be completed: what lost a race is not needed."""
    tried: tuple[Tried, ...] = ()
    """What it took, where the first attempt failed: everybody who was turned to, in order."""

    @field_serializer("data")
    def _plain(self, data: Any) -> Any:
        # Stored as plain JSON, so that no class of the user's is ever named in a database.
        return to_jsonable_python(data)

    @property
    def usable(self) -> bool:
        """Whether later steps may build on it."""
        return self.status in ("accepted", "partial")

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The files in `content`: fenced code blocks that name their path."""
        return artifacts(self.content)

    def but(self, **changes: Any) -> Deliverable:
        """A copy with some fields changed."""
        return self.model_copy(update=changes)


class Verdict(BaseModel):
    """What a reviewer says of a deliverable; the schema that a reviewing agent fills in.

    >>> Verdict(passed=False, feedback="no order id").findings
    ()
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # models like to add a field

    passed: bool = Field(description="Whether the work is good enough to be built on.")
    score: float | None = Field(default=None, ge=0, le=1, description="Quality from 0 (useless) to 1 (flawless).")
    findings: tuple[Text, ...] = Field(default=(), description="What is wrong, one finding each, most severe first.")
    feedback: Text = Field(default="", description="What the author must change for the work to pass.")
    blame: str | None = Field(
        default=None, description="The earlier step that caused the fault, only if reworking this step cannot mend it."
    )


class Judgement(Verdict):
    """A verdict as the state keeps it: by whom, at what cost, and what the engine did."""

    by: str = ""
    usage: Usage = NO_USAGE
    decision: Decision | None = None
    limit: bool = False
    """Whether a limit kept the reviewer from judging."""
    final: bool = False
    """Whether sending the work back would not help: its reviewer or its author cannot be reached."""

    @classmethod
    def of(cls, verdict: Verdict, **more: Any) -> Judgement:
        """A verdict with what the engine knows; nothing of that is ever taken from a model."""
        fields = {name: getattr(verdict, name) for name in Verdict.model_fields}
        return cls(**fields, **more)

    def but(self, **changes: Any) -> Judgement:
        """A copy with some fields changed."""
        return self.model_copy(update=changes)


class Message(Value):
    """One earlier message of the conversation, as text."""

    role: Literal["user", "assistant"]
    text: Text


class Brief(Value):
    """What an agent gets. `text()` of `troupe.agents.brief` renders it; a function as a step gets the value itself.

    `deliverables` holds every usable earlier result by step; those named in `needs` are rendered in full, the others
    as summaries.
    """

    task: Text
    step: str = ""
    objective: Text = ""
    deliverables: dict[str, Deliverable] = {}
    needs: tuple[str, ...] = ()
    previous: Deliverable | None = None
    """The agent's own last version, when this is a rework."""
    feedback: Text = ""
    """What must change, when this is a rework."""
    guidance: tuple[Text, ...] = ()
    missing: dict[str, str] = {}
    """Steps that gave nothing, and why."""
    conversation: tuple[Message, ...] = ()
    """Earlier turns of the thread, oldest first."""
    item: Text = ""
    """The one of a list that this brief is about, in a fan-out over its items."""
    limits: Text = ""
    """How much money and time is left, in coarse words. No part of what makes two briefs the same: a run that goes on
    after a crash has less of both, and what is recorded must be found all the same."""
    round: int = 1

    @property
    def input(self) -> str:
        """The item, or else the content of the last needed deliverable, or the task where there is none yet."""
        if self.item:
            return self.item
        return self.deliverables[self.needs[-1]].content if self.needs else self.task


@dataclass(frozen=True, slots=True)
class Ok:
    """A call that gave a value: a Deliverable, or an instance of the schema that was asked for."""

    value: Any
    usage: Usage = NO_USAGE
    attempts: int = 1
    by: str = ""
    """Who gave it, in whoever's place."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A call that gave none, after all retries, and after everybody else who could make it."""

    kind: FailureKind
    cause: str
    retryable: bool = False
    usage: Usage = NO_USAGE
    attempts: int = 1
    tried: tuple[Tried, ...] = ()

    def reason(self, step: str) -> Reason:
        """The same as the reason of a step or run."""
        return Reason(kind="limit" if self.kind == "limit" else "error", message=self.cause, step=step)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A call that was not made, or given up on purpose."""

    reason: str
    usage: Usage = field(default=NO_USAGE)


Outcome = Ok | Failed | Skipped
