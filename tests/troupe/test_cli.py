"""`troupe run` and what goes on from it: exit codes, JSON, signals, people."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Done, Shell, eventually
from tests.support.openai_server import OpenAIServer, hang, slow, status
from troupe.cli.ending import program

TEAMS = """
import os, subprocess, time
from troupe import Step, Verdict, gate, sequential

print("printed at import")


def loud(brief):
    print("printed in a step")
    os.write(1, b"written to file 1")
    subprocess.run(["echo", "written by a child"])
    return "the answer"


def escape(brief):
    return "[bold]kept[/bold] \\x1b[31mnot red\\x1b[0m"


def broken(brief):
    raise ValueError("the key sk-abcdefgh12345678 is wrong")


def stuck(brief):
    open("stuck.pid", "w").write("at work")
    time.sleep(60)
    return "too late"


def first(brief):
    return f"first of {brief.task}"


def second(brief):
    return f"second, {brief.feedback}" if brief.feedback else "second"


never = gate(lambda work: Verdict(passed=False, feedback="say why"), rework=0, then="partial")
asks = gate(lambda work: "say why" if "why" not in work.content else True, rework=0, then="ask")

noisy = sequential(Step(loud), name="noisy")
escaping = sequential(Step(escape), name="escaping")
failing = sequential(Step(broken), Step(first), name="failing")
half = sequential(Step(first), Step(second, gate=never), name="half")
asking = sequential(Step(first), Step(second, gate=asks), name="asking")
nested = sequential(Step(first), sequential(Step(second), name="outer"), name="nested")
hanging = sequential(Step(stuck), name="hanging")


def raises(state):
    raise RuntimeError("a node of the user's own")


own_node = sequential(Step(first), name="own_node")
own_node.add_node("mine", raises)
own_node.add_edge("finish", "mine")
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "teams.py").write_text(TEAMS)
    return Shell(tmp_path)


@pytest.fixture
def real(shell: Shell) -> Iterator[OpenAIServer]:
    """A model server on this machine that the shell's commands use."""
    with OpenAIServer(["first", slow("second"), "third", "fourth", "fifth", "sixth"]) as server:
        shell.env |= {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "test"}
        yield server


MODEL = ("--model", "openai:gpt-5-mini")

# --- a run and its answer


def test_a_first_run_needs_no_key_and_ends_in_three_lines_of_what_to_do_next(shell: Shell) -> None:
    done = shell("run", "sequential", "Add sorting")
    assert done.code == 0
    assert done.out.startswith("[simulated]")
    run, new, model = done.err.splitlines()[-3:]
    assert shell(*run.split()[3:]).code == 0  # `troupe runs ID`, as printed
    assert "troupe new" in new
    assert "troupe run sequential 'Add sorting' --model openai:" in model
    assert "simulated: no model is called" in done.err.splitlines()[0]


@pytest.mark.parametrize("called", ["troupe", ".venv/bin/troupe", "/somewhere/troupe/__main__.py"])
def test_commands_are_printed_so_that_the_shell_finds_them(
    called: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [called])
    assert program() == (called if called.startswith(".venv") else "troupe")


def test_a_bare_key_changes_nothing_but_the_last_line(shell: Shell) -> None:
    plain, keyed = (shell("run", "sequential", "hi", "--thread", "t", **env) for env in ({}, {"OPENAI_API_KEY": "k"}))
    assert keyed.err.splitlines()[-1].endswith("simulated; a key is set: add --model openai:gpt-5-mini")
    assert keyed.out == plain.out
    assert keyed.code == 0


def test_a_command_that_is_not_in_a_terminal_writes_one_plain_line_per_event(shell: Shell) -> None:
    done = shell("run", "teams.py:half", "x")
    lines = done.err.splitlines()
    assert any(line.endswith("first: started (1 of 2)") for line in lines)
    assert any("second: gate not passed" in line and "say why" in line for line in lines)
    assert "\x1b" not in done.err + done.out


def test_json_is_one_object_and_nothing_else_whatever_a_users_code_prints(shell: Shell) -> None:
    done = shell("run", "teams.py:noisy", "x", "--json")
    assert done.code == 0
    assert done.json["answer"] == "the answer"
    for said in ("printed at import", "printed in a step", "written to file 1", "written by a child"):
        assert said in done.err
    assert "started" not in done.err


def test_the_object_has_the_documented_fields(shell: Shell) -> None:
    done = shell("run", "teams.py:nested", "x", "--json", "--thread", "my run")
    found = done.json
    assert (found["run"], found["workflow"], found["task"]) == ("my run", "nested", "x")
    assert (found["status"], found["reason"], found["simulated"]) == ("completed", None, True)
    assert list(found["deliverables"]) == ["first", "outer", "outer/second"]
    assert {"agent", "status", "content", "summary", "score", "rounds", "attempts", "usage"} <= set(
        found["deliverables"]["first"]
    )
    assert set(found["usage"]["tokens"]) == {"input", "output", "total"}
    assert {"usd", "seconds", "calls"} <= set(found["usage"])
    assert (found["missing"], found["waiting"]) == ([], [])


def test_the_task_can_come_from_standard_input(shell: Shell) -> None:
    done = shell("run", "teams.py:half", "-", "--json", input="from a pipe\n")
    assert done.json["task"] == "from a pipe"
    assert shell("run", "teams.py:half", "-", input=" \n").code == 2


def test_out_writes_a_file_per_step_and_the_result(shell: Shell) -> None:
    assert shell("run", "teams.py:nested", "x", "--out", "a/b").code == 0
    files = sorted(str(one.relative_to(shell.folder / "a/b")) for one in (shell.folder / "a/b").rglob("*.*"))
    assert files == ["first.md", "outer.md", "outer/second.md", "result.json"]
    assert (shell.folder / "a/b/first.md").read_text() == "first of x\n"
    assert json.loads((shell.folder / "a/b/result.json").read_text())["status"] == "completed"


def test_a_thread_that_exists_gets_its_next_turn(shell: Shell) -> None:
    for task in ("one", "two"):
        shell("run", "teams.py:half", task, "--thread", "t")
    last, every = shell("runs", "t", "--json").json, shell("runs", "t", "--history", "--json").json
    assert (last["task"], last["turn"]) == ("two", 2)
    assert [one["task"] for one in every["turns"]] == ["one", "two"]


def test_what_a_model_or_function_says_cannot_drive_the_terminal(shell: Shell) -> None:
    code, seen = shell.terminal("run", "teams.py:escaping", "x")
    assert code == 0
    assert r"[bold]kept[/bold] \x1b[31mnot red\x1b[0m" in seen
    assert "\x1b[31mnot red" not in seen


def test_a_terminal_shows_a_live_picture_and_plain_asks_for_lines(shell: Shell) -> None:
    _, live = shell.terminal("run", "teams.py:half", "x")
    assert "\x1b[?25l" in live and "\x1b[?25h" in live  # the cursor is hidden, and shown again
    assert "✓" in live
    _, plain = shell.terminal("run", "teams.py:half", "x", "--plain")
    assert "\x1b[?25l" not in plain
    assert "first: started (1 of 2)" in plain


def test_no_color_is_honoured(shell: Shell) -> None:
    _, coloured = shell.terminal("run", "teams.py:half", "x")
    _, bare = shell.terminal("run", "teams.py:half", "x", NO_COLOR="1")
    assert "\x1b[32m" in coloured or "\x1b[33m" in coloured
    assert not any(f"\x1b[{colour}m" in bare for colour in range(30, 48))


def test_a_reader_who_leaves_is_no_error(shell: Shell) -> None:
    with shell.fresh("run", "teams.py:half", "x") as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(30) == 3
    assert "Traceback" not in err and "BrokenPipe" not in err


# --- exit codes


@pytest.mark.parametrize(
    ("team", "options", "code", "status", "kind"),
    [
        ("failing", (), 1, "failed", "error"),
        ("half", (), 3, "partial", "gate"),
        ("asking", (), 5, "waiting", None),
    ],
)
def test_the_exit_code_says_how_the_run_ended(
    shell: Shell, team: str, options: tuple[str, ...], code: int, status: str, kind: str | None
) -> None:
    done = shell("run", f"teams.py:{team}", "x", "--json", *options)
    assert (done.code, done.json["status"]) == (code, status)
    assert (done.json["reason"] or {"kind": None})["kind"] == kind
    assert "sk-abcdefgh" not in done.out + done.err


def test_a_run_that_a_budget_ends_is_partial_because_of_a_limit(shell: Shell) -> None:
    with OpenAIServer(["one", "two", "three", "four", "five"]) as server:
        env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        done = shell("run", "sequential", "x", *MODEL, "--budget", "0.0003", "--json", **env)
    assert (done.code, done.json["status"], done.json["reason"]["kind"]) == (4, "partial", "limit")


def test_a_server_that_is_down_fails_the_run_and_says_what_to_check(shell: Shell) -> None:
    with OpenAIServer(["x"]) as server:
        url = server.base_url
    env = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k", "TROUPE_RETRIES": "0"}
    done = shell("run", "sequential", "x", *MODEL, **env)
    assert done.code == 1
    assert "base URL" in done.err and "Traceback" not in done.err


def test_a_users_own_node_that_raises_still_gives_the_object(shell: Shell) -> None:
    done = shell("run", "teams.py:own_node", "x", "--json")
    assert done.code == 1
    assert (done.json["status"], done.json["reason"]["kind"]) == ("failed", "error")
    assert "a node of the user's own" in done.err


def test_a_function_that_cannot_be_cancelled_does_not_hold_the_process_after_the_deadline(shell: Shell) -> None:
    began = time.monotonic()
    done = shell("run", "teams.py:hanging", "x", "--deadline", "1", "--json")
    assert time.monotonic() - began < 30
    assert done.json["reason"]["kind"] == "limit"


BAD: list[tuple[str, list[str], str]] = [
    ("an unknown workflow", ["run", "sequental", "x"], "Did you mean 'sequential'?"),
    ("no such file", ["run", "nofile.py:team", "x"], "There is no file"),
    ("no such name in a file", ["run", "teams.py:hlaf", "x"], "Did you mean 'half'?"),
    ("no such module", ["run", "nowhere.at_all:team", "x"], "cannot be imported"),
    ("an empty task", ["run", "sequential", "  "], "The task is empty"),
    ("no task", ["run", "sequential"], "Missing argument"),
    ("no model", ["run", "sequential", "x", "--model", "gpt"], "provider:name"),
    ("a missing key", ["run", "sequential", "x", *MODEL], "OPENAI_API_KEY"),
    ("a negative budget", ["run", "sequential", "x", "--budget", "-1"], "greater than or equal to 0"),
    ("no deadline at all", ["run", "sequential", "x", "--deadline", "0"], "greater than 0"),
    ("no database", ["run", "sequential", "x", "--db", "/proc/none/runs.db"], "--db"),
    ("a database of another kind", ["run", "sequential", "x", "--db", "text.db"], "--db"),
    ("a folder that is a file", ["run", "sequential", "x", "--out", "text.db/x"], "--out"),
    ("an empty thread", ["run", "sequential", "x", "--thread", ""], "thread"),
    ("a role that does not exist", ["show", "qa-enginer"], "Did you mean 'qa-engineer'?"),
    ("a run that does not exist", ["resume", "nope"], "nope"),
    ("a step of no run", ["show", "nope", "step"], "nope"),
    ("rollback of no run", ["rollback", "nope", "--to", "x"], "nope"),
    ("rollback to nothing", ["rollback", "nope"], "Missing option"),
    ("an answer of no text", ["answer", "nope", " "], "empty"),
    ("an edit that is no file", ["approve", "nope", "--edit", "none.txt"], "none.txt"),
    ("a picture of another kind", ["draw", "sequential", "-o", "x.pdf"], ".svg"),
    ("an unknown command", ["walk"], "No such command"),
    ("an unknown option", ["list", "--yaml"], "No such option"),
    ("history of nothing", ["runs", "--history"], "troupe runs RUN --history"),
]


def test_every_bad_input_is_exit_code_2_a_clear_message_and_nothing_on_standard_output(shell: Shell) -> None:
    (shell.folder / "text.db").write_text("not a database " * 100)
    for (what, _, said), done in zip(BAD, shell.all([args for _, args, _ in BAD]), strict=True):
        assert done.code == 2, (what, done)
        assert said in " ".join(done.err.replace("│", "").split()), (what, done.err)
        assert done.out == "", what
        assert "Traceback" not in done.err, what


def test_bad_settings_and_roles_are_named_with_their_file(shell: Shell) -> None:
    cases = {
        "model = [": ("troupe.toml", "not valid TOML"),
        "modell = 'x'": ("modell", "Known settings"),
        "[tiers]\nprime = 'simulated'": ("prime", "There are"),
        "roles = 'nowhere'": ("nowhere", "no folder"),
        "roles = 'roles'": ("bad.md", "not closed"),
    }
    (shell.folder / "roles").mkdir()
    (shell.folder / "roles/bad.md").write_text("---\nname: x\n")
    for text, said in cases.items():
        (shell.folder / "troupe.toml").write_text(text)
        done = shell("list")
        assert done.code == 2, (text, done)
        assert all(one in done.err for one in said), (text, done.err)


# --- signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_call_in_flight_finish_and_the_printed_command_goes_on(
    shell: Shell, real: OpenAIServer, number: int, code: int
) -> None:
    process = shell.start("run", "sequential", "x", *MODEL, "--db", "my runs.db")
    real.wait_for_requests(2, 30)
    process.signal(number)
    time.sleep(0.3)
    real.release()
    done = process.end()
    assert done.code == code
    assert len(real.requests) == 2  # no new call was started
    command = done.err.splitlines()[-1]
    assert command.startswith("go on      troupe resume ") and command.endswith("--db 'my runs.db'")
    run = command.split()[4]
    listed = shell("runs", "--db", "my runs.db", "--json").json["runs"]
    assert [(one["run"], one["status"]) for one in listed] == [(run, "stopped")]
    resumed = shell("resume", run, "--db", "my runs.db", "--json")
    assert (resumed.code, resumed.json["status"], resumed.json["answer"]) == (0, "completed", "fifth")
    assert resumed.json["usage"]["calls"] == 5 == len(real.requests)  # the second was recorded, and is not asked again


def test_a_stopped_run_gives_its_object(shell: Shell, real: OpenAIServer) -> None:
    process = shell.start("run", "sequential", "x", *MODEL, "--json", "--thread", "t")
    real.wait_for_requests(2, 30)
    process.signal(signal.SIGTERM)
    time.sleep(0.3)
    real.release()
    done = process.end()
    assert done.code == 143
    assert (done.json["run"], done.json["status"], done.json["reason"]["kind"]) == ("t", "stopped", "stopped")


def test_a_second_signal_ends_at_once_and_nothing_finished_is_lost(shell: Shell) -> None:
    with OpenAIServer(["first", hang()]) as server:
        shell.env |= {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "test"}
        process = shell.start("run", "sequential", "x", *MODEL, "--thread", "t")
        server.wait_for_requests(2, 30)
        process.signal(signal.SIGINT)
        time.sleep(0.5)
        began = time.monotonic()
        process.signal(signal.SIGINT)
        done = process.end()
        assert time.monotonic() - began < 2
    assert done.code == 130
    assert "troupe resume t" in done.err
    found = shell("runs", "t", "--json").json
    assert (found["status"], list(found["deliverables"])) == ("stopped", ["ai-researcher"])


def test_a_function_that_cannot_be_cancelled_does_not_hold_a_stopped_process(shell: Shell) -> None:
    process = shell.start("run", "teams.py:hanging", "x")
    eventually((shell.folder / "stuck.pid").exists)
    began = time.monotonic()
    process.signal(signal.SIGINT)
    done = process.end()
    assert done.code == 130
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_the_run_began_is_no_traceback(shell: Shell, number: int, code: int) -> None:
    (shell.folder / "slow.py").write_text("import time\nopen('loading', 'w')\ntime.sleep(1)\nfrom teams import half")
    process = shell.start("run", "slow.py:half", "x")
    eventually((shell.folder / "loading").exists)
    process.signal(number)
    done = process.end()
    assert (done.code, "Traceback" in done.err, done.out) == (code, False, "")
    assert shell("runs", "--json").json["runs"] == []


def test_a_run_whose_process_was_killed_is_shown_as_stopped_and_can_be_resumed(
    shell: Shell, real: OpenAIServer
) -> None:
    process = shell.start("run", "sequential", "x", *MODEL, "--thread", "t")
    real.wait_for_requests(2, 30)
    assert [one["status"] for one in shell("runs", "--json").json["runs"]] == ["running"]
    process.signal(signal.SIGKILL)
    assert process.end().code == -signal.SIGKILL
    real.release()
    (listed,) = shell("runs", "--json").json["runs"]
    assert listed["status"] == "stopped" and listed["usage"]["calls"] == 1
    assert shell("resume", "t").code == 0


# --- people


def waiting(shell: Shell) -> Any:
    done = shell("run", "teams.py:asking", "x", "--thread", "t", "--json")
    assert done.code == 5
    return done.json["waiting"][0]


def test_a_run_that_waits_prints_the_question_the_work_and_the_commands(shell: Shell) -> None:
    done = shell("run", "teams.py:asking", "x", "--thread", "t")
    assert (done.code, done.out) == (5, "")
    for said in ("second", "say why", "troupe approve t", "troupe answer t", "troupe reject t -m", "--edit FILE"):
        assert said in done.err
    again = shell("resume", "t")
    assert again.code == 5 and "troupe approve t" in again.err


def answered(shell: Shell, *args: str) -> Done:
    waiting(shell)
    return shell(*args, "--json")


def test_approve_accepts_the_work(shell: Shell) -> None:
    asked = waiting(shell)
    wrong = shell("approve", "t", "not-an-id")
    assert wrong.code == 2 and asked["id"] in wrong.err
    done = shell("approve", "t", asked["id"], "--json")
    assert (done.code, done.json["answer"]) == (0, "second")
    late = shell("approve", "t")
    assert late.code == 2 and "asks nothing" in late.err


def test_an_edit_takes_the_place_of_the_work(shell: Shell) -> None:
    (shell.folder / "mine.txt").write_text("my own words")
    done = answered(shell, "approve", "t", "--edit", "mine.txt")
    assert (done.code, done.json["answer"].strip()) == (0, "my own words")


def test_an_answer_goes_back_to_the_author(shell: Shell) -> None:
    done = answered(shell, "answer", "t", "tell them why")
    assert (done.code, done.json["answer"]) == (0, "second, tell them why")
    assert done.json["deliverables"]["second"]["rounds"] == 2


def test_a_rejection_ends_the_run_with_its_reason(shell: Shell) -> None:
    done = answered(shell, "reject", "t", "-m", "not what I asked for")
    assert done.code in (1, 3)
    assert (done.json["reason"]["kind"], "not what I asked for" in done.json["reason"]["message"]) == ("person", True)


def test_rollback_redoes_a_step_and_what_follows(shell: Shell) -> None:
    shell("run", "teams.py:nested", "x", "--thread", "t")
    done = shell("rollback", "t", "--to", "outer", "--json")
    rounds = {name: one["rounds"] for name, one in done.json["deliverables"].items()}
    assert (done.code, rounds["first"], rounds["outer"]) == (0, 1, 2)
    wrong = shell("rollback", "t", "--to", "outter")
    assert wrong.code == 2 and "Did you mean 'outer'?" in wrong.err


def test_a_real_run_goes_on_with_its_own_models_and_never_simulated(shell: Shell) -> None:
    with OpenAIServer(["first", status(401, "not today"), "second", "third", "fourth", "fifth"]) as server:
        env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "test", "TROUPE_RETRIES": "0"}
        failed = shell("run", "sequential", "x", *MODEL, "--thread", "t", "--json", **env)
        assert (failed.code, failed.json["simulated"]) == (3, False)
        keyless = shell("rollback", "t", "--to", "specialist-engineer", "--json")
        assert (keyless.code, keyless.out) == (2, "")
        assert "OPENAI_API_KEY" in keyless.err
        done = shell("rollback", "t", "--to", "specialist-engineer", "--json", **env)
        assert (done.code, done.json["simulated"], done.json["answer"]) == (0, False, "fifth")
