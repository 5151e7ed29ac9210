"""Several processes go on with one run: it is done once, and all of them get its result."""

from __future__ import annotations

import pytest

from tests.crash.processes import campaign, python


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
@pytest.mark.usefixtures("binaries")
def test_processes_that_resume_one_run_do_its_work_once_even_if_its_holder_sleeps(store: str) -> None:
    done = campaign("leases", "--rounds", "14", "--store", store, "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    (paused,) = (line.split() for line in done.stdout.splitlines() if line.startswith(f"{store} ") and " yes " in line)
    assert int(paused[2]) >= 4, "some were paused"
    assert int(paused[4]) > 0, "some that were paused past their lease were refused when they wrote"


LAWLESS = """
import sys
from tests.crash import leases
from troupe.store.leases import Leases

Leases._check = lambda self, cursor: None  # whoever had the lease once writes on
sys.argv[1:] = ["--rounds", "12", "--store", "sqlite", "--jobs", "3"]
sys.exit(leases.main())
"""


def test_the_campaign_notices_a_store_without_fences() -> None:
    done = python("-c", LAWLESS)
    assert done.returncode == 1, done.stdout + done.stderr
