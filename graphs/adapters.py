"""Anything that can work, as an Agent. A graph inside a graph has its one boundary here: `GraphAgent`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableBinding, RunnableSequence
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from pydantic import BaseModel

from troupe.agents import brief as briefs
from troupe.agents.agent import Agent
from troupe.agents.call import current_call
from troupe.agents.chat import ChatAgent, agent, answering
from troupe.agents.contracts import NO_USAGE, Brief, Deliverable, Usage
from troupe.agents.errors import BuildError, InvalidOutput
from troupe.agents.functions import FunctionAgent, as_deliverable, call_function, must_be_users
from troupe.agents.meter import metered
from troupe.agents.models import Models
from troupe.agents.roles import Role
from troupe.agents.structured import ask


def as_agent(
    what: Any, takes: Callable[[Brief], Any] | None = None, gives: Callable[[Any], Any] | None = None
) -> Agent:
    """Whoever works, from anything that can.

    Raises:
        BuildError: it cannot; the message says what can.
        UnknownName: a role name that does not exist.
    """
    if isinstance(what, Agent):
        return what
    if isinstance(what, str):
        return agent(what)
    if isinstance(what, Role):
        return ChatAgent(what)
    if isinstance(what, StateGraph):
        return GraphAgent(what.compile(), takes, gives)
    if isinstance(what, Pregel):
        return GraphAgent(what, takes, gives)
    if isinstance(what, Runnable):
        model = _model(what)
        if model is not None and takes is None and gives is None:
            return ModelAgent(what, model)
        return RunnableAgent(what, takes, gives)
    if isinstance(what, list | tuple):
        raise BuildError(
            f"A list of {len(what)} was given as one step. Give its items as arguments: sequential(*steps), "
            "parallel(*branches); for one branch per item, parallel(each(step, items=[...]))."
        )
    if callable(what) and not isinstance(what, type):
        must_be_users(what)
        return FunctionAgent(what)
    from troupe.graphs.workflow import Workflow  # not above: a workflow is made of steps

    if isinstance(what, Workflow):
        return as_agent(what.build(), takes, gives)
    raise BuildError(
        f"{what!r} cannot be a step. A step is a role name, a Role, an agent, a Step, a function of a Brief, "
        "a chat model, a Runnable, a graph or a Workflow; each(...) is a branch of parallel(...)."
    )


class ModelAgent(Agent):
    """A bare chat model: the brief is its one message, its reply the deliverable."""

    def __init__(self, runnable: Runnable[Any, Any], model: BaseChatModel) -> None:
        self.runnable = runnable
        self.name = getattr(model, "model_name", None) or type(model).__name__
        self._model = model

    async def chat_model(self, models: Models) -> Any:
        """Itself, safe on this event loop."""
        return await models.safe(self._model)

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        """One request."""
        call = current_call()
        messages: list[BaseMessage] = [_message(brief)]
        model = await self.chat_model(call.scope.models)
        if schema is not None:
            return as_deliverable(await ask(call, model, messages, schema), self.name, brief, schema)
        runnable, config = _rebound(self.runnable, model), answering(call)
        reply = await call.request(0, model, messages, lambda: runnable.ainvoke(messages, config))
        return as_deliverable(reply.text, self.name, brief)

    async def decide(self, brief: Brief, schema: Any) -> Any:
        """One request, or as many as the structured-output ladder needs."""
        call = current_call()
        return await ask(call, await self.chat_model(call.scope.models), [_message(brief)], schema)


class RunnableAgent(Agent):
    """Any other Runnable: it gets the Brief, or what `takes` makes of it."""

    can_decide = False

    def __init__(self, runnable: Runnable[Any, Any], takes: Any = None, gives: Any = None) -> None:
        self.runnable = runnable
        self.takes = takes
        self.gives = gives
        self.name = getattr(runnable, "name", None) or type(runnable).__name__
        wanted = _variables(runnable)
        if takes is None and wanted is not None and (unknown := wanted - _offered()):
            raise BuildError(
                f"{self.name!r} wants the keys {', '.join(sorted(wanted))}; "
                f"a brief offers {', '.join(sorted(_offered()))}. Say how it gets "
                f"{', '.join(sorted(unknown))}: Step(x, takes=lambda brief: {{...}})."
            )
        self._keyed = takes is None and wanted is not None

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        """Invoke it."""
        given: Any = brief
        if self.takes is not None:
            given = await call_function(self.takes, brief)
        elif self._keyed:
            given = {
                "task": brief.task,
                "objective": brief.objective,
                "brief": briefs.text(brief),
                "input": brief.input,
            }
        output = await self.runnable.ainvoke(given, metered(current_call()))
        output = await call_function(self.gives, output) if self.gives is not None else output
        return as_deliverable(output.text if isinstance(output, BaseMessage) else output, self.name, brief, schema)


class GraphAgent(Agent):
    """A graph as an agent: it gets the brief as a task or message and becomes ONE deliverable.

    No channel is shared with it; its own deliverables are the result's `parts`.
    """

    can_decide = False
    holds_slot = False
    grace = 2.0

    def __init__(self, graph: Pregel[Any, Any, Any, Any], takes: Any = None, gives: Any = None) -> None:
        from troupe.graphs.team import Team  # not above: a team is made of steps

        self.graph = graph
        self.takes = takes
        self.gives = gives
        self.name = str(graph.get_name())
        self.composed = isinstance(graph, Team)
        inputs = set(_channels(graph.input_channels, graph))
        outputs = set(_channels(graph.output_channels, graph))
        if (takes is None and not inputs & {"task", "messages"}) or (gives is None and "messages" not in outputs):
            raise BuildError(
                f"The graph {self.name!r} takes {', '.join(sorted(inputs)) or 'nothing'} and gives "
                f"{', '.join(sorted(outputs)) or 'nothing'}; a step takes task or messages and gives messages. "
                "Say how: Step(graph, takes=lambda brief: {...}, gives=lambda output: ...)."
            )
        self._inputs = inputs

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        """Run it to its end."""
        call = current_call()
        limit = call.scope.settings.brief_tokens
        if self.takes is not None:
            given = await call_function(self.takes, brief)
        else:
            text = briefs.text(brief, limit, call.scope.prompts)
            both = {"task": text, "messages": [HumanMessage(text)]}
            given = {key: value for key, value in both.items() if key in self._inputs}
        output = await self.graph.ainvoke(given, metered(call))
        if output is None or not isinstance(output, Mapping | BaseModel):
            raise InvalidOutput(f"The graph {self.name!r} ended without an output.")
        if self.gives is not None:
            return as_deliverable(await call_function(self.gives, output), self.name, brief, schema)
        return self._read(output if isinstance(output, Mapping) else dict(output), brief, schema)

    def _read(self, output: Mapping[str, Any], brief: Brief, schema: type[BaseModel] | None) -> Deliverable:
        messages = output.get("messages") or []
        answer = next((one.text for one in reversed(messages) if isinstance(one, AIMessage) and one.text.strip()), "")
        parts: Mapping[str, Deliverable] = output.get("deliverables") or {}
        if "status" in output and "deliverables" in output:
            return self._team(output, parts, brief, schema)
        value = output.get("structured_response")
        if value is None and not answer:
            raise InvalidOutput(f"The graph {self.name!r} ended without an answer in its messages.")
        made = as_deliverable(answer if value is None else value, self.name, brief, schema)
        # An agent that answers by a tool call leaves no text: its value is the answer.
        return made.but(content=answer or made.content)

    def _team(
        self, output: Mapping[str, Any], parts: Mapping[str, Deliverable], brief: Brief, schema: Any
    ) -> Deliverable:
        """One of our own: its status and reason carry over, and its parts come along."""
        status = {"completed": "submitted", "partial": "partial"}.get(output["status"], "failed")
        usage = sum((one.usage for one in parts.values()), Usage())
        answer = str(output.get("answer") or "")
        data = None
        if schema is not None and status != "failed":
            data = as_deliverable(_last_data(parts) or answer, self.name, brief, schema).data
        return Deliverable(
            step=brief.step,
            agent=next((one.agent for one in reversed(list(parts.values())) if one.usable), self.name),
            status=status,  # type: ignore[arg-type]
            content=answer,
            data=data,
            parts=dict(parts),
            reason=output.get("reason"),
            usage=usage if parts else NO_USAGE,
        )


def _last_data(parts: Mapping[str, Deliverable]) -> Any:
    return next((one.data for one in reversed(list(parts.values())) if one.data is not None), None)


def _message(brief: Brief) -> HumanMessage:
    scope = current_call().scope
    return HumanMessage(briefs.text(brief, scope.settings.brief_tokens, scope.prompts))


def _model(runnable: Any) -> BaseChatModel | None:
    """The chat model that a Runnable is, or wraps without changing what goes in and comes out."""
    while isinstance(runnable, RunnableBinding):
        runnable = runnable.bound
    return runnable if isinstance(runnable, BaseChatModel) else None


def _rebound(runnable: Any, model: BaseChatModel) -> Any:
    """The same Runnable around another chat model."""
    if not isinstance(runnable, RunnableBinding):
        return model
    return runnable.model_copy(update={"bound": _rebound(runnable.bound, model)})


def _variables(runnable: Runnable[Any, Any]) -> set[str] | None:
    """The variables of the prompt template that a chain begins with, if it does."""
    first = runnable.first if isinstance(runnable, RunnableSequence) else runnable
    names = getattr(first, "input_variables", None)
    return set(names) if isinstance(names, list) else None


def _offered() -> set[str]:
    return {"task", "objective", "brief", "input"}


def _channels(channels: Any, graph: Pregel[Any, Any, Any, Any]) -> Sequence[str]:
    if isinstance(graph.builder if hasattr(graph, "builder") else None, StateGraph):
        schema = graph.builder.input_schema if channels is graph.input_channels else graph.builder.output_schema  # type: ignore[attr-defined]
        return list(graph.builder.schemas[schema])  # type: ignore[attr-defined]
    return [channels] if isinstance(channels, str) else list(channels)
