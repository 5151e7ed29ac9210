"""Kill it anywhere: what was recorded is never lost and never paid for twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Paid:
    """The server in a process of its own, and its log of calls."""

    url: str
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": "sk-test-only", "TROUPE_RETRIES": "0"}


@pytest.fixture
def paid(tmp_path: Path) -> Iterator[Paid]:
    script, log = tmp_path / "script.json", tmp_path / "calls.jsonl"
    script.write_text(json.dumps({f"You are step-{number}.": [f"answer {number}"] for number in range(1, 6)}))
    command = [sys.executable, "-m", "tests.support.openai_server", "--script", str(script), "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        yield Paid(json.loads(server.stdout.readline())["base_url"], log)
        server.terminate()


def campaign(paid: Paid, folder: Path, *options: str) -> list[dict[str, Any]]:
    folder.mkdir()
    command = [sys.executable, "-m", "tests.support.campaign", "--folder", str(folder), "--log", str(paid.log), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=paid.environment, timeout=240)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("durability", "steps", "every"), [("sync", 3, 1), ("async", 3, 1), ("sync", 5, 3)])
def test_a_run_killed_at_any_write_goes_on_and_repeats_no_recorded_call(
    durability: str, steps: int, every: int, paid: Paid, tmp_path: Path
) -> None:
    kills = campaign(
        paid, tmp_path / "runs", "--durability", durability, "--steps", str(steps), "--every", str(every)
    )
    assert sum(kill["killed"] for kill in kills) >= 2 * steps
    for kill in kills:
        assert kill["status"] == "completed", kill
        assert kill["contents"] == {f"step-{number}": f"answer {number}" for number in range(1, steps + 1)}, kill
        # What was recorded is not asked again; what was in flight may be, once.
        assert kill["again"] == steps - kill["recorded"], kill
        assert 0 <= kill["made"] - kill["recorded"] <= 1, kill
        assert kill["calls"] == steps, kill


def test_two_processes_that_resume_one_run_do_its_work_once(paid: Paid, tmp_path: Path) -> None:
    code = """
import sys
from tests.support.campaign import *
out, act = Path(sys.argv[1]), sys.argv[2]
db = out.parent / "shared.db"
if act == "kill":
    first_life(db, 5, "sync", 12, "after")
out.write_text(json.dumps(second_life(db, 5, "sync")))
"""
    command = [sys.executable, "-c", code]
    subprocess.run([*command, str(tmp_path / "none"), "kill"], cwd=ROOT, env=paid.environment, check=False)
    made = paid.log.read_text().count('"received"')
    assert 0 < made < 5
    outs = [tmp_path / f"out-{number}" for number in range(3)]
    racers = [subprocess.Popen([*command, str(out), "resume"], cwd=ROOT, env=paid.environment) for out in outs]
    assert [racer.wait(120) for racer in racers] == [0, 0, 0]
    results = [json.loads(out.read_text()) for out in outs]
    assert results[0]["status"] == "completed"
    assert results[0] == results[1] == results[2]
    assert paid.log.read_text().count('"received"') - made <= 5 - made + 1
