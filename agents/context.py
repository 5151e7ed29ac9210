"""What a run gets from outside: LangGraph's `context_schema`. Never in the state, never in `configurable`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SkipValidation
from pydantic.json_schema import SkipJsonSchema

# A schema without the field at all would let assistants drop it; SkipJsonSchema hides only what JSON cannot say.
Opaque = Annotated[Any, SkipValidation, SkipJsonSchema()]


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
    prompts: str | None = None
    """A folder whose texts replace ours."""
    listeners: Opaque = ()
    """Functions that get every event, in order; they must not block."""
    executor: Opaque = None
    """Where calls are made; by default in this process."""


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
