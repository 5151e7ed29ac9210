"""The pytest plugin: a fixture that forbids real models.

    def test_a_bad_draft_is_reworked(no_real_models):
        result = run(team, "hi", model=scripted({"triage": ["draft"]}))

The fixture comes with the package; naming it in a test (or `pytest.mark.usefixtures`) is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def no_real_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every model that is not simulated, scripted or replayed is refused; the test that asked ends in error."""
    from troupe.agents.models import Models, is_simulated

    safe = Models.safe
    refused: list[str] = []

    async def guarded(self: Models, wanted: Any) -> Any:
        if is_simulated(wanted):
            return await safe(self, wanted)
        name = wanted if isinstance(wanted, str) else type(wanted).__name__
        refused.append(f"A real model was asked for in a test: {name}. Give model=scripted(...).")
        raise AssertionError(refused[-1])

    monkeypatch.setattr(Models, "safe", guarded)
    yield
    # Inside a run the refusal has become the failure of a step, which the test may not have looked at.
    if refused:
        pytest.fail(refused[0])
