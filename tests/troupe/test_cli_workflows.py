"""Workflows on the command line: by name and by file, looked at before they run, and gone on with after a crash."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.support.command import ROOT, Shell
from tests.support.openai_server import OpenAIServer, Received, Reply, slow, text
from troupe.graphs.workflow import Workflow, schema
from troupe.graphs.workflows import template

TWO = """
name: two
phases:
  - {name: plan, agent: product-manager, objective: Plan it.}
  - name: build
    kind: parallel
    steps:
      - {name: api, agent: python-engineer, objective: Build the API.}
      - {name: page, agent: frontend-engineer, objective: Build the page.}
  - {name: docs, agent: technical-writer, objective: Describe it.}
"""
WRONG = "name: wrong\nphases:\n  - qa-enginer\n  - {agent: git-helper, needs: [plan]}\n  - {agent: git-helper}\n"
PAGE = (ROOT / "docs/workflows.md").read_text("utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "two.yaml").write_text(TWO)
    (tmp_path / "wrong.yml").write_text(WRONG)
    return Shell(tmp_path)


def test_the_templates_are_listed_and_run_by_name(shell: Shell) -> None:
    listed = shell("list", "--json").json
    assert [one["name"] for one in listed["workflows"]] == ["aiml", "enterprise", "fullstack"]
    done = shell("run", "fullstack", "a shop for plants", "--thread", "t", "--json")
    assert (done.code, done.json["workflow"], len(done.json["deliverables"])) == (0, "fullstack", 13)
    assert "fullstack" in shell("runs").out
    wrong = shell("run", "fulstack", "x")
    assert wrong.code == 2 and "Did you mean 'fullstack'?" in wrong.err and "file.yaml" in wrong.err


def test_a_workflow_written_by_hand_from_the_documentation_runs_at_first_try(shell: Shell) -> None:
    (example,) = EXAMPLES
    (shell.folder / "release.yaml").write_text(example)
    jsonschema.validate(yaml.safe_load(example), schema())
    checked, ran, drawn = shell.all(
        [
            ["validate", "release.yaml", "--json"],
            ["run", "release.yaml", "Let customers export their orders", "--json"],
            ["draw", "release.yaml", "-o", "release.svg"],
        ]
    )
    assert checked.json["at_once"] == ["story"]
    assert (ran.code, ran.json["status"]) == (0, "completed")
    assert list(ran.json["deliverables"]) == ["story", "api", "page", "test", "docs"]
    assert drawn.code == 0 and "<svg" in (shell.folder / "release.svg").read_text()


def test_validate_says_who_works_when(shell: Shell) -> None:
    done = shell("validate", "two.yaml")
    assert done.code == 0 and "4 steps; at once: plan" in done.err
    assert re.search(r"docs +technical-writer +api, page", done.out)
    told = shell("validate", "two.yaml", "--json").json
    assert (told["ok"], told["name"], told["at_once"]) == (True, "two", ["plan"])
    assert {one["name"]: one["needs"] for one in told["steps"]}["page"] == ["plan"]


def test_validate_says_all_that_is_wrong_with_lines_and_run_says_the_same(shell: Shell) -> None:
    done, told, ran = shell.all(
        [["validate", "wrong.yml"], ["validate", "wrong.yml", "--json"], ["run", "wrong.yml", "x"]]
    )
    assert (done.code, told.code, ran.code, done.out, ran.out) == (2, 2, 2, "", "")
    assert done.err == ran.err
    for said in (
        "wrong.yml:3: Unknown agent 'qa-enginer'. Did you mean 'qa-engineer'?",
        "wrong.yml:4:",
        "wrong.yml:5:",
    ):
        assert said in done.err
    assert (told.json["ok"], [one["line"] for one in told.json["complaints"]]) == (False, [3, 4, 5])
    assert shell("runs", "--json").json["runs"] == []


def test_what_is_no_file_is_a_usage_error(shell: Shell) -> None:
    (shell.folder / "folder.yaml").mkdir()
    for name in ("none.yaml", "folder.yaml"):
        for done in shell.all([["validate", name], ["validate", name, "--json"], ["run", name, "x"], ["draw", name]]):
            assert done.code == 2 and "Traceback" not in done.err
            assert name in done.err + done.out


def test_the_schema_is_printed_and_written(shell: Shell) -> None:
    assert shell("schema").json == schema()
    assert shell("schema", "-o", "workflow.schema.json").code == 0
    jsonschema.Draft202012Validator.check_schema(yaml.safe_load((shell.folder / "workflow.schema.json").read_text()))
    assert shell("schema", "-o", "none/schema.json").code == 2


def test_it_is_drawn_from_its_file(shell: Shell) -> None:
    drawn = shell("draw", "two.yaml").out
    assert "plan --> api" in drawn and "page --> docs" in drawn


def killed(shell: Shell) -> tuple[OpenAIServer, list[str]]:
    """A run whose process died while page was at work, when plan and api were there."""

    def answers(asked: Received) -> Reply:
        return slow(text("late")) if "Build the page." in asked.user else text(f"said {asked.index}")

    server = OpenAIServer(answers).__enter__()
    shell.env |= {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
    process = shell.start("run", "two.yaml", "x", "--model", "openai:gpt-test", "--thread", "t")
    server.wait_for_requests(3, 60)
    for one in server.requests:
        if "Build the page." not in one.user:
            one.wait()
    process.signal(signal.SIGKILL)
    process.end()
    server.release()
    return server, [one.user for one in server.requests]


def test_a_run_of_a_file_is_gone_on_with_from_anywhere_after_a_kill(shell: Shell) -> None:
    server, before = killed(shell)
    try:
        (shell.folder / "elsewhere").mkdir()
        done = Shell(shell.folder / "elsewhere", {**shell.env, "HOME": str(shell.folder / "home"),
                     "XDG_STATE_HOME": str(shell.folder / "home/state")})("resume", "t", "--json")  # fmt: skip
        assert (done.code, done.json["status"]) == (0, "completed"), done.err
        after = [one.user for one in server.requests][len(before) :]
        assert not [one for one in after if "# Your part\nPlan it." in one], "what was recorded is not paid for again"
        assert sum("# Your part\nDescribe it." in one for one in after) == 1
    finally:
        server.close()


def test_a_file_that_was_changed_is_refused_with_what_changed(shell: Shell) -> None:
    server, _ = killed(shell)
    server.close()
    file = shell.folder / "two.yaml"
    file.write_text(
        TWO.replace("Describe it.", "Describe it well.").replace("  - {name: docs,", "  - {name: docs, needs: [api],")
    )
    refused = shell("resume", "t")
    assert refused.code == 2 and "step 'docs': other needs, another objective" in refused.err
    assert "--accept-changes" in refused.err
    file.write_text(WRONG)
    broken = shell("resume", "t")
    assert broken.code == 2 and "two.yaml:3: Unknown agent 'qa-enginer'" in broken.err
    file.unlink()
    gone = shell("resume", "t")
    assert gone.code == 2 and "two.yaml cannot be read" in gone.err


def test_a_workflow_that_comes_with_troupe_is_shown_as_yaml_to_begin_from(shell: Shell, tmp_path: Path) -> None:
    shown = shell("show", "fullstack").out
    assert Workflow.parse(shown) == template("fullstack")
    (tmp_path / "mine.yaml").write_text(shown.replace("name: fullstack", "name: mine", 1))
    assert shell("validate", str(tmp_path / "mine.yaml")).code == 0
    assert shell("show", "fullstack", "--json").json["name"] == "fullstack"
    assert "nothing to change" in shell("optimize", "fullstack").out
    assert "Did you mean 'fullstack'?" in shell("show", "fulstack").err
