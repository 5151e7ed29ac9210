"""What all tests share: settings of nobody's machine, and stores that are closed again."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import database as database
from tests.support.postgres import postgres as postgres
from troupe.sqlite import SqliteStore

settings.register_profile(
    "troupe",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("troupe")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: some of what is tested waits, for processes, databases and deadlines."""
    return 1 + (os.cpu_count() or 1)


@pytest.fixture(autouse=True)
def _nobodys_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the developer's environment nor their project file decides what a test does."""
    for name in tuple(os.environ):
        if name.startswith(("TROUPE_", "OPENAI_", "ANTHROPIC_", "LANGSMITH_", "LANGCHAIN_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Where a test's runs are kept."""
    return tmp_path / "runs.db"


@pytest.fixture
def store(db: Path) -> Iterator[SqliteStore]:
    """The same, open."""
    with SqliteStore(db) as opened:
        yield opened
