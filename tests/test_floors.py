"""Imports go down, never up: troupe -> graphs -> agents -> prompts."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter")

ROOT = Path(__file__).parents[1]
FLOORS = ("agents", "graphs", "prompts")


def linted(folder: Path) -> "subprocess.CompletedProcess[str]":
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from importlinter.cli import lint_imports_command; "
    command = [sys.executable, "-c", f"{code} lint_imports_command()", str(folder), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package, to be spoilt."""
    ignore = shutil.ignore_patterns("__pycache__", *FLOORS)
    shutil.copytree(ROOT / "troupe", tmp_path / "copy" / "troupe", ignore=ignore)
    for floor in FLOORS:
        shutil.copytree(
            ROOT / floor, tmp_path / "copy" / "troupe" / floor, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "copy")
    return tmp_path / "copy"


def test_no_module_imports_from_a_floor_above() -> None:
    done = linted(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "complaint"),
    [
        ("prompts/__init__.py", "import troupe.agents.text", "troupe.prompts is not allowed to import troupe.agents"),
        ("agents/text.py", "import troupe.graphs.state", "troupe.agents is not allowed to import troupe.graphs"),
        ("graphs/state.py", "import troupe.doors", "troupe.graphs is not allowed to import troupe.doors"),
        ("stray.py", "import troupe.doors", "stray"),  # a module of the top floor that is in no layer
    ],
)
def test_an_import_upwards_and_a_module_on_no_floor_are_found(
    module: str, line: str, complaint: str, copy: Path
) -> None:
    path = copy / "troupe" / module
    path.write_text((path.read_text("utf-8") if path.exists() else "") + f"\n{line}\n", "utf-8")
    done = linted(copy)
    assert done.returncode != 0
    assert complaint in " ".join(done.stdout.split())


def test_the_floors_are_reached_by_links_and_by_no_name_of_their_own() -> None:
    for floor in FLOORS:
        assert (ROOT / "troupe" / floor).resolve() == ROOT / floor
        assert not (ROOT / floor).is_symlink()
