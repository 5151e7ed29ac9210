"""Fingerprints: the same for the same team wherever it is made, another one in what was changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.tools import tool
from pydantic import BaseModel

from troupe import (
    Brief,
    Guards,
    Recovery,
    Step,
    TeamGraph,
    agent,
    contains,
    each,
    first,
    gate,
    hierarchical,
    merge,
    mesh,
    non_empty,
    parallel,
    review,
    sequential,
)
from troupe.graphs import code
from troupe.graphs.fingerprint import changes, fingerprint


class Ticket(BaseModel):
    order: int


class Longer(BaseModel):
    order: int
    note: str = ""


def lookup(order: str) -> str:
    """Look an order up."""
    return order


@tool("lookup")
def look_further(order: str, deep: bool = True) -> str:
    """Look an order up, and everything about it."""
    return order


def work(brief: Brief) -> str:
    return brief.task


def other_work(brief: Brief) -> str:
    return brief.task.upper()


other_work.__name__ = other_work.__qualname__ = "work"


def saying(word: str) -> Callable[[Brief], str]:
    def says(brief: Brief) -> str:
        return word

    return says


A = agent("a", "Write.")


def line(*steps: Any, **options: Any) -> TeamGraph:
    return sequential(*steps, agent("last", "End."), **options)


CHANGED: dict[str, tuple[Callable[[], TeamGraph], Callable[[], TeamGraph], list[str]]] = {
    "objective": (lambda: line(Step(A, "one")), lambda: line(Step(A, "two")), ["step 'a': another objective"]),
    "prompt": (lambda: line(A), lambda: line(agent("a", "Write well.")), ["step 'a': another prompt"]),
    "agent": (
        lambda: line(Step(A, name="x")), lambda: line(Step(agent("b", "Write."), name="x")),
        ["step 'x': another agent"],
    ),
    "tier": (lambda: line(A), lambda: line(agent("a", "Write.", tier="premium")), ["step 'a': another model or tier"]),
    "own model": (
        lambda: line(A), lambda: line(agent("a", "Write.", model="openai:gpt-5")), ["step 'a': another model or tier"],
    ),
    "model object": (
        lambda: line(A),
        lambda: line(agent("a", "Write.", model=FakeListChatModel(responses=["x"]))),
        ["step 'a': another model or tier"],
    ),
    "tools": (
        lambda: line(agent("a", "Write.", tools=[lookup])),
        lambda: line(agent("a", "Write.", tools=[look_further])),
        ["step 'a': other tools"],
    ),
    "a tool more": (lambda: line(A), lambda: line(agent("a", "Write.", tools=[lookup])), ["step 'a': other tools"]),
    "schema": (
        lambda: line(Step(A, returns=Ticket)),
        lambda: line(Step(A, returns=Longer)),
        ["step 'a': another schema of its result"],
    ),
    "gate": (
        lambda: line(Step(A, gate=gate(contains("x")))), lambda: line(Step(A, gate=gate(contains("y")))),
        ["step 'a': another gate"],
    ),
    "rework": (
        lambda: line(Step(A, gate=gate(contains("x"), 1))), lambda: line(Step(A, gate=gate(contains("x"), 2))),
        ["step 'a': another gate"],
    ),
    "reviewer": (
        lambda: line(Step(A, gate=gate(review(by=agent("r", "Judge."))))),
        lambda: line(Step(A, gate=gate(review(by=agent("r", "Judge hard."))))),
        ["step 'a': another gate"],
    ),
    "check of one's own": (
        lambda: line(Step(A, gate=gate(lambda work: "x" in work.content))),
        lambda: line(Step(A, gate=gate(lambda work: "y" in work.content))),
        ["step 'a': another gate"],
    ),
    "function": (lambda: line(work), lambda: line(other_work), ["step 'work': other code"]),
    "lambda": (
        lambda: line(Step(lambda b: "1", name="x")), lambda: line(Step(lambda b: "2", name="x")),
        ["step 'x': other code"],
    ),
    "closure": (lambda: line(saying("hi")), lambda: line(saying("ho")), ["step 'says': other code"]),
    "undo": (lambda: line(Step(A)), lambda: line(Step(A, undo=lambda done: None)), ["step 'a': other code"]),
    "needs": (
        lambda: line(Step(A), Step(work), Step(agent("c", "Check."))),
        lambda: line(Step(A), Step(work), Step(agent("c", "Check."), needs=["a"])),
        ["step 'c': other needs"],
    ),
    "recovery": (
        lambda: line(A), lambda: line(Step(A, recovery=Recovery(ask=True))), ["step 'a': another recovery"],
    ),
    "optional": (lambda: line(A), lambda: line(Step(A, optional=True)), ["step 'a': another recovery"]),
    "name": (
        lambda: line(Step(A, name="x")), lambda: line(Step(A, name="y")), ["step 'x' is gone", "step 'y' is new"],
    ),
    "inside a nested team": (
        lambda: line(sequential(Step(A, "one"), name="inner")),
        lambda: line(sequential(Step(A, "two"), name="inner")),
        ["step 'inner/a': another objective"],
    ),
    "join": (lambda: parallel(A, work), lambda: parallel(A, work, join=first(1)), ["the team: another join"]),
    "items": (
        lambda: parallel(each(work, ["a"])), lambda: parallel(each(work, lambda b: ["a"])),
        ["the team: another work.items"],
    ),
    "judge": (
        lambda: parallel(A, work, merge=merge(conflicts="judge", judge=agent("j", "One."))),
        lambda: parallel(A, work, merge=merge(conflicts="judge", judge=agent("j", "Two."))),
        ["step 'judge': another prompt"],
    ),
    "width": (
        lambda: hierarchical(None, A, agent("w", "Work.")),
        lambda: hierarchical(None, A, agent("w", "Work."), width=3),
        ["the team: another width"],
    ),
    "hub": (
        lambda: mesh([A, agent("b", "B.")], hub=agent("h", "Lead.")),
        lambda: mesh([A, agent("b", "B.")], hub=agent("h", "Lead well.")),
        ["step 'hub': another prompt"],
    ),
    "guards": (
        lambda: mesh([A, agent("b", "B.")]), lambda: mesh([A, agent("b", "B.")], guards=Guards(hops=3)),
        ["the team: another guards"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_what_was_changed_is_named_and_nothing_else(name: str) -> None:
    before, after, said = CHANGED[name]
    assert fingerprint(before()) == fingerprint(before()), "made twice, it is the same"
    found = changes(fingerprint(before()), fingerprint(after()))
    assert [one for one in found if one != "the team: other nodes or edges"] == said
    assert changes(fingerprint(after()), fingerprint(after())) == []


def test_a_folder_of_prompts_changes_the_agents_and_moves_that_it_replaces(tmp_path: Path) -> None:
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles/qa-engineer.md").write_text("Be kind.")
    team = sequential("qa-engineer", "git-helper")
    assert changes(fingerprint(team), fingerprint(team, tmp_path)) == ["step 'qa-engineer': another prompt"]
    (tmp_path / "moves").mkdir()
    (tmp_path / "moves/common.md").write_text("Be brief.")
    both = changes(fingerprint(team), fingerprint(team, tmp_path))
    assert both == ["the team: other texts in its folder of prompts", "step 'qa-engineer': another prompt"]


def test_comments_layout_counters_and_lines_on_one_line_are_told_from_code(tmp_path: Path) -> None:
    def load(text: str, name: str) -> Any:
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        names: dict[str, Any] = {}
        exec(compile(text, str(path), "exec"), names)  # noqa: S102 - a file of this test
        return names["f"]

    plain = load("def f(b):\n    return b.task + 'x'\n", "one")
    laid_out = load("\n\n\ndef f(b):\n    # why not\n    return (\n        b.task\n        + 'x')\n", "two")
    assert texts(plain) == texts(laid_out)
    assert texts(plain) != texts(load("def f(b):\n    return b.task + 'y'\n", "three"))
    pair = load("f = [lambda b: 'one', lambda b: 'two']\n", "four")
    assert texts(pair[0]) != texts(pair[1])
    assert texts(pair[0]) == texts(load("f = lambda b: 'one'\n", "five"))
    counts = load(
        "def make():\n    n = 0\n    def f(b):\n        nonlocal n\n        n += 1\n        return str(n)\n"
        "    return f\nf = make()\n",
        "six",
    )
    before = texts(counts)
    counts(None)
    assert texts(counts) == before, "what a function counts is no part of what it is"


def texts(function: Any) -> str:
    return code.code_of(function, repr)


def test_a_function_without_source_is_told_by_its_names_and_constants() -> None:
    made: dict[str, Any] = {}
    exec("def f(b): return b.task + 'x'\ndef g(b): return b.task + 'y'", made)  # noqa: S102
    assert texts(made["f"]) == texts(made["f"]) != texts(made["g"])
    assert "0x" not in texts(made["f"])


SOURCE = """
from functools import partial
from troupe import Step, agent, contains, gate, non_empty, sequential

def outer(word):
    def inner(brief, n=3):
        match brief.task:
            case "x":
                return f"{word} {n!r:>5} {{}} {sum(one for one in range(n))}"
        return word
    return inner

class Says:
    def __call__(self, brief):
        return "said"

@partial(partial)
def wrapped(brief):
    return "w"

lambdas = [lambda b: "1", lambda b, *, k={"a": 1}: [k for k in b]]
functions = [outer("a"), *lambdas, Says(), partial(outer("b"), n=4), wrapped]
team = sequential(
    Step(outer("a"), "one", name="a", gate=gate(non_empty() & (lambda w: len(w.content) > 3))),
    Step(lambda b: "x", name="b"), Step(Says(), name="c"), sequential(agent("d", "D."), name="n"),
)
"""


def test_it_is_the_same_in_another_process_and_in_another_checkout(tmp_path: Path) -> None:
    found = []
    for at, seed in (("here/deep", "1"), ("there", "2")):
        (folder := tmp_path / at).mkdir(parents=True)
        (folder / "teams.py").write_text(SOURCE)
        code = (
            "import json, sys; sys.path.insert(0, '.'); from teams import team; "
            "from troupe.graphs.fingerprint import fingerprint; print(json.dumps(fingerprint(team)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
    assert set(found[0]) == {"", "a", "b", "c", "n", "n/", "n/d"}


def test_code_is_the_same_text_in_another_version_of_python(tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(SOURCE.replace("from troupe import", "#").partition("team =")[0])
    script = (
        "import runpy, sys, json; code = runpy.run_path(sys.argv[1]); made = runpy.run_path('functions.py');"
        "print(json.dumps([code['code_of'](one, repr) for one in made['functions']]))"
    )
    command = ["-c", script, str(code.__file__)]
    mine = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)
    assert mine.returncode == 0, mine.stderr
    others = 0
    for minor in (11, 12, 13, 14):
        if (found := shutil.which(f"python3.{minor}")) and minor != sys.version_info.minor:
            asked = subprocess.run([found, *command], cwd=tmp_path, capture_output=True, text=True)
            if asked.returncode != 0 and "functions.py" not in asked.stderr:
                continue  # a name without a Python behind it
            others += 1
            assert json.loads(asked.stdout) == json.loads(mine.stdout)
    if not others:
        pytest.skip("no other version of Python is here")


def test_it_costs_less_than_two_milliseconds_for_fifteen_steps() -> None:
    steps = [agent(f"s{n}", "Work.", tools=[lookup]) for n in range(7)] + [Step(work, name=f"f{n}") for n in range(8)]
    team = sequential(*steps, gate=gate(non_empty())).compile()
    fingerprint(team)
    took = []
    for _ in range(30):
        began = time.perf_counter()
        fingerprint(team)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.002
