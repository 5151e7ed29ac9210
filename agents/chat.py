"""An agent that is a role served by a chat model; with tools it is LangChain's `create_agent` loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import BaseTool
from pydantic import BaseModel

from troupe.agents import brief as briefs
from troupe.agents.agent import Agent
from troupe.agents.call import Call, current_call
from troupe.agents.contracts import TIERS, Brief, Deliverable, Reason, Tier
from troupe.agents.cutting import MARK, watched
from troupe.agents.errors import BuildError, InvalidOutput, Refused, UnknownName, complaints
from troupe.agents.models import Models
from troupe.agents.roles import Role
from troupe.agents.structured import ask
from troupe.prompts import load

S = TypeVar("S", bound=BaseModel)


class ChatAgent(Agent):
    """A role at work.

    Args:
        role: who it is.
        tools: functions or LangChain tools it may call.
        model: a chat model or spec of its own, in place of its tier's.
    """

    def __init__(self, role: Role, tools: Sequence[Any] = (), model: Any = None) -> None:
        if isinstance(tools, str) or not isinstance(tools, Sequence):
            raise BuildError(f"tools of {role.name!r} must be a list of functions or LangChain tools.")
        for one in tools:
            if not (callable(one) or isinstance(one, BaseTool | dict)):
                raise BuildError(f"{one!r} cannot be a tool of {role.name!r}: give a function or a LangChain tool.")
        given = {_tool_name(one) for one in tools}
        if tools and (absent := sorted(set(role.tools) - given)):
            raise BuildError(f"The role {role.name!r} names tools that were not given: {', '.join(absent)}.")
        role.text()  # a role without a prompt is found out now
        if tools:
            import troupe.agents.tools  # noqa: F401 - imports LangChain's agents now, and not inside an event loop
        self.role = role
        self.name = role.name
        self.title = role.title
        self.tier = role.tier
        self.tools = tuple(tools)
        self.own_model = model if model is not None else role.model

    async def chat_model(self, models: Models) -> Any:
        """The model of its tier, or its own."""
        return await models.get(self.role.tier, self.own_model)

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        """One model call; with tools as many as the loop takes."""
        call = current_call()
        model = await self.chat_model(call.scope.models)
        messages = self._messages(call, brief)
        if self.tools:
            from troupe.agents.tools import tool_loop

            messages = await tool_loop(self, call, model, messages)
            reply = messages[-1]
            if schema is None and isinstance(reply, AIMessage):
                return _deliverable(self, brief, reply)
        if schema is not None:
            number = sum(isinstance(one, AIMessage) for one in messages)
            value = await ask(call, model, messages, schema, number)
            return Deliverable(step=brief.step, agent=self.name, content=value.model_dump_json(indent=2), data=value)
        config: Any = answering(call)
        send: Callable[[], Awaitable[AIMessage]] = lambda: model.ainvoke(messages, config)  # noqa: E731
        return _deliverable(self, brief, await call.request(0, model, messages, send))

    async def decide(self, brief: Brief, schema: type[S]) -> S:
        """One model call; more only where the structured-output ladder needs them."""
        call = current_call()
        model = await self.chat_model(call.scope.models)
        return await ask(call, model, self._messages(call, brief), schema)

    def _messages(self, call: Call, brief: Brief) -> list[BaseMessage]:
        prompts = call.scope.prompts
        system = f"{self.role.text(prompts)}\n\n{load('moves/common', prompts)}"
        limit = call.scope.settings.brief_tokens
        return [
            SystemMessage(system),
            HumanMessage(briefs.text(brief, limit, prompts, bool(self.tools) and call.purpose == "work", self.name)),
        ]


def agent(
    name: str | Role,
    prompt: str | None = None,
    *,
    tools: Sequence[Any] = (),
    tier: Tier | None = None,
    model: Any = None,
    title: str = "",
) -> ChatAgent:
    """An agent of your own, or one of the roster's 21 by name.

    Args:
        name: its name; without a `prompt`, a role of the roster or of your folder of roles.
        prompt: its system prompt.
        tools: functions or LangChain tools it may call.
        tier: `economy`, `standard` (the default) or `premium`.
        model: a model of its own, as a spec or chat model, in place of its tier's.
        title: what it does, in a line.

    Raises:
        UnknownName: an unknown role or tier.
        BuildError: a name or tool that cannot be used.

    >>> agent("triage", "Sort the ticket.", tier="economy")
    ChatAgent('triage')
    """
    from troupe.agents.roster import find_role

    if tier is not None and tier not in TIERS:
        raise UnknownName("tier", tier, TIERS)
    if isinstance(name, Role):
        role = name
    elif prompt is None:
        role = find_role(name)
    else:
        role = _role(name, prompt, title)
    if tier is not None:
        role = Role.model_validate(role.model_dump() | {"tier": tier})
    return ChatAgent(role, tools, model)


def answering(call: Call) -> dict[str, Any]:
    """The config of a request whose text is the step's answer, and which says whose: the names of nodes may not."""
    tags, metadata = call.config.get("tags") or (), call.config.get("metadata") or {}
    config = watched(call.config, call.scope.limits.payload, call.streams)
    return {**config, "tags": [*tags, "troupe:answer"], "metadata": {**metadata, "troupe_path": call.path}}


def _role(name: str, prompt: str, title: str) -> Role:
    from pydantic import ValidationError

    if not isinstance(prompt, str) or not prompt.strip():
        raise BuildError(f"The prompt of agent {name!r} must be a text that is not empty.")
    try:
        return Role(name=name, prompt=prompt, title=title)
    except ValidationError as error:
        raise BuildError(
            f"{name!r} cannot be an agent's name: letters, digits, spaces, '_', '.' and '-', 64 at most. "
            f"({complaints(error)})"
        ) from None


def _deliverable(agent: Agent, brief: Brief, reply: AIMessage) -> Deliverable:
    why = reply.response_metadata.get("finish_reason")
    if why == "content_filter":
        raise Refused(f"The provider's content filter stopped the answer of {agent.name}.")
    if not reply.text.strip():
        raise InvalidOutput(f"{agent.name} ended without an answer.")
    # What we cut ourselves is said where it was done.
    cut = why == "length" and MARK not in reply.response_metadata
    said = "The answer was cut at the model's output limit."
    return Deliverable(
        step=brief.step,
        agent=agent.name,
        content=reply.text,
        status="partial" if cut else "submitted",
        reason=Reason(kind="limit", message=said, step=brief.step) if cut else None,
    )


def _tool_name(tool: Any) -> str:
    return str(getattr(tool, "name", None) or getattr(tool, "__name__", tool))
