"""Quality gates: checks after a step, how often work may be sent back, and what happens after that.

gate(non_empty() & review(by="qa-engineer", at_least=0.8), rework=2, then="ask")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from troupe.agents.contracts import Decision, Judgement
from troupe.agents.errors import BuildError, UnknownName
from troupe.graphs.checks import Check, as_check

Then = Literal["partial", "fail", "ask"]


@dataclass(frozen=True)
class Gate:
    """Checks, how often work may be sent back, and what happens after that; see `gate`."""

    checks: Check
    rework: int = 1
    then: Then = "partial"

    def decide(self, verdict: Judgement, sent_back: int, blamable: Sequence[str]) -> Decision:
        """What follows from a verdict when this gate has sent work back so many times.

        >>> from troupe.graphs.checks import non_empty
        >>> gate(non_empty(), rework=0, then="fail").decide(Judgement(passed=False), 0, ())
        'fail'
        """
        if verdict.passed:
            return "pass"
        if sent_back < self.rework and not verdict.final:
            return "rollback" if verdict.blame in blamable else "rework"
        return self.then


def gate(checks: Any, rework: int = 1, then: Then = "partial") -> Gate:
    """A gate after a step.

    Args:
        checks: a check, or a function of a Deliverable; combined with `&` and `|`.
        rework: how often it may send work back in a turn, to the author or to an earlier step that is to blame.
        then: what happens after that: `partial` accepts the work as it is and says so, `fail` ends the run, `ask`
            asks a person.

    Raises:
        BuildError: no check, a negative rework, or another `then`.
    """
    if isinstance(rework, bool) or not isinstance(rework, int) or not 0 <= rework <= 100:
        raise BuildError(f"gate(rework={rework!r}): say how often work may be sent back, 0 to 100.")
    if then not in ("partial", "fail", "ask"):
        raise UnknownName("then", then, ["partial", "fail", "ask"])
    return Gate(as_check(checks), rework, then)
