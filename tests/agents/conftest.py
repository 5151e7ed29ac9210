"""What the tests of this floor share."""

import pytest

from troupe.agents import settings


@pytest.fixture(autouse=True)
def _settings_are_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier test set in the environment is not remembered."""
    monkeypatch.setattr(settings, "_cached", {})
