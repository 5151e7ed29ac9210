"""A run that was accepted is not lost, even if its process dies before the first checkpoint."""

from __future__ import annotations

import pytest

from tests.crash.processes import campaign


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
@pytest.mark.usefixtures("binaries")
def test_no_run_is_lost_between_its_acceptance_and_its_first_checkpoint(store: str) -> None:
    done = campaign("accepted", "--runs", "16", "--store", store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accepted runs killed before their first checkpoint: 16, lost: 0" in done.stdout
