"""A step: one unit of work, made from anything that can work.

role name | Role | Agent | function | chat model | Runnable | graph   -->   Step(name, agent, objective, gate, ...)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import BaseModel

from troupe.agents.agent import Agent
from troupe.agents.contracts import Brief, Deliverable
from troupe.agents.errors import BuildError
from troupe.agents.text import clean
from troupe.graphs.adapters import GraphAgent, as_agent
from troupe.graphs.gates import Gate
from troupe.graphs.recovery import STANDARD, Recovery

_NAME = re.compile(r"^[^\s:|/#.][^:|/#\x00-\x1f]{0,99}$")
_RESERVED = re.compile(r"\.(gate|ask|items|recover)$|^__|^finish$")


class _Inherit:
    """The builder's gate, whatever it is."""

    def __repr__(self) -> str:
        return "INHERIT"


INHERIT: Final = _Inherit()


@dataclass(frozen=True)
class Step:
    """One unit of work.

    Args:
        what: a role name, Role, agent, plain function, chat model, Runnable or graph.
        objective: what this step is to achieve; goes into its brief.
        name: of the step; by default the agent's, function's or graph's.
        returns: a pydantic model; the result's `data` is an instance of it.
        gate: judges this step in place of the builder's gate; None removes that.
        needs: earlier steps whose results it gets in full; by default the step before it.
        optional: whether the run goes on without its result, if it fails, and is `partial` then.
        recovery: what is done when it fails, in place of the builder's.
        undo: function of a Deliverable that takes back what the step did, when a rollback passes over it.
        takes: for a graph or Runnable with an input of its own: function of the Brief that makes it.
        gives: function of its output that makes the text, dict, model or Deliverable.

    Raises:
        BuildError: it cannot work; the message says why.

    >>> Step("qa-engineer", "test it").name
    'qa-engineer'
    """

    what: Any
    objective: str = ""
    name: str = ""
    returns: type[BaseModel] | None = None
    gate: Gate | _Inherit | None = INHERIT
    needs: Sequence[str] = ()
    optional: bool = False
    recovery: Recovery | _Inherit = INHERIT
    undo: Callable[[Deliverable], Any] | None = None
    takes: Callable[[Brief], Any] | None = None
    gives: Callable[[Any], Any] | None = None
    agent: Agent = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.what, Step):
            raise BuildError("A Step was put into a Step; use it as it is.")
        made = as_agent(self.what, self.takes, self.gives)
        object.__setattr__(self, "agent", made)
        object.__setattr__(self, "name", self.name or made.name)
        object.__setattr__(self, "needs", (self.needs,) if isinstance(self.needs, str) else tuple(self.needs))
        if (
            not isinstance(self.name, str)
            or not _NAME.match(self.name)
            or _RESERVED.search(self.name)
            or clean(self.name) != self.name
        ):
            raise BuildError(
                f"{self.name!r} cannot be the name of a step: give it one with Step(..., name=...), without : | / # "
                "and not starting with '.' or '__' ('finish' and names ending in .gate, .ask, .items, .recover are the "
                "engine's)."
            )
        if not isinstance(self.objective, str):
            raise BuildError(f"The objective of step {self.name!r} must be text, not {type(self.objective).__name__}.")
        if self.returns is not None and not (isinstance(self.returns, type) and issubclass(self.returns, BaseModel)):
            raise BuildError(f"Step({self.name!r}, returns=...) must be a pydantic model class, not {self.returns!r}.")
        if self.gate is not INHERIT and self.gate is not None and not isinstance(self.gate, Gate):
            raise BuildError(f"Step({self.name!r}, gate=...) must be made with gate(...), not {self.gate!r}.")
        if self.recovery is not INHERIT and not isinstance(self.recovery, Recovery):
            raise BuildError(f"Step({self.name!r}, recovery=...) must be a Recovery(...), not {self.recovery!r}.")
        if self.undo is not None and not callable(self.undo):
            raise BuildError(f"Step({self.name!r}, undo=...) must be a function of a Deliverable.")

    @property
    def graphs(self) -> list[Any]:
        """The graph that the step runs, if it is one."""
        return [self.agent.graph] if isinstance(self.agent, GraphAgent) else []

    def named(self, name: str) -> Step:
        """The same under another name: one of several that a fan-out makes of it."""
        one = object.__new__(type(self))
        vars(one).update(vars(self), name=name)
        return one

    def under(self, gate: Gate | None, recovery: Recovery | None = None) -> Step:
        """The step with its own gate and recovery, or the builder's where it has none."""
        changes: dict[str, Any] = {"gate": gate} if self.gate is INHERIT else {}
        if self.recovery is INHERIT and recovery is not None:
            changes["recovery"] = recovery
        return replace(self, **changes) if changes else self

    @property
    def recovered(self) -> Recovery:
        """What is done when it fails."""
        return self.recovery if isinstance(self.recovery, Recovery) else STANDARD


def as_steps(
    given: Sequence[Any], gate: Gate | None = None, engine: Sequence[str] = (), recovery: Recovery | None = None
) -> list[Step]:
    """Steps from whatever a builder was given, each under its gate.

    Args:
        given: role names, agents, functions, graphs or `Step`s.
        gate: of every step that has none of its own.
        engine: the names of the pattern's own nodes, which no step may have.
        recovery: of every step that has none of its own.

    Raises:
        BuildError: one of them cannot be a step, two have one name, or the gate is none.
    """
    if gate is not None and not isinstance(gate, Gate):
        raise BuildError(f"gate= must be made with gate(...), not {gate!r}.")
    if recovery is not None and not isinstance(recovery, Recovery):
        raise BuildError(f"recovery= must be a Recovery(...), not {recovery!r}.")
    steps = [(one if isinstance(one, Step) else Step(one)).under(gate, recovery) for one in given]
    seen: set[str] = set()
    for step in steps:
        if step.name in seen:
            raise BuildError(
                f"Two steps are named {step.name!r}. Name them by their job: Step({step.name!r}, ..., name='...')."
            )
        if step.name in engine:
            raise BuildError(
                f"A step cannot be named {step.name!r}, as a node of the pattern itself is. "
                f"Name it by its job: Step({step.name!r}, ..., name='...')."
            )
        seen.add(step.name)
    return steps
