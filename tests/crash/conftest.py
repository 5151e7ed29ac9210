from __future__ import annotations

import pytest

from tests.support.postgres import NONE, _binaries


@pytest.fixture
def binaries(request: pytest.FixtureRequest) -> None:
    """Skips what needs PostgreSQL where there is none."""
    parameters = getattr(request.node, "callspec", None)
    if parameters is None or "postgres" in parameters.params.values():
        try:
            _binaries()
        except FileNotFoundError:
            pytest.skip(NONE)
