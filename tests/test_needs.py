"""What the code imports is what an installation brings: what else a developer's machine has hides what is missing."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
THEIRS = {"pytest", "IPython"}  # our plugin of pytest is imported by pytest alone, IPython's display in its kernel


def imported() -> Iterator[tuple[str, str]]:
    """Each module from elsewhere, by its first name, with the file that imports it."""
    for folder in ("troupe", "agents", "graphs", "prompts"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names: list[str] = []
                if isinstance(node, ast.Import):
                    names = [one.name for one in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module or ""]
                for name in {one.partition(".")[0] for one in names} - {"troupe", *sys.stdlib_module_names}:
                    yield name, path.relative_to(ROOT).as_posix()


def brought(wanted: Iterable[str]) -> set[str]:
    """The distributions that come with these requirements, and with theirs."""
    left = [Requirement(one) for one in wanted]
    found: set[tuple[str, str]] = set()
    while left:
        one = left.pop()
        asked = {(plain(one.name), extra) for extra in ("", *one.extras)}
        if asked <= found:
            continue
        found |= asked
        try:
            needs = [Requirement(need) for need in requires(one.name) or ()]
        except PackageNotFoundError:  # an extra that is not installed here
            continue
        left += [
            need
            for need in needs
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for _, extra in asked)
        ]
    return {name for name, _ in found}


def plain(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def undeclared(wanted: Iterable[str]) -> set[tuple[str, str]]:
    """What is imported and would not be there."""
    there, known = brought(wanted), packages_distributions()
    installed = [(name, file) for name, file in imported() if name in known]
    return {(name, file) for name, file in installed if there.isdisjoint(map(plain, known[name]))}


def test_everything_that_is_imported_comes_with_the_package_or_an_extra_of_it() -> None:
    extras = PROJECT["optional-dependencies"]
    ours = ("postgres", "encryption", "otel", "png", "web")
    wanted = [*PROJECT["dependencies"], *(one for name in ours for one in extras[name])]
    assert {one for one in undeclared(wanted) if one[0] not in THEIRS} == set()


def test_a_dependency_that_nobody_declares_is_found() -> None:
    rest = [one for one in PROJECT["dependencies"] if not one.startswith("genai-prices")]
    assert {name for name, _ in undeclared(rest)} >= {"genai_prices"}
