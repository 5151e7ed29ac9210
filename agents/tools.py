"""The tool loop: LangChain's `create_agent`, with every model request and tool call recorded by the call it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage, message_to_dict, messages_from_dict
from langchain_core.tools import tool

from troupe.agents.call import Call, current_call
from troupe.agents.errors import LimitReached
from troupe.agents.limits import cut, size

if TYPE_CHECKING:
    from troupe.agents.chat import ChatAgent


async def tool_loop(agent: ChatAgent, call: Call, model: Any, messages: list[BaseMessage]) -> list[BaseMessage]:
    """All messages once the agent has no more tools to call.

    A tool that raises fails the call; only arguments that the tool does not accept go back to the model.
    """
    from troupe.agents.chat import answering

    tools: list[Any] = list(agent.tools)
    if call.brief.deliverables and not any(
        getattr(one, "name", getattr(one, "__name__", "")) == "read" for one in tools
    ):
        tools.append(read)
    graph = create_agent(model, tools, middleware=[_Recorder()], name=agent.name.replace(" ", "_"))
    # Two supersteps per request, and the loop's own bound is the number of requests.
    bound = 2 * call.scope.settings.max_requests + 10
    config: Any = {**answering(call), "recursion_limit": bound}
    given: Any = {"messages": messages}
    return list((await graph.ainvoke(given, config))["messages"])


@tool
def read(step: str) -> str:
    """Read a colleague's whole deliverable, by the name of its step."""
    done = current_call().brief.deliverables
    if step in done:
        return done[step].content
    return f"There is no deliverable {step!r}. There are: {', '.join(done) or 'none yet'}."


class _Recorder(AgentMiddleware[Any, Any]):
    """Passes each model request and tool call of the loop through the call's record."""

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        call = current_call()
        # Counted from the conversation, so that a loop that goes on from its checkpoint numbers them alike.
        number = sum(isinstance(one, AIMessage) for one in request.messages)
        most = call.scope.settings.max_requests
        if number >= most:
            raise LimitReached(
                f"{call.agent.name} made {most} requests without an end; TROUPE_MAX_REQUESTS sets this limit."
            )

        async def send() -> AIMessage:
            (reply,) = (await handler(request)).result
            assert isinstance(reply, AIMessage)  # noqa: S101 - a chat model replies with nothing else
            return reply

        names = sorted(getattr(one, "name", None) or str(one) for one in request.tools)
        reply = await call.request(number, request.model, request.messages, send, {"tools": names}, request.tools)
        return ModelResponse(result=[reply])

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        call = current_call()
        said = [one for one in request.state["messages"] if isinstance(one, AIMessage)]
        asked = [one["id"] for one in said[-1].tool_calls]
        place = asked.index(request.tool_call["id"]) if request.tool_call["id"] in asked else len(asked)

        async def run() -> Any:
            return _bounded(await handler(request), call.scope.limits.payload)

        return await call.tool(
            f"{len(said) - 1}.{place}",
            request.tool_call["name"],
            request.tool_call["args"],
            run,
            lambda result: message_to_dict(result) if isinstance(result, ToolMessage) else None,
            lambda stored: messages_from_dict([stored])[0],
        )


def _bounded(result: Any, most: int) -> Any:
    """A tool's result of `most` bytes at most, with a line that says where it was cut."""
    if not isinstance(result, ToolMessage) or size(str(result.content)) <= most:
        return result
    return result.model_copy(update={"content": f"{cut(str(result.text), most)}\n[cut at {most:,} bytes]"})
