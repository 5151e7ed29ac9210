"""Kill it anywhere: what was recorded is never lost and never paid for twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.campaign import recorded

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Paid:
    """The server in a process of its own, and its log of calls."""

    url: str
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": "sk-test-only", "TROUPE_RETRIES": "0"}

    def asked(self) -> int:
        """How many calls the server has received."""
        return self.log.read_text().count('"received"') if self.log.exists() else 0


@pytest.fixture
def paid(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Paid]:
    script, log = tmp_path / "script.json", tmp_path / "calls.jsonl"
    lines: dict[str, list[Any]] = {f"You are step-{number}.": [f"answer {number}"] for number in range(1, 6)}
    lines["You are the judge."] = [{"data": {"passed": True}}]
    if "in_flight" in request.node.name:
        lines["You are step-4."].insert(0, {"hang": True})
    script.write_text(json.dumps(lines))
    command = [sys.executable, "-m", "tests.support.openai_server", "--script", str(script), "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        yield Paid(json.loads(server.stdout.readline())["base_url"], log)
        server.terminate()


def campaign(paid: Paid, folder: Path, *options: str) -> list[dict[str, Any]]:
    folder.mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.support.campaign",
        "--folder",
        str(folder),
        "--log",
        str(paid.log),
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=paid.environment, timeout=240)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def nothing_recorded_was_repeated(kill: dict[str, Any]) -> None:
    """What was recorded when the process died is asked once in all; what was in flight may be asked once more."""
    asked: dict[str, int] = kill["asked"]
    assert all(asked[who] == 1 for who in kill["recorded"]), kill
    assert sum(asked.values()) - len(asked) <= 1, kill


@pytest.mark.parametrize(("durability", "steps", "every"), [("sync", 3, 1), ("async", 3, 1), ("sync", 5, 3)])
def test_a_run_killed_at_any_write_goes_on_and_repeats_no_recorded_call(
    durability: str, steps: int, every: int, paid: Paid, tmp_path: Path
) -> None:
    kills = campaign(paid, tmp_path / "runs", "--durability", durability, "--steps", str(steps), "--every", str(every))
    assert sum(kill["killed"] for kill in kills) >= 2 * steps
    for kill in kills:
        assert kill["status"] == "completed", kill
        assert kill["contents"] == {f"step-{number}": f"answer {number}" for number in range(1, steps + 1)}, kill
        assert kill["calls"] == steps, kill
        nothing_recorded_was_repeated(kill)


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
    assert 0 < paid.asked() < 5
    outs = [tmp_path / f"out-{number}" for number in range(3)]
    racers = [subprocess.Popen([*command, str(out), "resume"], cwd=ROOT, env=paid.environment) for out in outs]
    assert [racer.wait(120) for racer in racers] == [0, 0, 0]
    results = [json.loads(out.read_text()) for out in outs]
    assert results[0]["status"] == "completed"
    assert results[0] == results[1] == results[2]
    assert paid.asked() <= 5 + 1, "the call that was in flight may be made once more"
    with closing(sqlite3.connect(tmp_path / "shared.db")) as connection:
        query = "SELECT COUNT(*) FROM checkpoints WHERE checkpoint_ns = '' GROUP BY parent_checkpoint_id"
        assert {count for (count,) in connection.execute(query)} == {1}, "one history, in which nothing forks"


def of_a_fan_out(kills: list[dict[str, Any]], branches: int) -> None:
    """Every branch delivered, what was recorded is asked once, and what was in flight at most once more."""
    for kill in kills:
        assert kill["status"] == "completed", kill
        answers = {f"step-{number}": f"answer {number}" for number in range(1, branches + 1)}
        assert kill["contents"] == {**answers, "joined": ", ".join(answers.values())}, kill
        assert kill["calls"] == branches, kill
        assert all(kill["asked"][who] == 1 for who in kill["recorded"]), kill
        assert max(kill["asked"].values()) <= 2, kill


@pytest.mark.parametrize(("durability", "every"), [("sync", 5), ("async", 6)])
def test_a_fan_out_killed_at_any_write_goes_on_and_repeats_no_recorded_call(
    durability: str, every: int, paid: Paid, tmp_path: Path
) -> None:
    options = ("--team", "parallel", "--steps", "4", "--durability", durability, "--every", str(every))
    kills = campaign(paid, tmp_path / "runs", *options)
    assert sum(kill["killed"] for kill in kills) >= 8
    assert any(0 < len(kill["recorded"]) < 4 for kill in kills), "some die while branches are under way"
    of_a_fan_out(kills, 4)


def test_branches_that_had_ended_when_a_process_died_in_flight_of_another_are_not_asked_again(
    paid: Paid, tmp_path: Path
) -> None:
    """Step 4 hangs; the three others have answered, and been recorded, when the process is killed."""
    db = tmp_path / "runs.db"
    code = "import sys, tests.support.campaign as c; c.team = c.fan_out; "
    first = f"{code} c.first_life(c.Path(sys.argv[1]), 4, 'sync', 0, '')"
    with subprocess.Popen([sys.executable, "-c", first, str(db)], cwd=ROOT, env=paid.environment) as child:
        deadline = time.monotonic() + 60
        while len(recorded(db)) < 3 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        child.kill()
    assert (child.returncode, paid.asked(), len(recorded(db))) == (-signal.SIGKILL, 4, 3)
    again = f"{code} print(c.json.dumps(c.second_life(c.Path(sys.argv[1]), 4, 'sync')))"
    command = [sys.executable, "-c", again, str(db)]
    done = subprocess.run(command, cwd=ROOT, env=paid.environment, capture_output=True, text=True)
    ended = json.loads(done.stdout)
    assert (ended["status"], ended["contents"]["joined"]) == ("completed", "answer 1, answer 2, answer 3, answer 4")
    assert paid.asked() == 5, "step 4 once more, and nobody else"


NESTED = """
import tests.support.campaign as campaign
from troupe import Step, agent, gate, review, sequential

def team(steps):
    first, second, third = (agent(f"step-{number}", f"You are step-{number}.") for number in (1, 2, 3))
    judged = Step(second, gate=gate(review(by=agent("judge", "You are the judge."))))
    return sequential(first, Step(sequential(judged, third, name="inner"), name="inner"))

campaign.team = team
campaign.main()
"""


@pytest.mark.parametrize(("durability", "every"), [("sync", 2), ("async", 3)])
def test_a_nested_team_with_a_reviewer_killed_at_any_write_repeats_no_recorded_call(
    durability: str, every: int, paid: Paid, tmp_path: Path
) -> None:
    (folder := tmp_path / "runs").mkdir()
    options = ["--folder", str(folder), "--log", str(paid.log), "--durability", durability, "--every", str(every)]
    command = [sys.executable, "-c", NESTED, *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=paid.environment, timeout=240)
    assert done.returncode == 0, done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(kill["killed"] for kill in kills) >= 15
    for kill in kills:
        assert kill["status"] == "completed", kill
        assert kill["contents"] == {"step-1": "answer 1", "inner": "answer 3"}, kill
        assert kill["calls"] == 4, kill
        nothing_recorded_was_repeated(kill)


def test_a_call_that_was_in_flight_when_its_process_died_is_made_once_more(paid: Paid, tmp_path: Path) -> None:
    code = "import sys; from tests.support.campaign import *; first_life(Path(sys.argv[1]), 5, 'sync', 0, '')"
    db = tmp_path / "runs.db"
    with subprocess.Popen([sys.executable, "-c", code, str(db)], cwd=ROOT, env=paid.environment) as child:
        deadline = time.monotonic() + 60
        while paid.asked() < 4 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        child.kill()
    assert (child.returncode, paid.asked()) == (-signal.SIGKILL, 4), "killed while the server kept step 4 waiting"
    code = (
        "import sys; from tests.support.campaign import *; print(json.dumps(second_life(Path(sys.argv[1]), 5, 'sync')))"
    )
    again = subprocess.run(
        [sys.executable, "-c", code, str(db)], cwd=ROOT, env=paid.environment, capture_output=True, text=True
    )
    ended = json.loads(again.stdout)
    assert (ended["status"], ended["contents"]["step-5"], ended["calls"]) == ("completed", "answer 5", 5)
    assert paid.asked() == 6, "step 4 once more, and step 5"
