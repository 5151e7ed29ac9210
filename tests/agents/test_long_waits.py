"""A server may ask for a pause, but not for a day."""

from __future__ import annotations

from types import SimpleNamespace

from troupe import Executor, SimulatedChatModel, TeamContext, agent, sequential


class Busy(Exception):
    """What a provider's client raises for a 429."""

    status_code = 429

    def __init__(self, seconds: str) -> None:
        super().__init__("busy")
        self.response = SimpleNamespace(headers={"retry-after": seconds})


def statuses(seconds: str) -> tuple[str, list[float]]:
    slept: list[float] = []

    async def sleep(pause: float) -> None:
        slept.append(pause)

    model = SimulatedChatModel(faults={"*": [Busy(seconds)]})
    context = TeamContext(models=model, executor=Executor(sleep=sleep))
    state = sequential(agent("clerk", "Answer.")).compile().invoke({"task": "x"}, context=context)
    return state["status"], slept


def test_a_pause_that_a_server_asks_for_is_kept() -> None:
    assert statuses("30") == ("completed", [30.0])


def test_a_pause_of_a_day_is_a_failure_at_once() -> None:
    assert statuses("86400") == ("failed", [])
