"""What a run gets from outside: LangGraph's `context_schema`. Never in the state, never in `configurable`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation
from pydantic.json_schema import SkipJsonSchema

from troupe.agents.limits import Limits
from troupe.agents.text import is_credential

# A schema without the field at all would let assistants drop it; SkipJsonSchema hides only what JSON cannot say.
Opaque = Annotated[Any, SkipValidation, SkipJsonSchema()]

Quality = Literal["standard", "high", "critical"]
Timeline = Literal["urgent", "normal", "flexible"]


class TeamContext(BaseModel):
    """Models, limits and services of one run; subclass it to add your own.

    >>> TeamContext(models="simulated", budget=0.5).budget
    0.5
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    models: str | dict[str, str] | Opaque = None
    """A spec (`"openai:gpt-5-mini"`), specs by tier, a chat model, or chat models by tier; else the settings'."""
    budget: float | None = Field(default=None, ge=0)
    """USD for a turn; checked before each call."""
    deadline: float | None = Field(default=None, gt=0)
    """Seconds for a turn."""
    answer_within: float | None = Field(default=None, gt=0)
    """Seconds in which a person's answer counts; after that the question is asked again."""
    quality: Quality | None = None
    """What a mistake would cost, where it is to be chosen by; else as the task is read."""
    timeline: Timeline | None = None
    """How soon it is needed, the same."""
    prompts: str | None = None
    """A folder whose texts replace ours."""
    limits: Limits | None = None
    """Bounds besides budget and deadline, where they differ from the settings'."""
    history: Opaque = None
    """Recorded runs that adaptive teams learn from: a `History`; by default those of the database, where there is one.
    Or an async function without arguments that gives one."""
    cache: bool | float | Opaque = None
    """Whether replies of models are kept over runs: True, seconds, or one of LangGraph's caches; else as in the
    settings."""
    listeners: Opaque = ()
    """Functions that get every event, in order; they must not block."""
    executor: Opaque = None
    """Where calls are made; by default in this process."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Its fields as they may be shown: a caller's own may be credentials, and a model may hold some."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, str):
                yield name, "[redacted]" if is_credential(name, value) else value
            elif value is None or isinstance(value, bool | int | float | Limits):
                yield name, value
            else:
                yield name, _Shown(value)


class _Shown:
    """Something as its kind alone."""

    def __init__(self, value: Any) -> None:
        self._kind = type(value).__name__

    def __repr__(self) -> str:
        return f"<{self._kind}>"


def find_context(context: Any) -> TeamContext | None:
    """Our context in whatever a host graph has: itself, its `.troupe`, or a dictionary of our fields."""
    if isinstance(context, TeamContext):
        return context
    inner = context.get("troupe", context) if isinstance(context, dict) else getattr(context, "troupe", None)
    if isinstance(inner, TeamContext):
        return inner
    if isinstance(inner, dict):
        ours = {name: value for name, value in inner.items() if name in TeamContext.model_fields}
        return TeamContext(**ours) if ours else None
    return None
