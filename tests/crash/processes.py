"""Campaigns as processes of their own, as tests start them: whoever forks must have no other thread."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def campaign(name: str, *options: str, patience: float = 230) -> subprocess.CompletedProcess[str]:
    """Run `python -m tests.crash.NAME` to its end."""
    return python("-m", f"tests.crash.{name}", *options, patience=patience)


def python(*arguments: str, patience: float = 230) -> subprocess.CompletedProcess[str]:
    """Run Python to its end."""
    command = [sys.executable, *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TROUPE_")}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=patience, check=False
    )
