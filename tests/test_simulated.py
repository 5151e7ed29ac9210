"""A run says that it was simulated only if no real model was called."""

from __future__ import annotations

from pathlib import Path

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.support.openai_server import OpenAIServer, text
from troupe import agent, resume, run, sequential


def test_a_step_that_brings_a_real_model_makes_the_run_a_real_one(tmp_path: Path) -> None:
    with OpenAIServer(lambda asked: text("really")) as server:
        model = ChatOpenAI(model="gpt-4o-mini", base_url=server.base_url, api_key=SecretStr("none"))
        team = sequential(agent("clerk", "Answer."), model)
        result = run(team, "x", db=tmp_path / "runs.db")
        assert len(server.requests) == 1
        assert result.usage.usd and not result.simulated
        assert not resume(result.run, target=team, db=tmp_path / "runs.db").simulated
        assert not team.compile().invoke({"task": "x"})["simulated"]


def test_a_run_without_one_says_that_it_was_simulated(tmp_path: Path) -> None:
    result = run(sequential(agent("clerk", "Answer.")), "x", db=tmp_path / "runs.db")
    assert result.simulated and result.usage.usd == 0 and result.usage.calls == 1
