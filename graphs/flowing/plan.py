"""A workflow as a plan: its entries as steps, each with what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from troupe.agents.chat import agent
from troupe.agents.errors import BuildError, UnknownName
from troupe.agents.roles import Role
from troupe.agents.roster import known_roles
from troupe.graphs.builders import make
from troupe.graphs.flowing.order import ends, ordered
from troupe.graphs.flowing.reading import Misplaced, Place, together
from troupe.graphs.flowing.team import Flowing
from troupe.graphs.forking.joins import as_join
from troupe.graphs.gates import Gate
from troupe.graphs.recovery import Recovery
from troupe.graphs.step import Step

if TYPE_CHECKING:
    from troupe.graphs.workflow import Workflow

T = TypeVar("T")


@dataclass(frozen=True)
class _Around:
    """What an entry takes over from what it is in."""

    gate: Gate | None = None
    recovery: Recovery | None = None
    phase: str = ""
    optional: bool = False
    priority: float = 0.0


@dataclass(frozen=True)
class _Leaf:
    """An entry that is one step; `after` are the names that it waits for, as far as nobody has resolved them."""

    step: Step
    after: tuple[str, ...]
    place: Place
    around: _Around


def planned(workflow: Workflow, agents: Mapping[str, Any], seconds: Mapping[str, float]) -> list[Flowing]:
    """The steps of a workflow, in the order in which it lists them.

    Args:
        workflow: as data.
        agents: whoever it names besides roles and its own agents.
        seconds: how long steps take, where that is known.

    Raises:
        BuildError: see `Workflow.build`.
    """
    return _Planner(workflow, agents).plan(seconds)


class _Planner:
    def __init__(self, workflow: Workflow, agents: Mapping[str, Any]) -> None:
        self.workflow = workflow
        self.agents = {**self._own(), **agents}
        self.leaves: dict[str, _Leaf] = {}
        self.groups: dict[str, list[str]] = {}
        """By the name of what holds several steps, all of these."""
        self.broken: dict[str, BuildError] = {}
        """By the name of each entry that cannot be, why: nobody is told of what only follows from it."""

    def plan(self, seconds: Mapping[str, float]) -> list[Flowing]:
        """The plan."""
        self._count()
        around = _Around()
        if (said := self.workflow.gate) is not None:
            around = replace(around, gate=self._at(("gate",), lambda: said.gate(self.named)))
        if (policy := self.workflow.recovery) is not None:
            around = replace(around, recovery=self._at(("recovery",), lambda: policy.recovery(self.named)))
        before: tuple[str, ...] = ()
        for at, entry in enumerate(self.workflow.phases):
            before = (self._tried(entry, ("phases", at), before, around),)
        needs = {name: self._needs(name, leaf) for name, leaf in self.leaves.items()}
        self._complain()
        self._at(("phases",), lambda: ordered(needs))
        self._without_surprises(needs)
        if unknown := [name for name in seconds if name not in self.leaves]:
            raise UnknownName("step", unknown[0], self.leaves)
        return [
            Flowing(
                replace(leaf.step, needs=needs[name]),
                needs[name],
                leaf.around.phase,
                seconds.get(name),
                leaf.around.priority,
            )
            for name, leaf in self.leaves.items()
        ]

    # --- who ---

    def _own(self) -> dict[str, Any]:
        return {
            name: self._at(("agents", name), lambda name=name, one=one: _agent(name, one))  # type: ignore[misc]
            for name, one in self.workflow.agents.items()
        }

    def named(self, name: str) -> Any:
        """Whoever has that name."""
        if name in self.agents:
            return self.agents[name]
        if name in (roles := known_roles()):
            return agent(name)
        raise UnknownName("agent", name, [*roles, *self.agents])

    # --- entries ---

    def _count(self) -> None:
        """Refuse more steps than can be looked through, before any is made."""
        from troupe.graphs.workflow import MOST_STEPS

        waiting, count = list(self.workflow.phases), 0
        while waiting and count <= MOST_STEPS:
            inside = getattr(waiting.pop(), "steps", None)
            waiting += inside or ()
            count += inside is None
        if count > MOST_STEPS:
            text = f"There are more than {MOST_STEPS} steps. Split the workflow, or share out lists with each(...)."
            self._refuse(("phases",), text)

    def _tried(self, entry: Any, place: Place, before: tuple[str, ...], around: _Around) -> str:
        """Add an entry; what is wrong with it is told together with what is wrong with others."""
        try:
            return self._add(entry, place, before, around)
        except BuildError as error:
            name = str(entry if isinstance(entry, str) else entry.name or entry.agent)
            self.broken[name if name not in self.broken else f"{name} at {place}"] = error
            return name

    def _complain(self) -> None:
        if self.broken:
            raise together([*self.broken.values()])

    def _add(self, entry: Any, place: Place, before: tuple[str, ...], around: _Around) -> str:
        """An entry's steps, which come after `before` unless they say otherwise; the name that stands for them."""
        if isinstance(entry, str):
            return self._leaf(self._at(place, lambda: Step(self.named(entry), name=entry)), place, before, around)
        outer, around = around, self._within(entry, place, around)
        before = tuple(dict.fromkeys(entry.needs)) if entry.needs is not None else before
        if entry.kind == "step":
            return self._leaf(self._at(place, lambda: self._step(entry)), place, before, around)
        if entry.kind == "sequential" or (entry.kind == "parallel" and entry.merge is None and entry.join == "all"):
            return self._group(entry, place, before, around)
        # What a gate around it asks is asked of everybody inside; its own is for the whole.
        inside = replace(around, gate=outer.gate if entry.gate != "none" else None)
        step = self._at(place, lambda: Step(self._nested(entry, place, inside), _aim(entry), name=entry.name))
        return self._leaf(step, place, before, replace(around, gate=None) if entry.gate == "inherit" else around)

    def _step(self, entry: Any) -> Step:
        return Step(self.named(entry.agent), entry.objective, name=entry.name or entry.agent)

    def _within(self, entry: Any, place: Place, around: _Around) -> _Around:
        gate, recovery = around.gate, around.recovery
        if entry.gate == "none":
            gate = None
        elif entry.gate != "inherit":
            gate = self._at((*place, "gate"), lambda: entry.gate.gate(self.named))
        if entry.recovery != "inherit":
            recovery = self._at((*place, "recovery"), lambda: entry.recovery.recovery(self.named))
        phase = around.phase or (entry.name or "" if entry.kind != "step" else "")
        return _Around(gate, recovery, phase, around.optional or entry.optional, around.priority + entry.priority)

    def _group(self, entry: Any, place: Place, before: tuple[str, ...], around: _Around) -> str:
        self._new(entry.name, place)
        known, last = len(self.leaves), before
        for at, one in enumerate(entry.steps):
            made = self._tried(one, (*place, "steps", at), before if entry.kind == "parallel" else last, around)
            last = (made,)
        self.groups[entry.name] = [*self.leaves][known:]
        return str(entry.name)

    def _leaf(self, step: Step, place: Place, before: tuple[str, ...], around: _Around) -> str:
        self._new(step.name, place)
        ready = self._at(place, lambda: replace(step, optional=around.optional).under(around.gate, around.recovery))
        if isinstance(gate := ready.gate, Gate):
            self._at((*place, "gate"), lambda: gate.checks.for_author(ready.agent))
        self.leaves[step.name] = _Leaf(ready, before, place, around)
        return step.name

    def _new(self, name: str, place: Place) -> None:
        if name in self.leaves or name in self.groups:
            self._refuse(place, f"Two steps or phases are named {name!r}. Name them by their job: name: ...")

    # --- patterns that are one step ---

    def _nested(self, entry: Any, place: Place, around: _Around) -> Any:
        if entry.kind == "parallel":
            branches = [self._branch(one, (*place, "steps", at), around) for at, one in enumerate(entry.steps)]
            merge = entry.merge.merge(self.named) if entry.merge is not None else None
            return make("parallel", *branches, join=as_join(entry.join), merge=merge, gate=around.gate,
                        recovery=around.recovery, name=entry.name)  # fmt: skip
        if entry.kind == "mesh":
            pool = [self.named(one) for one in entry.pool]
            return make("mesh", pool, self.named(entry.hub), around.gate, recovery=around.recovery, name=entry.name)
        levels = [[self.named(one) for one in getattr(entry, level)] or None for level in _LEVELS]
        return make("hierarchical", *levels, around.gate, recovery=around.recovery, name=entry.name)

    def _branch(self, entry: Any, place: Place, around: _Around) -> Step:
        """A branch of a fan-out whose results are merged: one step, or several as a sequence."""
        if isinstance(entry, str):
            return self._at(place, lambda: Step(self.named(entry), name=entry))
        if entry.needs is not None:
            self._refuse((*place, "needs"), "A branch that is merged starts with the others: it cannot have needs.")
        around = self._within(entry, place, replace(around, gate=None, recovery=None))
        if entry.kind == "step":
            step = self._at(place, lambda: self._step(entry))
        elif entry.kind == "sequential":
            line = [self._branch(one, (*place, "steps", at), around) for at, one in enumerate(entry.steps)]
            step = self._at(place, lambda: Step(make("sequential", *line, name=entry.name), name=entry.name))
        else:
            step = self._at(place, lambda: Step(self._nested(entry, place, around), _aim(entry), name=entry.name))
        changes: dict[str, Any] = {"optional": around.optional}
        if entry.gate != "inherit":
            changes["gate"] = around.gate
        if entry.recovery != "inherit":
            changes["recovery"] = around.recovery
        return self._at(place, lambda: replace(step, **changes))

    # --- needs ---

    def _needs(self, name: str, leaf: _Leaf) -> tuple[str, ...]:
        """The steps that a leaf waits for; a phase stands for those of its steps that none of it needs."""
        found: dict[str, None] = {}
        for one in leaf.after:
            if one in self.leaves:
                found[one] = None
            elif one in self.groups:
                found |= dict.fromkeys(self._ends(one))
            elif one not in self.broken:
                choices = [other for other in (*self.leaves, *self.groups) if other != name]
                error = UnknownName("step or phase", one, dict.fromkeys(choices), f"{name!r} needs it.")
                self.broken[f"{name} needs {one}"] = self.workflow.blame((*leaf.place, "needs"), error)
        return tuple(found)

    def _ends(self, group: str) -> list[str]:
        inside = self.groups[group]
        direct = {one: [far for near in self.leaves[one].after for far in self._members(near)] for one in inside}
        return ends(inside, direct)

    def _members(self, name: str) -> Sequence[str]:
        return [name] if name in self.leaves else self.groups.get(name, [])

    def _without_surprises(self, needs: Mapping[str, Sequence[str]]) -> None:
        """Refuse a step that needs an optional one which is listed after it: whoever reads it would not expect that."""
        order = {name: at for at, name in enumerate(self.leaves)}
        for name, leaf in self.leaves.items():
            for one in needs[name]:
                if order[one] > order[name] and self.leaves[one].step.optional:
                    self._refuse(
                        (*leaf.place, "needs"),
                        f"{name!r} needs {one!r}, which comes later and is optional: list it before, or require it.",
                    )

    # --- errors ---

    def _at(self, place: Place, build: Callable[[], T]) -> T:
        """What `build` makes; what is wrong with it is said with its place."""
        try:
            return build()
        except Misplaced:
            raise
        except BuildError as error:
            raise self.workflow.blame(place, error) from None

    def _refuse(self, place: Place, text: str) -> None:
        raise self.workflow.blame(place, BuildError(text))


_LEVELS = ("strategic", "tactical", "implementation")


def _agent(name: str, spec: Any) -> Any:
    return agent(Role(name=name, **spec.model_dump()))


def _aim(entry: Any) -> str:
    return str(getattr(entry, "objective", ""))
