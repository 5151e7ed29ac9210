"""For `view.py`: the page served by a process of its own, and viewers that note when they are shown what happened."""

from __future__ import annotations

import asyncio
import bisect
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from troupe import Brief, Step, contains, gate, sequential

STEPS = 6
_PATIENCE = 120.0


def _step(number: int) -> Step:
    async def work(brief: Brief) -> str:
        await asyncio.sleep(random.uniform(0.4, 1.2))  # noqa: S311 - a pace, not a secret
        return f"Part {number}, good: with **words**, and\n\n- one\n- two"

    return Step(work, name=f"step-{number}", gate=gate(contains("good")))


team = sequential(*(_step(number) for number in range(STEPS)), name="paced")
"""Steps that take about as long as the smallest of model calls."""


class Viewer(threading.Thread):
    """Somebody who watches a run until its end; `shown` is what they were shown, and when."""

    def __init__(self, address: str, run: str) -> None:
        super().__init__(daemon=True)
        self.address, self.run_ = address, run
        self.shown: list[tuple[float, float]] = []
        self.ready = threading.Event()

    def run(self) -> None:
        """Watch."""
        import httpx

        with httpx.stream("GET", f"{self.address}/runs/{self.run_}/events", timeout=_PATIENCE) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    told = json.loads(line[6:])
                    self.shown.append((told["at"], time.time()))
                    self.ready.set()
                    if "completed" in json.dumps(told["parts"].get("say", "")):
                        return


def latencies(folder: Path, runs: int, viewers: int) -> list[float]:
    """Milliseconds from each event of a run to its being at a viewer of it."""
    import httpx

    here = Path(__file__)
    command = [sys.executable, "-m", "troupe", "serve", f"{here}:team", "--port", "0", "--at-once", str(runs)]
    server = subprocess.Popen(
        [*command, "--db", str(folder / "page.db")], stdout=subprocess.PIPE, text=True, cwd=folder
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip().rstrip("/")
        with httpx.Client(base_url=address, timeout=_PATIENCE) as client:
            wish = {"workflow": f"{here}:team", "task": "Go on at your pace."}
            started = [client.post("/api/runs", json=wish).json()["run"] for _ in range(runs)]
            watching = [Viewer(address, started[number * runs // viewers]) for number in range(viewers)]
            for one in watching:
                one.start()
            for one in watching:
                one.join(_PATIENCE)
            found: list[float] = []
            for one in watching:
                history: list[dict[str, Any]] = client.get(f"/api/runs/{one.run_}").json()["history"]
                first = one.shown[0][0]  # what was there before is no event for this viewer
                times = [at for at, _ in one.shown]
                for moment in history:
                    if moment["at"] > first:
                        found.append((one.shown[bisect.bisect_left(times, moment["at"])][1] - moment["at"]) * 1000)
            return found
    finally:
        server.terminate()
        server.wait(30)
