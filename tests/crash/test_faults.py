"""Whatever providers and the database do, every run ends in one of the five statuses and says why."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.crash.faults import KINDS, House, Plan, campaign, opened
from tests.support.openai_server import (
    Answer,
    OpenAIServer,
    Received,
    broken_stream,
    data,
    dropped,
    empty,
    hang,
    html,
    refusal,
    slow,
    status,
    text,
    truncated,
)
from troupe.agents.contracts import RunStatus


@pytest.fixture
def house() -> Iterator[House]:
    with opened() as made:
        yield made


@pytest.mark.parametrize("start", [1, 2])
def test_every_run_ends_in_good_order_whatever_goes_wrong(start: int, house: House) -> None:
    campaign(house, 240, start)
    assert house.runs >= 240
    assert {"completed", "partial", "failed"} <= set(house.ended)
    assert len(house.faults) > len(KINDS) / 2, "most kinds of faults have been met"


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_passes_costs_nothing_but_an_attempt_or_is_told(kind: str, house: House) -> None:
    house.perform(Plan("parallel", faults=(None, kind)))
    (ended,) = house.ended
    assert ended in ("completed", "partial"), "one fault in one branch is not the end of the run"


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_lasts_ends_the_run_with_its_cause(kind: str, house: House) -> None:
    house.perform(Plan("sequential", lasting=kind, deadline=20.0))
    harmless = {"slow", "locked", "prose", "malformed", "another schema", "nul and surrogate", "long"}
    assert (set(house.ended) == {"failed"}) == (kind not in harmless)


# --- the same over HTTP -----------------------------------------------------------------------------------------------

REPLIES: dict[str, Answer] = {
    "429": status(429, retry_after=0),
    "429 never": status(429, retry_after=1e9),
    "quota": status(429, code="insufficient_quota"),
    "400": status(400),
    "401": status(401),
    "404": status(404),
    "500": status(500),
    "503": status(503, retry_after=1),
    "reset mid-stream": broken_stream(2),
    "silence mid-stream": broken_stream(2, hang=True),
    "dropped": dropped(),
    "hang": hang(),
    "slow": slow("Late."),
    "empty": empty(),
    "refusal": refusal("I must not."),
    "truncated": truncated(),
    "page": html(),
    "gateway": html(status=502),
}


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    play=st.sampled_from(["sequential", "parallel", "nested"]),
    faults=st.lists(st.one_of(st.none(), st.sampled_from(sorted(REPLIES))), min_size=1, max_size=6),
    deadline=st.sampled_from([None, 1.0]),
    sync=st.booleans(),
)
def test_the_same_over_http(play: str, faults: list[str | None], deadline: float | None, sync: bool) -> None:
    left, lock = list(faults), threading.Lock()

    def answer(received: Received) -> Answer:
        with lock:
            fault = left.pop(0) if left else None
        if fault is not None:
            return REPLIES[fault]
        decides: Any = received.response_format or received.tools
        return data({"passed": True}) if decides else text("It is done in round 2.")

    with opened() as house, OpenAIServer(answer) as server:
        model = ChatOpenAI(model="gpt-4o-mini", base_url=server.base_url, api_key=SecretStr("test"), max_retries=0)
        plan = Plan(play, faults=tuple(faults), deadline=deadline, sync=sync, timeout=0.5)
        house.perform(plan, model, server.requests)
        ended: set[RunStatus | str] = set(house.ended)
        assert ended <= {"completed", "partial", "failed"}
