"""The 21 roles of the roster, and how they are found."""

import pytest

from troupe import UnknownName, agent
from troupe.agents.roles import Role
from troupe.agents.roster import ROSTER, find_role
from troupe.agents.text import tokens
from troupe.prompts import fields, load

NAMES = """ai-researcher specialist-engineer qa-engineer technical-writer git-helper frontend-engineer python-engineer
database-engineer security-engineer integration-architect sr-architect agent-architect product-manager ui-ux-designer
devops-engineer performance-engineer data-engineer ai-engineer business-analyst java-engineer project-coordinator"""


def test_the_roster_has_exactly_these_21_roles() -> None:
    assert sorted(ROSTER) == sorted(NAMES.split())
    assert len(ROSTER) == 21


@pytest.mark.parametrize("role", ROSTER.values(), ids=list(ROSTER))
def test_a_role_of_the_roster_is_complete(role: Role) -> None:
    assert role.title and len(role.title) < 80
    assert len(role.skills) >= 5 and len(set(role.skills)) == len(role.skills)
    assert all(skill == skill.strip().lower() and skill for skill in role.skills)
    assert role.backups and set(role.backups) <= set(ROSTER) - {role.name}
    assert agent(role.name).role == role


@pytest.mark.parametrize("name", sorted(ROSTER))
def test_its_prompt_says_who_it_is_and_how_it_is_judged(name: str) -> None:
    text = load(f"roles/{name}")
    assert ROSTER[name].text() == text
    assert text.startswith("You are ")
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "## What you deliver",
        "## How it is judged",
        "## What you hand on",
    ]
    assert fields(text) == frozenset(), "a role's prompt is not filled in"
    assert 300 < tokens(text) < 2500
    assert text.isprintable() or set(text) - {"\n"} == set(filter(str.isprintable, text))


def test_no_two_prompts_are_alike() -> None:
    first = {load(f"roles/{name}").partition(". ")[0] for name in ROSTER}
    assert len(first) == len(ROSTER)


def test_every_tier_and_level_is_in_use() -> None:
    assert {role.tier for role in ROSTER.values()} == {"economy", "standard", "premium"}
    assert {role.level for role in ROSTER.values()} == {"strategic", "tactical", "implementation", "coordination"}


def test_nobody_who_reviews_is_left_without_somebody_else_to_do_it() -> None:
    for role in ROSTER.values():
        assert any(backup != role.name for backup in role.backups)


@pytest.mark.parametrize(("name", "near"), [("qa-enginer", "qa-engineer"), ("sr_architect", "sr-architect")])
def test_a_wrong_name_brings_the_nearest_and_the_way_out(name: str, near: str) -> None:
    with pytest.raises(UnknownName) as caught:
        find_role(name)
    said = str(caught.value)
    assert f"Unknown role {name!r}. Did you mean {near!r}?" in said
    assert "project-coordinator" in said and 'agent("name", "prompt")' in said


def test_a_name_like_no_other_lists_the_choices_and_guesses_nothing() -> None:
    with pytest.raises(UnknownName) as caught:
        agent("zzzzzz")
    assert "Did you mean" not in str(caught.value) and "ai-engineer" in str(caught.value)
