"""Roles: from code, and from folders of Markdown files as coding agents have them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from troupe import BuildError, Role, SettingsError, UnknownName, agent, read_role, read_roles, run, scripted, sequential
from troupe.agents.roster import find_role, known_roles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "team").mkdir()
    return tmp_path / "team"


def written(folder: Path, text: str, name: str = "triage.md") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


FULL = """---
name: triage
description: Sorts incoming tickets
tools: lookup_order, close_ticket
model: haiku
skills: [sorting, "customer care"]
backups: qa-engineer, git-helper
level: tactical
color: blue
permissions: {allow: [everything]}
1: a key that is no text
---

Sort the ticket into one of: bug, wish, question.

---
A line of dashes below is part of the prompt.
"""


def test_a_file_with_front_matter_is_a_role(folder: Path) -> None:
    role = read_role(written(folder, FULL))
    assert (role.name, role.title, role.tier, role.level) == ("triage", "Sorts incoming tickets", "economy", "tactical")
    assert role.tools == ("lookup_order", "close_ticket")
    assert role.skills == ("sorting", "customer care")
    assert role.backups == ("qa-engineer", "git-helper")
    assert role.prompt.startswith("Sort the ticket") and role.prompt.endswith("part of the prompt.")
    assert role.model is None


@pytest.mark.parametrize("tools", ["a, b", "[a, b]", "\n  - a\n  - b", "a,b,"])
def test_tools_are_a_list_or_a_text_with_commas(tools: str, folder: Path) -> None:
    assert read_role(written(folder, f"---\ntools: {tools}\n---\nDo.")).tools == ("a", "b")


@pytest.mark.parametrize("field", ["skills", "backups"])
def test_so_are_skills_and_backups(field: str, folder: Path) -> None:
    for text in ("a b, c", "[a b, c]"):
        assert getattr(read_role(written(folder, f"---\n{field}: {text}\n---\nDo.")), field) == ("a b", "c")


@pytest.mark.parametrize(
    ("front", "tier", "model"),
    [
        ("", "standard", None),
        ("model: haiku", "economy", None),
        ("model: sonnet", "standard", None),
        ("model: opus", "premium", None),
        ("model: inherit", "standard", None),
        ("model: premium", "premium", None),
        ("model: some-model-of-another-tool", "standard", None),
        ("model: 5", "standard", None),
        ("model: openai:gpt-5-mini", "standard", "openai:gpt-5-mini"),
        ("model: openai:gpt-5-mini\ntier: economy", "economy", "openai:gpt-5-mini"),
        ("tier: premium\nmodel: haiku", "premium", None),
    ],
)
def test_the_model_of_the_front_matter_is_a_tier_or_a_spec(
    front: str, tier: str, model: str | None, folder: Path
) -> None:
    role = read_role(written(folder, f"---\n{front}\n---\nDo."))
    assert (role.tier, role.model) == (tier, model)


@pytest.mark.parametrize(
    "text", ["Do it.", "---\n---\nDo it.", "\ufeff---\ntitle: x\n---\r\nDo it.\r\n", "---\nname:\n---\nDo it."]
)
def test_without_a_name_the_file_has_the_role_its_own(text: str, folder: Path) -> None:
    role = read_role(written(folder, text))
    assert (role.name, role.prompt) == ("triage", "Do it.")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("---\nname: triage\nDo.", "not closed"),
        ("---\nname: [triage\n---\nDo.", "not valid YAML"),
        ("---\nname: !!python/object/apply:os.system ['true']\n---\nDo.", "not valid YAML"),
        ("---\ndate: 2001-99-99\n---\nDo.", "not valid YAML"),
        ("---\n- a list\n---\nDo.", "keys and values"),
        ("---\nname: triage\n---\n\n", "no prompt"),
        ("", "no prompt"),
        ("---\nname: a/b\n---\nDo.", "name"),
        ("---\ntier: cheap\n---\nDo.", "tier.*economy, premium, standard"),
        ("---\nlevel: divine\n---\nDo.", "level"),
        ("---\ntools: 5\n---\nDo.", "tools"),
        ("---\nname: [a, b]\n---\nDo.", "name"),
    ],
)
def test_what_is_no_role_is_refused_with_the_file_and_the_reason(text: str, complaint: str, folder: Path) -> None:
    path = written(folder, text)
    with pytest.raises(SettingsError, match=f"(?s){complaint}") as caught:
        read_role(path)
    assert str(path) in str(caught.value)


def test_front_matter_runs_no_code(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    written(folder, f"---\nname: !!python/object/apply:pathlib.Path.touch [{canary}]\n---\nDo.")
    with pytest.raises(SettingsError):
        read_roles(folder)
    assert not canary.exists()


def test_a_file_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "triage.md").write_bytes(b"\xff\xfe\x00prompt")
    with pytest.raises(SettingsError, match="Cannot read the role"):
        read_role(folder / "triage.md")


def test_a_file_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match="Cannot read the role"):
        read_role(folder / "nobody.md")


def test_a_folder_gives_its_roles_by_name_and_leaves_the_readme_alone(folder: Path) -> None:
    written(folder, "---\nname: zoe\n---\nDo.", "a.md")
    written(folder, "Do.", "adam.md")
    written(folder, "About these roles.", "README.md")
    written(folder, "No role.", "notes.txt")
    assert list(read_roles(folder)) == ["zoe", "adam"]


def test_two_roles_of_one_name_are_refused(folder: Path) -> None:
    written(folder, "---\nname: zoe\n---\nDo.", "a.md")
    written(folder, "Do.", "zoe.md")
    with pytest.raises(SettingsError, match=r"zoe\.md.*already a role named 'zoe'"):
        read_roles(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no folder of roles"):
        read_roles(tmp_path / "nowhere")


def test_an_empty_folder_has_no_roles(folder: Path) -> None:
    assert read_roles(folder) == {}


def test_roles_of_the_projects_folder_are_found_by_name_and_go_before_the_roster(folder: Path, tmp_path: Path) -> None:
    written(folder, "Sort the ticket.")
    written(folder, "---\ntier: premium\n---\nOur own way to test.", "qa-engineer.md")
    (tmp_path / "troupe.toml").write_text('roles = "team"\n')
    assert find_role("triage").prompt == "Sort the ticket."
    assert agent("qa-engineer").role.prompt == "Our own way to test."
    assert len(known_roles()) == 22
    result = run(sequential("triage"), "x", model=scripted({"triage": "a bug"}), db=":memory:")
    assert result.answer == "a bug"


def test_a_role_of_a_file_speaks_with_its_prompt(folder: Path) -> None:
    model = scripted(["a bug"])
    role = read_role(written(folder, "Sort the ticket."))
    assert run(sequential(role), "x", model=model, db=":memory:").answer == "a bug"
    assert model.asked[0][2][0].text.startswith("Sort the ticket.")


@pytest.mark.parametrize("name", ["", " x", "a/b", "a\nb", "x" * 65, "-x", "a:b"])
def test_a_name_that_would_break_a_graph_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Role(name=name, prompt="Do.")
    with pytest.raises(BuildError, match="cannot be an agent's name"):
        agent(name, "Do.")


def test_a_role_is_frozen_and_takes_no_unknown_field() -> None:
    role = Role(name="x", prompt="Do.")
    with pytest.raises(ValidationError):
        role.name = "y"
    with pytest.raises(ValidationError):
        Role(name="x", prompt="Do.", colour="blue")  # type: ignore[call-arg]


def test_a_tier_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="premium, standard"):
        Role(name="x", prompt="Do.", tier="cheap")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match=r"Unknown tier 'standart'. Did you mean 'standard'\?"):
        agent("x", "Do.", tier="standart")  # type: ignore[arg-type]
