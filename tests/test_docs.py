"""Every Python block of README and docs runs, and prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace

from tests.support.openai_server import OpenAIServer
from troupe.catalogue import PATTERNS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- not run: .+? -->\n)?```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)


@pytest.fixture
def _provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a page takes for OpenAI is a server on the loopback interface."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    with OpenAIServer(lambda received: f"{received.model} says hello.") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test-0000")
        yield


@pytest.mark.usefixtures("_provider")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_the_page_runs_and_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    # What a page sets up for its process ends with the page.
    monkeypatch.setattr(
        trace, "set_tracer_provider", lambda made: monkeypatch.setattr(trace, "get_tracer_provider", lambda: made)
    )
    module = types.ModuleType("page")  # dataclasses look their module up
    monkeypatch.setitem(sys.modules, "page", module)
    for left_out, code, shown in BLOCK.findall(page.read_text("utf-8")):
        if left_out:
            compile(code, str(page), "exec")
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(page), "exec"), vars(module))  # noqa: S102 - the page is ours
        if shown:
            assert printed.getvalue() == shown


def test_every_link_of_the_pages_leads_somewhere() -> None:
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("pattern", [name for name, one in PATTERNS.items() if one.uses])
def test_every_use_of_a_pattern_has_an_executed_example_on_its_page(pattern: str) -> None:
    page = (ROOT / "docs" / f"{pattern}.md").read_text("utf-8")
    examples = dict(re.findall(r"### (.+)\n((?:(?!##).*\n)*)", page.partition("## Uses\n")[2]))
    for use in PATTERNS[pattern].uses:
        ((left_out, _, shown),) = BLOCK.findall(examples[use])
        assert shown and not left_out


def test_the_pictures_of_the_patterns_are_those_that_the_code_draws() -> None:
    pictures = runpy.run_path(str(ROOT / "docs" / "pictures.py"))
    for name, team in pictures["patterns"]().items():
        assert (ROOT / f"docs/{name}.svg").read_text("utf-8") == pictures["picture_of"](name, team), "make pictures"
