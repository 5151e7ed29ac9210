"""What a run gets from outside, and where it is found in a host's own context."""

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import ValidationError

from troupe import TeamContext
from troupe.agents.context import find_context


class Mine(TeamContext):
    tenant: str = "nobody"


@dataclass
class Host:
    troupe: Any
    other: int = 1


OURS = TeamContext(budget=0.5)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (OURS, OURS),
        (Mine(tenant="x"), Mine(tenant="x")),
        (Host(OURS), OURS),
        (Host({"budget": 0.5}), OURS),
        ({"troupe": OURS}, OURS),
        ({"troupe": {"budget": 0.5}}, OURS),
        ({"budget": 0.5, "user": "somebody"}, OURS),
        (Host(None), None),
        ({"user": "somebody"}, None),
        ({}, None),
        (None, None),
        (object(), None),
    ],
)
def test_it_is_found_as_itself_as_an_attribute_or_in_a_dictionary(given: Any, found: Any) -> None:
    assert find_context(given) == found


@pytest.mark.parametrize("given", [{"budget": -1}, {"deadline": 0}, {"budgett": 1}, {"budget": "much"}])
def test_what_is_wrong_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TeamContext(**given)


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        OURS.budget = 1


def test_its_schema_can_be_shown_and_offers_only_what_json_can_say() -> None:
    shown = TeamContext.model_json_schema()["properties"]
    assert {"budget", "deadline", "prompts", "models"} <= set(shown)
    assert not {"executor", "listeners"} & set(shown)
