"""Texts made to keep a parser busy: whatever reads what a model wrote looks at each character a few times, no more."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from troupe import Step, agent, run, scripted
from troupe.agents.brief import fence
from troupe.agents.errors import describe
from troupe.agents.notes import artifacts
from troupe.agents.structured import extract
from troupe.agents.text import clean, is_credential, printable, redact, shorten, summary
from troupe.prompts import fields

READERS: dict[str, Callable[[str], Any]] = {
    "extract": extract,
    "redact": redact,
    "artifacts": artifacts,
    "printable": printable,
    "clean": clean,
    "summary": summary,
    "shorten": lambda text: shorten(text, 50),
    "fence": lambda text: fence(text, text[:100]),
    "fields": fields,
    "is_credential": is_credential,
    "describe": lambda text: describe(ValueError(text)),
}
BOMBS: dict[str, Callable[[int], str]] = {
    "brackets": lambda n: "[" * n,
    "braces": lambda n: "{" * n,
    "objects": lambda n: '{"a":' * (n // 5),
    "a!": lambda n: "a" * n + "!",
    "spaces!": lambda n: " " * n + "!",
    "lines": lambda n: "\n" * n + "!",
    "thoughts": lambda n: "<think>" * (n // 7),
    "half thoughts": lambda n: "<think></think" * (n // 14),
    "fences": lambda n: "```\n" * (n // 4),
    "open fence": lambda n: "```" + "\n" * n,
    "fence of spaces": lambda n: "```" + " " * n,
    "ticks": lambda n: "`" * n + "a`",
    "escaped quotes": lambda n: "{" + '\\"' * (n // 2) + ",}",
    "text of quotes": lambda n: '{"a": "' + '\\"' * (n // 2) + ",}",
    "quotes": lambda n: "{" + '"' * n + ",}",
    "backslashes": lambda n: '{"' + "\\" * n + ",}",
    "commas": lambda n: "{" + ", " * (n // 2) + "}",
    "comma and spaces": lambda n: "," + " " * n + ",}",
    "address": lambda n: "://" + ":" * n,
    "addresses": lambda n: "://a:b" * (n // 6),
    "tokens": lambda n: "eyJ-" * (n // 4),
    "token": lambda n: "eyJ" + "a" * n,
    "keys": lambda n: "sk-" * (n // 3),
    "named": lambda n: "api_key=" * (n // 8),
    "quoted names": lambda n: 'api_key" : ' * (n // 11),
    "pem": lambda n: "-----BEGIN PRIVATE KEY-----" * (n // 27),
    "files": lambda n: "```" + "a." * (n // 2) + "!",
    "paths": lambda n: "```" + ' path="' * (n // 7),
    "heads": lambda n: "# " * (n // 2) + "\n```\nx\n```",
    "fields": lambda n: "{{" * (n // 2),
}


def seconds(read: Callable[[str], Any], text: str) -> float:
    """Of the processor, whatever else it does."""
    began = time.thread_time()
    read(text)
    return time.thread_time() - began


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_four_times_the_text_takes_about_four_times_as_long(read: Callable[[str], Any]) -> None:
    for name, bomb in BOMBS.items():
        short, long = bomb(12_500), bomb(50_000)
        # Were it quadratic, sixteen times, each time; and the smallest differences are noise.
        tries = ((seconds(read, short), seconds(read, long)) for _ in range(10))
        assert any(more < 10 * once + 0.02 for once, more in tries), name


def test_a_million_brackets_are_no_value() -> None:
    assert extract("[" * 1_000_000) is None
    assert extract('{"a":' * 200_000 + "1" + "}" * 200_000) is None


class Found(BaseModel):
    number: int


@pytest.mark.parametrize("bomb", [BOMBS["brackets"], BOMBS["objects"], BOMBS["thoughts"], BOMBS["escaped quotes"]])
def test_a_call_that_is_answered_with_one_fails_and_nothing_hangs(bomb: Callable[[int], str]) -> None:
    model = scripted({"clerk": [bomb(200_000)] * 9})
    result = run(Step(agent("clerk", "Count."), returns=Found), "x", model=model, db=":memory:", deadline=30)
    assert result.status == "failed" and result.reason is not None and "no valid Found" in result.reason.message


def test_the_value_is_still_found_where_there_is_one() -> None:
    for text in (
        '<think>{"number": 1}</think>{"number": 2,}',
        'Sure:\n```json\n{"number": 2,\n}\n```\nAnything else?',
        'a {curly} text, then {"number": 2}',
        '<think>never closed {"number": 2}',
        '```\n{"number": 2, "said": "a ,} b \\" ,] c"}\n```',
    ):
        value = extract(text)
        assert value is not None and value["number"] == 2, text
