"""What somebody can do, and what is needed."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troupe import BuildError, Role, agent
from troupe.agents.contracts import Brief
from troupe.agents.errors import InvalidOutput
from troupe.agents.matching import Embedder, Lexicon, Vectors, cosine, described, need, profile, stem, stems
from troupe.agents.roster import ROSTER

words = st.sampled_from(["test", "design", "sql", "python", "write", "deploy", "train", "index", "review", "ui"])
profiles = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3), st.dictionaries(words, st.sampled_from([0.4, 0.7, 1.0])), min_size=1
)
needs = st.dictionaries(words, st.sampled_from([0.25, 1.0, 2.0]), max_size=6)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("testing", "tests"),
        ("optimise", "Optimization"),
        ("optimised", "optimizes"),
        ("docs", "documentation"),
        ("deploy", "deployments"),
        ("db", "Database"),
        ("behaviour", "behavior"),
        ("queries", "query"),
        ("k8s", "kubernetes"),
        ("slow", "performance"),
    ],
)
def test_relatives_share_a_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(("one", "other"), [("test", "tester8"), ("java", "javascript")])
def test_strangers_do_not(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_words_that_say_nothing_are_left_out() -> None:
    assert stems("What is to be done with it, and by whom") == {"done", "whom"}
    assert stems("") == stems("the of and") == frozenset()


@pytest.mark.parametrize(
    ("objective", "who"),
    [
        ("Write the database migration", "database-engineer"),
        ("Write the user guide", "technical-writer"),
        ("Find out why the page is so slow", "performance-engineer"),
        ("Design the REST API contracts", "integration-architect"),
        ("Deploy it to k8s", "devops-engineer"),
        ("Tell the stakeholders about the change", "project-coordinator"),
        ("Model the threats and harden the login", "security-engineer"),
        ("Review the literature for a baseline", "ai-researcher"),
        ("Draw wireframes of the user flows", "ui-ux-designer"),
    ],
)
def test_the_roster_is_matched_as_one_would(objective: str, who: str) -> None:
    lexicon = Lexicon({name: profile(agent(name)) for name in ROSTER})
    found = lexicon.capabilities(need(objective))
    assert max(found, key=lambda name: found[name]) == who


@given(profiles, needs, st.randoms(use_true_random=False))
def test_the_order_of_the_pool_changes_nothing(known: Any, wanted: Any, random_: random.Random) -> None:
    shuffled = list(known.items())
    random_.shuffle(shuffled)
    one, other = Lexicon(known).capabilities(wanted), Lexicon(dict(shuffled)).capabilities(wanted)
    assert one == other
    assert all(0 <= value <= 1 for value in one.values())


@given(profiles, needs)
def test_what_nobody_can_do_counts_nothing(known: Any, wanted: Any) -> None:
    lexicon = Lexicon(known)
    assert lexicon.capabilities({**wanted, "zzz": 5.0}) == lexicon.capabilities(wanted)


def test_an_agent_of_ones_own_is_known_by_its_prompt_and_a_function_by_its_docstring() -> None:
    def bake(brief: Brief) -> str:
        """Bakes bread."""
        return ""

    from troupe.graphs.adapters import as_agent

    lexicon = Lexicon({"poet": profile(agent("poet", "Write verse.")), "bake": profile(as_agent(bake))})
    assert lexicon.capabilities(need("some verses"))["poet"] > 0.3
    assert lexicon.capabilities(need("a bread"))["bake"] > 0.6
    assert described(agent("poet", "Write verse.")) == "Write verse"
    role = Role(name="x", prompt="p", title="Does it.", skills=("a", "b"))
    assert described(agent(role)) == "Does it; skills: a, b"


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5))
def test_a_vector_is_like_itself(vector: list[float]) -> None:
    assert 0 <= cosine(vector, vector) <= 1
    if any(abs(one) > 1e-3 for one in vector):
        assert cosine(vector, vector) == pytest.approx(1)


class Gives:
    def __init__(self, value: Any) -> None:
        self.value = value

    async def aembed_documents(self, texts: list[str]) -> Any:
        return self.value


@pytest.mark.parametrize("value", [[], [[1.0]], [[1.0], [1.0, 2.0]], [[float("inf")], [1.0]]])
async def test_vectors_that_do_not_fit_are_refused(value: Any) -> None:
    brief = Brief(task="x", guidance=("one", "two"))
    with pytest.raises(InvalidOutput):
        await Embedder(Gives(value)).decide(brief, Vectors)


async def test_embeddings_only_decide() -> None:
    found = await Embedder(Gives([[1, 0], [0, 1]])).decide(Brief(task="x", guidance=("one", "two")), Vectors)
    assert found.values == ((1.0, 0.0), (0.0, 1.0))
    with pytest.raises(BuildError, match="no other work"):
        await Embedder(Gives([])).work(Brief(task="x"))
