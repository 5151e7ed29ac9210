"""Notes: what an agent says about its work as data, and the files in what it wrote."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troupe.agents.contracts import Deliverable
from troupe.agents.notes import Artifact, Escalation, Handoff, Notes, Point, artifacts


def paths(text: str) -> list[str]:
    return [one.path for one in artifacts(text)]


@pytest.mark.parametrize(
    "info",
    [
        "python path=app/main.py", "python app/main.py", "app/main.py", "python:app/main.py", 'py title="app/main.py"',
        "py file='app/main.py'", "py filename=app/main.py", "python path=./app/main.py", "path=app/main.py python",
    ],
)  # fmt: skip
def test_a_fenced_block_that_names_its_path_is_a_file(info: str) -> None:
    assert artifacts(f"Here:\n\n```{info}\nprint(1)\n```\nDone.") == (
        Artifact(path="app/main.py", content="print(1)\n"),
    )


@pytest.mark.parametrize("path", ["Dockerfile", "app/[id]/page.tsx", ".env", "src/@types/x.d.ts", "Makefile"])
def test_a_path_that_is_given_as_one_may_be_any(path: str) -> None:
    assert paths(f"```text path={path}\nx\n```") == [path]
    assert paths(f'```text path="{path}"\nx\n```') == [path]
    assert paths('```text path="two words.txt"\nx\n```') == ["two words.txt"]


@pytest.mark.parametrize(
    "line",
    [
        "# app/main.py",
        "### `app/main.py`",
        "**app/main.py**",
        "`app/main.py`:",
        "File: app/main.py",
        "**`app/main.py`**",
    ],
)
def test_the_line_above_may_name_it(line: str) -> None:
    assert paths(f"{line}\n```python\nprint(1)\n```") == ["app/main.py"]
    assert paths(f"{line}\n\n```python\nprint(1)\n```") == ["app/main.py"]


@pytest.mark.parametrize(
    "text",
    [
        "no block at all", "```python\nprint(1)\n```", "```\nplain\n```", "`app/main.py`",
        "```python path=x.py\nnever closed",
        "Use app/main.py:\n\n```bash\nls\n```", '```js title="An example"\nx\n```',
    ],
)  # fmt: skip
def test_a_block_that_names_no_path_or_never_ends_is_none(text: str) -> None:
    assert artifacts(text) == ()


def test_a_block_may_hold_shorter_fences_and_tildes_are_fences_too() -> None:
    text = "````markdown path=README.md\n```python\nx\n```\n````\n\n~~~text notes.txt\n```\n~~~\n"
    assert artifacts(text) == (
        Artifact(path="README.md", content="```python\nx\n```\n"),
        Artifact(path="notes.txt", content="```\n"),
    )


def test_a_name_above_one_block_is_not_that_of_the_next() -> None:
    assert paths("# a.py\n```\n1\n```\n\n```\n2\n```") == ["a.py"]


def test_of_a_file_that_is_written_twice_the_last_version_counts() -> None:
    found = artifacts("```text a.txt\n1\n```\n```text b.txt\n2\n```\n```text ./a.txt\n3\n```")
    assert {one.path: one.content for one in found} == {"a.txt": "3\n", "b.txt": "2\n"}


@given(st.text(alphabet=st.sampled_from("`~ \n#*a.txt=path/"), max_size=300))
def test_any_text_can_be_read_for_files(text: str) -> None:
    for one in artifacts(text):
        assert one.path and isinstance(one.content, str)


def test_a_large_text_is_read_at_once() -> None:
    import time

    began = time.perf_counter()
    assert artifacts("# x.py\n" * 50_000 + "```" * 50_000 + "\n" * 50_000) == ()
    assert time.perf_counter() - began < 5


def test_a_deliverable_knows_its_files() -> None:
    assert [one.path for one in Deliverable(step="a", content="```text x.txt\n1\n```").artifacts] == ["x.txt"]
    assert Deliverable(step="a").artifacts == ()


def test_notes_are_empty_unless_something_is_said() -> None:
    notes = Notes()
    assert (notes.facts, notes.decisions, notes.assumptions, notes.questions) == ((), (), (), ())
    assert notes.escalation is None and notes.handoff is None


def test_what_a_model_adds_of_its_own_is_left_out_and_what_no_database_stores_taken_out() -> None:
    notes = Notes.model_validate(
        {"facts": ["nul \0 here"], "status": "accepted", "decisions": [{"topic": "a", "choice": "b", "x": 1}]}
    )
    assert "\0" not in notes.facts[0] and notes.facts[0].startswith("nul")
    assert not hasattr(notes, "status") and notes.decisions == (Point(topic="a", choice="b"),)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, 85, "sure", float("nan"), 10**400, [1]])
def test_a_confidence_that_does_not_lie_between_0_and_1_says_nothing_and_loses_nothing(confidence: Any) -> None:
    assert Point(topic="a", choice="b", confidence=confidence) == Point(topic="a", choice="b")
    assert Point(topic="a", choice="b", confidence="0.5").confidence == 0.5  # type: ignore[arg-type]


def test_notes_go_to_json_and_come_back() -> None:
    notes = Notes(
        facts=("a",),
        decisions=(Point(topic="port", choice="80", why="free", confidence=0.5),),
        escalation=Escalation(question="Which?", options=("x", "y")),
        handoff=Handoff(to="b", reason="it can"),
    )
    assert Notes.model_validate_json(notes.model_dump_json()) == notes
