"""The server against the client it is made for: whatever passes here, Troupe's OpenAI path really meets."""

import asyncio
import http.client
import itertools
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from langchain_core.exceptions import ModelConnectionError, ModelError, ModelTimeoutError
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langchain_openai.chat_models.base import OpenAIRefusalError
from pydantic import BaseModel, SecretStr, ValidationError

from .openai_server import (
    Billing,
    OpenAIServer,
    Received,
    Reply,
    Script,
    Usage,
    broken_stream,
    chatty,
    data,
    dropped,
    empty,
    hang,
    html,
    main,
    refusal,
    slow,
    status,
    text,
    tool_call,
    truncated,
)

SHORT = 0.2  # seconds a client waits for a server that never answers
ROOT = Path(__file__).parents[2]


class Verdict(BaseModel):
    """The reviewer's judgement."""

    passed: bool
    feedback: str = ""


class Lookup(BaseModel):
    """Look up an order."""

    order: int


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment would take loopback requests away."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def client(server: OpenAIServer | str, timeout: float | None = None) -> ChatOpenAI:
    base_url = server if isinstance(server, str) else server.base_url
    return ChatOpenAI(model="gpt-test", base_url=base_url, api_key=SecretStr("test"), max_retries=0, timeout=timeout)


def post(server: OpenAIServer, path: str, body: Any) -> tuple[int, Any]:
    """A request as no OpenAI client would send it."""
    with closing(http.client.HTTPConnection(urlsplit(server.base_url).netloc)) as connection:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        return response.status, json.load(response)


def streamed(model: ChatOpenAI, **options: Any) -> AIMessageChunk:
    """All chunks of a stream, added up."""
    chunks = [chunk for chunk in model.stream("go on", **options) if isinstance(chunk, AIMessageChunk)]
    return sum(chunks[1:], chunks[0])


def hear(model: ChatOpenAI, heard: list[Any]) -> None:
    """Keeps what a stream says even when it ends in an error."""
    for chunk in model.stream("x"):
        heard.append(chunk.content)


# ------------------------------------------------------------------------------------------------------ what came in


def test_a_request_is_kept_as_it_was_sent() -> None:
    with OpenAIServer(["hello"]) as server:
        answer = client(server).invoke(
            [SystemMessage("Be brief."), HumanMessage("one"), AIMessage("1"), ("user", "two")]
        )
        received = server.requests[0]
    assert answer.content == "hello"
    assert (received.index, received.path, received.model, received.stream) == (
        0,
        "/v1/chat/completions",
        "gpt-test",
        False,
    )
    assert (received.system, received.user, len(received.messages)) == ("Be brief.", "two", 4)
    assert received.headers["authorization"] == "Bearer test"
    assert (received.tools, received.response_format, received.status) == ([], None, 200)


def test_system_text_may_be_called_developer_and_text_may_come_in_parts() -> None:
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "b"},
    ]
    messages = [{"role": "developer", "content": "Rules."}, {"role": "user", "content": parts}]
    received = Received(0, "", {}, {"messages": messages})
    assert (received.system, received.user) == ("Rules.", "ab")


def test_a_finished_request_says_so_and_what_it_cost() -> None:
    with OpenAIServer(["four letters"]) as server:
        client(server).invoke("12345678")
        received = server.requests[0]
        assert received.wait()
    assert (received.finished, received.disconnected) == (True, False)
    assert received.usage is not None
    assert (received.usage["prompt_tokens"], received.usage["completion_tokens"]) == (2, 3)


def test_the_models_are_listed_and_asking_for_them_is_no_call() -> None:
    with OpenAIServer(models=["large", "small"]) as server:
        listed = openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0).models.list()
        assert [model.id for model in listed] == ["large", "small"]
        assert (server.requests, server.probes) == ([], ["/v1/models"])


# -------------------------------------------------------------------------------------------------- which reply when


def test_a_list_is_used_up_in_order_of_arrival() -> None:
    with OpenAIServer(["one", text("two")]) as server:
        model = client(server)
        assert [model.invoke("x").content for _ in range(2)] == ["one", "two"]


def test_many_at_once_each_get_their_own_reply() -> None:
    with OpenAIServer(map(str, range(64))) as server, ThreadPoolExecutor(64) as pool:
        model = client(server)
        answers = pool.map(lambda _: model.invoke("x").content, range(64))
        assert sorted(map(str, answers)) == sorted(map(str, range(64)))
        assert [received.index for received in server.requests] == list(range(64))


def test_a_mapping_chooses_by_what_the_system_or_the_user_says() -> None:
    script: Script = {"reviewer": ["fine"], "order": itertools.repeat("here it is"), "*": ["who knows"]}
    with OpenAIServer(script) as server:
        model = client(server)
        assert model.invoke([SystemMessage("You are a reviewer."), HumanMessage("the draft")]).content == "fine"
        assert [model.invoke("my order?").content for _ in range(3)] == ["here it is"] * 3
        assert model.invoke("2 * 3?").content == "who knows"


def test_the_latest_user_text_decides_before_older_ones() -> None:
    with OpenAIServer({"first": ["1"], "second": ["2"]}) as server:
        model = client(server)
        assert model.invoke([HumanMessage("first")]).content == "1"
        assert model.invoke([HumanMessage("first"), AIMessage("1"), HumanMessage("second")]).content == "2"


def test_a_repair_is_matched_by_the_turn_it_repairs() -> None:
    with OpenAIServer({"weigh the draft": ["badly", "well"]}) as server:
        model = client(server)
        asked = HumanMessage("weigh the draft")
        assert model.invoke([asked]).content == "badly"
        assert model.invoke([asked, AIMessage("badly"), HumanMessage("That was no JSON.")]).content == "well"


def test_a_function_sees_the_request() -> None:
    with OpenAIServer(lambda received: f"{received.index}: {received.user.upper()}") as server:
        model = client(server)
        assert [model.invoke(word).content for word in ("a", "b")] == ["0: A", "1: B"]


def test_a_lone_string_or_reply_is_a_script_of_one() -> None:
    with OpenAIServer("hello") as one, OpenAIServer({"hi": empty()}) as other:
        assert client(one).invoke("hi").content == "hello"
        assert client(other).invoke("hi").content == ""


@pytest.mark.parametrize("script", [[], {"other": ["x"]}, {"*": []}, lambda received: received.body["missing"]])
def test_a_request_beyond_the_script_is_a_500_that_names_it(script: Script) -> None:
    with OpenAIServer(script) as server:
        with pytest.raises(openai.InternalServerError, match=r"Request 0 .* user 'an odd question'"):
            client(server).invoke("an odd question")
        assert len(server.unscripted) == 1
        assert "an odd question" in server.unscripted[0]


def test_a_mistake_in_a_script_function_reaches_the_test() -> None:
    def mistaken(received: Received) -> Reply:
        raise ZeroDivisionError("in the script")

    with OpenAIServer(mistaken) as server:
        with pytest.raises(openai.InternalServerError, match="in the script"):
            client(server).invoke("x")
        assert "ZeroDivisionError" in server.unscripted[0]


# ----------------------------------------------------------------------------------------------------- text and usage


def test_a_stream_comes_word_by_word_and_ends_with_the_usage_that_was_asked_for() -> None:
    with OpenAIServer(["one two  three\n"]) as server:
        chunks = list(client(server).stream("12345678", stream_usage=True))
        assert [chunk.content for chunk in chunks if chunk.content] == ["one ", "two  ", "three\n"]
        whole = sum(chunks[1:], chunks[0])
        assert isinstance(whole, AIMessageChunk)
        assert whole.usage_metadata is not None
        assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) == (2, 3)
        assert whole.response_metadata["finish_reason"] == "stop"
        assert (server.requests[0].stream, server.requests[0].wants_usage) == (True, True)


def test_a_stream_without_stream_usage_costs_as_much_but_does_not_say_so() -> None:
    with OpenAIServer(["one two three"]) as server:
        assert streamed(client(server)).usage_metadata is None
        assert server.requests[0].wait()
        assert server.requests[0].usage is not None


async def _stream(model: ChatOpenAI) -> list[Any]:
    return [chunk.content async for chunk in model.astream("x") if chunk.content]


def test_the_asynchronous_client_is_served_alike() -> None:
    async def both(model: ChatOpenAI) -> tuple[Any, list[Any]]:
        return (await model.ainvoke("x")).content, await _stream(model)

    with OpenAIServer(["one two", "one two"]) as server:
        assert asyncio.run(both(client(server))) == ("one two", ["one ", "two"])


@pytest.mark.parametrize(
    ("usage", "expected"),
    [("counted", (1, 1)), (Usage(1000, 20, cached_tokens=800, reasoning_tokens=7), (1000, 20)), (None, None)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_usage_can_be_given_or_left_out(usage: Billing, expected: tuple[int, int] | None, stream: bool) -> None:
    with OpenAIServer([text("x", usage=usage)]) as server:
        model = client(server)
        answer = streamed(model, stream_usage=True) if stream else model.invoke("x")
    told = answer.usage_metadata
    assert (told and (told["input_tokens"], told["output_tokens"])) == expected
    if told and isinstance(usage, Usage):
        assert told["input_token_details"].get("cache_read") == 800
        assert told["output_token_details"].get("reasoning") == 7


def test_an_empty_message_is_a_message() -> None:
    with OpenAIServer([empty(), empty()]) as server:
        model = client(server)
        assert model.invoke("x").content == ""
        assert streamed(model).content == ""


# ---------------------------------------------------------------------------------------------- tools and structure


@pytest.mark.parametrize("stream", [False, True])
def test_several_tool_calls_and_a_word_make_one_message(stream: bool) -> None:
    reply = text("I look.") + tool_call("Lookup", {"order": 42}) + tool_call("Lookup", {"order": 7}, id="mine")
    with OpenAIServer([reply]) as server:
        model = client(server)
        answer = streamed(model) if stream else model.invoke("x")
    assert answer.content == "I look."
    assert [(call["args"]["order"], call["id"]) for call in answer.tool_calls] == [(42, "call_0_0"), (7, "mine")]
    assert answer.response_metadata["finish_reason"] == "tool_calls"


def test_a_tool_loop_goes_round() -> None:
    with OpenAIServer([tool_call("Lookup", {"order": 42}), "It is on its way."]) as server:
        model = client(server).bind_tools([Lookup])
        asked = HumanMessage("Where is order 42?")
        called = model.invoke([asked])
        result = ToolMessage("shipped", tool_call_id=called.tool_calls[0]["id"])
        assert model.invoke([asked, called, result]).content == "It is on its way."
        assert [message["role"] for message in server.requests[1].messages] == ["user", "assistant", "tool"]
        assert server.requests[1].tools[0]["function"]["name"] == "Lookup"


def test_arguments_can_be_broken() -> None:
    with OpenAIServer([tool_call("Lookup", '{"order": 4')]) as server:
        answer = client(server).bind_tools([Lookup]).invoke("x")
    assert isinstance(answer, AIMessage)
    assert (answer.tool_calls, answer.invalid_tool_calls[0]["args"]) == ([], '{"order": 4')


# The client serialises its own parsed value with a schema that does not expect one.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("value", [{"passed": True, "feedback": "good"}, Verdict(passed=True, feedback="good")])
def test_data_takes_the_form_that_the_request_asks_for(method: Any, value: Any) -> None:
    with OpenAIServer([data(value), data(value)]) as server:
        model = client(server).with_structured_output(Verdict, method=method)
        assert model.invoke("x") == Verdict(passed=True, feedback="good")
        assert list(model.stream("x"))[-1] == Verdict(passed=True, feedback="good")


def test_data_is_plain_json_for_a_request_without_a_form() -> None:
    with OpenAIServer([data([1, 2])]) as server:
        assert client(server).invoke("x").content == "[1, 2]"


@pytest.mark.parametrize("choice", ["any", None])
def test_data_goes_to_the_tool_whose_parameters_it_fits(choice: str | None) -> None:
    with OpenAIServer([data({"passed": False})]) as server:
        answer = client(server).bind_tools([Lookup, Verdict], tool_choice=choice).invoke("x")
    assert [call["name"] for call in answer.tool_calls] == ["Verdict"]


def test_data_that_fits_no_tool_is_content_unless_a_tool_is_forced() -> None:
    with OpenAIServer([data({"odd": 1}), data({"odd": 1})]) as server:
        model = client(server)
        assert model.bind_tools([Lookup]).invoke("x").content == '{"odd": 1}'
        assert model.bind_tools([Lookup], tool_choice="Lookup").invoke("x").tool_calls[0]["args"] == {"odd": 1}


def test_a_chatty_model_hides_its_json_in_prose() -> None:
    with OpenAIServer([chatty({"passed": True, "feedback": "{}"})] * 3) as server:
        model = client(server)
        content = model.invoke("x").content
        assert isinstance(content, str)
        assert '```json\n{\n  "passed": true,\n  "feedback": "{}",\n}\n```' in content
        with pytest.raises(ValidationError, match="Invalid JSON"):
            model.with_structured_output(Verdict).invoke("x")
        assert model.with_structured_output(Verdict, method="function_calling").invoke("x") is None


def test_truncated_json_ends_at_the_limit_in_every_form() -> None:
    with OpenAIServer([truncated()] * 3) as server:
        model = client(server)
        assert model.invoke("x").response_metadata["finish_reason"] == "length"
        with pytest.raises(openai.LengthFinishReasonError):
            model.with_structured_output(Verdict).invoke("x")
        answer = model.bind_tools([Verdict], tool_choice="Verdict").invoke("x")
        assert isinstance(answer, AIMessage)
        assert (answer.tool_calls, len(answer.invalid_tool_calls)) == ([], 1)


def test_a_refusal_comes_in_its_own_field() -> None:
    with OpenAIServer([refusal("I will not.")] * 3) as server:
        model = client(server)
        assert model.invoke("x").additional_kwargs["refusal"] == "I will not."
        assert streamed(model).content == ""
        with pytest.raises(OpenAIRefusalError, match="I will not"):
            model.with_structured_output(Verdict).invoke("x")


def test_a_server_can_refuse_the_parameter_response_format() -> None:
    with OpenAIServer([data({"passed": True})], response_format=False) as server:
        model = client(server)
        with (
            pytest.warns(UserWarning, match="does not support OpenAI's structured output"),
            pytest.raises(openai.BadRequestError) as raised,
        ):
            model.with_structured_output(Verdict).invoke("x")
        assert raised.value.param == "response_format"
        # The refusal used up no reply, and the next rung of the ladder holds.
        assert model.with_structured_output(Verdict, method="function_calling").invoke("x") == Verdict(passed=True)
        assert [received.status for received in server.requests] == [400, 200]


def test_a_server_can_refuse_tools() -> None:
    with OpenAIServer([data({"passed": True})], tools=False) as server:
        model = client(server)
        with pytest.raises(openai.BadRequestError) as raised:
            model.with_structured_output(Verdict, method="function_calling").invoke("x")
        assert (raised.value.param, raised.value.code) == ("tools", "unsupported_parameter")
        assert model.with_structured_output(Verdict).invoke("x") == Verdict(passed=True)


# ------------------------------------------------------------------------------------------------------------ trouble


@pytest.mark.parametrize(
    ("reply", "error", "code", "retryable"),
    [
        (status(400), openai.BadRequestError, None, False),
        (status(400, code="context_length_exceeded"), openai.BadRequestError, "context_length_exceeded", False),
        (status(401), openai.AuthenticationError, "invalid_api_key", False),
        (status(403), openai.PermissionDeniedError, None, False),
        (status(404), openai.NotFoundError, "model_not_found", False),
        (status(429), openai.RateLimitError, "rate_limit_exceeded", True),
        (status(429, code="insufficient_quota"), openai.RateLimitError, "insufficient_quota", True),
        (status(500), openai.InternalServerError, None, True),
        (status(503), openai.InternalServerError, None, True),
        (html(status=502), openai.InternalServerError, None, True),
    ],
    ids=lambda value: str(getattr(value, "code", None) or getattr(value, "status", "")),
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_status_is_the_error_that_openai_would_send(
    reply: Reply, error: type[openai.APIStatusError], code: str | None, retryable: bool, stream: bool
) -> None:
    with OpenAIServer([reply]) as server:
        model = client(server)
        with pytest.raises(error) as raised:
            streamed(model) if stream else model.invoke("x")
        assert raised.value.code == code
        assert raised.value.request_id == "req_0"
        assert isinstance(raised.value, ModelError)
        assert raised.value.is_retryable is retryable
        assert server.unscripted == []


def test_an_unknown_model_is_named() -> None:
    with OpenAIServer([status(404)]) as server, pytest.raises(openai.NotFoundError, match="`gpt-test` does not exist"):
        client(server).invoke("x")


def test_retry_after_is_visible_on_the_exception() -> None:
    with OpenAIServer([status(429, "slow down", retry_after=1.5), "fine"]) as server:
        model = client(server)
        with pytest.raises(openai.RateLimitError, match="slow down") as raised:
            model.invoke("x")
        assert raised.value.response.headers["retry-after"] == "1.5"
        assert model.invoke("x").content == "fine"


def test_a_page_with_status_200_is_no_completion() -> None:
    with OpenAIServer([html("<html>Sign in</html>")] * 2) as server:
        model = client(server)
        with pytest.raises(ValueError, match="<html>Sign in</html>"):
            model.invoke("x")
        with pytest.raises(ValueError, match="No generation chunks"):
            streamed(model)


def test_a_broken_stream_gives_its_first_words_and_then_an_error() -> None:
    heard: list[Any] = []
    with OpenAIServer([broken_stream(2, "one two three")]) as server:
        with pytest.raises(ModelConnectionError):
            hear(client(server), heard)
        assert server.requests[0].wait()
        assert server.requests[0].finished
        assert server.requests[0].usage is not None
    assert "".join(heard) == "one two "


@pytest.mark.parametrize("reply", [broken_stream(2), dropped()])
def test_a_plain_reply_can_break_too(reply: Reply) -> None:
    with OpenAIServer([reply]) as server, pytest.raises(ModelConnectionError):
        client(server).invoke("x")


@pytest.mark.parametrize("reply", [hang(), slow("too late", 3600), broken_stream(1, hang=True)])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_loses_patience_is_seen_to_leave(reply: Reply, stream: bool) -> None:
    with OpenAIServer([reply]) as server:
        model = client(server, timeout=SHORT)
        with pytest.raises(ModelTimeoutError):
            streamed(model) if stream else model.invoke("x")
        received = server.requests[0]
        assert received.wait()
        assert (received.finished, received.disconnected) == (False, True)


def test_a_cancelled_call_is_seen_to_leave() -> None:
    async def cancelled(server: OpenAIServer) -> None:
        call = asyncio.create_task(client(server).ainvoke("x"))
        await asyncio.to_thread(server.wait_for_requests, 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    with OpenAIServer([hang()]) as server:
        asyncio.run(cancelled(server))
        assert server.requests[0].wait()
        assert server.requests[0].disconnected


def test_nobody_waits_for_a_slow_reply_once_the_server_is_released() -> None:
    with OpenAIServer(lambda received: slow(received.user, 3600)) as server, ThreadPoolExecutor(8) as pool:
        model = client(server)
        answers = [pool.submit(model.invoke, str(number)) for number in range(8)]
        server.wait_for_requests(8)
        assert not any(answer.done() for answer in answers)
        server.release()
        assert [answer.result(10).content for answer in answers] == [str(number) for number in range(8)]
        assert model.invoke("and after").content == "and after"


def test_a_slow_reply_comes_when_its_time_is_over() -> None:
    with OpenAIServer([slow("at last", 0.01)]) as server:
        assert client(server).invoke("x").content == "at last"


def test_a_hanging_call_never_gets_an_answer() -> None:
    with OpenAIServer([hang()]) as server, ThreadPoolExecutor(1) as pool:
        call = pool.submit(client(server).invoke, "x")
        server.wait_for_requests(1)
        server.release()
        with pytest.raises(ModelConnectionError):
            call.result(10)


def test_requests_that_do_not_come_are_told() -> None:
    with OpenAIServer() as server, pytest.raises(TimeoutError, match="0 of 1"):
        server.wait_for_requests(1, timeout=0)


# ---------------------------------------------------------------------------------------------------- over the wire


def test_connections_stay_alive() -> None:
    body = json.dumps({"model": "gpt-test", "messages": [{"role": "user", "content": "x"}], "stream": True})
    with OpenAIServer(["one", status(429), "three"]) as server:
        connection = http.client.HTTPConnection(urlsplit(server.base_url).netloc)
        connection.connect()
        ours = connection.sock.getsockname()
        for expected in ("one", "rate_limit_exceeded", "three"):
            connection.request("POST", "/v1/chat/completions", body)
            assert expected in connection.getresponse().read().decode()
            assert connection.sock.getsockname() == ours
        connection.close()


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/chat/completions", {}, (400, "messages")),
        ("/v1/chat/completions", "no object", (400, "messages")),
        ("/v1/responses", {"input": "x"}, (404, "/v1/responses")),
    ],
)
def test_what_is_no_chat_completion_is_refused(path: str, body: Any, expected: tuple[int, str]) -> None:
    with OpenAIServer(["x"]) as server:
        code, answer = post(server, path, body)
        assert code == expected[0]
        assert expected[1] in answer["error"]["message"]
        assert client(server).invoke("x").content == "x"
        assert len(server.unscripted) == (code == 404)


def test_a_closed_server_refuses_connections_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with OpenAIServer(["x", hang()]) as server, ThreadPoolExecutor(1) as pool:
        model = client(server)
        model.invoke("x")
        call = pool.submit(model.invoke, "x")
        server.wait_for_requests(2)
        server.close()
        with pytest.raises(ModelConnectionError):
            call.result(10)
        with pytest.raises(ModelConnectionError):
            model.invoke("x")
    assert not [thread for thread in set(threading.enumerate()) - before if "process_request" in thread.name]


def test_a_server_can_come_back_on_the_same_port() -> None:
    with OpenAIServer(["first"]) as server:
        model = client(server)
        assert model.invoke("x").content == "first"
    with OpenAIServer(["second"], port=int(urlsplit(server.base_url).port or 0)):
        assert model.invoke("x").content == "second"


# ----------------------------------------------------------------------------------------------------- as a process

Starter = Callable[..., tuple[str, Path]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts stand-alone servers, and at the end sees them stop in good order."""
    running: list[subprocess.Popen[str]] = []

    def started(script: Any, *options: str) -> tuple[str, Path]:
        (tmp_path / "script.json").write_text(json.dumps(script))
        log = tmp_path / "log.jsonl"
        files = ["--script", str(tmp_path / "script.json"), "--log", str(log)]
        command = [sys.executable, "-m", "tests.support.openai_server", *files, *options]
        running.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        assert running[-1].stdout is not None
        return json.loads(running[-1].stdout.readline())["base_url"], log

    yield started
    for process in running:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0


def lines(log: Path, event: str) -> Sequence[dict[str, Any]]:
    return [line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == event]


def test_the_process_follows_its_script_and_repeats_the_last_reply(start: Starter) -> None:
    script = {"judge": [{"data": {"passed": True}}], "*": ["hi", {"tool": ["Lookup", {"order": 1}]}, {"status": 500}]}
    base_url, log = start(script)
    model = client(base_url)
    assert model.invoke("x").content == "hi"
    assert model.invoke("x").tool_calls[0]["args"] == {"order": 1}
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            model.invoke("x")
        assert model.with_structured_output(Verdict).invoke("judge") == Verdict(passed=True)
    received = lines(log, "received")
    assert [line["user"] for line in received] == ["x", "x", "x", "judge", "x", "judge"]
    assert received[0]["digest"] == received[1]["digest"] != received[3]["digest"]


def test_the_log_has_a_call_before_it_is_answered(start: Starter) -> None:
    base_url, log = start({"*": ["late"]}, "--delay", "3600")
    with pytest.raises(ModelTimeoutError):
        client(base_url, timeout=SHORT).invoke("paid for")
    assert [line["user"] for line in lines(log, "received")] == ["paid for"]


def test_the_log_says_how_a_call_ended(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"event": "kept"}\n')
    with OpenAIServer(["fine", hang()], log=log) as server:
        client(server).invoke("x")
        with pytest.raises(ModelTimeoutError):
            client(server, timeout=SHORT).invoke("x")
    ends = lines(log, "answered")
    assert [(line["index"], line["status"], line["disconnected"]) for line in ends] == [
        (0, 200, False),
        (1, None, True),
    ]
    assert ends[0]["usage"]["total_tokens"] == 2
    assert len(lines(log, "kept")) == 1


def test_an_unknown_entry_of_a_script_lists_the_known_ones(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('{"*": ["fine", {"txet": "x"}]}')
    with pytest.raises(ValueError, match=r"'txet'.*\"status\""):
        main(["--script", str(script), "--log", str(tmp_path / "log.jsonl")])
