"""optimize: steps that never use each other's results need not wait for each other. A workflow in, a workflow out.

    workflow, recorded runs --> which orders are bound, and why --> needs edited where that saves time --> Optimization

An order stays wherever anything speaks for it: what the workflow says itself, a gate that holds up what follows or can
send back what was before, an agent that may do things which no text shows, an objective that speaks of earlier work, a
file that both write, or words of the one in the other's results. And it stays where breaking it saves no time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeGuard

from troupe.agents.chat import ChatAgent
from troupe.agents.models.simulated import SIMULATED
from troupe.agents.notes import artifacts
from troupe.graphs.flowing.order import Needs, behind, ordered
from troupe.graphs.flowing.plan import planned
from troupe.graphs.flowing.schedule import SLOTS, scheduled
from troupe.graphs.flowing.team import Flowing, estimated
from troupe.graphs.gates import Gate
from troupe.graphs.history import History, RunRecord
from troupe.graphs.reuse import Pair, reuse
from troupe.graphs.workflow import Entry, ParallelEntry, SequentialEntry, StepEntry, Workflow

LEAST_RUNS = 3
"""Runs whose results must be known before an order is broken."""
MOST_RUNS = 20
"""The newest that are looked at."""
_LOOKS_BACK = re.compile(
    r"\b(previous|preceding|prior|earlier|above|so far|results?|findings|outcomes?|everything|all of it|"
    r"what (was|has been|came))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Change:
    """A step that waits for other steps than before.

    Attributes:
        before: what it waited for, by its place in the workflow.
        after: what it waits for now.
        reason: why it may.
        runs: recorded runs that speak for it.
    """

    step: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    reason: str
    runs: int

    def line(self) -> str:
        """It in a sentence."""
        now = ", ".join(self.after) or "nothing"
        return f"{self.step} waits for {now} instead of {', '.join(self.before)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Bound:
    """An order that stays as it is: `step` after `needs`, which stands right before it."""

    step: str
    needs: str
    reason: str

    def line(self) -> str:
        """It in a sentence."""
        return f"{self.step} stays after {self.needs}: {self.reason}"


@dataclass(frozen=True)
class Optimization:
    """What `optimize` found.

    Attributes:
        workflow: as it may be; the same if there is nothing to change.
        before: seconds that the workflow as it was takes, as predicted.
        after: the same as it may be.
        changes: what is different.
        bound: what is not, and why.
        recorded: the steps whose seconds are the median of recorded runs; those of the others are guessed by the tier
            of their agents, so that only the comparison of `before` and `after` means anything.
        slots: how many steps are thought to be at work at once.
    """

    workflow: Workflow
    before: float
    after: float
    changes: tuple[Change, ...] = ()
    bound: tuple[Bound, ...] = ()
    recorded: tuple[str, ...] = ()
    steps: int = 0
    slots: int = SLOTS

    @property
    def saving(self) -> float:
        """The share of the time that is saved, from 0 to 1."""
        return 1 - self.after / self.before if self.before else 0.0

    def line(self) -> str:
        """The prediction in a sentence, with what it was made from."""
        known = f"{len(self.recorded)} of {self.steps} durations recorded, the others guessed"
        if not self.recorded:
            known = "durations guessed by tier, nothing recorded"
        elif len(self.recorded) == self.steps:
            known = "durations as recorded"
        return (
            f"{self.before:.3g} s -> {self.after:.3g} s on {self.slots} slots ({self.saving:.0%} less; {known}, "
            "predicted)"
        )


def optimize(
    workflow: Workflow,
    history: History | None = None,
    *,
    agents: Mapping[str, Any] | None = None,
    slots: int = SLOTS,
) -> Optimization:
    """Turn sequences into branches where recorded runs show that steps do not use each other's results.

    What the workflow says by `needs` stays as it says, and is carried out without waiting for anything else anyway:
    without recorded runs nothing is changed.

    Args:
        workflow: as data.
        history: recorded runs of it: `troupe.history(workflow.name)`. Simulated words show nothing.
        agents: whoever else the workflow names; see `Workflow.build`. They may do what no text shows, and so keep their
            place, unless they are agents without tools.
        slots: how many steps are at work at once, for the prediction.

    Raises:
        BuildError: the workflow cannot work; see `Workflow.build`.

    >>> made = optimize(Workflow(name="note", phases=["ai-researcher", "technical-writer"]))
    >>> made.changes, made.bound[0].line()
    ((), 'technical-writer stays after ai-researcher: 0 recorded runs tell of both, of 3 that it takes')
    """
    return _Optimizer(workflow, history or History(), agents or {}, slots).optimized()


@dataclass(frozen=True)
class _Leaf:
    """An entry that is one step.

    Attributes:
        said: the names that it waits for, where the workflow says them.
    """

    entry: Entry
    said: tuple[str, ...] | None


class _Optimizer:
    def __init__(self, workflow: Workflow, history: History, agents: Mapping[str, Any], slots: int) -> None:
        self.workflow, self.agents, self.slots = workflow, agents, slots
        self.runs = history.runs[:MOST_RUNS]
        self.plan = _by_name(planned(workflow, agents, {}))
        self.needs: dict[str, tuple[str, ...]] = {name: one.needs for name, one in self.plan.items()}
        self.behind = behind(self.needs)
        self.order = ordered(self.needs)
        self.leaves: dict[str, _Leaf] = {}
        self.groups: dict[str, list[str]] = {}
        self.names: dict[tuple[int, ...], str] = {}
        """Of the steps, by their place: an agent that is only named gives its step its own name."""
        in_order = iter(self.plan)
        for at, entry in enumerate(workflow.phases):
            self._read(entry, (at,), None, in_order)
        self.recorded = {name: median(took) for name in self.plan if (took := history.seconds(name))}
        self.seconds = {name: self.recorded.get(name) or estimated(one.step) for name, one in self.plan.items()}
        self._why: dict[tuple[str, str], tuple[str, int]] = {}

    def _read(self, entry: Entry, place: tuple[int, ...], said: tuple[str, ...] | None, names: Iterator[str]) -> None:
        own = None if isinstance(entry, str) else entry.needs
        said = own if own is not None else said
        if _is_group(entry):
            known = len(self.leaves)
            for at, one in enumerate(entry.steps):
                self._read(one, (*place, at), said if not at or entry.kind == "parallel" else None, names)
            self.groups[entry.name] = [*self.leaves][known:]
        else:
            self.names[place] = name = next(names)
            self.leaves[name] = _Leaf(entry, said)

    def optimized(self) -> Optimization:
        """The whole."""
        before = scheduled(self.needs, self.seconds, self.slots).makespan
        free = {name for name in self.order if self.leaves[name].said is None and self._free(name)}
        for name in self.order:  # what saves no time stays as it is
            if name in free and self._makespan(free - {name}) <= self._makespan(free) + 1e-9:
                free -= {name}
        wanted = self._rewired(free)
        changed = [name for name in self.order if {*wanted[name]} != {*self.needs[name]}] if free else []
        return Optimization(
            workflow=self._written(wanted) if changed else self.workflow,
            before=before,
            after=self._makespan(free) if changed else before,
            changes=tuple(self._change(name, wanted, free) for name in changed),
            bound=tuple(self._bound(free)),
            recorded=tuple(self.recorded),
            steps=len(self.plan),
            slots=self.slots,
        )

    # --- what waits for what ---

    def _free(self, name: str) -> list[str]:
        """Those before a step that nothing binds it to."""
        return [one for one in self.behind[name] if not self._binds(one, name)[0]]

    def _rewired(self, free: set[str]) -> dict[str, tuple[str, ...]]:
        """The needs where these steps wait for nothing but what they are bound to; others see no less than before."""
        made: dict[str, tuple[str, ...]] = {}
        reached: dict[str, set[str]] = {}
        for name in self.order:
            wanted = self._wanted(name, free)
            direct = [one for one in self.needs[name] if one in wanted]
            seen = {far for one in direct for far in (one, *reached[one])}
            for one in reversed(self.behind[name]):
                if one in wanted and one not in seen:
                    direct.append(one)
                    seen |= {one, *reached[one]}
            made[name] = tuple(direct)
            reached[name] = seen
        return {name: made[name] for name in self.needs}

    def _wanted(self, name: str, free: set[str]) -> set[str]:
        if (said := self.leaves[name].said) is not None:  # a phase that is named means all of it
            return {*self.needs[name], *(one for phase in said for one in self.groups.get(phase, ()))}
        if name in free:
            return {one for one in self.behind[name] if self._binds(one, name)[0]}
        return {*self.behind[name]}

    def _makespan(self, free: set[str]) -> float:
        return scheduled(self._rewired(free), self.seconds, self.slots).makespan

    # --- what binds two steps ---

    def _binds(self, earlier: str, later: str) -> tuple[str, int]:
        """Why a step must come after another, or ""; and how many runs speak for that."""
        if (earlier, later) not in self._why:
            said = self._static(earlier, later)
            self._why[earlier, later] = (said, 0) if said else self._shown(earlier, later)
        return self._why[earlier, later]

    def _static(self, earlier: str, later: str) -> str:
        for name in (earlier, later):
            if opaque := self._opaque(name):
                return f"{opaque} may do what no text shows"
        gate = self.plan[earlier].step.gate
        if isinstance(gate, Gate) and gate.then != "partial":
            return f"what does not pass the gate of {earlier} holds up what follows"
        gate = self.plan[later].step.gate
        if isinstance(gate, Gate) and gate.rework and not gate.checks.free:
            return f"the gate of {later} can find {earlier} to blame"
        objective = self.plan[later].step.objective
        agent = self.plan[earlier].step.agent.name
        if any(re.search(rf"\b{re.escape(one)}\b", objective, re.IGNORECASE) for one in (earlier, agent)):
            return f"its objective names {earlier}"
        if found := _LOOKS_BACK.search(objective):
            return f'its objective speaks of earlier work: "{found[0]}"'
        return ""

    def _opaque(self, name: str) -> str:
        """Who of those at work in a step is no agent that only writes; "" if nobody is."""
        for one in _who(self.leaves[name].entry):
            given = self.agents.get(one)
            if given is not None and not (isinstance(given, ChatAgent) and not given.tools):
                return one
        return ""

    def _shown(self, earlier: str, later: str) -> tuple[str, int]:
        """What recorded runs show."""
        pairs = []
        for run in self.runs:
            texts = _texts(run)
            if earlier in texts and later in texts:
                if same := _files(texts[earlier]) & _files(texts[later]):
                    return f"both write {min(same)}", len(self.runs)
                pairs.append(Pair(texts[earlier], texts[later], self._known(run.task, texts, earlier, later)))
        found = reuse(pairs)
        if found.used:
            return f"it takes up {', '.join(found.examples)} ({found.used} of {found.runs} runs)", found.runs
        if found.runs < LEAST_RUNS:
            short = f", {len(pairs) - found.runs} with too few words" if len(pairs) > found.runs else ""
            return f"{found.runs} recorded runs tell of both{short}, of {LEAST_RUNS} that it takes", found.runs
        return "", found.runs

    def _known(self, task: str, texts: Mapping[str, str], earlier: str, later: str) -> tuple[str, ...]:
        """What the earlier step has not made up itself, and what the later one is told by others."""
        said = [f"{one} {self.plan[one].step.agent.name} {self.plan[one].step.objective}" for one in (earlier, later)]
        return (task, *said, *(texts[one] for one in self.behind[earlier] if one in texts))

    # --- what is said of it ---

    def _change(self, name: str, wanted: Needs, free: set[str]) -> Change:
        let_go = [one for one in self._free(name) if name in free]
        runs = min((self._binds(one, name)[1] for one in let_go), default=0)
        if let_go:
            reason = f"in {runs} runs nothing that was only {_or(let_go)}'s came back in its results"
        else:
            reason = "so that it waits for no less than before"
        return Change(name, self.needs[name], tuple(wanted[name]), reason, runs)

    def _bound(self, free: set[str]) -> Iterator[Bound]:
        for name in self.order:
            for one in self.needs[name]:
                reason = "the workflow says so" if self.leaves[name].said is not None else self._binds(one, name)[0]
                if reason or name not in free:
                    yield Bound(name, one, reason or "to begin sooner would save no time")

    # --- the workflow, written ---

    def _written(self, wanted: Needs) -> Workflow:
        """The workflow in which everybody waits for that: sequences that are none any more become parallel, and whoever
        then still waits for something else gets `needs` of their own."""
        said: dict[str, tuple[str, ...]] = {}
        while True:
            phases = tuple(self._edited(one, (at,), wanted, said) for at, one in enumerate(self.workflow.phases))
            made = Workflow(**{**dict(self.workflow), "phases": phases})
            plan = _by_name(planned(made, self.agents, {}))
            wrong = {name: tuple(wanted[name]) for name, one in plan.items() if {*one.needs} != {*wanted[name]}}
            if not wrong:
                return made
            said |= wrong

    def _edited(self, entry: Entry, place: tuple[int, ...], wanted: Needs, said: Mapping[str, Any]) -> Entry:
        if _is_group(entry):
            steps = tuple(self._edited(one, (*place, at), wanted, said) for at, one in enumerate(entry.steps))
            if entry.kind == "sequential" and self._at_once(entry, place, wanted):
                return ParallelEntry(**{**dict(entry), "kind": "parallel", "steps": steps})
            return entry.model_copy(update={"steps": steps})
        name = self.names[place]
        if name not in said:
            return entry
        if isinstance(entry, str):
            own = {} if name == entry else {"name": name}
            return StepEntry.model_validate({"agent": entry, "needs": said[name], **own})
        return entry.model_copy(update={"needs": said[name]})

    def _at_once(self, entry: SequentialEntry, place: tuple[int, ...], wanted: Needs) -> bool:
        """Whether all of its steps wait for the same, and none says so itself."""
        names = [self.names.get((*place, at), "") for at in range(len(entry.steps))]
        alike = all(name and {*wanted[name]} == {*wanted[names[0]]} for name in names)
        return len(names) > 1 and alike and all(isinstance(one, str) or one.needs is None for one in entry.steps)


def _is_group(entry: Entry) -> TypeGuard[SequentialEntry | ParallelEntry]:
    """Whether an entry only holds steps, and is none itself."""
    if isinstance(entry, ParallelEntry):
        return entry.merge is None and entry.join == "all"
    return isinstance(entry, SequentialEntry)


def _who(entry: Any) -> Iterator[str]:
    """The names of all who work in an entry."""
    if isinstance(entry, str):
        yield entry
        return
    yield from (getattr(entry, one) for one in ("agent", "hub") if hasattr(entry, one))
    for one in ("pool", "strategic", "tactical", "implementation"):
        yield from getattr(entry, one, ())
    for step in getattr(entry, "steps", ()):
        yield from _who(step)
    if (merge := getattr(entry, "merge", None)) is not None:
        yield from (merge.judge, *((merge.by,) if isinstance(merge.by, str) else merge.by))


def _by_name(plan: Sequence[Flowing]) -> dict[str, Flowing]:
    return {one.step.name: one for one in plan}


def _texts(run: RunRecord) -> dict[str, str]:
    """What was delivered, by step, as far as it was not made up without reading anything."""
    found = {one.path: one.content for one in run.steps if one.delivered}
    return {name: text for name, text in found.items() if text and not text.startswith(SIMULATED)}


def _files(text: str) -> set[str]:
    return {one.path for one in artifacts(text)}


def _or(names: Iterable[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} or {last}" if some else last
