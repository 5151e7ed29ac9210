"""What a workflow says of its steps, as data: who checks them, what is done when they fail, how branches are merged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from troupe.agents.contracts import Tier, Value
from troupe.agents.notes import Text
from troupe.graphs.checks import Check, conclusion, contains, non_empty, review
from troupe.graphs.forking.conflicts import Policy
from troupe.graphs.forking.joins import as_join
from troupe.graphs.forking.merging import Merge, merge
from troupe.graphs.gates import Gate, Then, gate
from troupe.graphs.recovery import Adapt, Recovery

Named = Callable[[str], Any]
"""Finds an agent by its name."""


def _join(text: str) -> str:
    as_join(text)
    return text


Join = Annotated[str, AfterValidator(_join)]


class AgentSpec(Value):
    """An agent of the workflow's own: who they are, in words."""

    prompt: Text = Field(min_length=1, description="What it is told about itself: its system prompt.")
    title: Text = Field("", description="What it does, in a line.")
    tier: Tier = Field("standard", description="Which class of model serves it.")
    skills: tuple[str, ...] = Field((), description="What it is good at; others are chosen by them when it fails.")
    backups: tuple[str, ...] = Field((), description="Roles that stand in when it fails.")


class ReviewSpec(Value):
    """An agent that reads the work and gives a verdict."""

    by: str = Field(description="The reviewer: an agent's name, never the author's.")
    at_least: float | None = Field(None, ge=0, le=1, description="The score that is needed.")

    def check(self, named: Named) -> Check:
        """The check."""
        return review(named(self.by), self.at_least)


class ChecksSpec(Value):
    """Checks that must all pass; those that cost nothing run first."""

    non_empty: bool = Field(False, description="The work holds some text.")
    contains: tuple[str, ...] = Field((), description="Texts that the work must contain.")
    review: str | ReviewSpec | tuple[str | ReviewSpec, ...] = Field(
        (), description="Who reviews the work: a name, or {by, at_least}; or several."
    )
    at_least: float | None = Field(None, ge=0, le=1, description="The score that is needed of a reviewer only named.")
    conclusion: bool = Field(False, description="The author of a report says as data whether what it judged passed.")
    either: tuple[ChecksSpec, ...] = Field((), description="Alternatives, of which one must pass.")

    def checks(self, named: Named) -> Check | None:
        """All of them as one; None where there is none."""
        reviews = self.review if isinstance(self.review, tuple) else (self.review,)
        given = [
            *([non_empty()] if self.non_empty else []),
            *([contains(*self.contains)] if self.contains else []),
            *(review(named(one), self.at_least) if isinstance(one, str) else one.check(named) for one in reviews),
            *([conclusion()] if self.conclusion else []),
        ]
        if ways := [one for part in self.either if (one := part.checks(named)) is not None]:
            given.append(_joined(ways, "|"))
        return _joined(given, "&") if given else None


class GateSpec(ChecksSpec):
    """A gate after a step: its checks, how often it sends work back, and what happens then."""

    rework: int = Field(1, ge=0, le=100, description="How often work is sent back at most.")
    then: Then = Field("partial", description="What happens after that.")

    def gate(self, named: Named) -> Gate:
        """The gate."""
        return gate(self.checks(named) or non_empty(), self.rework, self.then)


class RecoverySpec(Value):
    """What is done when a step fails, in this order."""

    retries: int | None = Field(None, ge=0, le=20, description="Further attempts after a failure that may pass.")
    backups: bool | tuple[str, ...] = Field(True, description="Whether the role's backups stand in, or who does.")
    models: bool | tuple[str, ...] = Field(True, description="Whether other tiers' models are tried, or which.")
    matched: bool = Field(True, description="Whether somebody else may stand in who has the skills.")
    pattern: Literal["sequential", "parallel", "hierarchical"] | None = Field(
        None, description="The pattern of a team that works in its place."
    )
    ask: bool = Field(False, description="Whether a person is asked then.")
    adapt: Adapt | None = Field(None, description="How the way of working is changed at the end.")
    hand_over: bool = Field(True, description="Whether what is sent back for the second time goes to another agent.")
    tier_up: bool = Field(False, description="Whether that one is served by the next better tier.")

    def recovery(self, named: Named) -> Recovery:
        """The policy."""
        given: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        if not isinstance(self.backups, bool):
            given["backups"] = [named(one) for one in self.backups]
        return Recovery(**given)


class MergeSpec(Value):
    """How the results of branches become one."""

    by: str | tuple[str, ...] = Field((), description="Who puts them together, one after another; none: side by side.")
    conflicts: Policy | None = Field(None, description="How contradictions are found and settled.")
    judge: str = Field("sr-architect", description="Who finds contradictions, and rules where the policy is `judge`.")

    def merge(self, named: Named) -> Merge:
        """The merge."""
        by = (self.by,) if isinstance(self.by, str) else self.by
        return merge(by=[named(one) for one in by] or None, conflicts=self.conflicts, judge=named(self.judge))


def _joined(checks: list[Check], sign: Literal["&", "|"]) -> Check:
    made = checks[0]
    for one in checks[1:]:
        made = made & one if sign == "&" else made | one
    return made
