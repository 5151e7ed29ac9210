"""How any exception is read: what kind of failure it is, and whether another try may help."""

import concurrent.futures
import json
import math
import socket
from typing import Any

import httpx
import openai
import pytest
from langchain_core.exceptions import OutputParserException
from langchain_openai.chat_models import base as langchain_openai
from pydantic import BaseModel, ValidationError

from troupe.agents import errors
from troupe.agents.contracts import Tokens, Usage
from troupe.agents.errors import (
    BuildError,
    EmptyAnswer,
    InvalidOutput,
    LimitReached,
    Refused,
    SettingsError,
    TroupeError,
    UnknownName,
    Unreadable,
    describe,
    failure,
    retry_after,
)

# The client has an httpx of its own, whose classes have the same names.
REQUEST: Any = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions")


def response(status: int, code: str | None = None, **headers: str) -> Any:
    body = {"error": {"message": "it went wrong", "code": code}}
    return httpx.Response(
        status, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()}, request=REQUEST
    )


def by_status(status: int, code: str | None = None) -> openai.APIStatusError:
    """The exception that OpenAI's client makes of a status."""
    found = response(status, code)
    made = openai.OpenAI(api_key="x", base_url="http://127.0.0.1/v1")._make_status_error
    return made("it went wrong", body={"code": code}, response=found)


def by_langchain(error: openai.APIError) -> Exception:
    """What langchain-openai makes of that."""
    try:
        try:
            raise error
        except openai.BadRequestError as bad:
            langchain_openai._handle_openai_bad_request(bad)
        except openai.APIError as other:
            langchain_openai._handle_openai_api_error(other)
    except openai.APIError as wrapped:
        return wrapped
    raise AssertionError


def invalid() -> ValidationError:
    class Small(BaseModel):
        n: int

    try:
        Small.model_validate({"n": "x"})
    except ValidationError as error:
        return error
    raise AssertionError


def not_json() -> json.JSONDecodeError:
    try:
        json.loads("<html>")
    except json.JSONDecodeError as error:
        return error
    raise AssertionError


STATUSES = [
    (400, "bad_request", False),
    (401, "auth", False),
    (403, "auth", False),
    (404, "not_found", False),
    (408, "timeout", True),
    (409, "server", True),
    (413, "context_length", False),
    (422, "bad_request", False),
    (429, "rate_limit", True),
    (500, "server", True),
    (502, "server", True),
    (503, "server", True),
    (529, "server", True),
]
CODES = [
    (429, "insufficient_quota", "auth", False),
    (429, "rate_limit_exceeded", "rate_limit", True),
    (400, "context_length_exceeded", "context_length", False),
    (400, "content_filter", "content_filter", False),
    (401, "invalid_api_key", "auth", False),
    (404, "model_not_found", "not_found", False),
]


@pytest.mark.parametrize(("status", "kind", "retryable"), STATUSES)
def test_a_status_of_openais_client_is_read(status: int, kind: str, retryable: bool) -> None:
    for error in (by_status(status), by_langchain(by_status(status))):
        assert (failure(error).kind, failure(error).retryable) == (kind, retryable)


@pytest.mark.parametrize(("status", "code", "kind", "retryable"), CODES)
def test_a_code_says_more_than_its_status(status: int, code: str, kind: str, retryable: bool) -> None:
    for error in (by_status(status, code), by_langchain(by_status(status, code))):
        assert (failure(error).kind, failure(error).retryable) == (kind, retryable)


def overflow() -> Exception:
    error = by_status(400, "context_length_exceeded")
    error.message = "This model's maximum context length is 8192 tokens."
    return by_langchain(error)


TABLE: list[tuple[BaseException, str, bool]] = [
    (openai.APIConnectionError(request=REQUEST), "connection", True),
    (openai.APITimeoutError(request=REQUEST), "timeout", True),
    (by_langchain(openai.APIConnectionError(request=REQUEST)), "connection", True),
    (by_langchain(openai.APITimeoutError(request=REQUEST)), "timeout", True),
    (openai.APIError("the stream broke", REQUEST, body=None), "server", True),
    (openai.OpenAIError("Missing credentials."), "auth", False),
    (overflow(), "context_length", False),
    (openai.APIResponseValidationError(response(200), body=None), "server", True),
    (httpx.ConnectError("refused"), "connection", True),
    (httpx.ReadError("reset"), "connection", True),
    (httpx.RemoteProtocolError("peer closed"), "connection", True),
    (httpx.ConnectTimeout("slow"), "timeout", True),
    (httpx.ReadTimeout("slow"), "timeout", True),
    (httpx.PoolTimeout("busy"), "timeout", True),
    (httpx.HTTPStatusError("503", request=REQUEST, response=response(503)), "server", True),
    (httpx.HTTPStatusError("404", request=REQUEST, response=response(404)), "not_found", False),
    (ConnectionError("refused"), "connection", True),
    (ConnectionRefusedError("refused"), "connection", True),
    (ConnectionResetError("reset"), "connection", True),
    (BrokenPipeError("gone"), "connection", True),
    (socket.gaierror(-2, "Name or service not known"), "connection", True),
    (TimeoutError("slow"), "timeout", True),
    (TimeoutError("slow"), "timeout", True),
    (concurrent.futures.TimeoutError("slow"), "timeout", True),
    (not_json(), "server", True),
    (FileNotFoundError("x"), "code", False),
    (PermissionError("x"), "code", False),
    (KeyError("x"), "code", False),
    (ValueError("x"), "code", False),
    (ZeroDivisionError("x"), "code", False),
    (RecursionError("x"), "code", False),
    (MemoryError("x"), "code", False),
    (NotImplementedError("x"), "code", False),
    (invalid(), "code", False),
    (OutputParserException("x"), "code", False),
    (ImportError("no module"), "code", False),
    (SettingsError("no key"), "code", False),
    (LimitReached("no budget"), "limit", False),
    (InvalidOutput("no value"), "invalid_output", False),
    (EmptyAnswer("nothing"), "invalid_output", True),
    (Refused("no"), "content_filter", False),
    (Unreadable("a page"), "server", True),
]


@pytest.mark.parametrize(("error", "kind", "retryable"), TABLE, ids=[type(error).__name__ for error, _, _ in TABLE])
def test_an_exception_is_read_as_its_kind(error: BaseException, kind: str, retryable: bool) -> None:
    found = failure(error)
    assert (found.kind, found.retryable) == (kind, retryable)
    assert found.cause


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (by_status(401), "Check the key"),
        (by_status(404), "Check the model's name and the base URL"),
        (ConnectionError("x"), "Check that the server runs"),
        (by_status(400, "context_length_exceeded"), "TROUPE_BRIEF_TOKENS"),
        (by_status(429), "Wait"),
    ],
)
def test_a_failure_says_what_to_do(error: Exception, advice: str) -> None:
    assert advice in failure(error).cause


def test_a_failure_carries_what_was_used_and_tried() -> None:
    used, more = Usage(tokens=Tokens(input=5), calls=1), Usage(tokens=Tokens(input=7), calls=1)
    found = failure(InvalidOutput("no", more), used, 3)
    assert (found.usage.tokens.input, found.usage.calls, found.attempts) == (12, 2, 3)


def test_a_description_is_one_bounded_line_without_secrets() -> None:
    said = describe(ValueError("key sk-abcdefgh12345678\nwas\x00 refused\n" + "x" * 10_000))
    assert said.startswith("ValueError: key [redacted] was\ufffd refused xxx")
    assert len(said) < 700 and "\n" not in said
    assert describe(KeyError()) == "KeyError"


def test_an_exception_that_cannot_even_say_what_it_is_does_not_raise_another() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert failure(Mute()).kind == "code"
    assert "Mute" in failure(Mute()).cause


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after_ms": "250", "retry_after": "9"}, 0.25),
        ({"retry_after": "-3"}, 0.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": ""}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({}, None),
    ],
)
def test_the_seconds_that_a_server_asks_for_are_read(headers: dict[str, str], seconds: float | None) -> None:
    error = openai.RateLimitError("slow down", response=response(429, **headers), body=None)
    assert retry_after(error) == seconds


def test_a_date_to_wait_for_is_read_as_seconds() -> None:
    past = openai.RateLimitError("x", response=response(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), body=None)
    assert retry_after(past) == 0.0
    future = openai.RateLimitError("x", response=response(429, retry_after="Wed, 21 Oct 2999 07:28:00 GMT"), body=None)
    assert (seconds := retry_after(future)) is not None and seconds > 1e6 and math.isfinite(seconds)


def test_an_error_without_a_response_asks_for_nothing() -> None:
    assert retry_after(ValueError("x")) is None
    assert retry_after(openai.APIConnectionError(request=REQUEST)) is None


def test_every_error_is_in_the_tree_and_in_the_drawing_of_it() -> None:
    ours = [one for one in vars(errors).values() if isinstance(one, type) and one.__module__ == errors.__name__]
    assert all(issubclass(one, TroupeError) for one in ours)
    drawn = errors.__doc__ or ""
    assert [one.__name__ for one in ours if one.__name__ not in drawn and one is not EmptyAnswer] == []


def test_mistakes_in_what_one_gives_are_value_errors_too() -> None:
    for kind in (BuildError, UnknownName, SettingsError, errors.InputError):
        assert issubclass(kind, ValueError)


@pytest.mark.parametrize(
    ("name", "choices", "expected"),
    [
        ("codr", ["coder", "tester"], "Unknown role 'codr'. Did you mean 'coder'? There are: coder, tester."),
        ("xyz", ["coder"], "Unknown role 'xyz'. There are: coder."),
        (5, [], "Unknown role '5'."),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name: Any, choices: list[str], expected: str) -> None:
    assert str(UnknownName("role", name, choices)) == expected
