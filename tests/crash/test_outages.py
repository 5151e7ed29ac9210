"""PostgreSQL goes away and comes back: nobody notices but by the time that it takes."""

from __future__ import annotations

import pytest

from tests.crash.processes import campaign


@pytest.mark.usefixtures("binaries")
def test_runs_live_through_restarts_of_postgresql() -> None:
    done = campaign("outages", "--runs", "16", "--jobs", "4", "--longest", "1.5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runs: 16," in done.stdout
    assert "meanwhile: 0," not in done.stdout, "the server was restarted"
