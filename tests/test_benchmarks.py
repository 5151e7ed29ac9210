"""Each benchmark runs as the process that the docs name, and prints what they say. No time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
BENCHMARKS = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_prints_one_json_object(name: str) -> None:
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--once", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    assert set(report) == {"name", "figures", "anchors", "aims", "runs", "seeds", "versions"}
    assert report["name"] == name
    assert report["figures"]
    assert report["anchors"]
    for one in (*report["figures"].values(), *report["anchors"].values()):
        assert set(one) == {"median", "q1", "q3", "n", "unit"}
        assert one["q1"] <= one["median"] <= one["q3"]
        assert one["n"] >= 1
    assert report["aims"]
    for aim in report["aims"].values():
        assert set(aim) == {"figure", "value", "limit", "unit", "met"}
        assert aim["figure"] in report["figures"]
        assert aim["met"] == (aim["value"] <= aim["limit"])
    assert all(count >= 1 for count in report["runs"].values())
    assert all(isinstance(seed, int) for seed in report["seeds"])
    assert {"python", "agent-troupe", "langgraph"} <= set(report["versions"])


def test_there_are_benchmarks() -> None:
    assert {"overhead", "checkpoint_bytes", "imports"} <= set(BENCHMARKS)
