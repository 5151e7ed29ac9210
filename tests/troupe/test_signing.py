"""Whoever can write to the database of runs cannot say which code is imported when a run is gone on with."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Shell
from troupe import SettingsError, agent, arun, resume, run, scripted, sequential
from troupe.agents.errors import Unsigned
from troupe.catalogue import resolve
from troupe.signing import key_file, must_vouch, signature
from troupe.store.turns import Turn

TEAMS = """
from pathlib import Path
from troupe import agent, gate, sequential
Path("imported").touch()
team = sequential(agent("draft", "Write."), gate=gate(lambda work: "Too short.", rework=0, then="ask"))
def make(): return team
def shout(brief): return brief.task.upper()
class Maker: pass
number = 7
from os import getcwd
from textwrap import dedent
from subprocess import getoutput
"""
EVIL = 'from pathlib import Path\nPath("owned").touch()\ndef team(): Path("owned").touch()\n'


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "teams.py").write_text(TEAMS)
    (tmp_path / "evil.py").write_text(EVIL)
    return Shell(tmp_path)


def database(shell: Shell) -> Path:
    (found,) = shell.folder.rglob("runs.db")
    return found


def tamper(shell: Shell, column: str, value: Any) -> None:
    with sqlite3.connect(database(shell)) as connection:
        connection.execute(f"UPDATE troupe_turns SET {column} = ?", (value,))  # noqa: S608


def waiting(shell: Shell) -> None:
    assert shell("run", "teams.py:team", "x", "--thread", "t").code == 5
    (shell.folder / "imported").unlink()


DOORS = [
    ["resume", "t"],
    ["approve", "t"],
    ["reject", "t"],
    ["answer", "t", "more"],
    ["rollback", "t", "--to", "draft"],
]


def test_what_was_not_touched_is_gone_on_with(shell: Shell) -> None:
    waiting(shell)
    assert shell("approve", "t").code == 0


@pytest.mark.parametrize("command", DOORS, ids=[one[0] for one in DOORS])
@pytest.mark.parametrize("reference", ["evil.py:team", "os:getcwd", "evil:team", "subprocess:getoutput"])
def test_a_reference_that_somebody_else_wrote_is_not_imported(shell: Shell, reference: str, command: list[str]) -> None:
    waiting(shell)
    where = f"{shell.folder / 'evil.py'}:team" if reference == "evil.py:team" else reference
    tamper(shell, "reference", where)
    done = shell(*command)
    assert done.code != 0 and "nothing was imported" in done.err and "--target" in done.err
    assert not (shell.folder / "owned").exists() and not (shell.folder / "imported").exists()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("workflow", "other", "does not fit"),
        ("signature", None, "is not signed"),
        ("signature", "00" * 32, "does not fit"),
        ("signature", "é", "does not fit"),
        ("thread", "u", "does not fit"),
        ("turn", 2, "does not fit"),
    ],
)
def test_neither_is_one_whose_signature_is_of_something_else(shell: Shell, column: str, value: Any, said: str) -> None:
    waiting(shell)
    tamper(shell, column, value)
    done = shell("resume", "u" if column == "thread" else "t")
    assert done.code != 0 and said in done.err, done.err
    assert not (shell.folder / "imported").exists()


def test_looking_at_such_a_run_shows_what_the_journal_holds(shell: Shell) -> None:
    waiting(shell)
    tamper(shell, "reference", f"{shell.folder / 'evil.py'}:team")
    done = shell("runs", "t")
    assert done.code == 0 and "draft" in done.out and "nothing was imported" in done.err
    assert not (shell.folder / "owned").exists()


def test_whoever_knows_what_ran_can_say_so(shell: Shell) -> None:
    waiting(shell)
    tamper(shell, "signature", None)
    assert shell("approve", "t").code != 0
    assert shell("approve", "t", "--target", "teams.py:team").code == 0


def test_a_pattern_of_ours_needs_no_signature(shell: Shell) -> None:
    assert shell("run", "sequential", "x", "--thread", "t").code == 0
    tamper(shell, "signature", None)
    assert shell("rollback", "t", "--to", "qa-engineer").code == 0
    assert shell("resume", "t").code == 0


def test_a_key_that_is_gone_is_said_with_what_to_do(shell: Shell) -> None:
    waiting(shell)
    (key,) = shell.folder.rglob("signing.key")
    kept = key.read_bytes()
    key.unlink()
    done = shell("resume", "t")
    assert done.code != 0 and "is gone" in done.err and "signing.key" in done.err and "--target" in done.err
    assert not (shell.folder / "imported").exists()
    key.write_bytes(b"short")
    assert "is gone" in shell("resume", "t").err
    key.write_bytes(bytes(32))
    assert "does not fit" in shell("resume", "t").err
    key.write_bytes(kept)
    assert shell("approve", "t").code == 0


def test_a_key_of_the_environment_vouches_on_every_machine(shell: Shell) -> None:
    key = {"TROUPE_DB_KEY": "00" * 32}
    assert shell("run", "teams.py:team", "x", "--thread", "t", **key).code == 5
    assert not list(shell.folder.rglob("signing.key"))
    assert shell("approve", "t", **key).code == 0


def test_the_key_is_made_once_and_its_owner_s_alone() -> None:
    first = signature("t", 1, "a:b", "w")
    assert first == signature("t", 1, "a:b", "w") and first is not None
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600 and len(key_file().read_bytes()) == 32
    assert [one.name for one in key_file().parent.iterdir()] == ["signing.key"]
    key_file().chmod(0o644)
    assert signature("t", 1, "a:b", "w") == first
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    assert signature("t", 1, None, "w") is None


def test_no_two_turns_have_one_signature() -> None:
    parts = [
        ("t", 1, "a:b", "w"),
        ("t", 2, "a:b", "w"),
        ("t1", 1, "a:b", "w"),
        ("t", 1, "a:bw", ""),
        ("t", 1, "a:c", "w"),
    ]
    assert len({signature(*one) for one in parts}) == len(parts)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_where_no_key_can_be_kept_the_run_still_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    assert signature("t", 1, "a:b", "w") is None


def test_a_state_folder_that_is_a_file_still_lets_a_run_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    assert signature("t", 1, "a:b", "w") is None
    with pytest.raises(Unsigned, match="is not signed"):
        must_vouch(Turn("t", 1, "w", "x", {}, reference="a:b"))


def test_control_characters_of_a_forged_reference_are_made_visible() -> None:
    with pytest.raises(Unsigned) as caught:
        must_vouch(Turn("t", 1, "w", "x", {}, reference="\x1b]0;pwn\x07:x", signature="00"))
    assert "\x1b" not in str(caught.value) and "\\x1b" in str(caught.value)


async def test_python_is_refused_and_told_alike(db: Path) -> None:
    team = sequential(agent("draft", "Write."))
    await arun(team, "x", model=scripted(["one"]), db=db, thread="t")
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE troupe_turns SET reference = 'os:getcwd'")
    with pytest.raises(Unsigned, match="target="):
        resume("t", db=db)
    assert resume("t", target=team, model=scripted([]), db=db).answer == "one"


# --- what a reference may name ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["team", "make", "shout"])
def test_teams_and_functions_of_the_file_can_be_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "teams.py").write_text(TEAMS)
    assert resolve(f"teams.py:{name}").name == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("teams.py:getcwd", "a builtin function"),
        ("teams.py:dedent", "is a function of textwrap. Name it where it is defined"),
        ("teams.py:getoutput", "is a function of subprocess"),
        ("teams.py:Maker", "the class Maker"),
        ("teams.py:number", "a int"),
        ("os:getcwd", "a builtin function"),
        ("os:environ", "a _Environ"),
        ("builtins:eval", "a builtin function"),
        ("os:path", "a module"),
        ("subprocess:Popen", "the class Popen"),
    ],
)
def test_nothing_is_called_only_because_it_can_be_imported(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "teams.py").write_text(TEAMS)
    with pytest.raises(SettingsError, match=said):
        resolve(name)


def test_a_function_of_another_module_is_recorded_where_it_is_defined(db: Path) -> None:
    from tests.support.teams import steps_asked

    done = run(step_of_mine, "x", db=db, thread="t")
    assert done.answer == "X"
    with sqlite3.connect(db) as connection:
        (reference,) = connection.execute("SELECT reference FROM troupe_turns").fetchone()
    assert reference == f"{__name__}:step_of_mine"
    assert resolve("tests.support.teams:steps_asked").name == steps_asked.__name__


def step_of_mine(brief: Any) -> str:
    return str(brief.task.upper())
