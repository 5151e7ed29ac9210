"""The site that `make docs` builds: complete, without a warning, and with nothing from outside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.utils.yaml import yaml_load

import troupe

ROOT = Path(__file__).parent.parent


def _pages(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        (target,) = entry.values()
        yield from _pages(target) if isinstance(target, list) else [target]


def _nav() -> list[Any]:
    with (ROOT / "mkdocs.yml").open("rb") as file:
        nav: list[Any] = yaml_load(file)["nav"]
    return nav


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does it."""
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    config.plugins.on_shutdown()
    return folder


def test_every_page_is_in_the_navigation_and_every_page_of_the_navigation_is_there() -> None:
    written = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert written == set(_pages(_nav()))


def test_the_built_site_loads_nothing_from_outside(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text("utf-8")
        tags = re.findall(r"<(?:script|link|img|iframe|source|object|embed|use)\b[^>]*>", text)
        assert not [one for one in tags if re.search(r"""=["']?\s*(?:https?:)?//""", one)], page
    styles = [path.read_text("utf-8") for path in (*site.rglob("*.css"), *site.rglob("*.svg"))]
    assert not [one for one in styles if re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", one)]


def test_every_public_name_has_its_place_in_the_reference(site: Path) -> None:
    contents = (site / "reference/index.html").read_text("utf-8")
    for module, names in troupe._MODULES.items():
        page = (site / f"reference/{module}.html").read_text("utf-8")
        for name in names:
            assert f'id="troupe.{module}.{name}"' in page
            assert f'href="{module}.html#troupe.{module}.{name}"' in contents


def test_the_search_finds_the_pages_without_a_server_of_its_own(site: Path) -> None:
    index = (site / "search/search_index.json").read_text("utf-8")
    assert all(word in index for word in ("Adaptive problem solving", "troupe.graphs.checks", "OpenRouter"))
