"""Fingerprints: what makes each step of a team what it is, so that a run which is gone on with knows what has changed.

A fingerprint has one line per step, by its path, and one for the shape of each team (`""`, `outer/`): for each respect
in which it could be another one, a short digest. It is the same in every process, checkout and version of Python.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool
from langgraph.graph import StateGraph
from pydantic import BaseModel

from troupe.agents.agent import Agent
from troupe.agents.chat import ChatAgent
from troupe.agents.functions import FunctionAgent
from troupe.graphs.adapters import GraphAgent
from troupe.graphs.code import code_of
from troupe.graphs.recovery import STANDARD
from troupe.graphs.step import Step
from troupe.graphs.team import TeamGraph

VERSION = "1"
RESPECTS = {
    "agent": "another agent",
    "prompt": "another prompt",
    "tools": "other tools",
    "model": "another model or tier",
    "code": "other code",
    "objective": "another objective",
    "returns": "another schema of its result",
    "gate": "another gate",
    "needs": "other needs",
    "recovery": "another recovery",
    "graph": "another graph",
    "pattern": "another pattern",
    "nodes": "other nodes or edges",
    "state": "other fields in its state",
    "prompts": "other texts in its folder of prompts",
}
_DEEP = 6
_traits: WeakKeyDictionary[Agent, dict[str, str]] = WeakKeyDictionary()


def fingerprint(team: Any, prompts: str | Path | None = None) -> dict[str, str]:
    """The fingerprint of a team as it would run with this folder of prompts.

    Args:
        team: a `Team` or `TeamGraph`.
        prompts: the folder whose texts replace ours, if there is one.

    >>> from troupe import agent, sequential
    >>> sorted(fingerprint(sequential(agent("a", "Write."), agent("b", "Check."))))
    ['', 'a', 'b']
    """
    graph = team if isinstance(team, TeamGraph) else team.builder
    lines = dict(_team(graph, "", prompts))
    lines[""] = f"version:{VERSION} {lines['']}"
    return lines


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is another in `now`, a sentence each; nothing where the two cannot be compared.

    >>> changes({"": "version:1", "a": "agent:1 objective:2"}, {"": "version:1", "a": "agent:1 objective:3", "b": ""})
    ["step 'a': another objective", "step 'b' is new"]
    """
    if _respects(before.get("", "")).get("version") != _respects(now.get("", "")).get("version"):
        return []
    found = [f"step {name!r} is gone" for name in before if name not in now and not _is_shape(name)]
    for name, line in now.items():
        if name not in before:
            found += [] if _is_shape(name) else [f"step {name!r} is new"]
            continue
        old, new = _respects(before[name]), _respects(line)
        differ = [one for one in sorted(old.keys() | new.keys()) if old.get(one) != new.get(one)]
        if differ:
            what = "the team" if not name else f"the team {name[:-1]!r}" if _is_shape(name) else f"step {name!r}"
            found.append(f"{what}: {', '.join(RESPECTS.get(one, f'another {one}') for one in differ)}")
    return found


def _respects(line: str) -> dict[str, str]:
    return dict(one.split(":", 1) for one in line.split())


def _is_shape(name: str) -> bool:
    return not name or name.endswith("/")


def _team(graph: TeamGraph, outer: str, prompts: Any) -> Iterator[tuple[str, str]]:
    nodes = [sorted(graph.nodes), sorted(map(str, _edges(graph)))]
    shape = {"pattern": graph.name, "nodes": nodes, "state": sorted(graph.channels)}
    besides = {name: one for name, one in graph.besides.items() if not isinstance(one, Agent | Step)}
    moves = {} if outer else {"prompts": _folder(prompts)}
    yield outer, _line({**shape, **besides, **moves}, prompts)
    steps = {step.name: step for step in graph.outline}
    steps |= {name: _as_step(one) for name, one in graph.besides.items() if isinstance(one, Agent | Step)}
    for name, step in steps.items():
        yield from _step(step, f"{outer}{name}", prompts)


def _as_step(one: Agent | Step) -> Step:
    return one if isinstance(one, Step) else Step(one)


def _step(step: Step, path: str, prompts: Any) -> Iterator[tuple[str, str]]:
    own = {
        "objective": step.objective,
        "returns": step.returns,
        "gate": step.gate if is_dataclass(step.gate) else None,
        "needs": sorted(step.needs),
        "recovery": [step.optional, None if step.recovered == STANDARD else step.recovered],
        "code": [one for one in (step.takes, step.gives, step.undo) if one is not None],
    }
    traits = dict(one.split(":", 1) for one in _line(own, prompts).split())
    known = _of_agent(step.agent, prompts)
    if both := [part["code"] for part in (traits, known) if "code" in part]:
        traits["code"] = both[0] if len(both) == 1 else _seal("".join(both))
    yield path, " ".join(f"{name}:{one}" for name, one in {**known, **traits}.items())
    inner = getattr(step.agent.graph, "builder", None) if isinstance(step.agent, GraphAgent) else None
    if isinstance(inner, TeamGraph):
        yield from _team(inner, f"{path}/", prompts)


def _of_agent(agent: Agent, prompts: Any) -> dict[str, str]:
    """An agent's respects; all but its prompt are found out once."""
    if (known := _traits.get(agent)) is None:
        known = _traits[agent] = dict(one.split(":", 1) for one in _line(_traits_of(agent), prompts).split())
    if not isinstance(agent, ChatAgent):
        return known
    return {**known, "prompt": _seal(agent.role.text(prompts))}


def _traits_of(agent: Agent) -> dict[str, Any]:
    traits: dict[str, Any] = {"agent": [agent.name, type(agent).__qualname__]}
    if isinstance(agent, ChatAgent):
        traits["tools"] = [_tool(one) for one in agent.tools]
        traits["model"] = [agent.role.tier, agent.own_model]
    elif isinstance(agent, FunctionAgent):
        traits["code"] = agent.function
    elif isinstance(agent, GraphAgent):
        builder = getattr(agent.graph, "builder", None)
        if not isinstance(builder, TeamGraph):
            traits["graph"] = builder if isinstance(builder, StateGraph) else type(agent.graph)
    else:
        methods = vars(type(agent)).values() if not type(agent).__module__.startswith("troupe.") else ()
        traits["code"] = [one for one in methods if callable(one)]
    return traits


def _tool(tool: Any) -> list[Any]:
    """What a model sees of a tool, and what it does."""
    if isinstance(tool, BaseTool):
        schema = tool.tool_call_schema
        does = getattr(tool, "func", None) or getattr(tool, "coroutine", None) or type(tool)
        return [tool.name, tool.description, schema, does]
    return [tool]


def _line(respects: Mapping[str, Any], prompts: Any) -> str:
    """The respects with their digests; those that are empty are left out."""
    return " ".join(f"{name}:{_seal(_said(one, prompts))}" for name, one in respects.items() if one not in _EMPTY)


_EMPTY: tuple[Any, ...] = (None, "", [], {}, (), [False, None])


def _said(value: Any, prompts: Any, deep: int = _DEEP) -> str:
    """A value as text that is the same wherever it is made."""

    def says(one: Any) -> str:
        return _said(one, prompts, deep - 1)

    if value is None or isinstance(value, bool | int | float | str | bytes | Path):
        return repr(value) if not isinstance(value, Path) else value.name
    if deep <= 0:
        return type(value).__qualname__
    if isinstance(value, type):
        return _schema(value) if issubclass(value, BaseModel) else value.__qualname__
    if isinstance(value, Agent):
        return repr(_of_agent(value, prompts)) + (says(value.graph) if isinstance(value, GraphAgent) else "")
    if isinstance(value, Step):
        return repr([*_step(value, value.name, prompts)])
    if isinstance(value, StateGraph):
        return _graph(value, prompts, deep)
    if isinstance(getattr(value, "builder", None), StateGraph):
        return says(value.builder)
    if isinstance(value, BaseTool):
        return says(_tool(value))
    if isinstance(value, BaseChatModel):
        name = getattr(value, "model_name", None) or getattr(value, "model", None)
        return f"{type(value).__qualname__} {name}"
    if is_dataclass(value):
        told = ",".join(f"{one.name}={says(getattr(value, one.name))}" for one in fields(value))
        return f"{type(value).__qualname__}({told})"
    if isinstance(value, BaseModel):
        return f"{type(value).__qualname__}{says(dict(value))}"
    if isinstance(value, Mapping):
        return f"{{{','.join(sorted(f'{says(name)}:{says(one)}' for name, one in value.items()))}}}"
    if isinstance(value, set | frozenset):
        return f"{{{','.join(sorted(map(says, value)))}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(says, value))}]"
    return code_of(value, says) if callable(value) else type(value).__qualname__


def _graph(graph: StateGraph[Any, Any, Any, Any], prompts: Any, deep: int) -> str:
    """A user's own graph: its nodes with what they do, and its edges."""
    if isinstance(graph, TeamGraph):
        return repr([*_team(graph, "", prompts)])
    nodes = {}
    for name, node in graph.nodes.items():
        runs = node.runnable
        does = getattr(runs, "afunc", None) or getattr(runs, "func", None) or runs
        nodes[name] = _said(does, prompts, deep - 1)
    return repr([sorted(nodes.items()), sorted(map(str, _edges(graph)))])


def _edges(graph: StateGraph[Any, Any, Any, Any]) -> Iterator[tuple[str, str]]:
    yield from graph.edges
    yield from ((source, end) for sources, end in graph.waiting_edges for source in sources)
    for source, branches in graph.branches.items():
        for one in branches.values():
            yield from ((source, f"{word}>{end}") for word, end in (one.ends or {}).items())


@lru_cache(maxsize=256)
def _schema(model: type[BaseModel]) -> str:
    """A class by its schema, which is what a model is shown of it."""
    try:
        return f"{model.__qualname__} {json.dumps(model.model_json_schema(), sort_keys=True)}"
    except Exception:  # noqa: BLE001 - a user's class without a schema still has a name and fields
        return f"{model.__qualname__} {sorted(model.model_fields)}"


def _folder(prompts: Any) -> list[tuple[str, str]]:
    """The moves that a folder replaces; its roles are told of with their agents."""
    if prompts is None:
        return []
    return [(path.stem, path.read_text("utf-8", "replace")) for path in sorted(Path(prompts).glob("moves/*.md"))]


def _seal(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=4).hexdigest()
