"""`troupe --help`, `new` and `doctor`: where people begin."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.command import Shell, ended, eventually, listens
from tests.support.openai_server import OpenAIServer
from troupe.cli.ending import exit_code
from troupe.doctor import examination
from troupe.result import Result
from troupe.scaffold import COMMANDS, FILES

COMMANDS_OF_TROUPE = (
    "run", "list", "show", "explain", "draw", "validate", "runs", "resume", "approve", "reject", "answer", "rollback",
    "new", "schema", "doctor",
)  # fmt: skip


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_help_names_every_command_and_exit_code(shell: Shell) -> None:
    done = shell("--help", COLUMNS="120")
    assert done.code == 0
    for one in COMMANDS_OF_TROUPE:
        assert f" {one} " in done.out
    for code in ("0 completed", "1 failed", "2 usage", "3 partial", "4 partial", "5 waiting", "130", "143"):
        assert code in " ".join(done.out.split())
    assert all(one.code == 0 for one in shell.all([[one, "--help"] for one in COMMANDS_OF_TROUPE]))


def test_help_imports_nothing_heavy(shell: Shell) -> None:
    heavy = "langgraph", "langchain_core", "openai", "pydantic", "sqlite3"
    code = (
        "import sys; sys.argv = ['troupe', '--help']\nfrom troupe.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([one for one in {heavy} if one in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_list_and_show_do_without_langgraph(shell: Shell) -> None:
    for words in (["list"], ["show", "qa-engineer"]):
        code = (
            f"import sys; sys.argv = ['troupe', *{words}]\nfrom troupe.cli import main\n"
            "try: main()\nexcept SystemExit: pass\n"
            "print([one for one in ('langgraph', 'langchain_core') if one in sys.modules], file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr.strip().splitlines()[-1] == "[]"


def test_list_says_what_each_pattern_is_good_for(shell: Shell) -> None:
    shown = shell("list").out
    uses = {one["name"]: one["uses"] for one in shell("list", "--json").json["patterns"]}
    assert all(len(uses[pattern]) == 3 for pattern in ("sequential", "parallel", "hierarchical", "mesh"))
    assert all(f"- {one['name']}: {one['summary']}" in shown for every in uses.values() for one in every)


def test_the_command_the_module_and_the_package_are_one(shell: Shell) -> None:
    script = str(Path(sys.executable).with_name("troupe"))
    for command in ([script], [sys.executable, "-m", "troupe"], [sys.executable, "-m", "troupe.cli"]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("troupe ")


def test_closed_streams_are_no_error(shell: Shell) -> None:
    command = f"{sys.executable} -m troupe run sequential x <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], cwd=shell.folder, env=shell.environment({})).returncode == 0


def test_an_interrupt_while_nothing_runs_is_exit_code_130(shell: Shell) -> None:
    process = shell.fresh("run", "sequential", "-")
    eventually(lambda: listens(process.pid))
    process.send_signal(signal.SIGINT)
    done = ended(process)
    assert (done.code, "Traceback" in done.err) == (130, False)


def test_a_new_project_runs_at_the_first_try(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    done = shell("new", "mine", "--json")
    assert (done.code, done.json["files"], done.json["next"]) == (0, list(FILES), list(COMMANDS))
    inside = Shell(shell.folder / "mine")
    steps = ["facts", "readers", "draft", "final"]
    for team in ("team.yaml", "team.py:team"):
        ran = inside("run", team, "Tides", "--json")
        assert (ran.code, ran.json["status"], list(ran.json["deliverables"])) == (0, "completed", steps)
    assert inside("validate", "team.yaml", "--json").json["at_once"] == ["facts", "readers"]
    assert inside("draw", "team.yaml", "-o", "team.svg").code == 0
    assert "editor" in [one["name"] for one in inside("list", "--json").json["agents"]]
    env = inside.environment({})
    for command in (["-m", "pytest", "-q"], ["team.py", "Tides"]):
        tried = subprocess.run(
            [sys.executable, *command], cwd=inside.folder, env=env, capture_output=True, text=True, check=False
        )
        assert tried.returncode == 0, tried.stdout + tried.stderr
    monkeypatch.setenv("XDG_STATE_HOME", str(shell.folder))
    with (inside.folder / "team.ipynb").open() as file:
        notebook = nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": inside.folder}}
    done_cells = NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute().cells
    assert "image/svg+xml" in done_cells[1].outputs[0].data
    assert any("completed" in one.get("text", "") for one in done_cells[2].outputs)
    for one in COMMANDS:
        assert one in (inside.folder / "README.md").read_text()


def test_every_line_of_a_new_projects_settings_is_a_setting(shell: Shell) -> None:
    shell("new", "mine")
    toml = shell.folder / "mine/troupe.toml"
    toml.write_text("\n".join(line.removeprefix("# ") for line in toml.read_text().splitlines()[2:]))
    assert Shell(shell.folder / "mine")("list").code == 0


def test_new_refuses_a_folder_with_something_in_it(shell: Shell) -> None:
    (shell.folder / "mine").mkdir()
    (shell.folder / "mine/precious.txt").write_text("x")
    (shell.folder / "file").write_text("x")
    assert [shell("new", one).code for one in ("mine", "file", "file/below")] == [2, 2, 2]
    assert [one.name for one in (shell.folder / "mine").iterdir()] == ["precious.txt"]


def test_doctor_tells_names_of_keys_and_never_their_values(shell: Shell) -> None:
    done = shell("doctor", OPENAI_API_KEY="sk-secret-value")
    assert done.code == 0
    assert "OPENAI_API_KEY" in done.out and "secret" not in done.out
    found = shell("doctor", "--json", OPENAI_API_KEY="sk-secret-value")
    assert "secret" not in found.out
    checks = {one["name"]: one for one in found.json["checks"]}
    assert found.json["ok"] and checks["keys"]["data"] == ["OPENAI_API_KEY"]
    assert set(checks["models"]["data"].values()) == {"simulated"}
    assert {"python", "packages", "settings", "database", "models", "roles", "keys"} <= set(checks)


def test_doctor_reports_what_would_keep_a_run_from_working(shell: Shell) -> None:
    (shell.folder / "troupe.toml").write_text('model = "openai:gpt-5-mini"')
    keyless = shell("doctor", "--json")
    broken = {one["name"]: one["said"] for one in keyless.json["checks"] if one["ok"] is False}
    assert (keyless.code, list(broken)) == (1, ["models"])
    assert "OPENAI_API_KEY" in broken["models"]
    (shell.folder / "troupe.toml").write_text("model = [")
    (shell.folder / "bad.db").write_text("no database" * 100)
    malformed = shell("doctor", "--db", "bad.db", "--json")
    assert [one["name"] for one in malformed.json["checks"] if one["ok"] is False] == ["settings", "database"]


def test_doctor_finds_model_servers_and_says_how_to_use_them(db: Path) -> None:
    with OpenAIServer(["x"]) as server, OpenAIServer(["x"]) as gone:
        closed = gone.base_url
        gone.close()
        checks = examination(db, {"ollama": server.base_url, "vllm": closed})
    (found,) = [one for one in checks if one.name == "server"]
    assert found.data["base_url"] == server.base_url
    assert "[providers.ollama]" in found.said and server.base_url in found.said
    (none,) = [one for one in examination(db, {"vllm": closed}) if one.name == "servers"]
    assert "none on this machine" in none.said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_doctor_sees_a_database_that_cannot_be_written(shell: Shell) -> None:
    locked = shell.folder / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert shell("doctor", "--db", "locked/runs.db").code == 1


@pytest.mark.parametrize(
    ("status", "number", "code"),
    [("completed", None, 0), ("completed", 2, 0), ("failed", None, 1), ("stopped", 15, 143), ("waiting", None, 5)],
)
def test_a_signal_counts_only_if_it_stopped_the_run(status: str, number: int | None, code: int) -> None:
    result = Result(run="r", workflow="w", task="t", status=status)  # type: ignore[arg-type]
    assert exit_code(result, number) == code
