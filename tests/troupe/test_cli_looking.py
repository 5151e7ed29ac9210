"""`troupe list`, `show`, `draw` and `runs`: looking at what there is and at what was done."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.command import Shell
from tests.support.openai_server import OpenAIServer, data, status, tool_call

TEAM = """
from troupe import Step, agent, gate, review, sequential


def lookup(order: str) -> str:
    "Look an order up."
    return f"order {order} has shipped, password=hunter22"


clerk = agent("clerk", "Answer.", tools=[lookup])
judge = agent("judge", "Judge.")
team = sequential(Step(clerk, name="reply", gate=gate(review(by=judge))), name="desk")
outer = sequential(team, name="outer")
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "desk.py").write_text(TEAM)
    return Shell(tmp_path)


def test_list_names_patterns_and_agents_also_those_of_your_own(shell: Shell) -> None:
    (shell.folder / "roles").mkdir()
    (shell.folder / "roles/triage.md").write_text("---\ndescription: Sorts tickets\ntier: economy\n---\nSort.")
    (shell.folder / "troupe.toml").write_text('roles = "roles"')
    found = shell("list", "--json").json
    assert "sequential" in [one["name"] for one in found["patterns"]]
    agents = {one["name"]: one for one in found["agents"]}
    assert len(agents) == 22
    assert agents["triage"]["title"] == "Sorts tickets"
    assert "triage" in shell("list").out


def test_show_gives_a_role_and_its_prompt(shell: Shell) -> None:
    role = shell("show", "qa-engineer", "--json").json
    assert (role["name"], role["tier"]) == ("qa-engineer", "standard")
    assert "QA engineer" in role["prompt"]
    assert role["prompt"] in shell("show", "qa-engineer").out


def test_show_tells_exactly_what_a_step_sent_and_received_per_attempt_without_secrets(shell: Shell) -> None:
    script = {
        "Judge.": [data({"passed": True, "score": 0.9})],
        "Answer.": [
            status(500, "it broke, sk-abcdefgh12345678"),
            tool_call("lookup", {"order": "42"}),
            "It \x1b[31mshipped.",
        ],
    }
    with OpenAIServer(script) as server:
        env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        done = shell("run", "desk.py:team", "Where is 42?", "--model", "openai:gpt-5-mini", "--thread", "t", **env)
        assert done.code == 0, done.err
    found = shell("show", "t", "reply", "--json")
    told = found.json["exchanges"]
    assert [(one["kind"], one["purpose"], one["attempt"]) for one in told] == [
        ("failure", "work", 1),
        ("request", "work", 2),
        ("tool", "work", 1),
        ("request", "work", 1),
        ("request", "review", 1),
    ]
    broken, asked, looked, answered, _ = told
    assert "it broke" in broken["received"]["message"]
    assert [one["role"] for one in asked["sent"]["messages"]] == ["system", "user"]
    assert "Where is 42?" in asked["sent"]["messages"][1]["text"]
    assert asked["received"]["tool_calls"] == [{"name": "lookup", "args": {"order": "42"}}]
    assert looked["sent"]["args"] == {"order": "42"}
    assert answered["received"]["text"] == "It \x1b[31mshipped."
    assert answered["tokens"]["input"] > 0 and answered["usd"] > 0
    text = shell("show", "t", "reply")
    for one in (found.out, text.out):
        assert "sk-abcdefgh" not in one and "hunter22" not in one and "[redacted]" in one
    assert "\x1b" not in text.out
    for said in ("attempt 1, failed", "lookup(", "has shipped", r"It \x1b[31mshipped."):
        assert said in text.out


def test_show_finds_the_steps_of_nested_graphs_and_of_earlier_turns(shell: Shell) -> None:
    for task in ("one", "two"):
        assert shell("run", "desk.py:outer", task, "--thread", "t").code == 0
    inner = shell("show", "t", "desk/reply", "--json").json
    assert {one["purpose"] for one in inner["exchanges"]} == {"work", "review"}
    assert "two" in inner["exchanges"][0]["sent"]["messages"][1]["text"]
    earlier = shell("show", "t", "desk/reply", "--turn", "1", "--json").json
    assert "one" in earlier["exchanges"][0]["sent"]["messages"][1]["text"]
    wrong = shell("show", "t", "desk/repli")
    assert wrong.code == 2 and "Did you mean 'desk/reply'?" in wrong.err
    assert shell("show", "t", "desk/reply", "--turn", "9").code == 2


def test_show_of_a_run_alone_is_what_runs_says_of_it(shell: Shell) -> None:
    assert shell("run", "desk.py:team", "x", "--thread", "t").code == 0
    assert shell("show", "t").out == shell("runs", "t").out
    wrong = shell("show", "qa-enginer")
    assert wrong.code == 2 and "Did you mean 'qa-engineer'?" in wrong.err and "troupe runs" in wrong.err


def test_a_run_shows_what_its_pattern_kept(shell: Shell) -> None:
    for pattern in ("hierarchical", "mesh"):
        assert shell("run", pattern, "x", "--thread", pattern).code == 0
    levels = shell("show", "hierarchical").out
    assert "D1 (by sr-architect; may be changed by: strategic)" in levels
    assert "P1 (specialist-engineer.1, given by integration-architect)" in levels
    assert "P1, met: The objective is reached." in levels
    assert "the hub's choice (" in shell("show", "mesh").out


def test_draw_writes_a_self_contained_svg_or_mermaid(shell: Shell) -> None:
    assert shell("draw", "desk.py:outer", "-o", "team.svg").code == 0
    text = (shell.folder / "team.svg").read_text()
    assert ElementTree.fromstring(text).tag.endswith("svg")  # noqa: S314 - our own text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert shell("draw", "desk.py:outer", "-o", "team.mmd").code == 0
    printed = shell("draw", "desk.py:outer").out
    assert printed.startswith("flowchart") and printed == (shell.folder / "team.mmd").read_text()
    drawn = shell("draw", "desk.py:outer", "--json").json
    assert "reply" in [one["label"] for one in drawn["cards"]]
    assert shell("draw", "sequential", "-o", "nowhere/x.svg").code == 2


def test_runs_lists_every_run_newest_first(shell: Shell) -> None:
    nothing = shell("runs", "--json")
    assert nothing.json == {"runs": [], "bytes": 0, "database_bytes": 0}
    assert not (shell.folder / "home/state").exists()  # looking makes no database
    for thread in ("a", "b"):
        shell("run", "desk.py:team", f"task of {thread}", "--thread", thread)
    listed = shell("runs", "--json").json["runs"]
    assert [(one["run"], one["status"], one["simulated"]) for one in listed] == [
        ("b", "completed", True),
        ("a", "completed", True),
    ]
    table = shell("runs").out.splitlines()
    assert table[0].split()[:4] == ["RUN", "WORKFLOW", "TURN", "STATUS"]
    assert "task of b" in table[1] and "simulated" in table[1]


def test_a_runs_id_and_status_are_whole_in_a_narrow_terminal(shell: Shell) -> None:
    shell("run", "desk.py:team", "a long task " * 20, "--thread", "20260101-101010-abcdef")
    _, seen = shell.terminal("runs", COLUMNS="62")
    assert "20260101-101010-abcdef" in seen and "completed" in seen
    assert "…" in seen


def test_runs_of_one_run_shows_what_the_run_printed(shell: Shell) -> None:
    ran = shell("run", "desk.py:outer", "x", "--thread", "t", "--json").json
    found = shell("runs", "t", "--json").json
    assert {name: found[name] for name in ran} == ran
    text = shell("runs", "t").out
    assert "desk/reply" in text and ran["answer"].splitlines()[0] in text


def test_a_run_whose_graph_is_gone_is_shown_from_the_journal(shell: Shell) -> None:
    shell("run", "desk.py:team", "x", "--thread", "t")
    (shell.folder / "desk.py").unlink()
    done = shell("runs", "t", "--json")
    assert done.code == 0
    assert (done.json["status"], list(done.json["deliverables"])) == ("completed", ["reply"])
    assert done.json["answer"].startswith("[simulated]")
    assert "desk.py" in done.err
    assert shell("show", "t", "reply").code == 0
    assert shell("resume", "t").code == 2


def test_a_waiting_run_whose_graph_is_gone_still_shows_its_question(shell: Shell) -> None:
    text = TEAM.replace("review(by=judge)", "lambda work: False, rework=0, then='ask'")
    (shell.folder / "asks.py").write_text(text)
    asked = shell("run", "asks.py:team", "x", "--thread", "t", "--json").json["waiting"]
    (shell.folder / "asks.py").unlink()
    assert shell("runs", "t", "--json").json["waiting"] == asked


def test_a_deleted_or_foreign_database_is_said_so(shell: Shell) -> None:
    (shell.folder / "foreign.db").write_bytes(b"no database at all" * 100)
    done = shell("runs", "--db", "foreign.db")
    assert (done.code, done.out) == (2, "")
    assert "foreign.db" in done.err


def test_draw_folds_and_writes_what_the_files_name_says(shell: Shell) -> None:
    assert "desk" in shell("draw", "desk.py:outer").out and "reply" in shell("draw", "desk.py:outer").out
    folded = shell("draw", "desk.py:outer", "--fold", "desk")
    assert "desk" in folded.out and "reply" not in folded.out
    assert shell("draw", "desk.py:outer", "--fold", "all", "-o", "outer.json").code == 0
    cards = json.loads((shell.folder / "outer.json").read_text("utf-8"))["cards"]
    assert [card["kind"] for card in cards if card["label"] == "desk"] == ["frame"] and all(
        card["box"] for card in cards
    )
    unknown = shell("draw", "desk.py:outer", "--fold", "dusk")
    assert unknown.code == 2 and "desk" in unknown.err
    pytest.importorskip("resvg_py")
    assert shell("draw", "desk.py:outer", "-o", "outer.png").code == 0
    assert (shell.folder / "outer.png").read_bytes().startswith(b"\x89PNG")
    assert shell("draw", "desk.py:outer", "-o", "outer.gif").code == 2
