"""What a request costs: by the provider's own count and the price table; unknown is None and never 0."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from troupe.agents.money.prices import known, price, usage_of
from troupe.agents.text import tokens


def reply(text: str = "eight ch", *, told: tuple[int, int, int] | None = (100, 10, 0), **meta: Any) -> AIMessage:
    message = AIMessage(text, response_metadata={"model_name": "gpt-4o-mini", "model_provider": "openai", **meta})
    if told:
        input, output, cached = told
        message.usage_metadata = {
            "input_tokens": input,
            "output_tokens": output,
            "total_tokens": input + output,
            "input_token_details": {"cache_read": cached},
        }
    return message


def used(message: AIMessage) -> Any:
    return usage_of(message, [HumanMessage("hello there")], object(), 1.5)


def test_the_providers_count_is_taken() -> None:
    usage = used(reply(told=(1_000_000, 1_000_000, 0)))
    assert (usage.tokens.input, usage.tokens.output, usage.calls, usage.seconds) == (1_000_000, 1_000_000, 1, 1.5)
    assert usage.usd == pytest.approx(0.75) and not usage.estimated


def test_without_it_the_text_is_counted_and_the_usage_says_so() -> None:
    usage = used(reply(told=None))
    assert (usage.tokens.input, usage.tokens.output) == (tokens("hello there"), 2)
    assert usage.estimated and usage.usd is not None and usage.usd > 0


def test_what_a_tool_was_called_with_is_counted_too() -> None:
    message = reply("", told=None)
    message.tool_calls = [{"name": "f", "args": {"text": "x" * 400}, "id": "1", "type": "tool_call"}]
    assert used(message).tokens.output > 100


def test_cached_tokens_are_cheaper() -> None:
    whole, cached = used(reply(told=(1000, 0, 0))).usd, used(reply(told=(1000, 0, 1000))).usd
    assert 0 < cached < whole


def test_more_cached_tokens_than_were_sent_are_no_error() -> None:
    assert used(reply(told=(10, 0, 1000))).usd > 0


def test_a_model_without_a_price_costs_none() -> None:
    usage = used(reply(model_name="my-own-model"))
    assert usage.usd is None and usage.tokens.total == 110
    assert not known("my-own-model", "openai") and not known("gpt-4o-mini", "nobody")
    assert price("", "openai", 1, 1) is None


def test_a_simulated_reply_costs_nothing() -> None:
    assert used(reply(simulated=True)).usd == 0.0


def test_the_models_own_name_stands_in_where_the_reply_has_none() -> None:
    class Model:
        model_name = "gpt-4o-mini"

    message = AIMessage("x", response_metadata={"model_provider": "openai"})
    assert usage_of(message, [], Model(), 0.0).usd is not None


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5-mini", "gpt-5-nano", "o3-mini"])
def test_openais_usual_models_have_a_price(name: str) -> None:
    assert price(name, "openai", 1000, 1000)
