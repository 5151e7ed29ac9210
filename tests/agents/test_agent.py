"""Agents: how they are made, and how they are tried alone, as LangChain Runnables."""

import asyncio
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from troupe import Brief, BuildError, Deliverable, NotCompleted, Role, UnknownName, agent, scripted
from troupe.agents.alone import work_alone
from troupe.agents.chat import ChatAgent
from troupe.agents.contracts import Usage, Verdict


@tool
def lookup(order: int) -> str:
    """Look up an order."""
    return "shipped"


def plain(city: str) -> str:
    """The weather."""
    return "sun"


# ---------------------------------------------------------------------------------------------------------- made


def test_an_agent_of_ones_own_has_name_prompt_tier_and_title() -> None:
    made = agent("triage", "Sort the ticket.", tier="economy", title="Sorts tickets", tools=[lookup, plain])
    assert (made.name, made.title, made.role.tier, made.role.prompt) == (
        "triage",
        "Sorts tickets",
        "economy",
        "Sort the ticket.",
    )
    assert made.tools == (lookup, plain) and made.can_decide
    assert repr(made) == "ChatAgent('triage')"


def test_without_a_prompt_the_name_is_one_of_the_rosters() -> None:
    made = agent("sr-architect")
    assert (made.role.tier, made.title) == ("premium", made.role.title)
    assert agent("sr-architect", tier="economy").role.tier == "economy"
    assert agent("sr-architect").role.tier == "premium", "the roster's own is not changed"


def test_a_role_is_an_agent_with_what_is_said_on_top() -> None:
    role = Role(name="poet", prompt="Write.", model="openai:x")
    assert agent(role).own_model == "openai:x"
    assert agent(role, model="openai:y").own_model == "openai:y"
    assert agent(role, tier="premium").role == role.model_copy(update={"tier": "premium"})


@pytest.mark.parametrize("prompt", ["", "   ", 5])
def test_an_empty_prompt_is_refused(prompt: Any) -> None:
    with pytest.raises(BuildError, match="prompt of agent 'poet' must be a text"):
        agent("poet", prompt)


def test_a_role_that_says_nothing_is_refused_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="roles/nobody"):
        ChatAgent(Role(name="nobody"))


@pytest.mark.parametrize("tools", ["lookup", 5, {lookup.name: lookup}])
def test_tools_are_a_list(tools: Any) -> None:
    with pytest.raises(BuildError, match="must be a list"):
        agent("poet", "Write.", tools=tools)


def test_tools_that_a_role_names_must_be_given_if_any_are() -> None:
    role = Role(name="poet", prompt="Write.", tools=("lookup", "rhyme"))
    with pytest.raises(BuildError, match="tools that were not given: rhyme"):
        agent(role, tools=[lookup])
    assert agent(role).tools == ()


def test_a_role_that_is_not_there_is_refused_when_the_agent_is_made() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'qa-engineer'"):
        agent("qa-enginer")


# ----------------------------------------------------------------------------------------------------------- alone

poet = agent("poet", "Write verse.")


@pytest.fixture(autouse=True)
def _a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, an agent asks the settings' model; a fresh script stands in for it."""
    model = scripted({"poet": [f"verse {number}" for number in range(50)]})

    async def get(self: Any, tier: Any, own: Any = None) -> Any:
        return model

    monkeypatch.setattr("troupe.agents.models.Models.get", get)


def test_it_can_be_invoked_from_anywhere() -> None:
    assert poet.invoke(Brief(task="x")).content == "verse 0"
    assert asyncio.run(poet.ainvoke(Brief(task="x"))).content == "verse 1"


async def test_it_can_be_invoked_inside_a_running_loop() -> None:
    assert poet.invoke(Brief(task="x")).content == "verse 0"
    assert (await poet.ainvoke(Brief(task="x"))).content == "verse 1"


def test_its_result_is_accepted_signed_and_counted() -> None:
    done = poet.invoke(Brief(task="x"))
    assert (done.step, done.agent, done.status, done.usage.calls) == ("poet", "poet", "accepted", 1)
    assert poet.invoke(Brief(task="x", step="verse")).step == "verse"


def test_a_batch_gives_results_in_order() -> None:
    briefs = [Brief(task=str(number)) for number in range(5)]
    assert sorted(one.content for one in poet.batch(briefs)) == [f"verse {number}" for number in range(5)]
    assert len(asyncio.run(poet.abatch(briefs))) == 5


def test_it_is_a_link_of_a_chain() -> None:
    chain: Any = (
        RunnableLambda(lambda topic: Brief(task=topic)) | poet | RunnableLambda(lambda done: done.content.upper())
    )
    assert chain.invoke("rain") == "VERSE 0"
    assert asyncio.run(chain.ainvoke("rain")) == "VERSE 1"
    assert chain.with_retry().invoke("rain") == "VERSE 2"


def test_callbacks_of_the_chain_see_its_model() -> None:
    seen: list[str] = []

    class Listener(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **_: Any) -> None:
            seen.append(messages[0][0].text)

    poet.invoke(Brief(task="x"), {"callbacks": [Listener()]})
    assert seen and seen[0].startswith("Write verse.")


def test_a_failure_alone_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    async def get(self: Any, tier: Any, own: Any = None) -> Any:
        return scripted([KeyError("gone")])

    monkeypatch.setattr("troupe.agents.models.Models.get", get)
    with pytest.raises(NotCompleted, match="gone"):
        poet.invoke(Brief(task="x"))


@pytest.mark.parametrize("given", ["a task", {"task": "x"}, None])
def test_what_is_no_brief_is_refused_with_what_is(given: Any) -> None:
    with pytest.raises(ValueError, match=r"Brief\(task="):
        poet.invoke(given)


async def test_nothing_is_kept_of_a_call_made_alone() -> None:
    first = await work_alone(poet, Brief(task="x"))
    second = await work_alone(poet, Brief(task="x"))
    assert (first.content, second.content) == ("verse 0", "verse 1")


# ------------------------------------------------------------------------------------------------------------ values


def test_values_are_frozen_and_add_up() -> None:
    assert (Usage(usd=0.5, calls=1) + Usage(usd=0.25, calls=2, estimated=True)) == Usage(
        usd=0.75, calls=3, estimated=True
    )
    assert (Usage() + Usage(usd=None)).usd is None
    done = Deliverable(step="a", content="x")
    assert done.but(status="accepted").usable and not done.usable
    with pytest.raises(ValueError, match="frozen"):
        done.status = "accepted"


@pytest.mark.parametrize(
    ("given", "valid"),
    [
        ({"passed": True}, True),
        ({"passed": False, "score": 0.0, "findings": ["a"], "feedback": "b", "blame": "c"}, True),
        ({"passed": True, "confidence": "high"}, True),  # models like to add a field
        ({"passed": True, "score": 1.5}, False),
        ({"passed": True, "score": -0.1}, False),
        ({"passed": "perhaps"}, False),
        ({}, False),
    ],
)
def test_a_verdict_is_checked(given: dict[str, Any], valid: bool) -> None:
    if valid:
        assert Verdict.model_validate(given).passed == given["passed"]
    else:
        with pytest.raises(ValueError, match="validation error"):
            Verdict.model_validate(given)
