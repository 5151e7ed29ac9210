"""Who plays: teams of every pattern, and a model that is paid through the recorder and says the same in every life."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult

from tests.crash import recorder
from troupe import (
    Brief,
    Step,
    TeamGraph,
    Workflow,
    agent,
    contains,
    each,
    first,
    gate,
    hierarchical,
    merge,
    mesh,
    parallel,
    review,
    sequential,
)
from troupe.agents.call import Call, current_call
from troupe.agents.models.offline import OfflineChatModel
from troupe.agents.models.scripted import _reply

FOR_GOOD = None
"""How long a branch is held whose work nobody waits for."""

LONGEST = 0.004
"""Seconds that an answer takes at most, if nothing else is said."""

Line = Callable[[Call], Any]


class PaidChatModel(OfflineChatModel):
    """Says what `line` says of a call; before that, the call is written down by the recorder."""

    socket: str
    run: str
    life: int
    line: Any
    holds: Mapping[str, float | None] = {}
    """By step, how long the recorder keeps it waiting."""
    longest: float
    """Seconds that other answers take at most; it depends on what is asked, so that branches overtake each other."""

    @property
    def _llm_type(self) -> str:
        return "paid"

    def _answer(self, messages: list[BaseMessage], tools: list[dict[str, Any]], forced: bool) -> AIMessage:
        return _reply(self.line(current_call()), tools, forced)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call, digest = current_call(), asked((one.type, one.text) for one in messages)
        hold = self.holds.get(call.brief.step, int(digest[:2], 16) * self.longest / 255)
        await recorder.pay(self.socket, run=self.run, life=self.life, who=who(call), asked=digest, hold=hold)
        return await super()._agenerate(messages, stop, run_manager, **kwargs)


def who(call: Call) -> str:
    """A call as people read it."""
    return f"{call.path}#{call.brief.round} {call.purpose} by {call.agent.name}"


def asked(messages: Any) -> str:
    """What makes two calls the same call: the texts that were sent. The library's own keys have no part in it."""
    return hashlib.sha256(repr([tuple(one) for one in messages]).encode("utf-8", "replace")).hexdigest()[:16]


@dataclass(frozen=True)
class Play:
    """A team, and what it says.

    Attributes:
        make: builds the team; the same in every life.
        decides: by schema's name, what is decided: a value, or a function of the call.
        holds: by step, how long its answer takes.
        answer: what a person answers when asked.
        loses: steps whose calls may be made or not, because the run does not wait for them.
    """

    make: Callable[[], TeamGraph]
    decides: Mapping[str, Any] = field(default_factory=dict)
    holds: Mapping[str, float | None] = field(default_factory=dict)
    answer: Any = None
    loses: frozenset[str] = frozenset()

    def line(self, call: Call) -> Any:
        """What the model says."""
        if call.schema is None or call.purpose == "work":
            return f"{call.brief.step}, round {call.brief.round}."
        said = self.decides.get(call.schema.__name__, {})
        return said(call) if callable(said) else said


def _agent(name: str) -> Any:
    return agent(name, f"You are {name}.")


def _judged(call: Call) -> Any:
    """A reviewer who sends the first version back."""
    return {"passed": call.brief.round > 1, "feedback": "" if call.brief.round > 1 else "again"}


JUDGE = _agent("judge")
REVIEWED = gate(review(by=JUDGE), rework=1)
SECOND = gate(contains("round 2"), rework=1)
ASKING = gate(contains("round 2"), 0, "ask")


async def joined(brief: Brief) -> str:
    """What the branches of a fan-out delivered."""
    return ", ".join(brief.deliverables[name].content for name in brief.needs)


def chain() -> TeamGraph:
    """A sequence with a reviewer, a check, and a rework by each."""
    return sequential(_agent("one"), Step(_agent("two"), gate=REVIEWED), Step(_agent("three"), gate=SECOND))


def asking() -> TeamGraph:
    """A sequence that asks a person in the middle."""
    return sequential(_agent("one"), Step(_agent("two"), gate=ASKING), _agent("three"))


def fan_out() -> TeamGraph:
    """Branches with gates and without."""
    gated = Step(_agent("a"), gate=REVIEWED), Step(_agent("b"), gate=SECOND)
    return parallel(*gated, _agent("c"), _agent("d"), merge=_agent("lead"))


def items() -> TeamGraph:
    """A branch for each item."""
    worker = Step(_agent("worker"), gate=SECOND)
    return parallel(each(worker, items=lambda _: ["red", "green", "blue"]), _agent("beside"), merge=joined)


def race() -> TeamGraph:
    """The first two of three, one of whom never answers."""
    return parallel(_agent("a"), _agent("b"), _agent("slow"), join=first(2), merge=_agent("lead"))


def quarrel() -> TeamGraph:
    """Two branches that contradict each other, and a judge."""
    settled = merge(by=_agent("lead"), conflicts="judge", judge=JUDGE)
    return parallel(_agent("a"), _agent("b"), merge=settled)


def _noted(call: Call) -> Any:
    return {"decisions": [{"topic": "port", "choice": "80" if call.agent.name == "a" else "90"}]}


def company() -> TeamGraph:
    """Two managing levels, and packages of which one builds on another and asks above."""
    below = [_agent("builder"), _agent("tester")]
    return hierarchical(strategic=_agent("chief"), tactical=_agent("head"), implementation=below)


def _planned(call: Call) -> Any:
    if call.agent.name == "chief":
        return {"design": "a house", "directives": [{"decision": "It is blue.", "changed_by": "tactical"}]}
    built = {"owner": "builder", "title": "the wall", "objective": "Build it."}
    return {
        "design": "a wall and a door",
        "packages": [
            built,
            {"owner": "builder", "title": "the door", "objective": "Build it."},
            {"owner": "tester", "title": "the test", "objective": "Test it.", "needs": ["the wall"]},
        ],
    }


def _questioned(call: Call) -> Any:
    """The tester does not know how, at first."""
    asks = call.agent.name == "tester" and call.brief.round == 1
    return {"escalation": {"question": "How?", "recommendation": "By hand."}} if asks else {}


def _answered(call: Call) -> Any:
    """The head sends the question on up, and the chief knows."""
    return {"answered": True, "guidance": "By hand."} if call.agent.name == "chief" else {"answered": False}


def _aligned(call: Call) -> Any:
    assert call.schema is not None
    labels = call.schema.model_json_schema()["$defs"]["Finding"]["properties"]["criterion"]["enum"]
    return {"criteria": [{"criterion": one, "met": True} for one in labels], "passed": True}


def pool() -> TeamGraph:
    """A mesh in which one hands on what another goes on with."""
    return mesh([_agent("a"), Step(_agent("b"), gate=SECOND), _agent("c")], hub=_agent("hub"))


def _moved(call: Call) -> Any:
    """The hub gives out two assignments, and ends when they have come back."""
    if call.brief.round == 1:
        given = [{"objective": "Begin it.", "agent": "a"}, {"objective": "Look at it.", "agent": "c"}]
        return {"why": "so", "assignments": given}
    return {"why": "done", "finish": True}


def _handed(call: Call) -> Any:
    return {"handoff": {"to": "b", "passes": "Mind it."}} if call.agent.name == "a" else {}


def nested() -> TeamGraph:
    """A team in a team in a team."""
    inside = parallel(Step(_agent("a"), gate=REVIEWED), _agent("b"), merge=joined, name="inside")
    inner = sequential(_agent("two"), Step(inside, name="inside"), name="inner")
    return sequential(_agent("one"), Step(inner, name="inner"), _agent("three"))


def flow() -> TeamGraph:
    """Steps that wait for one another: a gate sends its own work back, the last one blames a step before."""
    middle = [
        {"agent": "b", "gate": {"contains": [", round"], "review": "judge"}},
        {"agent": "c", "name": "c", "needs": ["b"]},
        "beside",
    ]
    phases = [
        {"agent": "a"},
        {"kind": "parallel", "name": "middle", "steps": middle},
        {"agent": "d", "gate": {"review": "judge"}},
    ]
    workflow = Workflow.model_validate({"name": "flow", "phases": phases})
    return workflow.build(agents={name: _agent(name) for name in ("a", "b", "c", "d", "beside", "judge")})


def _blamed(call: Call) -> Any:
    """A reviewer who sends the first versions back, and finds that `a` is to blame for the last step's."""
    return _judged(call) | ({"blame": "a"} if call.brief.round == 1 and call.brief.step == "d" else {})


def waiting() -> TeamGraph:
    """A workflow that asks a person in the middle, while others go on."""
    phases = [
        {"agent": "a", "needs": []},
        {"agent": "b", "needs": ["a"], "gate": {"contains": ["round 2"], "rework": 0, "then": "ask"}},
        {"agent": "c", "needs": []},
        {"agent": "d", "needs": ["c"]},
        {"agent": "e", "needs": ["b", "d"]},
    ]
    workflow = Workflow.model_validate({"name": "waiting", "phases": phases})
    return workflow.build(agents={name: _agent(name) for name in "abcde"})


PLAYS: dict[str, Play] = {
    "sequential": Play(chain, {"Verdict": _judged}),
    "asking": Play(asking, answer={"type": "respond", "message": "do it again"}),
    "parallel": Play(fan_out, {"Verdict": _judged}),
    "each": Play(items),
    "first": Play(race, holds={"slow": FOR_GOOD}, loses=frozenset({"slow"})),
    "conflicts": Play(quarrel, {"Notes": _noted, "Rulings": {"rulings": []}}),
    "hierarchical": Play(company, {"Plan": _planned, "Notes": _questioned, "Alignment": _aligned, "Answer": _answered}),
    "mesh": Play(pool, {"Move": _moved, "Notes": _handed}),
    "nested": Play(nested, {"Verdict": _judged}),
    "workflow": Play(flow, {"Verdict": _blamed}),
    "waiting": Play(waiting, answer={"type": "respond", "message": "do it again"}),
}
