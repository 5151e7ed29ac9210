"""Every example in a docstring runs, and gives what it says."""

import doctest
import importlib
import pkgutil

import pytest

import troupe
from troupe.agents import settings


def modules() -> list[str]:
    return [
        "troupe",
        *(one.name for one in pkgutil.walk_packages(troupe.__path__, "troupe.") if "__main__" not in one.name),
    ]


@pytest.fixture(autouse=True)
def _settings_are_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_cached", {})


@pytest.mark.parametrize("name", modules())
def test_the_examples_of_a_module_run(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{name} needs an extra: {error}")
    done = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert done.failed == 0


def test_every_floor_has_examples() -> None:
    count = dict.fromkeys(("prompts", "agents", "graphs", "troupe"), 0)
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in modules():
        floor = name.split(".")[1] if "." in name and name.split(".")[1] in count else "troupe"
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        count[floor] += sum(len(test.examples) for test in finder.find(module))
    assert all(count.values()) and sum(count.values()) > 40, count
