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
    """Every model that is not simulated, scripted or replayed raises."""
    from troupe.agents.models import Models, is_simulated

    get = Models.get

    async def guarded(self: Models, tier: Any, own: Any = None) -> Any:
        model = await get(self, tier, own)
        if not is_simulated(model):
            raise AssertionError(f"A real model was asked for in a test: {model!r}. Give model=scripted(...).")
        return model

    monkeypatch.setattr(Models, "get", guarded)
    yield
