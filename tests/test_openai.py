"""Troupe on OpenAI's protocol: the real client over real HTTP, against a server on the loopback interface."""

import asyncio
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import InjectedStore
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt
from pydantic import BaseModel, SecretStr

from tests.support.openai_server import (
    Answer,
    Billing,
    Completion,
    OpenAIServer,
    Received,
    Script,
    Usage,
    broken_stream,
    chatty,
    data,
    dropped,
    empty,
    hang,
    html,
    refusal,
    status,
    text,
    tool_call,
    truncated,
)
from troupe import (
    Executor,
    SettingsError,
    Step,
    Team,
    TeamContext,
    TeamGraph,
    Verdict,
    agent,
    aresume,
    arun,
    astream,
    gate,
    resume,
    review,
    run,
    sequential,
)
from troupe.agents.events import Attempt, RunFinished, Token
from troupe.checkpoints import sqlite
from troupe.prompts import load

# langchain-openai tells what the ladder then does.
pytestmark = pytest.mark.filterwarnings("ignore:This model does not support OpenAI's structured output")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment would take loopback requests away."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


class Waits(list[float]):
    """The seconds that retries would have waited."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def patient(waits: Waits) -> TeamContext:
    """A context whose retries do not wait."""
    return TeamContext(executor=Executor(sleep=waits.sleep))


_names = itertools.count(1)


@pytest.fixture
def fresh() -> str:
    """A model's name that no other test used: the rung that works is remembered by name."""
    return f"gpt-fresh-{next(_names)}"


def chat(server: OpenAIServer, name: str = "gpt-test", **options: Any) -> ChatOpenAI:
    return ChatOpenAI(model=name, base_url=server.base_url, api_key=SecretStr("test"), **options)


def passed(**more: Any) -> Answer:
    return data({"passed": True, "score": 0.9, **more})


def rejected(feedback: str, **more: Any) -> Answer:
    return data({"passed": False, "score": 0.2, "feedback": feedback, **more})


def long_text(name: str) -> str:
    """A text whose summary is not the whole of it: the beginning is in both, the end only in the text."""
    return f"begin-{name} " + "A sentence that fills the page. " * 40 + f"\n\nend-{name}"


writer = agent("writer", "You write drafts.")
editor = agent("editor", "You edit drafts.")
critic = agent("critic", "You judge drafts.")


# ------------------------------------------------------------------------------------------- the sequential pattern


def test_the_classic_five_build_on_each_other() -> None:
    with OpenAIServer(lambda received: long_text(str(received.index))) as server:
        result = run("sequential", "Build a todo app.", model=chat(server)).raise_unless_completed()
        asked = server.requests
    assert list(result.deliverables) == [
        "ai-researcher",
        "specialist-engineer",
        "qa-engineer",
        "technical-writer",
        "git-helper",
    ]
    assert result.answer == long_text("4")
    assert len(asked) == 5  # one request a step, and nothing else
    for index, (received, role) in enumerate(zip(asked, result.deliverables, strict=True)):
        assert received.system.startswith(load(f"roles/{role}"))
        assert "How you work here" in received.system
        assert "# Task\nBuild a todo app." in received.user
        for before in range(index):  # the predecessor in full, who came before it as summaries
            assert f"begin-{before}" in received.user
            assert (f"end-{before}" in received.user) == (before == index - 1)
    assert "# Your part\nPlan the methodology and the approach." in asked[0].user
    assert "# Your part\nPlan its version control and deployment." in asked[4].user
    assert "# Results you build on" in asked[1].user and "# Earlier results, summarised" not in asked[1].user
    assert "# Earlier results, summarised" in asked[2].user


def test_a_step_gets_in_full_what_it_needs() -> None:
    team = sequential(writer, editor, Step(critic, needs="writer"))
    with OpenAIServer(lambda received: long_text(str(received.index))) as server:
        run(team, "x", model=chat(server)).raise_unless_completed()
        last = server.requests[-1].user
    assert "end-0" in last and "end-1" in last
    assert "# Earlier results, summarised" not in last


def test_a_gate_that_does_not_pass_sends_the_work_back_with_what_must_change() -> None:
    script: Script = {
        "You judge": [rejected("Name the order.", findings=["no order id"]), passed()],
        "You write": ["a first draft", "a better draft"],
    }
    with OpenAIServer(script) as server:
        result = run(sequential(writer, gate=gate(review(by=critic))), "Where is order 42?", model=chat(server))
        draft, first, rework, second = server.requests
    assert (result.status, result.answer, result["writer"].rounds) == ("completed", "a better draft", 2)
    assert result["writer"].score == 0.9
    assert "# What must change" not in draft.user
    assert "a first draft" in first.user and "Judge the deliverable" in first.user
    assert "# What must change" in rework.user
    assert "Name the order." in rework.user and "no order id" in rework.user
    assert "# Your last version" in rework.user and "a first draft" in rework.user
    assert "a better draft" in second.user and "a first draft" not in second.user


def test_a_reviewer_can_blame_an_earlier_step_and_the_work_begins_again_there() -> None:
    script: Script = {
        "You judge": [rejected("The plan forgot the index.", blame="plan"), passed()],
        "You write": ["plan one", "plan two"],
        "You edit": ["text one", "text two"],
    }
    team = sequential(
        Step(writer, "plan it", name="plan"),
        Step(editor, "write it", name="text", gate=gate(review(by=critic))),
    )
    with OpenAIServer(script) as server:
        result = run(team, "A book.", model=chat(server)).raise_unless_completed()
        assert len(server.requests) == 6
        _, _, judged, again, after, _ = server.requests
    assert "exactly one of: plan" in judged.user
    assert "The plan forgot the index." in again.user and "plan one" in again.user
    assert "plan two" in after.user and "plan one" not in after.user
    assert (result["plan"].content, result["text"].content) == ("plan two", "text two")
    assert (result["plan"].rounds, result["text"].rounds) == (2, 2)


def test_blaming_somebody_who_is_not_there_sends_the_work_back_to_its_author() -> None:
    script: Script = {
        "You judge": [rejected("Worse than the weather.", blame="the weather"), passed()],
        "You write": ["one", "two"],
    }
    with OpenAIServer(script) as server:
        result = run(sequential(writer, gate=gate(review(by=critic))), "x", model=chat(server))
    assert (result.status, result.answer) == ("completed", "two")


@pytest.mark.parametrize(
    ("then", "ends", "answer"), [("partial", "partial", "draft"), ("fail", "failed", ""), ("ask", "waiting", "")]
)
def test_what_follows_the_last_rework_is_what_the_gate_says(then: Any, ends: str, answer: str) -> None:
    script: Script = {"You judge": [rejected("No."), rejected("Still no.")], "You write": ["draft", "draft"]}
    team = sequential(writer, gate=gate(review(by=critic), rework=1, then=then))
    with OpenAIServer(script) as server:
        result = run(team, "x", model=chat(server))
        assert len(server.requests) == 4
    assert (result.status, result.answer) == (ends, answer)
    if then == "ask":
        assert "Still no." in result.waiting[0].question
    else:
        assert result.reason is not None and result.reason.kind == "gate" and "Still no." in result.reason.message


def test_a_score_below_the_threshold_does_not_pass_whatever_the_reviewer_says() -> None:
    script: Script = {"You judge": [passed(score=0.7), passed(score=0.8)], "You write": ["one", "two"]}
    with OpenAIServer(script) as server:
        result = run(sequential(writer, gate=gate(review(by=critic, at_least=0.8))), "x", model=chat(server))
        again = server.requests[2].user
    assert result.answer == "two"
    assert "0.7; 0.8 is needed" in again


def test_a_review_that_fails_does_not_pass() -> None:
    script: Script = {"You judge": [status(401)] * 2, "You write": ["one", "two"]}
    with OpenAIServer(script) as server:
        result = run(sequential(writer, gate=gate(review(by=critic))), "x", model=chat(server))
    assert result.status == "partial"
    assert result.reason is not None and "review by critic failed" in result.reason.message


def test_a_second_turn_carries_the_conversation_and_starts_its_counters_fresh() -> None:
    with OpenAIServer(["The order is on its way.", "It left on Monday."]) as server:
        first = run(sequential(writer), "Where is order 42?", model=chat(server), thread="customer")
        second = run(sequential(writer), "Since when?", model=chat(server), thread="customer")
        asked = server.requests[1].user
    assert (first.turn, second.turn) == (1, 2)
    assert "# Task\nSince when?" in asked
    assert "user: Where is order 42?" in asked and "assistant: The order is on its way." in asked
    assert (second.answer, second.usage.calls) == ("It left on Monday.", 1)


def test_each_tier_has_its_model() -> None:
    team = sequential(
        agent("cheap", "You are cheap.", tier="economy"),
        agent("plain", "You are plain."),
        agent("dear", "You are dear.", tier="premium"),
    )
    with OpenAIServer(["one", "two", "three"]) as server:
        tiers = {"economy": chat(server, "small"), "standard": chat(server, "medium"), "premium": chat(server, "large")}
        run(team, "x", model=tiers).raise_unless_completed()
        assert [received.model for received in server.requests] == ["small", "medium", "large"]


# ------------------------------------------------------------------------------------------------- usage and prices


async def _through_invoke(team: TeamGraph, model: ChatOpenAI) -> Any:
    return (await team.compile().ainvoke({"task": "x"}, context=TeamContext(models=model)))["deliverables"]


async def _through_stream(team: TeamGraph, model: ChatOpenAI) -> Any:
    kept: dict[str, Any] = {}
    options: Any = {"stream_mode": ["messages", "values"], "context": TeamContext(models=model)}
    async for mode, part in team.compile().astream({"task": "x"}, **options):
        kept = part if mode == "values" else kept
    return kept["deliverables"]


@pytest.mark.parametrize("through", [_through_invoke, _through_stream])
@pytest.mark.parametrize(("billing", "tokens", "estimated"), [(Usage(1000, 20), (1000, 20), False), (None, None, True)])
async def test_usage_is_counted_streaming_or_not_and_estimated_where_the_server_is_silent(
    through: Callable[[TeamGraph, ChatOpenAI], Any],
    billing: Billing,
    tokens: tuple[int, int] | None,
    estimated: bool,
) -> None:
    with OpenAIServer([text("eight ch", usage=billing)]) as server:
        done = await through(sequential(writer), chat(server))
        assert server.requests[0].stream == (through is _through_stream)
        said = server.requests[0].system + server.requests[0].user
    used = done["writer"].usage
    assert (used.calls, used.estimated) == (1, estimated)
    expected = tokens or (len(said.encode()) // 4, 2)
    assert abs(used.tokens.input - expected[0]) <= 2 and used.tokens.output == expected[1]


def test_an_estimate_counts_what_a_tool_was_called_with(fresh: str) -> None:
    value = {"number": 7, "total": 9.5, "note": "x" * 400}
    with OpenAIServer([data(value, usage=None)], response_format=False) as server:
        used = run(billing_team(), "x", model=chat(server, fresh)).usage
    assert used.estimated
    assert used.tokens.output >= 100


def test_the_price_of_a_known_model_is_known() -> None:
    with OpenAIServer([text("x", usage=Usage(1_000_000, 100_000))]) as server:
        result = run(sequential(writer), "x", model=chat(server, "gpt-4o-mini"))
    assert result.usage.usd == pytest.approx(0.15 + 0.06)
    assert result.usage.tokens.total == 1_100_000


def test_cached_tokens_are_cheaper_and_not_free() -> None:
    with OpenAIServer([text("x", usage=Usage(1_000_000, 0, cached_tokens=1_000_000))]) as server:
        usd = run(sequential(writer), "x", model=chat(server, "gpt-4o-mini")).usage.usd
    assert usd is not None and 0 < usd < 0.15


def test_the_price_of_an_unknown_model_is_none_and_not_zero() -> None:
    with OpenAIServer(["x"]) as server:
        result = run(sequential(writer), "x", model=chat(server, "my-own-model"))
    assert result.usage.usd is None
    assert result["writer"].usage.usd is None


def test_reviews_and_reworks_are_counted_with_the_step_they_are_about() -> None:
    script: Script = {
        "You judge": [
            data({"passed": False, "feedback": "no"}, usage=Usage(10, 1)),
            data({"passed": True}, usage=Usage(20, 2)),
        ],
        "You write": [text("one", usage=Usage(100, 10)), text("two", usage=Usage(200, 20))],
    }
    with OpenAIServer(script) as server:
        result = run(sequential(writer, gate=gate(review(by=critic))), "x", model=chat(server))
    assert (result.usage.tokens.input, result.usage.tokens.output, result.usage.calls) == (330, 33, 4)
    assert result["writer"].usage.tokens == result.usage.tokens


def test_a_budget_ends_the_run_with_what_there_is() -> None:
    with OpenAIServer([text("one", usage=Usage(1_000_000, 0))]) as server:
        result = run(sequential(writer, editor), "x", model=chat(server, "gpt-4o-mini"), budget=0.10)
        assert len(server.requests) == 1
    assert (result.status, result.answer, result.missing) == ("partial", "one", ("editor",))
    assert result.reason is not None and result.reason.kind == "limit" and "budget=" in result.reason.message


# ---------------------------------------------------------------------------------------------------------- streams


def _story() -> OpenAIServer:
    script: Script = {"You judge": [passed(), passed()], "You write": ["one two three"], "You edit": ["four five"]}
    return OpenAIServer(script)


def _reviewed() -> TeamGraph:
    return sequential(writer, editor, gate=gate(review(by=critic)))


async def test_the_tokens_of_the_answers_are_streamed_as_events_and_nothing_of_the_verdicts() -> None:
    with _story() as server:
        events = [one async for one in astream(_reviewed(), "x", context=TeamContext(models=chat(server)))]
    tokens = [one for one in events if isinstance(one, Token)]
    assert [(one.path, one.text) for one in tokens] == [
        ("writer", "one "),
        ("writer", "two "),
        ("writer", "three"),
        ("editor", "four "),
        ("editor", "five"),
    ]
    assert isinstance(events[-1], RunFinished)
    assert (events[-1].status, events[-1].answer) == ("completed", "four five")


async def test_langgraphs_own_message_stream_holds_the_answers_and_nothing_of_the_verdicts() -> None:
    with _story() as server:
        parts = []
        options: Any = {"stream_mode": "messages", "context": TeamContext(models=chat(server))}
        async for message, meta in _reviewed().compile().astream({"task": "x"}, **options):
            if isinstance(message, AIMessageChunk):
                parts.append((meta["langgraph_node"], message.text))
            assert "passed" not in message.text
    assert "".join(said for node, said in parts if node == "writer") == "one two three"
    assert "".join(said for node, said in parts if node == "editor") == "four five"


async def test_a_nested_team_streams_under_its_own_path() -> None:
    inner = sequential(writer, name="inner")
    with OpenAIServer(["one two"]) as server:
        events = [one async for one in astream(sequential(inner), "x", context=TeamContext(models=chat(server)))]
    assert [one.path for one in events if isinstance(one, Token)] == ["inner/writer", "inner/writer"]


# ------------------------------------------------------------------------------------------- values of a given shape


class Invoice(BaseModel):
    """What is owed."""

    number: int
    total: float
    note: str = ""


INVOICE: dict[str, Any] = {"number": 7, "total": 9.5, "note": "net"}
clerk = agent("clerk", "You write invoices.")


def billing_team() -> TeamGraph:
    return sequential(Step(clerk, "bill it", name="bill", returns=Invoice))


@pytest.mark.parametrize(
    ("takes", "replies", "requests"),
    [
        pytest.param({}, [data(INVOICE)], 1, id="json_schema"),
        pytest.param({"response_format": False}, [data(INVOICE)], 2, id="function calling"),
        pytest.param({"response_format": False, "tools": False}, [data(INVOICE)], 3, id="prompt"),
        pytest.param({}, [chatty(INVOICE)], 1, id="prose and a code fence with a trailing comma"),
        pytest.param(
            {"response_format": False, "tools": False}, [chatty(INVOICE)], 3, id="the same on the prompt rung"
        ),
        pytest.param({}, [truncated(), data(INVOICE)], 2, id="cut off"),
        pytest.param({}, [truncated()] * 3 + [data(INVOICE)], 4, id="cut off three times"),
        pytest.param({"response_format": False}, [text("It is seven."), data(INVOICE)], 3, id="text instead of a call"),
        pytest.param({}, [data({"number": "x"}), data(INVOICE)], 2, id="a wrong value is repaired"),
        pytest.param(
            {"response_format": False, "tools": False}, [text("Seven."), data(INVOICE)], 4, id="the last rung of all"
        ),
        pytest.param({}, [empty(), data(INVOICE)], 2, id="nothing at first"),
    ],
)
def test_a_value_comes_over_every_rung_in_at_most_four_requests(
    takes: Any, replies: list[Answer], requests: int, fresh: str
) -> None:
    with OpenAIServer(replies, **takes) as server:
        result = run(billing_team(), "Bill order 7.", model=chat(server, fresh)).raise_unless_completed()
        assert len(server.requests) == requests <= 4
        assert server.unscripted == []
    assert result["bill"].data == Invoice(**INVOICE)
    assert Invoice.model_validate_json(result["bill"].content) == Invoice(**INVOICE)


@pytest.mark.parametrize("takes", [{}, {"response_format": False}, {"response_format": False, "tools": False}])
def test_the_rung_that_worked_is_remembered_and_the_next_call_makes_one_request(takes: Any, fresh: str) -> None:
    with OpenAIServer([data(INVOICE)] * 2, **takes) as server:
        run(billing_team(), "first", model=chat(server, fresh))
        before = len(server.requests)
        result = run(billing_team(), "second", model=chat(server, fresh)).raise_unless_completed()
        assert len(server.requests) == before + 1
    assert result["bill"].data == Invoice(**INVOICE)


def test_a_value_that_is_wrong_to_the_end_fails_the_step_and_says_what_was_wrong(fresh: str) -> None:
    with OpenAIServer([data({"number": "x", "total": 1})] * 2) as server:
        result = run(billing_team(), "x", model=chat(server, fresh))
        assert len(server.requests) == 2
        assert "number: Input should be a valid integer" in server.requests[1].user
    assert result.status == "failed"
    assert result.reason is not None and "no valid Invoice: number" in result.reason.message


def test_truncation_to_the_end_fails_the_step_after_four_requests_all_paid_for(fresh: str) -> None:
    with OpenAIServer([truncated(usage=Usage(100, 10))] * 4) as server:
        result = run(billing_team(), "x", model=chat(server, fresh))
        assert len(server.requests) == 4
    assert result.reason is not None and "cut off" in result.reason.message
    assert (result.usage.calls, result.usage.tokens.input) == (4, 400)


async def test_a_value_is_given_while_streaming_too(fresh: str) -> None:
    with OpenAIServer([data(INVOICE)]) as server:
        events = [one async for one in astream(billing_team(), "x", context=TeamContext(models=chat(server, fresh)))]
    assert isinstance(events[-1], RunFinished) and events[-1].status == "completed"
    assert not [one for one in events if isinstance(one, Token)]


async def test_truncation_while_streaming_goes_on_to_the_next_rung(fresh: str) -> None:
    with OpenAIServer([truncated(), data(INVOICE)]) as server:
        events = [one async for one in astream(billing_team(), "x", context=TeamContext(models=chat(server, fresh)))]
        assert len(server.requests) == 2
    assert isinstance(events[-1], RunFinished) and events[-1].status == "completed"


def test_a_reviewer_without_structured_output_still_reviews() -> None:
    script: Script = {"You judge": [chatty({"passed": True, "score": 1})], "You write": ["draft"]}
    with OpenAIServer(script, response_format=False, tools=False) as server:
        result = run(sequential(writer, gate=gate(review(by=critic))), "x", model=chat(server, "gpt-grudging"))
    assert (result.status, result["writer"].score) == ("completed", 1.0)


# --------------------------------------------------------------------------------------------------------- failures


def attempts(found: list[Any]) -> list[Attempt]:
    return [one for one in found if isinstance(one, Attempt)]


def test_a_429_is_waited_out_for_as_long_as_the_server_asks(patient: TeamContext, waits: Waits) -> None:
    events: list[Any] = []
    with OpenAIServer([status(429, retry_after=7), "at last"]) as server:
        result = run(sequential(writer), "x", model=chat(server), context=patient, listeners=[events.append])
        assert len(server.requests) == 2
    assert (result.status, result.answer, result["writer"].attempts) == ("completed", "at last", 2)
    assert waits == [7.0]
    assert [(one.failure, one.wait, one.number) for one in attempts(events)] == [("rate_limit", 7.0, 1)]


def test_a_server_that_errs_three_times_is_asked_a_fourth_time(patient: TeamContext, waits: Waits) -> None:
    events: list[Any] = []
    with OpenAIServer([status(500)] * 3 + [text("fine")]) as server:
        result = run(sequential(writer), "x", model=chat(server), context=patient, listeners=[events.append])
        assert len(server.requests) == 4
    assert (result.status, result.answer) == ("completed", "fine")
    assert waits == sorted(waits) and len(waits) == 3 and waits[0] >= 0.5  # each wait is longer than the last
    assert [one.wait for one in attempts(events)] == waits  # what was told is what was waited


def test_a_server_that_errs_for_ever_ends_the_run_with_what_came_before(patient: TeamContext) -> None:
    script: Script = {"You write": ["a draft"], "You edit": itertools.repeat(status(500))}
    with OpenAIServer(script) as server:
        result = run(sequential(writer, editor, critic), "x", model=chat(server), context=patient)
        assert len(server.requests) == 5
    assert (result.status, result.answer, result.missing) == ("partial", "a draft", ("editor", "critic"))
    assert (result["editor"].status, result["critic"].status) == ("failed", "skipped")
    assert result.reason is not None and (result.reason.kind, result.reason.step) == ("error", "editor")


@pytest.mark.parametrize(
    ("reply", "advice"),
    [
        (status(401), "Check the key"),
        (status(403), "Check the key"),
        (status(404), "Check the model's name and the base URL"),
        (status(400), "Invalid request"),
        (status(400, code="context_length_exceeded"), "TROUPE_BRIEF_TOKENS"),
        (status(429, code="insufficient_quota"), "quota"),
        (refusal("I would rather not."), "declined to answer: I would rather not."),
        (Completion(finish_reason="content_filter"), "content filter stopped"),
        (Completion("Half an", finish_reason="content_filter"), "content filter stopped"),
    ],
)
def test_what_no_waiting_mends_is_not_tried_again_and_says_what_to_do(
    reply: Answer, advice: str, patient: TeamContext, waits: Waits
) -> None:
    with OpenAIServer([reply]) as server:
        result = run(sequential(writer), "x", model=chat(server), context=patient)
        assert len(server.requests) == 1
    assert (result.status, waits) == ("failed", [])
    assert result.reason is not None and advice in result.reason.message


def test_an_error_that_quotes_the_key_does_not_give_it_away(patient: TeamContext) -> None:
    with OpenAIServer([status(401, "Incorrect API key provided: sk-proj-abcdefgh12345678.")]) as server:
        result = run(sequential(writer), "x", model=chat(server), context=patient)
    assert result.reason is not None and "sk-proj" not in result.reason.message
    assert "[redacted]" in result.reason.message


def test_a_refused_connection_says_to_check_the_server(patient: TeamContext, waits: Waits) -> None:
    with OpenAIServer([]) as server:
        model = chat(server)
    result = run(sequential(writer), "x", model=model, context=patient)
    assert (result.status, len(waits)) == ("failed", 3)
    assert result.reason is not None and "Check that the server runs" in result.reason.message


@pytest.mark.parametrize("reply", [html(), dropped(), broken_stream(2), status(503), html(status=502), empty()])
@pytest.mark.parametrize("streaming", [False, True])
async def test_what_may_pass_is_tried_again(reply: Answer, streaming: bool, patient: TeamContext) -> None:
    team = sequential(writer)
    with OpenAIServer([reply, "fine"]) as server:
        if streaming:
            context = patient.model_copy(update={"models": chat(server)})
            events = [one async for one in astream(team, "x", context=context)]
            answer = events[-1].answer if isinstance(events[-1], RunFinished) else None
        else:
            answer = (await arun(team, "x", model=chat(server), context=patient)).answer
        assert len(server.requests) == 2
    assert answer == "fine"


def test_a_web_page_in_place_of_an_answer_says_to_check_the_base_url(patient: TeamContext) -> None:
    with OpenAIServer(lambda _: html()) as server:
        result = run(sequential(writer), "x", model=chat(server), context=patient)
    assert result.status == "failed"
    assert result.reason is not None and "Check that the base URL" in result.reason.message


def test_a_model_that_says_nothing_four_times_fails_and_was_paid_for(patient: TeamContext) -> None:
    with OpenAIServer([empty(usage=Usage(100, 5))] * 4) as server:
        result = run(sequential(writer), "x", model=chat(server), context=patient)
    assert result.status == "failed"
    assert result.reason is not None and "empty answer" in result.reason.message
    assert (result.usage.calls, result.usage.tokens.input) == (4, 400)


def test_an_answer_cut_at_the_output_limit_is_a_partial_result_and_not_a_success() -> None:
    with OpenAIServer([truncated("Once upon a")]) as server:
        result = run(sequential(writer), "x", model=chat(server))
    assert (result.status, result.answer, result["writer"].status) == ("partial", "Once upon a", "partial")
    assert result.reason is not None and result.reason.kind == "limit"


def test_a_server_that_hangs_is_left_and_asked_once_more(waits: Waits) -> None:
    context = TeamContext(executor=Executor(timeout=0.5, sleep=waits.sleep))
    with OpenAIServer([hang(), hang()]) as server:
        result = run(sequential(writer), "x", model=chat(server), context=context)
        assert len(server.requests) == 2  # one more try tells a hiccup from a dead server
        assert all(received.wait() and received.disconnected for received in server.requests)
    assert result.status == "failed"
    assert result.reason is not None and "no answer within 0.5 s" in result.reason.message


def test_a_stream_that_falls_silent_is_left_as_well(waits: Waits) -> None:
    context = TeamContext(executor=Executor(timeout=1, sleep=waits.sleep))
    with OpenAIServer([broken_stream(1, hang=True), "fine"]) as server:
        result = run(sequential(writer), "x", model=chat(server), context=context)
    assert (result.status, result.answer) == ("completed", "fine")


def test_a_deadline_ends_a_hang_with_what_came_before() -> None:
    with OpenAIServer(["a draft", hang()]) as server:
        result = run(sequential(writer, editor), "x", model=chat(server), deadline=1)
    assert (result.status, result.answer) == ("partial", "a draft")
    assert result.reason is not None and result.reason.kind == "limit" and "deadline" in result.reason.message


def test_the_client_itself_never_retries(waits: Waits) -> None:
    context = TeamContext(executor=Executor(retries=0, sleep=waits.sleep))
    with OpenAIServer([status(500)]) as server:
        result = run(sequential(writer), "x", model=chat(server, max_retries=5), context=context)
        assert len(server.requests) == 1
    assert result.status == "failed"


# ------------------------------------------------------------------------------------------------------------ tools


looked_up: list[int] = []


@tool
def lookup(order: int) -> str:
    """Look up an order."""
    looked_up.append(order)
    return f"order {order} left on Monday"


@pytest.fixture(autouse=True)
def _forget_lookups() -> None:
    looked_up.clear()


def helper(*tools: Any) -> Any:
    return agent("helper", "You help.", tools=list(tools))


def test_a_tools_result_goes_back_to_the_model_which_then_answers() -> None:
    with OpenAIServer([tool_call("lookup", {"order": 42}), "It left on Monday."]) as server:
        result = run(sequential(helper(lookup)), "Where is order 42?", model=chat(server)).raise_unless_completed()
        first, second = server.requests
    assert (result.answer, looked_up, result.usage.calls) == ("It left on Monday.", [42], 2)
    assert [one["function"]["name"] for one in first.tools] == ["lookup"]
    assert [one["role"] for one in second.messages] == ["system", "user", "assistant", "tool"]
    assert second.messages[-1]["content"] == "order 42 left on Monday"


def test_a_plain_function_is_a_tool_and_several_calls_at_once_are_all_made() -> None:
    asked: list[str] = []

    def weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return f"sun in {city}"

    both = tool_call("weather", {"city": "Rome"}) + tool_call("weather", {"city": "Oslo"})
    with OpenAIServer([both, "Sun."]) as server:
        result = run(sequential(helper(weather)), "x", model=chat(server)).raise_unless_completed()
        results = [one["content"] for one in server.requests[1].messages if one["role"] == "tool"]
    assert (result.answer, sorted(asked), results) == ("Sun.", ["Oslo", "Rome"], ["sun in Rome", "sun in Oslo"])


def test_a_tool_that_raises_fails_the_call_and_its_error_never_becomes_content(patient: TeamContext) -> None:
    @tool
    def broken(order: int) -> str:
        """Look up an order."""
        raise KeyError("no such table")

    with OpenAIServer([tool_call("broken", {"order": 1})]) as server:
        result = run(sequential(helper(broken)), "x", model=chat(server), context=patient)
        assert len(server.requests) == 1
    assert (result.status, result.answer) == ("failed", "")
    assert result.reason is not None and "no such table" in result.reason.message


@pytest.mark.parametrize("args", [{"order": "many"}, {}, '{"order": 4'])
def test_arguments_that_a_tool_does_not_take_go_back_to_the_model(args: Any) -> None:
    with OpenAIServer([tool_call("lookup", args), tool_call("lookup", {"order": 4}), "Monday."]) as server:
        result = run(sequential(helper(lookup)), "x", model=chat(server))
        assert len(server.requests) == 3
    assert (result.status, result.answer, looked_up) == ("completed", "Monday.", [4])


def test_a_tool_that_does_not_exist_is_named_to_the_model() -> None:
    with OpenAIServer([tool_call("invented", {}), "Never mind."]) as server:
        result = run(sequential(helper(lookup)), "x", model=chat(server))
        assert "lookup" in server.requests[1].messages[-1]["content"]
    assert (result.status, result.answer) == ("completed", "Never mind.")


def test_an_agent_with_tools_can_read_a_deliverable_in_full() -> None:
    script: Script = {
        "You write": [long_text("plan")],
        "You edit": ["short"],
        "You help": [tool_call("read", {"step": "writer"}), tool_call("read", {"step": "nobody"}), "done"],
    }
    with OpenAIServer(script) as server:
        run(sequential(writer, editor, helper(lookup)), "x", model=chat(server)).raise_unless_completed()
        asked = server.requests[2:]
    assert "end-plan" not in asked[0].user  # only its summary
    assert asked[1].messages[-1]["content"] == long_text("plan")
    assert "There is no deliverable 'nobody'. There are: writer, editor." in asked[2].messages[-1]["content"]


def test_a_tool_reaches_the_store_of_the_run_and_the_context() -> None:
    @tool
    def remember(fact: str, store: Annotated[BaseStore, InjectedStore()]) -> str:
        """Remember a fact."""
        store.put(("facts",), "one", {"fact": fact})
        return "kept"

    @tool
    def recall(runtime: ToolRuntime[TeamContext]) -> str:
        """Recall the fact."""
        assert runtime.store is not None
        found = runtime.store.get(("facts",), "one")
        return f"{found.value['fact'] if found else None} (budget {runtime.context.budget})"

    replies: list[Answer] = [tool_call("remember", {"fact": "tea"}), tool_call("recall", {}), "You like tea."]
    with OpenAIServer(replies) as server:
        store = InMemoryStore()
        team = sequential(helper(remember, recall))
        result = run(team, "x", model=chat(server), store=store, context=TeamContext(budget=5)).raise_unless_completed()
        assert server.requests[2].messages[-1]["content"] == "tea (budget 5.0)"
        offered = [one["function"]["parameters"]["properties"] for one in server.requests[0].tools]
    assert result.answer == "You like tea."
    assert [list(one) for one in offered] == [["fact"], []]  # what is injected is none of the model's business


def test_an_agent_with_tools_gives_a_value_in_one_more_request(fresh: str) -> None:
    team = sequential(Step(helper(lookup), returns=Invoice))
    with OpenAIServer([tool_call("lookup", {"order": 7}), "Seven.", data(INVOICE)]) as server:
        result = run(team, "x", model=chat(server, fresh)).raise_unless_completed()
        assert len(server.requests) == 3
    assert result["helper"].data == Invoice(**INVOICE)


def test_a_loop_of_tool_calls_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROUPE_MAX_REQUESTS", "3")
    with OpenAIServer(lambda _: tool_call("lookup", {"order": 1})) as server:
        result = run(sequential(helper(lookup)), "x", model=chat(server))
        assert len(server.requests) == 3
    assert result.status == "failed"
    assert result.reason is not None and result.reason.kind == "limit"
    assert "TROUPE_MAX_REQUESTS" in result.reason.message
    assert result.usage.calls == 3


def test_what_was_answered_before_a_failure_is_not_asked_again_within_the_call(patient: TeamContext) -> None:
    replies: list[Answer] = [tool_call("lookup", {"order": 42}), status(500), "It left on Monday."]
    with OpenAIServer(replies) as server:
        result = run(sequential(helper(lookup)), "x", model=chat(server), context=patient)
        assert len(server.requests) == 3
    assert (result.answer, looked_up, result.usage.calls) == ("It left on Monday.", [42], 2)


async def test_a_run_that_ended_between_two_requests_goes_on_from_the_recorded_ones(tmp_path: Path) -> None:
    team = sequential(writer, helper(lookup))
    script: Script = {
        "You write": ["a draft"],
        "You help": [tool_call("lookup", {"order": 42}), hang(), "It left on Monday."],
    }
    with OpenAIServer(script) as server, sqlite(tmp_path / "own.db") as store:
        work = asyncio.create_task(arun(team, "x", model=chat(server), thread="t", db=store))
        await asyncio.to_thread(server.wait_for_requests, 3)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        result = await aresume("t", target=team, model=chat(server), db=store)
        assert len(server.requests) == 4
        roles = [one["role"] for one in server.requests[3].messages]
        kept = await store.rows("t/1/")
    assert (result.status, result.answer, looked_up) == ("completed", "It left on Monday.", [42])
    assert roles == ["system", "user", "assistant", "tool"]
    assert result.usage.calls == 3  # each paid for once; the one that hung gave nothing
    assert [one.kind for one in kept].count("request") == 3


def test_a_tool_can_ask_a_person_and_go_on_with_the_answer() -> None:
    @tool
    def confirm(amount: int) -> str:
        """Ask whether to pay."""
        return f"a person says {interrupt(f'Pay {amount}?')}"

    team = sequential(helper(confirm))
    with OpenAIServer([tool_call("confirm", {"amount": 5}), "Paid."]) as server:
        waiting = run(team, "x", model=chat(server), thread="pay")
        assert (waiting.status, [one.question for one in waiting.waiting]) == ("waiting", ["Pay 5?"])
        result = resume("pay", "yes, do", target=team, model=chat(server))
        assert len(server.requests) == 2
        assert server.requests[1].messages[-1]["content"] == "a person says yes, do"
    assert (result.status, result.answer, result.usage.calls) == ("completed", "Paid.", 2)


def test_what_was_done_beside_the_question_is_not_done_again() -> None:
    @tool
    def confirm(amount: int) -> str:
        """Ask whether to pay."""
        return f"a person says {interrupt('Pay?')}"

    team = sequential(helper(lookup, confirm))
    both = tool_call("lookup", {"order": 42}) + tool_call("confirm", {"amount": 5})
    with OpenAIServer([both, "Paid."]) as server:
        assert run(team, "x", model=chat(server), thread="pay").status == "waiting"
        result = resume("pay", "yes, do", target=team, model=chat(server))
        results = [one["content"] for one in server.requests[1].messages if one["role"] == "tool"]
    assert (result.answer, looked_up) == ("Paid.", [42])
    assert results == ["order 42 left on Monday", "a person says yes, do"]


def test_two_questions_of_one_agent_are_answered_one_after_the_other() -> None:
    @tool
    def confirm(amount: int) -> str:
        """Ask whether to pay."""
        return f"{amount}: {interrupt(f'Pay {amount}?')}"

    team = sequential(helper(confirm))
    with OpenAIServer([tool_call("confirm", {"amount": 5}), tool_call("confirm", {"amount": 6}), "Paid."]) as server:
        first = run(team, "x", model=chat(server), thread="pay")
        second = resume("pay", "yes, one", target=team, model=chat(server))
        result = resume("pay", "yes, two", target=team, model=chat(server))
        results = [one["content"] for one in server.requests[2].messages if one["role"] == "tool"]
        assert len(server.requests) == 3
    assert [first.waiting[0].question, second.waiting[0].question] == ["Pay 5?", "Pay 6?"]
    assert (result.answer, results) == ("Paid.", ["5: yes, one", "6: yes, two"])


def test_a_tool_can_ask_a_person_in_plain_langgraph_too() -> None:
    @tool
    def confirm(amount: int) -> str:
        """Ask whether to pay."""
        return f"a person says {interrupt('Pay?')}"

    app = sequential(helper(confirm)).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    with OpenAIServer([tool_call("confirm", {"amount": 5}), "Paid."]) as server:
        context = TeamContext(models=chat(server))
        assert app.invoke({"task": "x"}, config, context=context)["__interrupt__"][0].value == "Pay?"
        assert app.invoke(Command(resume="yes"), config, context=context)["answer"] == "Paid."
        assert len(server.requests) == 2


def test_an_agent_of_langchains_own_is_a_step_and_its_requests_are_counted() -> None:
    with OpenAIServer([tool_call("lookup", {"order": 42}), "It left on Monday."]) as server:
        theirs = create_agent(chat(server), [lookup], system_prompt="You help.", name="theirs")
        result = run(sequential(theirs), "Where is order 42?", model=chat(server)).raise_unless_completed()
        assert "# Task\nWhere is order 42?" in server.requests[0].user
    assert (result.answer, looked_up, result.usage.calls) == ("It left on Monday.", [42], 2)
    assert result.usage.tokens.input > 0


def test_the_value_of_langchains_own_agent_becomes_the_steps() -> None:
    with OpenAIServer([data(INVOICE)]) as server:
        theirs = create_agent(chat(server), [], response_format=Invoice, name="theirs")
        result = run(sequential(Step(theirs, returns=Invoice)), "x", model=chat(server)).raise_unless_completed()
    assert result["theirs"].data == Invoice(**INVOICE)


def test_a_chain_is_a_step_and_its_requests_are_counted() -> None:
    with OpenAIServer([text("a poem about rain", usage=Usage(100, 10))]) as server:
        chain = ChatPromptTemplate.from_template("Write about {task}.") | chat(server) | StrOutputParser()
        result = run(sequential(Step(chain, name="poem")), "rain", model=chat(server)).raise_unless_completed()
        assert server.requests[0].user == "Write about rain."
    assert (result.answer, result.usage.calls, result.usage.tokens.input) == ("a poem about rain", 1, 100)


# ------------------------------------------------------------------------------------------- providers and settings


def named(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, variable: str = "OPENAI_BASE_URL") -> str:
    monkeypatch.setenv(variable, server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test-0000")
    return "openai:gpt-test"


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
def test_both_variables_for_the_base_url_are_honoured(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(["hello"]) as server:
        result = run(sequential(writer), "x", model=named(server, monkeypatch, variable))
        assert server.requests[0].headers["authorization"] == "Bearer sk-of-the-test-0000"
        assert server.requests[0].model == "gpt-test"
    assert (result.answer, result.simulated) == ("hello", False)


def test_the_key_is_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Any] = []
    with OpenAIServer(["hello", status(401, "Incorrect API key provided: sk-of-the-test-0000.")]) as server:
        spec = named(server, monkeypatch)
        result = run(sequential(writer, editor), "x", model=spec, db=tmp_path / "own.db", listeners=[events.append])
    assert result.status == "partial"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not [path for path in files if b"sk-of-the-test" in path.read_bytes()]
    assert "sk-of-the-test" not in repr(result) + repr(events)


def test_a_key_alone_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer([]) as server:
        named(server, monkeypatch)
        result = run(sequential(writer), "x")
        assert server.requests == []
    assert result.simulated


def test_the_environment_can_choose_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(["hello"]) as server:
        monkeypatch.setenv("TROUPE_MODEL", named(server, monkeypatch))
        assert run(sequential(writer), "x").answer == "hello"


def test_a_server_on_this_machine_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(["hello"]) as server:
        spec = named(server, monkeypatch)
        monkeypatch.delenv("OPENAI_API_KEY")
        assert run(sequential(writer), "x", model=spec).answer == "hello"


def test_a_provider_of_the_project_file_is_used_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(["hello"]) as server:
        settings = f'[providers.local]\nbase_url = "{server.base_url}"\nkey_env = "LOCAL_KEY"\n'
        (tmp_path / "troupe.toml").write_text(settings)
        monkeypatch.setenv("LOCAL_KEY", "local-secret")
        assert run(sequential(writer), "x", model="local:llama-3").answer == "hello"
        assert server.requests[0].headers["authorization"] == "Bearer local-secret"
        assert server.requests[0].model == "llama-3"


async def test_azure_is_a_provider_like_any_other(monkeypatch: pytest.MonkeyPatch, fresh: str) -> None:
    verdict = data({"passed": True, "score": 0.9})
    with OpenAIServer(["a draft", verdict, "a draft", verdict]) as server:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.base_url.removesuffix("/v1"))
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-secret")
        monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
        team = sequential(writer, gate=gate(review(by="qa-engineer")))
        result = await arun(team, "x", model=f"azure_openai:{fresh}")
        assert (result.status, result["writer"].score, result.simulated) == ("completed", 0.9, False)
        async for event in astream(team.compile(), "x", context=TeamContext(models=f"azure_openai:{fresh}")):
            assert not isinstance(event, RunFinished) or event.status == "completed"
        sent = server.requests
    assert {one.path for one in sent} == {f"/openai/deployments/{fresh}/chat/completions?api-version=2024-10-21"}
    assert all(one.headers["api-key"] == "azure-secret" for one in sent)
    assert [one.stream for one in sent] == [False, False, True, True] and all(one.wants_usage for one in sent[2:])


def test_the_timeout_of_the_settings_bounds_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROUPE_TIMEOUT", "0.2")
    monkeypatch.setenv("TROUPE_RETRIES", "0")
    with OpenAIServer([hang()]) as server:
        result = run(sequential(writer), "x", model=named(server, monkeypatch))
    assert result.reason is not None and "0.2 s; TROUPE_TIMEOUT sets this limit" in result.reason.message


def told(model: str) -> str:
    """What a user is told who runs with this model, as an error or as the run's reason."""
    try:
        result = run(sequential(writer), "x", model=model)
    except SettingsError as error:
        return str(error)
    assert result.status == "failed" and result.reason is not None
    return result.reason.message


def test_a_missing_key_is_named() -> None:
    said = told("openai:gpt-5-mini")
    assert "OPENAI_API_KEY" in said and "simulated" in said


def test_a_missing_key_of_ones_own_provider_is_named(tmp_path: Path) -> None:
    (tmp_path / "troupe.toml").write_text('[providers.far]\nbase_url = "http://127.0.0.1:9/v1"\nkey_env = "FAR_KEY"\n')
    assert "FAR_KEY" in told("far:llama-3")


def test_an_unknown_provider_is_refused_with_the_known_ones() -> None:
    said = told("opnai:gpt-5-mini")
    assert "opnai" in said and "openai" in said and "[providers.opnai]" in said


def test_a_provider_without_its_package_gives_the_line_to_install_it() -> None:
    said = told("anthropic:claude-sonnet-4-5")
    assert "pip install" in said and "langchain-anthropic" in said


@pytest.mark.parametrize("spec", ["gpt-5-mini", "openai:", ":gpt", ""])
def test_what_is_no_spec_is_refused_before_anything_runs(spec: str) -> None:
    with pytest.raises(SettingsError, match="provider:name"):
        run(sequential(writer), "x", model=spec)


def test_one_spec_serves_several_event_loops_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenAIServer(lambda received: f"answer {received.index}") as server:
        spec = named(server, monkeypatch)
        answers = [asyncio.run(arun(sequential(writer), "x", model=spec)).answer for _ in range(3)]
        answers.append(run(sequential(writer), "x", model=spec).answer)
    assert answers == [f"answer {index}" for index in range(4)]


def test_one_chat_model_serves_several_event_loops_in_turn() -> None:
    with OpenAIServer(lambda received: f"answer {received.index}") as server:
        model = chat(server)
        answers = [asyncio.run(arun(sequential(writer), "x", model=model)).answer for _ in range(3)]
        answers.append(run(sequential(writer), "x", model=model).answer)
    assert answers == [f"answer {index}" for index in range(4)]


def test_a_bare_chat_model_is_a_step_in_several_event_loops_too() -> None:
    with OpenAIServer(lambda received: f"answer {received.index}") as server:
        team = sequential(Step(chat(server), name="model"))
        context = TeamContext(models="simulated")
        answers = [asyncio.run(arun(team, "x", context=context)).answer for _ in range(2)]
        answers.append(run(team, "x", context=context).answer)
    assert answers == ["answer 0", "answer 1", "answer 2"]


def test_many_runs_at_once_share_the_connections_and_the_cap() -> None:
    context = TeamContext(executor=Executor(cap=4))
    with OpenAIServer(lambda received: received.user.split()[-1], delay=0.02) as server:
        model = chat(server)

        async def all_of_them() -> list[str]:
            runs = [
                arun(sequential(writer), f"say {n}", model=model, context=context, db=":memory:") for n in range(16)
            ]
            return [one.answer for one in await asyncio.gather(*runs)]

        assert asyncio.run(all_of_them()) == [str(n) for n in range(16)]


def test_langgraphs_own_doors_reach_the_model_sync_and_async() -> None:
    app: Team = sequential(writer).compile()
    with OpenAIServer(lambda received: f"answer {received.index}") as server:
        context = TeamContext(models=chat(server))
        assert app.invoke({"task": "x"}, context=context)["answer"] == "answer 0"
        assert asyncio.run(app.ainvoke({"task": "x"}, context=context))["answer"] == "answer 1"
        assert asyncio.run(app.ainvoke({"task": "x"}, context=context))["answer"] == "answer 2"


def test_a_verdict_is_asked_for_with_its_schema() -> None:
    script: Script = {"You judge": [passed()], "You write": ["draft"]}
    with OpenAIServer(script) as server:
        run(sequential(writer, gate=gate(review(by=critic))), "x", model=chat(server, "gpt-plain"))
        wanted = server.requests[1].response_format
    assert wanted is not None
    assert set(wanted["json_schema"]["schema"]["properties"]) == set(Verdict.model_fields)


def test_what_is_received_is_what_was_said_by_name(fresh: str) -> None:
    seen: list[Received] = []

    def answer(received: Received) -> Answer:
        seen.append(received)
        return text("fine")

    with OpenAIServer(answer) as server:
        run(sequential(agent("speaker", "Sprich über Äpfel 🍎.")), "Zähle 🍏", model=chat(server, fresh))
    assert "Sprich über Äpfel 🍎." in seen[0].system and "Zähle 🍏" in seen[0].user
