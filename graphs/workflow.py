"""workflow: a team's way of working as data, from Python or from YAML; what needs nothing of each other runs at once.

    name: release
    phases:
      - name: plan
        steps: [product-manager, ui-ux-designer]         # one after the other
      - name: build
        kind: parallel                                   # at once, when the phase before has ended
        steps:
          - {agent: frontend-engineer, objective: Build the interface.}
          - {agent: python-engineer, objective: Build the API., name: api}
      - {agent: technical-writer, needs: [api]}          # as soon as the API is there

`Workflow.read("release.yaml").build()` gives the graph; drawn are the needs.

```mermaid
flowchart LR
    start([start]) --> draft
    start --> look
    draft --> check
    look --> check
    check --> end([end])
```
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Discriminator, Field, PrivateAttr, Tag, ValidationError

from troupe.agents.contracts import Value
from troupe.agents.errors import BuildError, SettingsError
from troupe.agents.notes import Text
from troupe.graphs.flowing.reading import Misplaced, Place, Source, read
from troupe.graphs.flowing.specs import AgentSpec, GateSpec, Join, MergeSpec, RecoverySpec
from troupe.graphs.team import TeamGraph

MOST_STEPS = 500
"""As many as one workflow may have."""

Name = Annotated[str, Field(pattern=r"^[^\s:|/#.][^:|/#\x00-\x1f]{0,99}$")]
Needs = Annotated[
    tuple[str, ...] | None,
    Field(
        description="The steps or phases that it waits for, and for no other; an empty list: for none. Without it: for "
        "what comes before."
    ),
]
GateOf = Annotated[
    GateSpec | Literal["inherit", "none"], Field(description="The gate after it; by default that of what it is in.")
]
RecoveryOf = Annotated[
    RecoverySpec | Literal["inherit"], Field(description="What is done when it fails; by default as what it is in.")
]


class _Entry(Value):
    """What every entry can say."""

    needs: Needs = None
    gate: GateOf = "inherit"
    recovery: RecoveryOf = "inherit"
    optional: bool = Field(False, description="Whether the run goes on without its result, if it fails.")
    priority: float = Field(
        0.0, description="Seconds of work by which it goes before others, where not all can work at once."
    )


class StepEntry(_Entry):
    """One unit of work of one agent."""

    kind: Literal["step"] = "step"
    agent: str = Field(description="Who works: a role, or an agent of this workflow.")
    objective: Text = Field("", description="What the step is to achieve.")
    name: Name | None = Field(None, description="The step's name; by default the agent's.")


class SequentialEntry(_Entry):
    """Steps that follow one another, unless they say what they need."""

    kind: Literal["sequential"] = "sequential"
    name: Name
    steps: tuple[Entry, ...] = Field(min_length=1)


class ParallelEntry(_Entry):
    """Steps that start together. With a `join` or a `merge` they become one result, of the entry's name."""

    kind: Literal["parallel"]
    name: Name
    steps: tuple[Entry, ...] = Field(min_length=1)
    join: Join = Field("all", description="all, best_effort, first(k), quorum(k) or within(seconds).")
    merge: MergeSpec | None = None


class HierarchicalEntry(_Entry):
    """Managers who decide and delegate, and those who do the work; one result."""

    kind: Literal["hierarchical"]
    name: Name
    objective: Text = ""
    strategic: tuple[str, ...] = ()
    tactical: tuple[str, ...] = ()
    implementation: tuple[str, ...] = Field(min_length=1)


class MeshEntry(_Entry):
    """A hub that gives work to a pool, round by round; one result."""

    kind: Literal["mesh"]
    name: Name
    objective: Text = ""
    pool: tuple[str, ...] = Field(min_length=2)
    hub: str = "agent-architect"


def _tag(given: Any) -> str:
    if isinstance(given, str):
        return "name"
    said = given.get("kind") if isinstance(given, Mapping) else getattr(given, "kind", None)
    if said is not None:
        return str(said)
    return "sequential" if isinstance(given, Mapping) and "steps" in given else "step"


Entry = Annotated[
    Annotated[str, Tag("name"), Field(description="A step of the agent of that name.")]
    | Annotated[StepEntry, Tag("step")]
    | Annotated[SequentialEntry, Tag("sequential")]
    | Annotated[ParallelEntry, Tag("parallel")]
    | Annotated[HierarchicalEntry, Tag("hierarchical")]
    | Annotated[MeshEntry, Tag("mesh")],
    Discriminator(_tag),
]


class Workflow(Value):
    """A team's way of working as data: phases, what they need, and what their results must pass.

    >>> workflow = Workflow(name="note", phases=["ai-researcher", {"agent": "technical-writer", "name": "text"}])
    >>> [step.name for step in workflow.build().steps]
    ['ai-researcher', 'text']
    >>> Workflow.parse(workflow.to_yaml()) == workflow
    True
    """

    name: Name
    description: Text = ""
    agents: dict[str, AgentSpec] = Field({}, description="Agents of the workflow's own, by name.")
    gate: GateSpec | None = Field(None, description="The gate after every step that has none of its own.")
    recovery: RecoverySpec | None = Field(None, description="What is done when a step fails.")
    phases: tuple[Entry, ...] = Field(min_length=1, description="In order; each waits for the one before it.")

    _source: Source | None = PrivateAttr(None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workflow) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def parse(cls, text: str, where: str = "the workflow") -> Workflow:
        """A workflow from YAML; what is wrong is said with its line.

        Args:
            text: the YAML.
            where: how messages name it: a file's path.

        Raises:
            BuildError: it is no workflow; all complaints are listed.
        """
        data, source = read(text, where)
        try:
            made = cls.model_validate(data)
        except ValidationError as error:
            found = [str(source.complaint(one["loc"], said)) for one in error.errors() if (said := _said(one))]
            raise Misplaced("\n".join(dict.fromkeys(found))) from None
        made._source = source
        return made

    @classmethod
    def read(cls, path: str | Path) -> Workflow:
        """A workflow from a YAML file.

        Raises:
            SettingsError: the file cannot be read.
            BuildError: see `parse`.
        """
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"The workflow {path} cannot be read: {error}.") from None
        return cls.parse(text, str(path))

    def to_yaml(self) -> str:
        """The same as YAML, which `parse` reads."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)

    def build(
        self,
        agents: Mapping[str, Any] | None = None,
        seconds: Mapping[str, float] | None = None,
        state_schema: type[Any] | None = None,
        context_schema: type[Any] | None = None,
    ) -> TeamGraph:
        """The graph.

        Args:
            agents: whoever else the workflow names: agents, functions or graphs, by name.
            seconds: how long steps take, by name, where that is known: those that most work hangs on go first.
            state_schema: a subclass of `TeamState` with fields of your own.
            context_schema: a subclass of `TeamContext` with fields of your own.

        Raises:
            BuildError: it cannot work: an unknown agent or step, steps that need one another in a circle, two of one
                name, a gate whose reviewer is the author, too many steps; the message says the line, where it is known.
        """
        from troupe.graphs.flowing.plan import planned
        from troupe.graphs.flowing.team import flowing_team

        return flowing_team(planned(self, agents or {}, seconds or {}), self.name, state_schema, context_schema)

    def blame(self, where: Place, error: BuildError) -> BuildError:
        """The error with its place in the file that this was read from."""
        return error if self._source is None else self._source.complaint(where, str(error))


def _said(error: Any) -> str:
    """A complaint of pydantic's in our words; none for one that only follows from another."""
    kind, given, context = error["type"], error["input"], error.get("ctx") or {}
    if kind == "extra_forbidden":
        return f"unknown key {error['loc'][-1]!r}"
    if kind == "missing":
        return f"the key {error['loc'][-1]!r} is missing"
    if kind == "union_tag_invalid":
        return f"unknown kind {context['tag']!r}; there are: step, sequential, parallel, hierarchical, mesh"
    if kind == "too_short":
        return "" if given else "there is nothing in it"
    if kind in ("model_type", "union_tag_not_found", "dict_type"):
        return "" if isinstance(given, str) else f"keys and values are wanted, not {given!r}"
    if kind == "literal_error":
        return "" if isinstance(given, Mapping) else f"{given!r} is not one of: {_choices(context['expected'])}"
    return f"{str(error['msg']).removeprefix('Value error, ')}, not {given!r}"[:500]


def _choices(expected: str) -> str:
    return expected.replace("'", "").replace(" or ", ", ")


def schema() -> dict[str, Any]:
    """The JSON Schema of a workflow, for editors and other tools."""
    made = Workflow.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
