"""Agents for tests of meshes: a hub that decides as it is told, without a model, and workers without notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from troupe.agents.chat import ChatAgent, agent
from troupe.agents.contracts import Brief


class FixedHub(ChatAgent):
    """Works as any chat agent; its moves are written down beforehand, one for each round."""

    moves: Sequence[Any] = ()
    holds_slot = False

    async def decide(self, brief: Brief, schema: type[BaseModel]) -> Any:
        """The move of the round."""
        return schema.model_validate(self.moves[brief.round - 1])


def fixed(name: str, *moves: Any) -> FixedHub:
    """A hub with these moves."""
    made = FixedHub(agent(name, "Lead.").role)
    made.moves = moves
    return made


def quiet(name: str, prompt: str) -> ChatAgent:
    """An agent that works and cannot decide, so that it is not asked for notes."""
    made = agent(name, prompt)
    made.can_decide = False
    return made
