"""Who plays in a rehearsal: a simulated model in each model's place, and somebody who only takes time in the place of
whatever else is real. No tool, function, check, Runnable or graph of the user's is called, and no server.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.runnables import Runnable
from langgraph.constants import START
from pydantic import BaseModel

from troupe.agents.agent import Agent
from troupe.agents.breaker import Breakers
from troupe.agents.call import Call, Purpose, current_call
from troupe.agents.chat import ChatAgent, answering
from troupe.agents.contracts import Brief, Deliverable, Outcome, Tier
from troupe.agents.executor import Executor
from troupe.agents.functions import FunctionAgent
from troupe.agents.matching import Vectors
from troupe.agents.models import Models, is_simulated
from troupe.agents.models.inventing import invent
from troupe.agents.models.offline import OfflineChatModel
from troupe.agents.money.prices import known, sold_as
from troupe.agents.settings import Settings
from troupe.agents.structured import ask
from troupe.agents.text import tokens
from troupe.graphs.adapters import GraphAgent, ModelAgent
from troupe.graphs.node import Here, Node
from troupe.graphs.rehearsing.faults import Played
from troupe.graphs.rehearsing.odds import ITEMS, PRICED_AS, TOOL, Odds
from troupe.graphs.team import Team

S = TypeVar("S", bound=BaseModel)

_FILLER = "This line stands for one that a model would have written here, and says nothing. "


@dataclass(slots=True)
class Performance:
    """One call as it was played.

    Attributes:
        path: of the step.
        spans: when somebody was at work at it, attempt by attempt; what else it took it waited.
        failed: for each of these, whether it came to nothing.
        slot: whether it held one of the Executor's slots then.
    """

    path: str
    agent: str
    purpose: Purpose
    round: int
    start: float
    end: float = 0.0
    slot: bool = True
    spans: list[tuple[float, float]] = field(default_factory=list)
    failed: list[bool] = field(default_factory=list)


_performing: ContextVar[Performance | None] = ContextVar("troupe_performance", default=None)


class Cast(Models):
    """The models of one trial, and whoever stands in for what is not called.

    Args:
        given: the run's real models, for their prices; none of them is ever made.
        settings: where they come from when nothing was given.
        odds: what is drawn.
        trial: its number.
    """

    def __init__(self, given: Any, settings: Settings, odds: Odds, trial: int) -> None:
        super().__init__(given, settings)
        self.simulated = False  # what replies cost counts, as in a run on real models
        self.odds = odds
        self.trial = trial
        self.performances: list[Performance] = []
        self.verdicts: dict[tuple[str, int], bool] = {}
        """By step and round, whether its gate passed it."""
        self.counts: dict[str, int] = {}
        self._standing: dict[int, tuple[Agent, Agent]] = {}
        self._models: dict[Any, RehearsalModel] = {}

    # --- models -----------------------------------------------------------------------------------------------------

    async def get(self, tier: Tier, own: Any = None) -> Any:
        """A simulated model in the place of a tier's, or of an agent's own."""
        return self._in_place_of(self.chosen[tier] if own is None else own, tier)

    async def safe(self, wanted: Any) -> Any:
        """A simulated model in the place of one that is no tier's."""
        return self._in_place_of(wanted, "standard")

    def _in_place_of(self, real: Any, tier: Tier) -> RehearsalModel:
        key = tier, real if isinstance(real, str) else id(real)
        if (model := self._models.get(key)) is None:
            name, provider = _sold(real, tier)
            self._note_price(real, tier, name, provider)
            model = self._models[key] = RehearsalModel(tier=tier, sold=name, provider=provider)
            model.join(self)
        return model

    def _note_price(self, real: Any, tier: Tier, name: str, provider: str) -> None:
        if is_simulated(real):
            self.odds.assumed(f"prices of {tier} models", f"as {provider}:{name}, from genai-prices")
        else:
            price = "from genai-prices" if known(name, provider) else "unknown, so costs are too"
            self.odds.given(f"prices of {tier} models", f"{provider}:{name}, {price}")

    # --- what is drawn ----------------------------------------------------------------------------------------------

    def draw(self, *place: object) -> random.Random:
        """Randomness of a place in this trial; each time that it is asked for there, another."""
        name = "|".join(map(str, place))
        self.counts[name] = number = self.counts.get(name, 0) + 1
        return self.odds.draw(self.trial, name, number)

    def passes(self, path: str, round_: int) -> bool:
        """Whether the gate of a step passes a round of its work: one verdict, whoever says it."""
        if (passed := self.verdicts.get((path, round_))) is None:
            draw = self.odds.draw(self.trial, "verdict", path, round_)
            passed = self.verdicts[path, round_] = self.odds.passes(draw, template(path))
        return passed

    def decision(self, call: Call, shape: dict[str, Any]) -> dict[str, Any]:
        """A value that is valid against a JSON Schema; a review passes as often as is drawn."""
        random_ = self.draw("decision", call.path, call.purpose, call.agent.name)
        value: dict[str, Any] = invent(shape, random_, str(shape.get("title", "value")))
        if call.purpose == "review":
            passed = self.passes(call.path, call.brief.round)
            value |= {name: said for name, said in _verdict(passed).items() if name in shape.get("properties", {})}
            for one in value.get("criteria") or ():
                one |= {"met": passed}
        return value

    # --- stand-ins --------------------------------------------------------------------------------------------------

    def in_place_of(self, agent: Agent) -> Agent:
        """Whoever plays an agent; teams of ours play themselves, with a cast of their own."""
        if isinstance(agent, Understudy | _OfModel | _Team | Unplayed):
            return agent
        found = self._standing.get(id(agent))
        if found is None:
            found = self._standing[id(agent)] = agent, self._chosen(agent)
        return found[1]

    def _chosen(self, agent: Agent) -> Agent:
        if isinstance(agent, ChatAgent):
            return Understudy(agent, self)
        if isinstance(agent, ModelAgent):
            return _OfModel(agent, self)
        if isinstance(agent, GraphAgent) and isinstance(agent.graph, Team):
            return _Team(agent, agent.graph, self)
        if isinstance(agent, FunctionAgent) and str(getattr(agent.function, "__module__", "")).startswith("troupe."):
            return agent
        return Unplayed(agent, self)

    @contextmanager
    def on_stage(self, agent: Agent) -> Iterator[None]:
        """Note that somebody is at work at the call under way."""
        played, clock = _performing.get(), asyncio.get_running_loop().time
        start, failed = clock(), True
        try:
            yield
            failed = False
        finally:
            if played is not None:
                played.slot = agent.holds_slot
                played.spans.append((start, clock()))
                played.failed.append(failed)


def template(path: str) -> str:
    """A path without the number of an item.

    >>> template("scan/worker.12")
    'scan/worker'
    """
    head, dot, number = path.rpartition(".")
    return head if dot and number.isdecimal() else path


def _verdict(passed: bool) -> dict[str, Any]:
    said = "" if passed else "[simulated] The gate did not pass this."
    return {"passed": passed, "score": float(passed), "findings": [], "feedback": said, "blame": None}


def _sold(real: Any, tier: Tier) -> tuple[str, str]:
    """A model's name and provider as price tables have them; those that stand for a simulated one's."""
    if is_simulated(real):
        return PRICED_AS[tier], "openai"
    if isinstance(real, str):
        provider, _, name = real.partition(":")
        return name, provider
    return sold_as(real)


class RehearsalModel(OfflineChatModel):
    """Takes the time, uses the tokens and fails as often as is drawn; its words say nothing."""

    tier: Tier
    sold: str
    provider: str
    _cast: Any = None

    @property
    def _llm_type(self) -> str:
        return "rehearsal"

    def join(self, cast: Cast) -> None:
        """Play in a cast."""
        self._cast = cast

    def with_structured_output(self, schema: Any, **_: Any) -> Any:
        """Its answers as `ask` wants them: the reply alone is read."""
        return _Answering(self, schema)

    async def ainvoke(self, input: Any, config: Any = None, **_: Any) -> AIMessage:
        """Reply, without LangChain's callbacks: nobody listens, and they would be most of the work."""
        return await self.played(list(input), None)

    def _answer(self, messages: list[BaseMessage], tools: list[dict[str, Any]], forced: bool) -> AIMessage:
        raise NotImplementedError("A rehearsal is played on an event loop.")

    async def played(self, messages: list[BaseMessage], shape: dict[str, Any] | None) -> AIMessage:
        """The reply to messages: a text, or a value that is valid against `shape`."""
        call, cast = current_call(), self._cast
        place = call.path, call.purpose, call.agent.name, self.tier
        asked = template(call.path), call.agent.name, self.tier, call.purpose
        if (fails := cast.odds.fails(cast.draw("attempt", *place), *asked)) is not None:
            await asyncio.sleep(fails[1])
            raise Played(fails[0], call.agent.name)
        # Drawn apart from failures, so that what fails more often is still answered alike.
        seconds, length = cast.odds.reply(cast.draw("reply", *place), *asked)
        await asyncio.sleep(seconds)
        given = sum(tokens(one.text) for one in messages)
        used = UsageMetadata(input_tokens=given, output_tokens=length, total_tokens=given + length)
        meta = {"model_name": self.sold, "model_provider": self.provider}
        if shape is not None:
            value = {"name": "answer", "args": cast.decision(call, shape), "id": "rehearsal"}
            return AIMessage("", tool_calls=[value], usage_metadata=used, response_metadata=meta)
        said = f"[simulated] {call.agent.name} on {call.path}, round {call.brief.round}.\n\n{_long(length)}"
        return AIMessage(said, usage_metadata=used, response_metadata=meta)


class _Answering(Runnable[Any, Any]):
    """A model that is asked for values of one shape."""

    def __init__(self, model: RehearsalModel, shape: dict[str, Any]) -> None:
        self.model, self.shape = model, shape

    def invoke(self, input: Any, config: Any = None, **_: Any) -> Any:
        """See `RehearsalModel`."""
        raise NotImplementedError("A rehearsal is played on an event loop.")

    async def ainvoke(self, input: Any, config: Any = None, **_: Any) -> dict[str, Any]:
        """Answer."""
        return {"raw": await self.model.played(list(input), self.shape)}


def _long(count: int) -> str:
    """A text of about so many tokens, for whoever reads it as a part of their brief."""
    size = 4 * count
    return (_FILLER * (size // len(_FILLER) + 1))[:size]


class Understudy(ChatAgent):
    """An agent with a simulated model, and with tools that are not called."""

    def __init__(self, agent: ChatAgent, cast: Cast) -> None:
        vars(self).update(vars(agent))
        self._cast = cast

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        """See `Agent`."""
        with self._cast.on_stage(self):
            if not self.tools:
                return await super().work(brief, schema)
            call = current_call()
            model, messages = await self.chat_model(call.scope.models), self._messages(call, brief)
            number = self._cast.odds.requests(self._cast.draw("requests", call.path, self.name), self.name)
            reply = AIMessage("")
            for one in range(number if schema is None else max(1, number - 1)):
                reply = await self._requested(call, model, messages, one)
                # What a tool would have said is not known; the next request is longer at least by this one's reply.
                messages = [*messages, reply, HumanMessage("[simulated] What the tool said.")]
                await asyncio.sleep(TOOL if one < number - 1 else 0)
            if schema is None:
                return Deliverable(step=brief.step, agent=self.name, content=reply.text)
            value = await ask(call, model, messages, schema, max(1, number - 1))
            return Deliverable(step=brief.step, agent=self.name, content=value.model_dump_json(indent=2), data=value)

    async def _requested(self, call: Call, model: Any, messages: Sequence[BaseMessage], number: int) -> AIMessage:
        config: Any = answering(call)
        return await call.request(number, model, messages, lambda: model.ainvoke(list(messages), config))

    async def decide(self, brief: Brief, schema: type[S]) -> S:
        """See `Agent`."""
        with self._cast.on_stage(self):
            return await super().decide(brief, schema)


class _OfModel(ModelAgent):
    """A bare chat model as an agent, with a simulated one in its place."""

    def __init__(self, agent: ModelAgent, cast: Cast) -> None:
        vars(self).update(vars(agent))
        self._cast = cast

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        """See `Agent`."""
        with self._cast.on_stage(self):
            return await super().work(brief, schema)

    async def decide(self, brief: Brief, schema: Any) -> Any:
        """See `Agent`."""
        with self._cast.on_stage(self):
            return await super().decide(brief, schema)


class _Team(GraphAgent):
    """A team of ours as an agent, without the functions that make its input and read its output."""

    def __init__(self, agent: GraphAgent, team: Team, cast: Cast) -> None:
        vars(self).update(vars(agent))
        self.takes = self.gives = None
        self._inputs = {"task", "messages"}
        self.graph = rehearsed(team)
        self._cast = cast

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        """See `Agent`."""
        done = await super().work(brief)
        if schema is None or done.status == "failed":
            return done
        shape = schema.model_json_schema()
        return done.but(data=schema.model_validate(self._cast.decision(current_call(), shape)))


class Unplayed(Agent):
    """In the place of whatever is not called at all: it takes time, and what it gives says nothing."""

    def __init__(self, agent: Agent, cast: Cast) -> None:
        self.name, self.title, self.can_decide = agent.name, agent.title, agent.can_decide
        self.holds_slot, self.grace = agent.holds_slot, agent.grace
        self._function = isinstance(agent, FunctionAgent)
        self._cast = cast

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        """See `Agent`."""
        call = current_call()
        with self._cast.on_stage(self):
            await self._pause(call)
        if schema is not None:
            value = schema.model_validate(self._cast.decision(call, schema.model_json_schema()))
            return Deliverable(step=brief.step, agent=self.name, content=value.model_dump_json(indent=2), data=value)
        text = f"[simulated] {self.name} was not called: {call.path}, round {brief.round}."
        items = [f"[simulated] item {number}" for number in range(1, ITEMS + 1)]
        return Deliverable(step=brief.step, agent=self.name, content=text, data=items if self._function else None)

    async def decide(self, brief: Brief, schema: type[S]) -> S:
        """See `Agent`."""
        call = current_call()
        if schema is Vectors:
            raise Played("tool", self.name)  # without embeddings a mesh goes by words, and nothing is kept of them
        with self._cast.on_stage(self):
            await self._pause(call)
        return schema.model_validate(self._cast.decision(call, schema.model_json_schema()))

    async def _pause(self, call: Call) -> None:
        random_ = self._cast.draw("pause", call.path, self.name)
        await asyncio.sleep(self._cast.odds.seconds(random_, template(call.path), self._function))


def rehearsed(team: Team) -> Team:
    """The team without what else it writes to or reads from, and with a pause in the place of a user's own nodes."""
    nodes = {name: _pausing(name, node) for name, node in team.nodes.items()}
    return team.copy({"store": None, "cache": None, "nodes": nodes})


def _pausing(name: str, node: Any) -> Any:
    if name == START or isinstance(node.bound, Node):
        return node

    async def pause(state: Any, here: Here) -> dict[str, Any]:
        cast: Any = here.scope.models
        await asyncio.sleep(cast.odds.seconds(cast.draw("pause", here.path(name)), here.path(name), True))
        return {}

    return node.copy({"bound": Node(pause, name)})


class RehearsalExecutor(Executor):
    """The Executor, on a virtual clock, with a cast in place of the agents.

    Args:
        cast: who plays.
        cap: slots.
        retries, timeout: see `Executor`.
    """

    def __init__(self, cast: Cast, cap: int, *, retries: int, timeout: float) -> None:
        clock = asyncio.get_running_loop().time
        super().__init__(cap, retries=retries, timeout=timeout, breakers=Breakers(clock))
        self._cast = cast
        self._clock = clock
        jitter = cast.odds.draw(cast.trial, "backoff")
        self._backoff = lambda state: min(0.5 * 2 ** (state.attempt_number - 1), 30.0) + jitter.uniform(0, 0.5)  # type: ignore[assignment]

    async def call(self, call: Call) -> Outcome:
        """See `Executor`; what is played is noted."""
        call.agent = Unplayed(call.agent, self._cast) if call.purpose == "undo" else self._cast.in_place_of(call.agent)
        if (others := call.others) is not None:
            call.others = lambda rates: ((how, self._cast.in_place_of(one)) for how, one in others(rates))
        played = Performance(call.path, call.agent.name, call.purpose, call.brief.round, self._clock())
        token = _performing.set(played)
        try:
            return await super().call(call)
        finally:
            _performing.reset(token)
            played.end = self._clock()
            if played.spans:
                self._cast.performances.append(played)
