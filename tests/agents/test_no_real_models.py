"""The fixture that comes with the package and keeps tests from calling, and paying for, a model."""

import pytest

pytest_plugins = ["pytester"]

HEAD = """
from langchain_openai import ChatOpenAI
from troupe import agent, run, scripted, sequential
writer = agent("writer", "Write.")
def real(): return ChatOpenAI(model="gpt-5", api_key="sk-x", base_url="http://127.0.0.1:9/v1")
"""


@pytest.fixture
def result(pytester: pytest.Pytester) -> pytest.RunResult:
    pytester.makepyfile(
        HEAD
        + """
def test_scripted(no_real_models):
    assert run(writer, "x", model=scripted(["hello"]), db=":memory:").answer == "hello"

def test_simulated(no_real_models):
    assert run(writer, "x", db=":memory:").status == "completed"

def test_spec(no_real_models):
    run(writer, "x", model="openai:gpt-5", db=":memory:")

def test_object(no_real_models):
    run(writer, "x", model=real(), db=":memory:")

def test_step(no_real_models):
    assert run(sequential(real()), "x", db=":memory:").status == "failed"
"""
    )
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:asyncio")


def test_what_calls_nothing_is_allowed_and_a_real_model_ends_the_test_in_error(result: pytest.RunResult) -> None:
    # Inside a step the refusal is a failure like any other, and would pass unseen in a test that expects one.
    result.assert_outcomes(passed=3, failed=2, errors=3)
    for name in ("openai:gpt-5", "ChatOpenAI"):
        result.stdout.fnmatch_lines([f"*A real model was asked for in a test: {name}. Give model=scripted(...).*"])


def test_the_fixture_is_there_without_being_imported(pytester: pytest.Pytester) -> None:
    shown = pytester.runpytest_inprocess("--fixtures", "-p", "no:xdist", "-p", "no:asyncio")
    shown.stdout.fnmatch_lines(["no_real_models*"])
