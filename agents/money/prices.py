"""USD of a model request, from the price table of the genai-prices package (offline). Unknown is None, never 0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from troupe.agents.contracts import Tokens, Usage
from troupe.agents.text import tokens


def usage_of(reply: AIMessage, sent: Sequence[BaseMessage], model: Any, seconds: float) -> Usage:
    """What one request used: the provider's own count, else one made from the text and marked as estimated."""
    told = reply.usage_metadata
    meta = reply.response_metadata
    if told:
        counted = Tokens(input=told["input_tokens"], output=told["output_tokens"])
        cached = (told.get("input_token_details") or {}).get("cache_read", 0) or 0
    else:
        made = json.dumps([one["args"] for one in reply.tool_calls], default=str) if reply.tool_calls else ""
        counted = Tokens(input=_count(sent), output=tokens(reply.text) + tokens(made))
        cached = 0
    usd: float | None = 0.0
    if not meta.get("simulated"):
        name, provider = sold_as(model)
        name = meta.get("model_name") or meta.get("model") or name
        provider = meta.get("model_provider") or provider
        usd = price(name, provider, counted.input, counted.output, cached)
    return Usage(tokens=counted, usd=usd, seconds=seconds, calls=1, estimated=told is None)


def sold_as(model: Any) -> tuple[str, str]:
    """A chat model's name and provider, as price tables have them, before it has replied."""
    name = getattr(model, "model_name", None) or getattr(model, "model", None) or ""
    return str(name), type(model).__module__.partition(".")[0].removeprefix("langchain_")


def price(model: str, provider: str, input: int, output: int, cached: int = 0) -> float | None:
    """USD for so many tokens, or None where the price is unknown.

    >>> price("gpt-4o-mini", "openai", 1_000_000, 0)
    0.15
    >>> price("my-own-model", "openai", 1_000_000, 0) is None
    True
    """
    if not model or not known(model, provider):
        return None
    import genai_prices

    used = genai_prices.Usage(input_tokens=input, cache_read_tokens=min(cached, input), output_tokens=output)
    return float(genai_prices.calc_price(used, model, provider_id=provider).total_price)


@lru_cache(maxsize=1024)
def rates(model: str, provider: str) -> tuple[float, float] | None:
    """USD for an input token and for an output token, for estimates: what is dearer beyond some length is not."""
    input, output = price(model, provider, 1000, 0), price(model, provider, 0, 1000)
    return None if input is None or output is None else (input / 1000, output / 1000)


@lru_cache(maxsize=1024)
def known(model: str, provider: str) -> bool:
    """Whether the price table has this model."""
    import genai_prices

    try:
        genai_prices.calc_price(genai_prices.Usage(input_tokens=1, output_tokens=1), model, provider_id=provider)
    except LookupError:
        return False
    return True


def _count(messages: Sequence[BaseMessage]) -> int:
    return sum(tokens(message.text) for message in messages)
