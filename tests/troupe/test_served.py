"""Our patterns and workflows on LangGraph's server."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer, _msgpack_ext_hook_to_json

from troupe import Team, TeamContext, agent, sequential
from troupe.agents import scope
from troupe.agents.settings import Settings
from troupe.catalogue import CATALOGUE

ROOT = Path(__file__).parent.parent.parent
GRAPHS: dict[str, str] = json.loads((ROOT / "langgraph.json").read_text())["graphs"]


def _load(where: str) -> Any:
    """As the server does it: from the file's path, and by the factory's name."""
    path, _, name = where.partition(":")
    spec = importlib.util.spec_from_file_location("served_by_path", ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)()


def test_every_pattern_and_workflow_is_exported() -> None:
    assert set(GRAPHS) == set(CATALOGUE)


@pytest.mark.parametrize("name", GRAPHS)
def test_an_exported_graph_has_no_checkpointer_and_runs(name: str) -> None:
    team = _load(GRAPHS[name])
    assert isinstance(team, Team)
    assert team.checkpointer is None
    state = team.invoke({"messages": [{"role": "user", "content": "count words"}]})
    assert state["status"] == "completed" and state["simulated"]
    assert state["messages"][-1].text == state["answer"]


@pytest.mark.parametrize("name", GRAPHS)
def test_a_state_can_be_read_as_plain_data_as_the_server_does(name: str) -> None:
    saver, thread = InMemorySaver(), {"configurable": {"thread_id": "t"}}
    team: Any = _load(GRAPHS[name]).copy({"checkpointer": saver})
    team.invoke({"task": "count words"}, thread)
    saver.serde = JsonPlusSerializer(__unpack_ext_hook__=_msgpack_ext_hook_to_json)
    values = team.get_state(thread).values
    assert {one["status"] for one in values["deliverables"].values()} == {"accepted"}


@pytest.mark.parametrize("name", GRAPHS)
def test_assistants_can_show_what_a_graph_takes_and_what_can_be_set(name: str) -> None:
    team = _load(GRAPHS[name])
    assert set(team.get_input_jsonschema()["properties"]) == {"task", "messages"}
    context = team.get_context_jsonschema()
    assert context is not None
    assert {"models", "budget", "deadline", "prompts"} <= set(context["properties"])
    json.dumps([context, team.get_input_jsonschema(), team.get_output_jsonschema()])


@pytest.mark.parametrize("given", ["our context", "a dictionary, as the server has it", "the settings"])
async def test_a_folder_of_prompts_is_never_read_inside_the_event_loop(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []

    def check(folder: Any) -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        looked.append(folder)

    monkeypatch.setattr(scope, "check", check)
    context: Any = {"our context": TeamContext(prompts=str(tmp_path)), "the settings": None}.get(
        given, {"prompts": str(tmp_path)}
    )
    if given == "the settings":
        monkeypatch.setenv("TROUPE_PROMPTS", str(tmp_path))
        Settings.refresh()
    done = await sequential(agent("a", "Work.")).compile().ainvoke({"task": "x"}, context=context)
    assert done["status"] == "completed" and [str(one) for one in looked] == [str(tmp_path)]
