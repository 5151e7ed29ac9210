"""The levels of a hierarchy: who decides, who works, and what of them a directive can be about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from troupe.agents.chat import ChatAgent
from troupe.agents.errors import BuildError
from troupe.agents.matching import Lexicon, need, profile, stems
from troupe.graphs.gates import Gate
from troupe.graphs.recovery import Recovery
from troupe.graphs.step import Step, as_steps

Level = Literal["strategic", "tactical", "implementation"]
LEVELS: tuple[Level, ...] = ("strategic", "tactical", "implementation")
ENGINE = ("delegate", "report", "finish")
"""The pattern's own nodes."""


@dataclass(frozen=True)
class Levels:
    """Who is on which level; see `levels`."""

    strategic: tuple[Step, ...]
    tactical: tuple[Step, ...]
    implementation: tuple[Step, ...]

    def __iter__(self) -> Iterator[tuple[Level, tuple[Step, ...]]]:
        """The levels that have members, from the top."""
        for level in LEVELS:
            if members := self.of(level):
                yield level, members

    def of(self, level: Level) -> tuple[Step, ...]:
        """The members of a level."""
        members: tuple[Step, ...] = getattr(self, level)
        return members

    @cached_property
    def managing(self) -> list[tuple[Level, tuple[Step, ...]]]:
        """The levels that decide, from the top."""
        return [(level, members) for level, members in self if level != "implementation"]

    @cached_property
    def managers(self) -> tuple[Step, ...]:
        """Who decides, in order."""
        return (*self.strategic, *self.tactical)

    @property
    def lowest(self) -> Level:
        """The level that gives out the work."""
        return self.managing[-1][0]

    @cached_property
    def _where(self) -> dict[str, Level]:
        return {step.name: level for level, members in self for step in members}

    def level_of(self, name: str) -> Level:
        """The level of a member."""
        return self._where[name]

    def step(self, name: str) -> Step:
        """The member of that name."""
        return next(one for one in self.of(self.level_of(name)) if one.name == name)

    @cached_property
    def facets(self) -> dict[str, frozenset[str]]:
        """By member, the stems of what they are called and can do."""
        return {step.name: _facets(step) for _, members in self for step in members}

    def names_of(self, name: str) -> set[str]:
        """What a member is called: as a step, as an agent, and by level."""
        return {name.lower(), self.step(name).agent.name.lower(), self.level_of(name)}

    def nearest(self, wanted: str, members: Sequence[Step]) -> str:
        """Whose skills come nearest to a text, the first of equals; by words alone."""
        lexicon = Lexicon({one.name: profile(one.agent, one.name, one.objective) for one in members})
        fits = lexicon.capabilities(need(wanted))
        return max(members, key=lambda one: fits[one.name]).name


def levels(
    strategic: Any, tactical: Any, implementation: Any, gate: Gate | None = None, recovery: Recovery | None = None
) -> Levels:
    """Levels from what a builder was given: one thing that can be a step, or a list of them, for each.

    Raises:
        BuildError: nobody decides, nobody works, a manager that cannot decide, two of one name, or somebody who would
            judge their own work.

    >>> [level for level, _ in levels(None, "integration-architect", ["specialist-engineer", "qa-engineer"])]
    ['tactical', 'implementation']
    """
    given = {"strategic": _listed(strategic), "tactical": _listed(tactical), "implementation": _listed(implementation)}
    if not given["implementation"]:
        raise BuildError("A hierarchy needs somebody who does the work: implementation=[...].")
    if not given["strategic"] and not given["tactical"]:
        raise BuildError(
            "A hierarchy needs somebody above: strategic=[...], tactical=[...] or both. Without them nobody could give "
            "out the work, and an escalation would have nobody to go to."
        )
    above = [*given["strategic"], *given["tactical"]]
    below = [_inheriting(one, gate) for one in given["implementation"]]
    steps = as_steps([*above, *below], engine=ENGINE, recovery=recovery)
    managers, workers = steps[: len(above)], steps[len(above) :]
    for step in managers:
        _check_manager(step, workers)
    _check_names(steps, workers)
    cut = len(given["strategic"])
    return Levels(tuple(managers[:cut]), tuple(managers[cut:]), tuple(workers))


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def _inheriting(given: Any, gate: Gate | None) -> Step:
    if gate is not None and not isinstance(gate, Gate):
        raise BuildError(f"gate= must be made with gate(...), not {gate!r}.")
    return (given if isinstance(given, Step) else Step(given)).under(gate)


def _check_manager(step: Step, workers: Sequence[Step]) -> None:
    if not step.agent.can_decide:
        raise BuildError(
            f"{step.name!r} cannot decide, so it cannot manage. Use a role or an agent with a model; "
            "what only works belongs to implementation=."
        )
    if isinstance(step.gate, Gate) or step.returns is not None or step.needs:
        raise BuildError(
            f"The manager {step.name!r} gives a plan, which has a form of its own: no gate=, returns= or needs=."
        )
    for worker in workers:
        if worker.agent.name == step.agent.name:
            raise BuildError(
                f"{step.agent.name!r} would give out work to itself and judge it. Put another agent on one of the "
                f"levels of {step.name!r} and {worker.name!r}."
            )


def _check_names(steps: Sequence[Step], workers: Sequence[Step]) -> None:
    for worker in workers:
        if worker.needs:
            raise BuildError(
                f"{worker.name!r} needs {', '.join(worker.needs)}, but what a work package needs is planned at run "
                "time. Leave needs= out."
            )
        for step in steps:
            head, _, number = step.name.rpartition(".")
            if head == worker.name and number.isdigit():
                raise BuildError(f"The step {step.name!r} has the name of a package of {head!r}. Give it another.")


def _facets(step: Step) -> frozenset[str]:
    agent = step.agent
    skills = agent.role.skills if isinstance(agent, ChatAgent) else ()
    return stems(" ".join([step.name, agent.name, agent.title, *skills]))
