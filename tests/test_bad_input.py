"""What no database stores, and what is far too much of it, through every pattern and both stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.test_contract import PATTERNS, Example
from troupe import Limits, TeamContext, resume, run, scripted
from troupe.agents.models.scripted import ScriptedChatModel
from troupe.result import Result

BAD = "NUL \x00, half a pair \ud800 and \udfff, both \ud83d\x00"
PUT_RIGHT = "".join("\ufffd" if one in "\x00\ud800\udfff\ud83d" else one for one in BAD)
MUCH = 10_000_000
every = pytest.mark.parametrize("example", PATTERNS.values(), ids=PATTERNS)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, db: Path) -> Any:
    """Where runs are kept."""
    return db if request.param == "sqlite" else request.getfixturevalue("database")


def saying(example: Example, words: str, most: int = 10**9) -> ScriptedChatModel:
    """The example's script, in which the first `most` texts end with these words."""
    left = [most]

    def said(one: Any) -> Any:
        if not isinstance(one, str) or left[0] <= 0:
            return one
        left[0] -= 1
        return f"{one} {words}"

    return scripted({who: [said(one) for one in lines] for who, lines in example.said().items()})


def stands(run_: str, example: Example, place: Any) -> Result:
    """The run as it is read back; nobody is asked anything again."""
    return resume(run_, target=example.make(), model=scripted({"*": []}), db=place)


@every
def test_nul_and_halves_of_pairs_are_replaced_and_come_back_so(example: Example, place: Any) -> None:
    result = run(example.make(), f"task {BAD}", model=saying(example, BAD), db=place, thread="t")
    assert result.status == "completed" and result.task == f"task {PUT_RIGHT}"
    again = stands("t", example, place)
    assert again.answer == result.answer and again.status == "completed"
    assert {name: one.content for name, one in again.deliverables.items()} == {
        name: one.content for name, one in result.deliverables.items()
    }
    everything = "".join(one.content for one in again.deliverables.values())
    assert "\ufffd" in everything and not any(one in everything for one in "\x00\ud800\udfff\ud83d")


@every
def test_they_are_no_matter_in_messages_either(example: Example, place: Any) -> None:
    messages = [{"role": "user", "content": f"task {BAD}"}]
    assert run(example.make(), messages, model=saying(example, "."), db=place).status == "completed"


@every
def test_an_output_and_a_task_of_ten_megabytes_come_back_whole(example: Example, place: Any) -> None:
    words = "0123456789" * (MUCH // 10 - 10)
    model = saying(example, words, most=1)
    result = run(example.make(), f"task {words}", model=model, db=place, thread="t")
    assert result.status == "completed", result.reason
    again = stands("t", example, place)
    assert again.task == f"task {words}"
    sizes = {name: len(one.content) for name, one in again.deliverables.items()}
    assert max(sizes.values()) > len(words)
    assert sizes == {name: len(one.content) for name, one in result.deliverables.items()}
    asked = [message.text for _, _, messages in model.asked for message in messages]
    assert max(map(len, asked)) < 200_000, "briefs are bounded"


@every
def test_more_than_that_is_cut_and_the_run_says_so(example: Example, place: Any) -> None:
    context = TeamContext(limits=Limits(payload=50_000))
    model = saying(example, "y" * 200_000, most=1)
    result = run(example.make(), "x", model=model, context=context, db=place, thread="t")
    assert result.status == "partial" and result.reason is not None
    assert result.reason.kind == "limit" and "limits.payload" in result.reason.message
    assert all(len(one.content) < 200_000 for one in stands("t", example, place).deliverables.values())
