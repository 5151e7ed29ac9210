"""Whoever looks on does not end a run."""

from __future__ import annotations

import logging

import pytest

from troupe import TeamContext, agent, sequential
from troupe.agents.events import Event


def test_a_listener_that_fails_is_told_of_and_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def broken(event: Event) -> None:
        raise RuntimeError("the window was closed")

    context = TeamContext(listeners=(broken, lambda event: heard.append(event.kind)))
    with caplog.at_level(logging.ERROR, "troupe"):
        state = sequential(agent("clerk", "Answer.")).compile().invoke({"task": "x"}, context=context)
    assert state["status"] == "completed" and "step_finished" in heard
    assert "the window was closed" in caplog.text
