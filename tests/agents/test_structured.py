"""Reading a value out of whatever a model says. (The ladder itself is climbed over HTTP, in test_openai.py.)"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troupe import Notes, Verdict
from troupe.agents.structured import _shape, extract

VALUE = {"passed": True, "list": [1, {"a": "b"}]}
TEXT = json.dumps(VALUE)


@pytest.mark.parametrize(
    "said",
    [
        TEXT,
        f"  {TEXT}\n",
        f"```json\n{TEXT}\n```",
        f"```\n{TEXT}\n```",
        f"```JSON\n{TEXT}\n```",
        f"Sure! Here it is:\n\n```json\n{TEXT}\n```\n\nAnything else?",
        f"Sure: {TEXT} Anything else?",
        f"```python\nprint()\n```\n```json\n{TEXT}\n```",
        json.dumps(VALUE, indent=2).replace("]\n}", "],\n}"),
        TEXT.replace("true", "true ").replace("}]}", "},]\n,}"),
        "\ufeff" + TEXT,
        f"<think>\nIs it {{maybe}}?\n</think>\n{TEXT}",
        f'<think>\nIs it {{"passed": false}}?\n</think>\n{TEXT}',
        f"```json\n{TEXT}",
    ],
)
def test_a_value_is_found_wherever_it_stands(said: str) -> None:
    assert extract(said) == VALUE


def test_a_line_break_inside_a_text_is_forgiven() -> None:
    assert extract('{"feedback": "one\ntwo"}') == {"feedback": "one\ntwo"}


def test_a_brace_or_fence_inside_a_text_is_no_end() -> None:
    value = {"code": "```python\nprint({})\n```", "after": "}"}
    assert extract(json.dumps(value)) == value
    assert extract(f"Here:\n```json\n{json.dumps(value, indent=1)}\n```") == value


def test_a_comma_inside_a_text_stays() -> None:
    assert extract('{"a": "x,}", "b": [1,],}') == {"a": "x,}", "b": [1]}


@pytest.mark.parametrize(
    "said", ["", "No.", "[1, 2]", "5", '"text"', "null", '{"answer": "cut o', "{", "}{", "```json\n```"]
)
def test_where_there_is_none_there_is_none(said: str) -> None:
    assert extract(said) is None


def test_nesting_without_end_is_no_value() -> None:
    assert extract('{"a":' * 10_000) is None
    assert extract("[" * 10_000) is None


def test_a_long_text_of_braces_is_read_quickly() -> None:
    assert extract("{" * 100_000) is None
    assert extract("{ not json } " * 10_000) is None


@given(st.text())
def test_no_text_breaks_it(said: str) -> None:
    extract(said)


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@given(st.dictionaries(st.text(), JSON), st.sampled_from(["{}", "```json\n{}\n```"]))
def test_every_value_survives_plain_and_fenced(value: dict[str, Any], around: str) -> None:
    assert extract(around.replace("{}", json.dumps(value, indent=1))) == value


def test_a_model_is_not_shown_the_example_of_a_docstring() -> None:
    shape = _shape(Verdict)
    assert shape["description"].startswith("What a reviewer says") and ">>>" not in json.dumps(shape)
    assert ">>>" not in json.dumps(_shape(Notes))
