"""What is built and installed is whole: every module, every prompt, on any system that unpacks it."""

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("build")
pytest.importorskip("hatchling")

ROOT = Path(__file__).parents[1]
FLOORS = ("agents", "graphs", "prompts")

USE_EVERYTHING = """
import importlib, json, pkgutil, sys
sys.path[:0] = [sys.argv[1]]
import troupe
names = json.loads(sys.argv[2])
files = []
for name in names:
    try:
        files.append(importlib.import_module(name).__file__)
    except ImportError as error:
        if "psycopg" not in str(error):
            raise
from troupe.prompts import load, names
texts = {name: len(load(name)) for name in names()}
team = troupe.sequential(gate=troupe.gate(troupe.review(by="sr-architect")))
result = troupe.run(team, "Build it.", db=":memory:")
assert troupe.run("fullstack", "Build it.", db=":memory:").status == "completed"
print(json.dumps({"files": files, "texts": texts, "status": result.status, "version": troupe.__version__}))
"""


def modules() -> list[str]:
    """Every module of the four floors, by the files there are."""
    found = []
    for folder in ("troupe", *FLOORS):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[0] == "troupe" and len(parts) > 1 and parts[1] in FLOORS:
                continue  # a link that this system follows
            whole = parts if parts[0] == "troupe" else ("troupe", *parts)
            found.append(".".join(whole).removesuffix(".__init__"))
    return sorted(name for name in found if not name.endswith("__main__"))


def texts() -> set[str]:
    return {path.relative_to(ROOT / "prompts").with_suffix("").as_posix() for path in (ROOT / "prompts").rglob("*.md")}


def used(folder: Path) -> dict[str, Any]:
    """What a fresh interpreter finds with `folder` first on its path."""
    command = [sys.executable, "-c", USE_EVERYTHING, str(folder), json.dumps(modules())]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel that is built from it and not from our folder."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(folder),
        str(wheel),
    ]
    subprocess.run(command, capture_output=True, text=True, check=True)
    return folder


def test_the_wheel_holds_every_module_and_text_once_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert len(names) == len(set(names))
    assert {"troupe/view/page/report.css", "troupe/view/page/replay.js"} <= set(names)
    assert {f"troupe/web/static/{name}" for name in ("page.html", "page.css", "page.js", "icon.svg")} <= set(names)
    assert {name for name in names if name.endswith(".md")} == {f"troupe/prompts/{name}.md" for name in texts()}
    workflows = {path.name for path in (ROOT / "graphs/workflows").glob("*.yaml")}
    assert len(workflows) >= 3
    assert {name for name in names if name.endswith(".yaml")} == {f"troupe/graphs/workflows/{one}" for one in workflows}
    python = {
        name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in names if name.endswith(".py")
    }
    assert {name for name in python if not name.endswith("__main__")} == set(modules())
    assert "troupe/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"troupe"}, "a top-level module named agents belongs to others"


def test_its_metadata_says_what_it_is_and_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (where,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        meta = Parser().parsestr(archive.read(where).decode())
        points = archive.read(where.replace("METADATA", "entry_points.txt")).decode()
        licenses = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    assert (meta["Name"], meta["Requires-Python"], meta["License-Expression"]) == ("agent-troupe", ">=3.11", "MIT")
    assert any(one.startswith("langgraph") for one in meta.get_all("Requires-Dist", []))
    assert meta.get_payload(), "the README is the page on the index"
    assert "troupe = troupe.cli:main" in points and "troupe = troupe.testing" in points
    assert licenses


def test_installed_elsewhere_every_module_imports_every_text_loads_and_a_team_runs(installed: Path) -> None:
    found = used(installed)
    assert all(Path(file).is_relative_to(installed) for file in found["files"])
    assert set(found["texts"]) == texts() and all(found["texts"].values())
    assert found["status"] == "completed"
    assert found["version"] in str(next(installed.glob("agent_troupe-*.dist-info")))


def test_its_command_starts(installed: Path) -> None:
    code = "import sys; sys.path[:0] = [sys.argv.pop(1)]; from troupe.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(installed), "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "troupe" in done.stdout.lower(), done.stderr


def test_the_sdist_holds_sources_and_tests_and_no_links(built: Path) -> None:
    (found,) = built.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        members = archive.getmembers()
    assert not [one.name for one in members if one.issym() or one.islnk()]
    names = {one.name.partition("/")[2] for one in members}
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "agents/__init__.py",
        "tests/test_wheel.py",
        "troupe/web/static/page.js",
        "graphs/workflows/fullstack.yaml",
    } <= names
    assert not {name for name in names if name.startswith(("troupe/agents", "troupe/graphs", "troupe/prompts"))}


def test_where_links_arrive_as_text_files_everything_is_found_all_the_same(tmp_path: Path) -> None:
    """As on Windows without the right to make links, and in the zip file that GitHub offers."""
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in FLOORS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    shutil.copytree(ROOT / "troupe", tmp_path / "troupe", ignore=shutil.ignore_patterns("__pycache__", *FLOORS))
    for folder in FLOORS:
        (tmp_path / "troupe" / folder).write_text(f"../{folder}")
    found = used(tmp_path)
    assert all(Path(file).is_relative_to(tmp_path) for file in found["files"])
    assert set(found["texts"]) == texts() and found["status"] == "completed"
