"""Small things that the tests of teams share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from pydantic import BaseModel, Field

from troupe import Executor
from troupe.agents.call import Call
from troupe.agents.models.scripted import ScriptedChatModel, scripted


class Crash(BaseException):
    """The process dies here, as far as the library can tell: nothing of it may catch this."""


class Mortal(Executor):
    """An Executor whose process dies when the call of a step is on its way."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self.step = step
        self.asked: list[str] = []

    async def _attempt(self, call: Call) -> BaseModel:
        self.asked.append(call.brief.step)
        if call.brief.step == self.step:
            raise Crash
        return await super()._attempt(call)


async def at_once(_: float) -> None:
    """A sleep between attempts that takes no time."""


def patient(**options: Any) -> Executor:
    """An Executor that retries as ever, but does not wait in between."""
    return Executor(sleep=at_once, **options)


class PacedChatModel(ScriptedChatModel):
    """A scripted model whose steps take their own time."""

    pauses: dict[str, float] = Field(default_factory=dict)

    def _delay(self, reply: AIMessage) -> float:
        return self.pauses.get(reply.text, 0.0)


def paced(lines: Mapping[str, Any], pauses: Mapping[str, float]) -> PacedChatModel:
    """A scripted model that takes `pauses` seconds for each of these lines."""
    return PacedChatModel(lines=scripted(lines).lines, pauses=dict(pauses))


class PricedChatModel(ScriptedChatModel):
    """A scripted model that is paid for: it says that it is gpt-4o-mini, and that each reply took `output` tokens."""

    is_simulated: bool = False
    output: int = 10_000

    def _reply(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        reply = super()._reply(messages, kwargs)
        usage = UsageMetadata(input_tokens=0, output_tokens=self.output, total_tokens=self.output)
        meta = {"model_name": "gpt-4o-mini", "model_provider": "openai"}
        return reply.model_copy(update={"usage_metadata": usage, "response_metadata": meta})


PRICE = 0.6e-6  # USD per output token of gpt-4o-mini


def priced(lines: Mapping[str, Any], output: int = 10_000) -> PricedChatModel:
    """A scripted model whose replies cost `output * PRICE` USD each."""
    return PricedChatModel(lines=scripted(lines).lines, output=output)


def steps_asked(model: ScriptedChatModel) -> list[str]:
    """By whom a scripted model was asked, in order: the step for work, the role for a review."""
    return [step for step, _, _ in model.asked]


def roles_asked(model: ScriptedChatModel) -> list[str]:
    """The roles that asked a scripted model, in order."""
    return [role for _, role, _ in model.asked]


def text_asked(model: ScriptedChatModel, number: int) -> str:
    """The whole text of a request: system prompt and brief."""
    messages: list[BaseMessage] = model.asked[number][2]
    return "\n".join(one.text for one in messages)
