"""The texts we say, how they are filled in, and how a folder of one's own replaces them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troupe import Brief, TeamContext, Verdict, agent, gate, review, run, scripted, sequential
from troupe.agents.brief import text as brief_text
from troupe.agents.roster import ROSTER
from troupe.prompts import PromptError, check, fields, load, names, render

FIELDS = {
    "moves/answer": {"schema"},
    "moves/brief": {
        "task", "objective", "conversation", "missing", "earlier", "needs", "previous", "feedback", "guidance",
    },
    "moves/common": set[str](),
    "moves/repair": {"problem", "schema"},
    "moves/review": {"step", "author", "threshold", "blamable", "work"},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind in ("roles", "moves"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    return tmp_path / "mine"


def test_there_is_a_text_for_each_role_and_each_move() -> None:
    assert {name for name in names() if name.startswith("roles/")} == {f"roles/{name}" for name in ROSTER}
    assert set(FIELDS) <= {name for name in names() if name.startswith("moves/")}


@pytest.mark.parametrize("name", names())
def test_every_text_loads_trimmed_and_without_a_half_written_field(name: str) -> None:
    text = load(name)
    assert text == text.strip() and len(text) > 20
    rest = text
    for field in fields(text):
        rest = rest.replace(f"{{{{{field}}}}}", "")
    assert "{{" not in rest and "}}" not in rest
    assert "\t" not in text


@pytest.mark.parametrize("name", FIELDS)
def test_a_move_has_the_fields_that_the_library_fills_in(name: str) -> None:
    assert fields(load(name)) == FIELDS[name]


def test_a_text_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(PromptError, match=r"no prompt 'moves/dance'.*moves/brief.*roles/qa-engineer"):
        load("moves/dance")


@pytest.mark.parametrize("name", ["../pyproject", "roles/../../pyproject", "/etc/passwd", "roles/../../../etc/hosts"])
def test_a_name_cannot_lead_out_of_the_folder(name: str, folder: Path) -> None:
    for where in (None, folder):
        with pytest.raises(PromptError):
            load(name, where)


# --------------------------------------------------------------------------------------------------------- filling in


def test_a_field_without_a_value_and_a_value_without_a_field_are_refused() -> None:
    with pytest.raises(PromptError, match=r"missing values \['b'\], unused values \['c'\]"):
        render("{{a}} {{b}}", a="1", c="2")
    with pytest.raises(PromptError, match="missing values"):
        render("{{a}}")
    with pytest.raises(PromptError, match="unused values"):
        render("a", a="1")


def test_texts_are_filled_in_in_one_pass() -> None:
    assert render("{{a}} and {{b}} and {{a}}", a="{{b}}", b="{{a}}") == "{{b}} and {{a}} and {{b}}"
    assert render("{{a}}", a=r"\1 \g<0> $1 %s {0}") == r"\1 \g<0> $1 %s {0}"


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(), max_size=5))
def test_whatever_a_value_holds_comes_out_as_it_is(values: dict[str, str]) -> None:
    template = "|".join(f"{{{{{name}}}}}" for name in values)
    assert render(template, **values) == "|".join(values.values())


@given(st.text())
def test_a_brief_takes_any_task_as_it_is(task: str) -> None:
    assert Brief(task=task).task.strip() in brief_text(Brief(task=task), limit=10**9)


# ------------------------------------------------------------------------------------------------ a folder of one's own


def asked(folder: Path, **lines: object) -> list[str]:
    """The texts that the first request is made of."""
    model = scripted(lines)
    team = sequential("qa-engineer")
    run(team, "x", model=model, context=TeamContext(prompts=str(folder)), db=":memory:").raise_unless_completed()
    return [message.text for message in model.asked[0][2]]


def test_a_folder_replaces_what_it_has_and_leaves_the_rest(folder: Path) -> None:
    (folder / "roles" / "qa-engineer.md").write_text("You break things.\n")
    (folder / "moves" / "common.md").write_text("Be kind.\n")
    system, user = asked(folder, **{"*": "done"})
    assert system == "You break things.\n\nBe kind."
    assert user == brief_text(Brief(task="x"))


def test_a_folder_can_replace_the_prompt_of_an_agent_of_ones_own(folder: Path) -> None:
    (folder / "roles" / "poet.md").write_text("Write limericks.")
    model = scripted(["There was"])
    team = sequential(agent("poet", "Write verse."))
    run(team, "x", model=model, context=TeamContext(prompts=str(folder)), db=":memory:").raise_unless_completed()
    assert model.asked[0][2][0].text.startswith("Write limericks.")


def test_a_folder_can_replace_a_move(folder: Path) -> None:
    (folder / "moves" / "brief.md").write_text(load("moves/brief").replace("# Task", "# Aufgabe"))
    assert asked(folder, **{"*": "done"})[1] == "# Aufgabe\nx"


def test_a_folder_can_be_set_for_the_whole_project(folder: Path, tmp_path: Path) -> None:
    (folder / "roles" / "qa-engineer.md").write_text("You break things.")
    (tmp_path / "troupe.toml").write_text('prompts = "mine"\n')
    model = scripted(["done"])
    run(sequential("qa-engineer"), "x", model=model, db=":memory:").raise_unless_completed()
    assert model.asked[0][2][0].text.startswith("You break things.")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{{task}}", r"brief\.md must use exactly the fields conversation, earlier, .*task; it uses task\."),
        ("nothing", r"it uses none\."),
    ],
)
def test_a_move_with_other_fields_is_refused_with_both_lists(text: str, complaint: str, folder: Path) -> None:
    (folder / "moves" / "brief.md").write_text(text)
    with pytest.raises(PromptError, match=complaint):
        load("moves/brief", folder)
    with pytest.raises(PromptError, match=complaint):
        check(folder)


@pytest.mark.parametrize("name", ["moves/breif", "move/brief"])
def test_a_text_that_replaces_none_of_ours_is_refused_with_those_that_can_be(name: str, folder: Path) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / f"{name}.md").write_text("{{task}}")
    with pytest.raises(PromptError, match=rf"{name}\.md replaces no text of ours\. There are: .*moves/brief"):
        check(folder)


def test_a_folder_that_is_not_there_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder of prompts"):
        run(sequential("qa-engineer"), "x", context=TeamContext(prompts=str(tmp_path / "nowhere")), db=":memory:")


def test_a_text_that_cannot_be_read_is_refused(folder: Path) -> None:
    (folder / "moves" / "common.md").write_bytes(b"\xff\xfe")
    with pytest.raises(PromptError, match=r"Cannot read the prompt .*common\.md"):
        check(folder)


def test_a_reviewer_hears_our_words_about_reviewing_unless_they_are_replaced(folder: Path) -> None:
    own = "Step {{step}} by {{author}}.{{threshold}} Blame {{blamable}}.\n{{work}}"
    (folder / "moves" / "review.md").write_text(own)
    model = scripted({"writer": ["draft"], "critic": [Verdict(passed=True, score=1)]})
    team = sequential(agent("writer", "Write."), gate=gate(review(by=agent("critic", "Judge."), at_least=0.5)))
    run(team, "x", model=model, context=TeamContext(prompts=str(folder)), db=":memory:").raise_unless_completed()
    said = model.asked[1][2][1].text
    assert "Step writer by writer. Needed to pass: 0.5. Blame (there is no earlier step)." in said
    assert "draft" in said
