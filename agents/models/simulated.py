"""The embedded default: a seeded chat model that calls nothing. Everything around its words is real."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from pydantic import PrivateAttr

from troupe.agents.call import current
from troupe.agents.models.inventing import invent
from troupe.agents.models.offline import OfflineChatModel
from troupe.agents.text import clean

SIMULATED = "[simulated]"
"""How each of its texts begins."""
_OPENINGS = (
    "Here is the {part} for “{task}”.",
    "The {part}, worked out for “{task}”.",
    "For “{task}”, the {part} comes to this.",
)
_POINTS = (
    "The scope is settled: what is asked for, and nothing beside it.",
    "Inputs and outputs are named, with one example each.",
    "The main path comes first; edge cases follow in their own section.",
    "Each decision is written down with its reason.",
    "Errors are reported where they happen and say what to do next.",
    "Assumptions are listed, so that they can be corrected early.",
    "What the next colleague needs stands at the end.",
    "Two alternatives were weighed and set aside; the reasons are kept.",
    "The smallest version that is useful comes first.",
    "Every claim can be checked by a command or a test.",
)


class SimulatedChatModel(OfflineChatModel):
    """Words that depend on role, step, task and seed; verdicts that pass; no cost.

    Args:
        seed: other words for another seed.
        latency: seconds per reply.
        faults: exceptions to raise, by step, role or `*`: the first for the first request, None for none.
        use_tools: whether it calls the first tool that it is given, once, with made-up arguments.

    >>> SimulatedChatModel(seed=1).invoke("hello").text.startswith("[simulated]")
    True
    """

    seed: int = 0
    latency: float = 0.0
    faults: Mapping[str, Sequence[BaseException | None]] = {}
    use_tools: bool = False
    _asked: dict[str, int] = PrivateAttr(default_factory=dict)

    @property
    def _llm_type(self) -> str:
        return "simulated"

    @property
    def identity(self) -> str:
        """What tells it from others, for a cache."""
        return f"{self.seed} {self.use_tools}"

    def _delay(self, reply: AIMessage) -> float:
        return self.latency

    def _answer(self, messages: list[BaseMessage], tools: list[dict[str, Any]], forced: bool) -> AIMessage:
        call = current.get()
        step, role = (call.brief.step, call.agent.name) if call else ("", "")
        task = clean(call.brief.task if call else messages[-1].text)
        self._fault(step, role)
        random_ = random.Random(f"{self.seed}|{role}|{step}|{task}")  # noqa: S311 - words, not secrets
        if forced and tools:
            return AIMessage("", tool_calls=[_tool_call(tools[0], random_, 0)])
        if self.use_tools and tools and not any(isinstance(one, ToolMessage) for one in messages):
            return AIMessage("", tool_calls=[_tool_call(tools[0], random_, 0)])
        shown = " ".join(task.split())
        opening = random_.choice(_OPENINGS).format(
            part=f"part of {role or 'the assistant'}", task=shown if len(shown) <= 80 else f"{shown[:79]}…"
        )
        points = "\n".join(f"- {point}" for point in random_.sample(_POINTS, 3))
        return AIMessage(f"{SIMULATED} {opening}\n\n{points}")

    def _fault(self, step: str, role: str) -> None:
        key = next((one for one in (step, role, "*") if one in self.faults), None)
        if key is None:
            return
        number = self._asked[key] = self._asked.get(key, 0) + 1
        plan = self.faults[key]
        if number <= len(plan) and (fault := plan[number - 1]) is not None:
            raise fault


def _tool_call(tool: dict[str, Any], random_: random.Random, number: int) -> Any:
    function = tool["function"]
    shape = function.get("parameters") or {}
    return {
        "name": function["name"],
        "args": invent(shape, random_, function["name"]),
        "id": f"simulated_{number}_{random_.getrandbits(32):08x}",
        "type": "tool_call",
    }
