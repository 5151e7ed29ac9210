"""What `import troupe` gives, and what it costs."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import troupe

NAMES = [
    "Agent",
    "Bounds",
    "Brief",
    "BuildError",
    "Conflict",
    "Deliverable",
    "Evaluation",
    "EvaluationCase",
    "Executor",
    "Explanation",
    "Fault",
    "Gate",
    "Guards",
    "GraphChanged",
    "History",
    "InputError",
    "Limits",
    "NotCompleted",
    "Notes",
    "Optimization",
    "Reason",
    "Recovery",
    "Rehearsal",
    "Result",
    "RunView",
    "Role",
    "SettingsError",
    "SimulatedChatModel",
    "Step",
    "StoreError",
    "Team",
    "TeamContext",
    "TeamGraph",
    "TeamState",
    "TroupeError",
    "UnknownName",
    "Usage",
    "Variant",
    "Verdict",
    "adaptive",
    "Workflow",
    "adelete",
    "aerror_log",
    "aexplain",
    "aevaluate",
    "agent",
    "ahistory",
    "aprune",
    "arehearse",
    "areport",
    "aresume",
    "arollback",
    "arun",
    "as_target",
    "astream",
    "aview",
    "check",
    "conclusion",
    "contains",
    "current_call",
    "delete",
    "each",
    "error_log",
    "explain",
    "evaluate",
    "first",
    "gate",
    "hierarchical",
    "history",
    "matches",
    "merge",
    "mesh",
    "non_empty",
    "optimize",
    "parallel",
    "prune",
    "quorum",
    "read_role",
    "read_roles",
    "rehearse",
    "replay",
    "report",
    "resume",
    "review",
    "rollback",
    "run",
    "scripted",
    "sequential",
    "stream",
    "view_of",
    "within",
]


def test_the_exported_names_are_exactly_these() -> None:
    assert troupe.__all__ == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_name_is_there_documented_and_found_where_it_is_made(name: str) -> None:
    found = getattr(troupe, name)
    assert found.__doc__
    module = importlib.import_module(found.__module__)
    assert getattr(module, name) is found
    assert name in dir(troupe)


def test_what_type_checkers_see_is_what_is_there() -> None:
    tree = ast.parse(Path(troupe.__file__).read_text("utf-8"))
    (block,) = [one for one in tree.body if isinstance(one, ast.If) and ast.unparse(one.test) == "TYPE_CHECKING"]
    seen = {
        str(alias.asname): f"{one.module}.{alias.name}"
        for one in block.body
        if isinstance(one, ast.ImportFrom)
        for alias in one.names
    }
    assert set(seen) == set(troupe.__all__)
    for name, where in seen.items():
        module, _, attribute = where.rpartition(".")
        assert getattr(importlib.import_module(module), attribute) is getattr(troupe, name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'troupe' has no attribute 'sequentail'"):
        troupe.sequentail  # noqa: B018


def test_a_star_import_gives_the_same_names() -> None:
    space: dict[str, object] = {}
    exec("from troupe import *", space)  # noqa: S102 - that is what is tested
    assert set(NAMES) <= set(space)


def loaded_by(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after `code`."""
    show = "import sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = {
        "langgraph",
        "langchain",
        "langchain_core",
        "langchain_openai",
        "openai",
        "pydantic",
        "yaml",
        "typer",
        "rich",
    }
    assert not heavy & (loaded_by("import troupe; troupe.__version__; dir(troupe)") - loaded_by(""))


def test_building_a_team_loads_no_provider() -> None:
    loaded = loaded_by("from troupe import sequential; sequential()") - loaded_by("")
    assert "langgraph" in loaded
    assert not {"openai", "langchain_openai", "genai_prices", "psycopg", "typer"} & loaded


def test_its_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert troupe.__version__ == version("agent-troupe")
