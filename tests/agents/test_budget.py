"""What a turn may still spend, when many requests are made at once."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage

from tests.support.teams import PRICE, priced
from troupe import Executor, Limits, TeamContext, agent, arun, parallel, quorum, run, sequential
from troupe.agents.contracts import Tokens, Usage
from troupe.agents.errors import LimitReached
from troupe.agents.money.budget import GUESS, Cost, Kind, Purse
from troupe.agents.money.prices import price

KIND = Kind("m", "work")
ASKED = [HumanMessage("x" * 400)]
NAMELESS = SimpleNamespace()


def paid(usd: float | None, output: int = 10) -> Usage:
    return Usage(tokens=Tokens(input=100, output=output), usd=usd, calls=1)


async def test_a_second_request_waits_for_what_the_first_really_costs() -> None:
    purse = Purse(Limits(), budget=1.0)
    purse.spend(paid(0.4), KIND)
    first = await purse.hold(KIND, NAMELESS, ASKED)
    second = asyncio.ensure_future(purse.hold(KIND, NAMELESS, ASKED))
    await asyncio.sleep(0)
    assert not second.done() and purse.held.usd == pytest.approx(0.4)
    first.settle(paid(0.1))
    hold = await second
    assert purse.spent.usd == pytest.approx(0.5) and purse.held.usd == pytest.approx(0.25), "the mean of both"
    hold.release()
    hold.release()
    assert purse.held == Cost()


async def test_what_does_not_fit_when_nothing_else_is_under_way_is_refused_and_says_why() -> None:
    purse = Purse(Limits(), budget=1.0)
    purse.spend(paid(0.6), KIND)
    with pytest.raises(LimitReached, match=r"budget of \$1 does not cover another request: \$0.6 spent, about \$0.6"):
        await purse.hold(KIND, NAMELESS, ASKED)
    purse.spend(paid(0.4), KIND)
    with pytest.raises(LimitReached, match=r"used up \(\$1 spent\). Raise it with budget="):
        await purse.hold(Kind("m", "review"), NAMELESS, ASKED)


async def test_a_first_request_is_made_as_long_as_there_is_money_for_what_it_sends() -> None:
    purse = Purse(Limits(), budget=1e-6)
    hold = await purse.hold(KIND, NAMELESS, ASKED[:0])
    assert purse.held.tokens == GUESS
    hold.release()


async def test_a_price_in_the_table_counts_the_input_that_is_sent() -> None:
    class Model:
        __module__ = "langchain_openai.chat_models"
        model_name = "gpt-4o-mini"
        max_tokens = 100

    purse = Purse(Limits(), budget=1.0)
    hold = await purse.hold(KIND, Model(), ASKED)
    assert purse.held == Cost(200, price("gpt-4o-mini", "openai", 100, 100) or 0.0)
    hold.release()


async def test_an_unknown_price_does_not_hide_what_known_ones_came_to() -> None:
    purse = Purse(Limits(), budget=1.0)
    purse.spend(paid(0.9))
    purse.spend(paid(None))
    assert purse.spent.usd is None
    purse.spend(paid(0.2))
    with pytest.raises(LimitReached, match="budget"):
        purse.check()


async def test_a_free_run_is_bound_by_calls_and_tokens_only() -> None:
    purse = Purse(Limits(calls=2, usd=0.0), budget=0.0, free=True)
    purse.spend(paid(0.0))
    (await purse.hold(KIND, NAMELESS, ASKED)).settle(paid(0.0))
    with pytest.raises(LimitReached, match=r"2 model requests is reached \(limits.calls\)"):
        await purse.hold(KIND, NAMELESS, ASKED)


async def test_whoever_is_cancelled_while_it_waits_holds_nothing() -> None:
    purse = Purse(Limits(), budget=1.0)
    purse.spend(paid(0.5), KIND)
    first = await purse.hold(KIND, NAMELESS, ASKED)
    waiting = asyncio.ensure_future(purse.hold(KIND, NAMELESS, ASKED))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    first.release()
    assert purse.held == Cost()
    assert await asyncio.wait_for(purse.hold(KIND, NAMELESS, ASKED), 1)


costs = st.lists(st.floats(0.0, 0.5), min_size=1, max_size=40)


@given(costs=costs, budget=st.floats(0.0, 3.0), seed=st.integers(0, 999), width=st.integers(1, 12))
async def test_what_is_spent_passes_the_budget_by_no_more_than_estimates_were_wrong(
    costs: list[float], budget: float, seed: int, width: int
) -> None:
    order = random.Random(seed)  # noqa: S311
    purse = Purse(Limits(), budget=budget)
    wrong: list[float] = []
    slots = asyncio.Semaphore(width)

    async def request(usd: float) -> None:
        async with slots:
            try:
                hold = await purse.hold(KIND, NAMELESS, ASKED)
            except LimitReached:
                return
            try:
                for _ in range(order.randrange(4)):
                    await asyncio.sleep(0)
                if order.random() < 0.9:  # else it failed
                    wrong.append(max(0.0, usd - hold.cost.usd))
                    hold.settle(paid(usd))
            finally:
                hold.release()

    await asyncio.gather(*(request(usd) for usd in costs))
    assert purse.held == Cost()
    under_way = sum(sorted(wrong)[-width:])  # no more than these were under way at once
    assert purse.paid <= budget + under_way + 1e-6


@pytest.mark.parametrize("calls", [1, 3, 10])
def test_a_wide_fan_out_does_not_overspend(calls: int) -> None:
    names = [f"a{number}" for number in range(50)]
    model = priced({name: ["done"] for name in ["first", *names, "merge"]})
    model.latency = 0.01
    team = sequential(agent("first", "Begin."), parallel(*(agent(name, "Work.") for name in names), name="all"))
    result = run(team, "x", model=model, budget=(calls + 0.5) * 10_000 * PRICE, db=":memory:")
    assert result.status in ("partial", "failed") and result.reason is not None and result.reason.kind == "limit"
    assert result.usage.calls == calls and len(model.asked) == calls


async def test_branches_that_lost_a_race_give_back_what_was_reserved_for_them() -> None:
    model = priced({"a": ["fast"], "b": ["slow"], "c": ["slow"], "merge": ["one"]})
    purses: list[Purse] = []

    class Looking(Executor):
        async def call(self, call: Any) -> Any:
            purses.append(call.scope.purse)
            return await super().call(call)

    a, b, c = (agent(name, "Work.") for name in "abc")
    team = parallel(a, b, c, join=quorum(1), merge=agent("merge", "Merge."))
    result = await arun(team, "x", model=model, budget=1.0, context=TeamContext(executor=Looking()), db=":memory:")
    assert result.status == "completed"
    assert {id(one) for one in purses} == {id(purses[0])} and purses[0].held == Cost()


def test_the_reply_that_fails_gives_back_what_was_reserved() -> None:
    model = priced({"a": [ConnectionError("gone"), AIMessage("done")]})
    assert run(agent("a", "Work."), "x", model=model, budget=1.0, db=":memory:").status == "completed"
