"""Credentials are nowhere to be found afterwards: not in files, logs, output, errors or reprs."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.support.command import Shell
from tests.support.openai_server import OpenAIServer, Reply, status, text, tool_call
from troupe import InputError, TeamContext, agent, checkpoints, run, scripted, sequential
from troupe.agents.text import is_credential, redact

KEY, AWS = "sk-canary-0123456789abcdef", "AKIACANARY0123456789"
JWT = "eyJhbGciOiJDQU5BUlkifQ.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"
SECRETS = {"key": KEY, "aws": AWS, "jwt": JWT}


class Ours(TeamContext):
    """A context with a credential of the caller's own."""

    tenant_token: str = ""
    note: str = ""


def leaks(folder: Path, *texts: object) -> list[str]:
    """Where a canary was found: in which file, or in which of the texts."""
    found = []
    for name, secret in SECRETS.items():
        found += [f"{name} in {path.name}" for path in folder.rglob("*") if path.is_file() and secret in _text(path)]
        found += [f"{name} in text {at}: {one!s:.300}" for at, one in enumerate(texts) if secret in str(one)]
    return found


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def chat(server: OpenAIServer) -> ChatOpenAI:
    return ChatOpenAI(
        model="gpt-4o-mini",
        base_url=server.base_url,
        api_key=KEY,  # type: ignore[arg-type]
        default_headers={"x-api-key": AWS, "Authorization": f"Bearer {JWT}"},
    )


class With(Reply):
    """A reply whose headers hold canaries."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply

    def answer(self, exchange: Any) -> None:
        exchange.json(500, {"error": {"message": f"upstream said {KEY} {AWS} {JWT}"}}, {"x-debug": f"{KEY} {JWT}"})


FAILURES = [
    status(500, f"Internal: Authorization: Bearer {JWT}, key {KEY}, {AWS}"),
    status(401, f"Incorrect API key provided: {KEY}."),
    status(400, f'{{"api_key": "{KEY}"}} https://user:{KEY}@host/'),
    replace(status(429, "slow down"), headers=(("Retry-After", "0"), ("x-canary", KEY))),
    With(None),
]


@pytest.mark.parametrize("failure", FAILURES, ids=range(len(FAILURES)))
def test_no_credential_of_a_model_or_of_an_error_is_kept_or_said(
    failure: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, logger="troupe")
    told: list[Any] = []
    db = tmp_path / "runs.db"
    with OpenAIServer([failure] * 4 + [text("done")] * 9) as server:
        context = Ours(models=chat(server), tenant_token=KEY, note=f"uses {JWT}")
        team = sequential(agent("draft", "Write."), agent("check", "Check."))
        result = run(team, "x", context=context, db=db, cache=True, listeners=[told.append])
        assert server.requests[0].headers["authorization"] == f"Bearer {JWT}", "it was really used"
    shown = capfd.readouterr()
    said = [record.getMessage() for record in caplog.records if record.name.startswith("troupe")]
    texts = (result, result.to_json(), told, repr(context), str(context), shown.out, shown.err, said)
    assert leaks(tmp_path, *texts) == []


def test_nor_is_one_that_a_tool_s_error_quotes(tmp_path: Path) -> None:
    @tool
    def look() -> str:
        """Look."""
        raise PermissionError(f"AWS_SECRET_ACCESS_KEY={KEY} and {AWS} and {JWT} were refused")

    told: list[Any] = []
    with OpenAIServer([tool_call("look", {})] * 9) as server:
        clerk = agent("clerk", "Look.", tools=[look])
        result = run(clerk, "x", model=chat(server), db=tmp_path / "runs.db", listeners=[told.append])
    assert result.status == "failed" and "PermissionError" in str(result.reason)
    assert leaks(tmp_path, result, told) == []


def test_nor_is_one_of_the_environment(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    with OpenAIServer([status(401, f"bad key {KEY}"), *[text("done")] * 9]) as server:
        env = {"OPENAI_API_KEY": KEY, "AWS_ACCESS_KEY_ID": AWS, "OPENAI_BASE_URL": server.base_url}
        options = ("--model", "openai:gpt-4o-mini", "--thread", "t", "--cache")
        done = [shell("run", "sequential", "x", *options, **env)]
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        done += [shell(*one, **env) for one in (["runs", "t"], ["runs", "t", "--json"], ["doctor"], ["runs"])]
    assert leaks(tmp_path, *(f"{one.out}{one.err}" for one in done)) == []


def test_what_an_agent_writes_is_kept_and_is_taken_out_of_what_is_shown_besides(tmp_path: Path) -> None:
    (tmp_path / "teams.py").write_text(
        "from troupe import agent, gate, sequential\n"
        f"def judge(work): return {'key ' + KEY!r} if 'x' else ''\n"
        "team = sequential(agent('draft', 'Write.'), gate=gate(judge, rework=0, then='fail'))\n"
    )
    shell = Shell(tmp_path)
    done = shell("run", "teams.py:team", f"use {KEY}", "--thread", "t")
    looked = [shell("runs"), shell("runs", "t"), shell("show", "t", "draft"), shell("show", "t", "draft", "--json")]
    (tmp_path / "teams.py").unlink()
    assert KEY not in done.err
    assert [one.out for one in looked if KEY in f"{one.out}{one.err}"] == []


# --- where LangGraph would store them ---------------------------------------------------------------------------------

GIVEN = [
    {"configurable": {"openai_api_key": "anything"}},
    {"configurable": {"OPENAI-API-KEY": "anything"}},
    {"configurable": {"password": "x"}},
    {"configurable": {"user": KEY}},
    {"configurable": {"access_token": "x"}},
    {"metadata": {"authorization": "x"}},
    {"metadata": {"who": f"Bearer {JWT}"}},
]


@pytest.mark.parametrize("config", GIVEN, ids=[str(one) for one in GIVEN])
async def test_a_credential_in_the_config_is_refused_before_it_is_stored(config: Any, tmp_path: Path) -> None:
    with checkpoints.sqlite(tmp_path / "runs.db") as saver:
        team = sequential(agent("draft", "Write.")).compile(checkpointer=saver)
        context = TeamContext(models=scripted(["one"]))
        given: Any = {**config, "configurable": {"thread_id": "t", **config.get("configurable", {})}}
        for attempt in (
            lambda: team.invoke({"task": "x"}, given, context=context),
            lambda: list(team.stream({"task": "x"}, given, context=context)),
        ):
            with pytest.raises(InputError, match=r"credential.*TeamContext"):
                attempt()
        with pytest.raises(InputError, match="credential"):
            await team.ainvoke({"task": "x"}, given, context=context)
        bound = team.with_config(given)
        with pytest.raises(InputError, match="credential"):
            bound.invoke({"task": "x"}, context=context)
    assert leaks(tmp_path) == []


@pytest.mark.parametrize(
    "inside", [{"max_tokens": 5}, {"user_id": "ada"}, {"tokens": 3}, {"keyboard": "qwerty"}, {"__secret": "x"}]
)
def test_what_is_none_is_left_alone(inside: Any) -> None:
    team = sequential(agent("draft", "Write.")).compile()
    done = team.invoke({"task": "x"}, {"configurable": inside}, context=TeamContext(models=scripted(["one"])))
    assert done["status"] == "completed"


# --- taking them out --------------------------------------------------------------------------------------------------

WRITTEN = [
    KEY,
    AWS,
    JWT,
    "ASIACANARY0123456789",
    f"OPENAI_API_KEY={KEY[3:]}",
    f"'x-api-key': '{KEY[3:]}'",
    f"x-api-key: {KEY[3:]}",
    f'{{"client_secret": "{KEY[3:]}"}}',
    f"('authorization', '{KEY[3:]}')",
    f"Authorization: Bearer {KEY[3:]}",
    "Authorization: Basic Y2FuYXJ5OmNhbmFyeQ==",
    f"postgresql://canary:{KEY[3:]}@host/db",
    f"refresh_token={KEY[3:]}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{KEY[3:]}\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("written", WRITTEN)
def test_credentials_are_taken_out_however_they_are_written(written: str) -> None:
    assert "canary" not in redact(f"before {written} after").lower().replace("y2fuyxj5", "canary")
    assert redact(f"before {written} after").startswith("before ")


@pytest.mark.parametrize(
    "plain",
    ["the api key is missing", "sketch", "https://host/path:80@x", "skilled-worker", "max_tokens=500", "task: a"],
)
def test_plain_words_stay(plain: str) -> None:
    assert redact(plain) == plain


@given(st.text(max_size=80))
def test_taking_out_twice_is_as_taking_out_once(words: str) -> None:
    once = redact(words)
    assert redact(once) == once


@pytest.mark.parametrize(
    "name", ["token", "api_key", "x-api-key", "dbPassword_password", "client_secret", "Authorization"]
)
def test_names_of_credentials_are_known(name: str) -> None:
    assert is_credential(name)
