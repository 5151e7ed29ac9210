"""parallel: branches work at once; what they give is compared, settled where it contradicts, and merged.

```mermaid
flowchart LR
    start([start]) -.-> draft
    start -.-> check
    draft --> join
    check --> join
    join -. agreed .-> merge
    join -. contradicting .-> resolve
    join -. too few .-> finish
    resolve --> merge
    merge -. submitted .-> merge.gate
    merge -. failed .-> finish
    merge.gate -. pass .-> finish
    merge.gate -. rework .-> merge
    merge.gate -. rollback .-> draft
    merge.gate -. rollback .-> check
    finish --> end([end])
```
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

from langgraph.channels import DeltaChannel
from langgraph.graph import END, START
from langgraph.types import Send

from troupe.agents.contracts import Deliverable, Reason
from troupe.agents.errors import BuildError
from troupe.agents.events import Notice
from troupe.agents.functions import FunctionAgent
from troupe.graphs.checks import conclusion
from troupe.graphs.forking.branches import Branch, branch
from troupe.graphs.forking.comparing import compare, open_conflicts, rulings_of, standing, told
from troupe.graphs.forking.conflicts import Conflict
from troupe.graphs.forking.fanout import Each, item_branch, names, split
from troupe.graphs.forking.joins import Join, as_join
from troupe.graphs.forking.merging import Merge, as_merge, merge, side_by_side
from troupe.graphs.forking.rulings import rule
from troupe.graphs.gates import Gate, gate
from troupe.graphs.node import Choice, Here, Node, Sent, now
from troupe.graphs.recovery import STANDARD, Recovery
from troupe.graphs.state import SNAPSHOT_EVERY, TeamState, merge_latest
from troupe.graphs.step import Step, as_steps
from troupe.graphs.team import Redo, TeamGraph
from troupe.graphs.wiring import add_line, exit_of, needs_of, supersteps
from troupe.graphs.work import Place, settle, why

CLASSIC = (
    Step("frontend-engineer", "Build the user interface."),
    Step("python-engineer", "Build the backend API."),
    Step("database-engineer", "Design and optimise the schema."),
    Step("security-engineer", "Analyse the security and harden it."),
)
"""The branches without any of your own."""

_ENGINE = ("fork", "join", "resolve", "finish")


class ParallelState(TeamState, total=False):
    """What a fan-out keeps besides."""

    items: Annotated[dict[str, list[str]], DeltaChannel(merge_latest, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """By step, the list that its branches share out."""
    conflicts: Annotated[dict[str, Conflict], DeltaChannel(merge_latest, dict, snapshot_frequency=SNAPSHOT_EVERY)]
    """What branches said differently, and what holds."""


def parallel(
    *branches: Any,
    join: Join | str = "all",
    merge: Any = None,
    gate: Gate | None = None,
    recovery: Recovery | None = None,
    name: str = "parallel",
    state_schema: type[Any] | None = None,
    context_schema: type[Any] | None = None,
) -> TeamGraph:
    """A team whose branches work at once, and whose results are merged.

    Args:
        branches: role names, agents, functions, graphs, `Step`s, or `each(...)` for one branch per item of a list; none
            builds the classic line-up of four, merged by an integration architect and validated by quality assurance.
        join: which branches are waited for: `"all"`, `"best_effort"`, `first(k)`, `quorum(k)` or `within(seconds)`.
        merge: an agent, a function of the Brief, a list of them, or `merge(by=..., conflicts=...)`; by default the
            parts stand side by side.
        gate: judges every branch, and every merging step, that has no gate of its own.
        recovery: what is done when a branch or merging step fails that has none of its own.
        name: of the graph.
        state_schema: a subclass of `TeamState` with fields of your own.
        context_schema: a subclass of `TeamContext` with fields of your own.

    Raises:
        BuildError: a branch or merge that cannot work, two steps of one name, or a join of more branches than there
            are.

    >>> from troupe import agent
    >>> team = parallel(agent("ui", "Draw."), agent("api", "Build."), merge=agent("lead", "Put it together."))
    >>> [step.name for step in team.steps]
    ['ui', 'api', 'lead']
    """
    if merge is None and not branches:
        merge = _classic_merge()
    return _Parallel(branches or CLASSIC, as_join(join), as_merge(merge), gate, recovery).build(
        name, state_schema, context_schema
    )


def _classic_merge() -> Merge:
    together = Step("integration-architect", "Integrate the components and test how they work together.")
    validated = Step(
        "qa-engineer", "Validate the whole end to end and assure its quality.", gate=gate(conclusion(), rework=1)
    )
    return merge(by=[together, validated], conflicts="judge")


@dataclass(frozen=True)
class _Fork:
    """A branch of the plan: one step, or one per item."""

    place: Place
    each: Each | None


class _Parallel:
    """The builder at work: its nodes see the plan, and nothing else."""

    def __init__(
        self, branches: Sequence[Any], join: Join, merge: Merge, gate: Gate | None, recovery: Recovery | None
    ) -> None:
        steps = as_steps([one.step if isinstance(one, Each) else one for one in branches], gate, _ENGINE, recovery)
        self.join, self.merge = join, merge
        self.judging = (recovery or STANDARD).of_others
        self.merging = merge.steps(gate, _ENGINE, recovery)
        every = [*steps, *self.merging]
        _distinct(every, [step for step, one in zip(steps, branches, strict=True) if isinstance(one, Each)])
        for step in steps:
            if step.needs:
                raise BuildError(
                    f"The branch {step.name!r} needs {', '.join(step.needs)}, but branches start together."
                )
        shared = tuple((at, step) for at, step in enumerate(steps) if isinstance(branches[at], Each))
        self.forks = [
            _Fork(
                _Counted(step, at, len(every), shared=shared),
                replace(one, step=step) if isinstance(one, Each) else None,
            )
            for at, (step, one) in enumerate(zip(steps, branches, strict=True))
        ]
        self.steps, self.shared = steps, shared
        self._noted = merge.conflicts is not None
        self.plain = [one.place.step for one in self.forks if one.each is None]
        if join.counts and len(self.plain) == len(steps) and join.count > len(steps):
            raise BuildError(f"join={join.kind}({join.count}) needs more branches than there are: {len(steps)}.")

    # --- the graph ---

    def build(self, name: str, state_schema: type[Any] | None, context_schema: type[Any] | None) -> TeamGraph:
        """Nodes and edges."""
        first = self.merging[0].name
        start = "fork" if self.shared else START
        again = {step.name: Redo(start, [step, *self.merging]) for step in self.plain}
        # A branch needs no other, and a merge takes what there is.
        for at, step in enumerate(self.merging):
            again[step.name] = Redo(exit_of(self.merging[at - 1]) if at else "join", self.merging[at:])
        graph = TeamGraph(
            name,
            [*self.steps, *self.merging],
            bound=supersteps([*self.steps, *self.merging], around=5),
            own_state=ParallelState,
            state_schema=state_schema,
            context_schema=context_schema,
            redo=again,
            templates=[step.name for _, step in self.shared],
            besides=self._besides(),
            pattern="parallel",
        )
        for fork in self.forks:
            self._add_fork(graph, fork)
        ways: dict[Hashable, str] = {step.name: step.name for step in self.steps}
        if self.shared:
            graph.add_node("fork", Node(_nothing, "fork"), metadata={"troupe_kind": "gate", "troupe_label": "fork"})
            ways["join"] = "join"  # a word that is no step's name
        graph.add_conditional_edges(start, Choice(self._begin), ways)
        graph.add_node(
            "join",
            Node(self._join, "join"),
            defer=True,
            metadata={"troupe_kind": "gate", "troupe_label": f"join: {self.join.words}"},
        )
        graph.add_conditional_edges(
            "join", Choice(self._joined), {"agreed": first, "contradicting": "resolve", "too few": "finish"}
        )
        asks = self.merge.conflicts == "ask"
        graph.add_node(
            "resolve",
            Node(self._resolve, "resolve"),
            metadata={
                "troupe_kind": "ask" if asks else "gate",
                "troupe_label": f"resolve: {self.merge.conflicts or 'priority'}",
            },
        )
        graph.add_edge("resolve", first)
        add_line(graph, [self._merging_place(at) for at in range(len(self.merging))], "finish")
        graph.add_node("finish", Node(self._finish, "finish"), metadata={"troupe_kind": "step"})
        graph.add_edge("finish", END)
        return graph

    def _besides(self) -> dict[str, Any]:
        items = {f"{one.place.step.name}.items": [one.each.items, one.each.most] for one in self.forks if one.each}
        judge = {"judge": self.merge.judge} if self.merge.conflicts is not None else {}
        return {"join": self.join, "conflicts": self.merge.conflicts, **items, **judge}

    def _add_fork(self, graph: TeamGraph, fork: _Fork) -> None:
        """The node of a branch; where a list is shared out, one before that finds its items."""
        step = fork.place.step
        look = {"troupe_kind": "step", "troupe_note": step.agent.title or step.objective}
        one = branch(fork.place, self.join, self._names, self._noted)
        inside = [one.loop] if one.loop is not None else step.graphs
        if fork.each is None:
            graph.add_node(step.name, Node(one.run, step.name, inside), metadata=look)
            graph.add_edge(step.name, "join")
            return
        source = f"{step.name}.items"
        title = {"troupe_kind": "step", "troupe_label": source, "troupe_note": "one branch per item"}
        asked = Place(step.named(source), fork.place.index, fork.place.total)
        graph.add_node(source, Node(partial(split, fork.each, asked), source), metadata=title)
        run = partial(self._item, one)
        graph.add_node(step.name, Sent(run, step.name, ParallelState.__annotations__, inside), metadata=look)
        graph.add_edge(START, source)
        graph.add_edge(source, "fork")
        graph.add_edge(step.name, "join")

    def _merging_place(self, at: int) -> Place:
        step, before = self.merging[at], self.merging[:at]
        redo = {one.name: [one, *self.merging[: at + 1]] for one in self.plain}
        redo |= {one.name: self.merging[start : at + 1] for start, one in enumerate(before)}
        parts = [one.name for one in self.plain]
        needs = [*parts, *(name for name in needs_of(step, [*self.plain, *before]) if name not in parts)]
        return _Merging(
            step,
            len(self.steps) + at,
            len(self.steps) + len(self.merging),
            earlier=[*self.plain, *before],
            needs=needs,
            redo=redo,
            guidance=rulings_of if isinstance(step.agent, FunctionAgent) else told,
            shared=self.shared,
        )

    # --- the nodes, and where they lead ---

    def _begin(self, state: Any) -> list[Any]:
        """Every branch that has delivered nothing yet in this round; after a rollback that is the one to redo.

        Branches and items begin in one superstep, or some would wait for others; and where a join is triggered in the
        superstep before, LangGraph runs it beside what is sent, not after it.
        """
        done = state.get("deliverables", {})
        ways: list[Any] = []
        for fork in self.forks:
            step = fork.place.step
            for number, name in enumerate(self._names_of(fork, state), 1):
                if name not in done or done[name].status == "superseded":
                    ways.append(name if fork.each is None else Send(step.name, {"item": str(number)}))
        return ways or ["join"]

    async def _item(self, template: Branch, item: str, state: Any, here: Here) -> dict[str, Any]:
        place, number = template.place.at(state), int(item)
        text = state["items"][place.step.name][number - 1]
        return await item_branch(template, place, number, text).run(state, here)

    def _names(self, state: Any) -> list[str]:
        """The steps of all branches, in order."""
        return [name for fork in self.forks for name in self._names_of(fork, state)]

    def _names_of(self, fork: _Fork, state: Any) -> list[str]:
        step = fork.place.step
        return [step.name] if fork.each is None else names(step, len(state.get("items", {}).get(step.name, ())))

    def _items_of(self, state: Any) -> list[str]:
        """The steps of all items, in order."""
        return [name for fork in self.forks if fork.each is not None for name in self._names_of(fork, state)]

    def _parts(self, state: Any) -> list[Deliverable]:
        done = state.get("deliverables", {})
        return [done[name] for name in self._names(state) if name in done and done[name].usable]

    async def _join(self, state: Any, here: Here) -> dict[str, Any]:
        """Say who is not needed, and find what contradicts."""
        parts, done = self._parts(state), state.get("deliverables", {})
        spare: dict[str, Deliverable] = {}
        if self.join.enough(len(parts)):
            lost = [done[name] for name in self._names(state) if name in done and not done[name].usable]
            spare = {one.step: one.but(required=False) for one in lost if one.required}
        if self._too_few(parts):
            return {"deliverables": spare}
        compared = await compare(parts, self._alike(), self.merge, state, here, self.judging)
        return {**compared, "deliverables": {**spare, **compared.get("deliverables", {})}}

    def _joined(self, state: Any) -> str:
        if self._too_few(self._parts(state)):
            return "too few"
        return "contradicting" if open_conflicts(state) else "agreed"

    def _too_few(self, parts: Sequence[Deliverable]) -> bool:
        return not parts or (self.join.kind == "quorum" and len(parts) < self.join.count)

    async def _resolve(self, state: Any, here: Here) -> dict[str, Any]:
        """Settle what contradicts."""
        authors = {name: fork.place.step.agent for fork in self.forks for name in self._names_of(fork, state)}
        policy = self.merge.conflicts or "priority"
        judge, parts = self.merge.judge, self._parts(state)
        ruled = await rule(policy, open_conflicts(state), parts, authors, judge, state, here, self.judging)
        for one in ruled:
            here.emit(Notice(now(), here.path("resolve"), one.line()))
        return {"conflicts": {one.id: one for one in ruled}}

    async def _finish(self, state: Any, here: Here) -> dict[str, Any]:
        """Settle the turn; without a merged result the parts stand side by side."""
        parts = self._parts(state)

        def answer(ended: Sequence[Deliverable]) -> str:
            merged = [one.content for one in ended[-len(self.merging) :] if one.usable]
            return merged[-1] if merged else side_by_side(parts)

        plan = [*self.plain, *self.merging]
        return await settle(plan, state, here, answer, self._short(parts, state), self._items_of(state))

    def _short(self, parts: Sequence[Deliverable], state: Any) -> Reason | None:
        """What keeps the turn from being completed although its steps have ended well."""
        if parts and self.join.counts and len(parts) < self.join.count:
            message = f"{len(parts)} of the {self.join.count} branches that {self.join.words} waits for delivered."
            done = state.get("deliverables", {})
            failed = [done[name] for name in self._names(state) if name in done and not done[name].usable]
            causes = [f"{one.step}: {why(one)}" for one in failed[:3]]
            limit = any(one.reason is not None and one.reason.kind == "limit" for one in failed)
            return Reason(kind="limit" if limit else "error", message=" ".join([message, *causes]), step="join")
        if left := [one for one in standing(state) if not one.by and one.why]:
            return Reason(
                kind="person", message=f"Left open by a person: {left[0].about}. {left[0].why}", step="resolve"
            )
        return None

    def _alike(self) -> dict[str, str]:
        """Steps whose data can be compared: those that return one schema, or plain data of no schema."""
        shapes = {step.name: step.returns.__qualname__ if step.returns else "" for step in self.plain}
        shared = Counter(shapes.values())
        return {name: shape for name, shape in shapes.items() if shared[shape] > 1}


@dataclass(frozen=True)
class _Counted(Place):
    """A place in a line-up that lists are shared out in: how many steps there are is known at run time."""

    shared: tuple[tuple[int, Step], ...] = ()
    """What stands for the items, by where it does."""

    def at(self, state: Any) -> Place:
        """The place in the line-up of this run."""
        if not self.shared:
            return self
        more = [(at, len(state["items"][step.name]) - 1) for at, step in self.shared]
        index = self.index + sum(count for at, count in more if at < self.index)
        return replace(self, index=index, total=self.total + sum(count for _, count in more), shared=())


class _Merging(_Counted):
    """Where a merging step stands: after all branches."""

    def at(self, state: Any) -> Place:
        """The place with the items of this run."""
        found = [one.named(name) for _, one in self.shared for name in names(one, len(state["items"][one.name]))]
        needs = [*(one.name for one in found), *self.needs]
        return replace(super().at(state), earlier=[*found, *self.earlier], needs=needs)


async def _nothing(state: Any, here: Here) -> dict[str, Any]:
    """All items are known here, and every branch begins."""
    return {}


def _distinct(steps: Sequence[Step], shared_out: Sequence[Step]) -> None:
    """No two steps of one name, neither those of items."""
    seen: Mapping[str, int] = Counter(step.name for step in steps)
    for name, count in seen.items():
        if count > 1:
            raise BuildError(f"Two steps are named {name!r}. Name them by their job: Step({name!r}, ..., name='...').")
    for step in shared_out:
        if clash := [name for name in seen if name.startswith(f"{step.name}.")]:
            raise BuildError(f"The step {clash[0]!r} has the name of an item of {step.name!r}. Give it another.")
