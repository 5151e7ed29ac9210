"""Killed in the middle of a call, over real HTTP: that call is made once more, and no other."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.crash.processes import ROOT

PLAY = """
import json, sys
from troupe import agent, parallel, resume, run, sequential

async def joined(brief):
    return ", ".join(brief.deliverables[name].content for name in brief.needs)

def team(pattern):
    steps = [agent(f"step-{number}", f"You are step-{number}.") for number in range(1, 6)]
    return sequential(*steps) if pattern == "sequential" else parallel(*steps, merge=joined)

pattern, act, db = sys.argv[1:]
if act == "run":
    result = run(team(pattern), "the task", model="openai:gpt-4o-mini", db=db, thread="t")
else:
    result = resume("t", target=team(pattern), db=db)
print(json.dumps([result.status, result.answer, result.usage.calls]))
"""


@dataclass
class Paid:
    """The server, in a process of its own, and its log of calls: step 4 has no answer the first time it is asked."""

    url: str
    log: Path

    def play(self, pattern: str, act: str, db: Path) -> subprocess.Popen[str]:
        """A process that runs or resumes."""
        provider = {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": "sk-test-only"}
        command = [sys.executable, "-c", PLAY, pattern, act, str(db)]
        return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **provider}, stdout=subprocess.PIPE, text=True)

    def asked(self) -> Counter[str]:
        """How often the server was asked, by whom."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return Counter(one["system"].partition("\n")[0] for one in lines if one["event"] == "received")


@pytest.fixture
def paid(tmp_path: Path) -> Iterator[Paid]:
    script, log = tmp_path / "script.json", tmp_path / "calls.jsonl"
    lines: dict[str, list[Any]] = {f"You are step-{number}.": [f"answer {number}"] for number in range(1, 6)}
    lines["You are step-4."].insert(0, {"hang": True})
    script.write_text(json.dumps(lines))
    command = [sys.executable, "-m", "tests.support.openai_server", "--script", str(script), "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            yield Paid(json.loads(server.stdout.readline())["base_url"], log)
        finally:
            server.terminate()


def recorded(db: Path) -> int:
    """How many requests are on record."""
    try:
        with closing(sqlite3.connect(db)) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM troupe_journal WHERE kind = 'request'").fetchone()[0])
    except sqlite3.OperationalError:  # there are no tables yet
        return 0


@pytest.mark.parametrize(
    ("pattern", "before", "answer"),
    [("sequential", 3, "answer 5"), ("parallel", 4, "answer 1, answer 2, answer 3, answer 4, answer 5")],
)
def test_a_call_that_was_in_flight_when_its_process_died_is_made_once_more(
    pattern: str, before: int, answer: str, paid: Paid, tmp_path: Path
) -> None:
    db, deadline = tmp_path / "runs.db", time.monotonic() + 60
    with paid.play(pattern, "run", db) as child:
        while (recorded(db), paid.asked()["You are step-4."]) != (before, 1) and time.monotonic() < deadline:
            assert child.poll() is None
            time.sleep(0.01)
        child.kill()
    assert (child.returncode, recorded(db)) == (-signal.SIGKILL, before), "killed while step 4 was kept waiting"
    with paid.play(pattern, "resume", db) as again:
        out, _ = again.communicate(timeout=60)
    assert json.loads(out) == ["completed", answer, 5]
    once = {f"You are step-{number}.": 1 for number in range(1, 6)}
    assert paid.asked() == {**once, "You are step-4.": 2}
