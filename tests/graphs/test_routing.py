"""Who gets an assignment, what the team knows, and when it goes round in circles: the parts of a mesh by themselves."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_jsonable_python

from troupe import Deliverable, UnknownName, agent
from troupe.agents.matching import Lexicon, need
from troupe.agents.text import tokens
from troupe.graphs.builders import BUILDERS, build
from troupe.graphs.meshing.assignments import Assignment, Numbers, needless, to_do
from troupe.graphs.meshing.board import Entry, entry, merge_board, relevant
from troupe.graphs.meshing.guards import mark, stalled
from troupe.graphs.meshing.hub import Choices, Move, move_schema
from troupe.graphs.meshing.routing import SHORTLIST, Standing, choose, kept, ranked, shortlist, standings
from troupe.graphs.step import Step

names = st.lists(st.text("abcdefghij", min_size=1, max_size=4), min_size=2, max_size=40, unique=True)
share = st.floats(0, 1, allow_nan=False)


def assignment(name: str, **more: Any) -> Assignment:
    return Assignment(
        id=name, agent=name.rpartition(".")[0], objective=more.pop("objective", name), round=1, item=name, **more
    )


def delivered(name: str, status: Any = "accepted", content: str = "x") -> Deliverable:
    return Deliverable(step=name, status=status, content=content)


# --- routing ---------------------------------------------------------------------------------------------------------


@given(names, st.data(), st.randoms(use_true_random=False))
def test_the_order_of_the_pool_does_not_change_who_wins(pool: list[str], data: Any, random_: random.Random) -> None:
    capability = {name: data.draw(share) for name in pool}
    prices = {name: data.draw(st.sampled_from([0.0, 0.5, 1.0])) for name in pool}
    standing = {
        name: Standing(data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3)))
        for name in pool
    }
    ranking = ranked(capability, standing, prices)
    shuffled = list(pool)
    random_.shuffle(shuffled)
    assert ranked({name: capability[name] for name in shuffled}, standing, prices) == ranking
    assert choose("", ranking, shortlist(ranking))[0] == ranking[0]
    assert all(0 <= one.total <= 1 for one in ranking)


@given(st.integers(2, 12), st.integers(1, 60))
def test_work_for_equals_evens_out(count: int, tasks: int) -> None:
    pool = [f"m{number}" for number in range(count)]
    standing = {name: Standing() for name in pool}
    for _ in range(tasks):
        chosen, _, _ = choose("", ranked(dict.fromkeys(pool, 0.5), standing, dict.fromkeys(pool, 0.5)), pool)
        standing[chosen.agent].load += 1
        standing[chosen.agent].given += 1
    loads = [one.load for one in standing.values()]
    assert sum(loads) == tasks and max(loads) - min(loads) <= 1


@given(names, st.data())
def test_a_choice_on_the_shortlist_is_respected_and_any_other_goes_to_the_best(pool: list[str], data: Any) -> None:
    ranking = ranked(
        {name: data.draw(share) for name in pool}, {name: Standing() for name in pool}, dict.fromkeys(pool, 0.5)
    )
    offered = shortlist(ranking)
    assert len(offered) == min(len(pool), SHORTLIST)
    named = data.draw(st.sampled_from(pool) | st.text(max_size=9))
    chosen, why, wrong = choose(named, ranking, offered)
    if named in offered:
        assert (chosen.agent, wrong) == (named, "") and why.startswith("the hub's choice")
    elif named:
        assert chosen == ranking[0] and wrong and why.startswith("the best score")
    else:
        assert chosen == ranking[0] and not wrong and why.startswith("won the bidding")
    scores = kept(chosen, ranking)
    assert chosen.agent in scores and len(scores) <= SHORTLIST


def test_each_score_counts() -> None:
    plain = {"a": 0.5, "b": 0.5}
    same = {"a": 0.5, "b": 0.5}

    def winner(standing: dict[str, Standing], **options: Any) -> str:
        given: dict[str, Any] = {"capability": plain, "prices": same, "needs": ()} | options
        return ranked(given["capability"], standing, given["prices"], given["needs"])[0].agent

    fresh = Standing
    assert winner({"a": fresh(), "b": fresh()}) == "a", "equals by name"
    assert winner({"a": fresh(given=1), "b": fresh()}) == "b", "and by who was given less"
    assert winner({"a": fresh(), "b": fresh()}, capability={"a": 0.5, "b": 0.6}) == "b"
    assert winner({"a": fresh(load=1), "b": fresh()}) == "b"
    assert winner({"a": fresh(bad=1), "b": fresh()}) == "b"
    assert winner({"a": fresh(), "b": fresh(good=1)}) == "b"
    assert winner({"a": fresh(), "b": fresh(holds={"x.1"})}, needs=("x.1",)) == "b"
    assert winner({"a": fresh(), "b": fresh()}, prices={"a": 0.0, "b": 1.0}) == "b"


def test_how_somebody_stands_comes_from_what_they_did() -> None:
    given_out = {
        one.id: one
        for one in (
            assignment("a.1"), assignment("a.2", needs=("b.1",)), assignment("b.1"), assignment("b.2", dropped="no"),
            assignment("c.1"), assignment("gone.1"),
        )
    }  # fmt: skip
    done = {"a.1": delivered("a.1"), "b.1": delivered("b.1", "partial"), "c.1": delivered("c.1", "failed")}
    found = standings(["a", "b", "c", "d"], given_out, done)
    assert (found["a"].load, found["a"].given, found["a"].record) == (1, 2, 2 / 3)
    assert found["a"].holds == {"a.1", "a.2", "b.1"}
    assert (found["b"].load, found["b"].given, found["b"].record) == (0, 1, 0.5)
    assert found["c"].record == 1 / 3 and found["d"].record == 0.5


def test_a_decision_for_a_hundred_takes_less_than_a_few_milliseconds() -> None:
    words = [f"word{number}" for number in range(60)]
    drawn = random.Random(1)  # noqa: S311 - words, not secrets
    lexicon = Lexicon({f"m{number:03d}": dict.fromkeys(drawn.sample(words, 12), 1.0) for number in range(100)})
    standing = {name: Standing() for name in lexicon.capabilities({})}
    prices = dict.fromkeys(standing, 0.5)
    took = []
    for _ in range(200):
        began = time.perf_counter()
        ranking = ranked(lexicon.capabilities(need(" ".join(drawn.choices(words, k=10)))), standing, prices)
        choose("", ranking, shortlist(ranking))
        took.append(time.perf_counter() - began)
    assert min(took) < 0.005, "benchmarks/mesh.py measures it; this only finds what is slower by an order"


# --- assignments -----------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["a", "b", "a.1"]), max_size=20))
def test_ids_are_never_given_twice(agents: list[str]) -> None:
    numbers = Numbers([])
    made = [numbers.next(one) for one in agents]
    assert len(set(made)) == len(made)
    again = Numbers(made)
    assert not {again.next(one) for one in ("a", "b", "a.1")} & set(made)


def test_what_others_carry_is_not_needed_any_more() -> None:
    given_out = {
        one.id: one
        for one in (
            assignment("a.1"),
            assignment("b.1", part_of="a.1"),
            assignment("c.1", objective="same"),
            assignment("d.1", objective=" Same. "),
            assignment("e.1", handed="f.1"),
            assignment("f.1"),
            assignment("g.1", objective="twice"),
            assignment("h.1", objective="twice", dropped="no room"),
        )
    }
    done = {name: delivered(name, "failed") for name in given_out} | {"d.1": delivered("d.1"), "g.1": delivered("g.1")}
    assert needless(given_out, done) == {"a.1", "c.1", "e.1", "h.1"}
    assert [one.id for one in to_do(given_out, {"a.1": delivered("a.1")})] == ["b.1", "c.1", "d.1", "e.1", "f.1", "g.1"]


def test_scores_are_stored_small_and_told_in_full() -> None:
    one = assignment("a.1", scores={"a": (0.5, 0.5, 1, 0.0, 0.5, 0.4)})
    assert Assignment(**one.model_dump()) == one
    assert set(one.model_dump()) == {"id", "agent", "objective", "round", "item", "scores"}
    told = json.loads(json.dumps(to_jsonable_python(one)))
    assert told["scores"] == [
        {"agent": "a", "capability": 0.5, "record": 0.5, "load": 1, "context": 0.0, "price": 0.5, "total": 0.4}
    ]
    assert told["why"] == "" and one.candidates[0].load == 1


# --- the board -------------------------------------------------------------------------------------------------------

texts = st.sampled_from(["It is JSON.", "it is  json.", "It rains.", "Port 8080", "x" * 900])
entries_ = st.builds(
    entry,
    st.sampled_from(["fact", "decision"]),
    texts,
    st.sampled_from(["ada", "bob", "cy"]),
    st.sampled_from([0.4, 0.7, 0.9]),
)
writes_ = st.lists(
    st.lists(entries_, max_size=4).map(lambda some: merge_board({}, [{one.id: one} for one in some])), max_size=6
)


@given(writes_, st.randoms(use_true_random=False))
def test_a_board_is_the_same_in_whatever_order_it_was_written(writes: Any, random_: random.Random) -> None:
    whole = merge_board({}, writes)
    shuffled = list(writes)
    random_.shuffle(shuffled)
    again = merge_board({}, shuffled)
    assert (again, list(again)) == (whole, list(whole)), "commutative, and in one order"
    one_by_one: dict[str, Entry] = {}
    for write in writes:
        one_by_one = merge_board(one_by_one, [write])
    assert one_by_one == whole, "however it is batched"
    assert merge_board(whole, writes) == whole, "idempotent"
    assert merge_board(whole, [None]) == {} and merge_board(whole, [None, *writes]) == whole, "a new turn"
    assert all(0 <= each.trust <= 1 for each in whole.values())


@given(writes_, st.integers(0, 60))
def test_what_is_shown_of_a_board_is_bounded_and_does_not_depend_on_order(writes: Any, limit: int) -> None:
    board = merge_board({}, writes)
    shown = relevant(board.values(), need("json"), limit)
    assert sum(tokens(one.text) for one in shown) <= limit
    assert relevant(reversed(list(board.values())), need("json"), limit) == shown


def test_whoever_says_the_same_adds_to_its_trust_and_nobody_adds_to_their_own() -> None:
    once, twice = entry("fact", "It is JSON.", "ada", 0.7), entry("fact", "it is json.", "ada", 0.4)
    other = entry("fact", "It is  JSON.", "bob", 0.4)
    board = merge_board({}, [{once.id: once}, {twice.id: twice}])
    assert [one.trust for one in board.values()] == [0.7]
    board = merge_board(board, [{other.id: other}])
    assert [(one.trust, one.by) for one in board.values()] == [(0.82, "ada, bob")]


# --- guards, moves, patterns ----------------------------------------------------------------------------------------


def test_news_are_contents_facts_and_criteria_and_nothing_else() -> None:
    base = mark([delivered("a.1")], {}, [])
    assert mark([delivered("b.7")], {}, []) == mark([delivered("a.1"), delivered("b.1")], {}, []) == base
    assert mark([delivered("a.1"), delivered("b.1", "failed", "other")], {}, []) == base
    assert mark([delivered("a.1", content="y")], {}, []) != base
    assert mark([delivered("a.1")], {"f": entry("fact", "x", "a", 0.7)}, []) != base
    assert mark([delivered("a.1")], {}, ["c1"]) != base


@pytest.mark.parametrize(("marks", "count"), [("a", 0), ("ab", 0), ("aa", 1), ("abbb", 2), ("aab", 0), ("aabb", 1)])
def test_stalled_rounds_are_counted_from_the_end(marks: str, count: int) -> None:
    assert stalled(list(marks)) == count


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*Move.model_fields, "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_whatever_a_model_says_is_a_move_or_invalid_and_never_more(said: Any) -> None:
    from pydantic import ValidationError

    schema = move_schema(Choices(("a", "b"), ("a.1",), ("c1",)))
    try:
        value = schema.model_validate(said)
    except ValidationError:
        return
    assert set(value.model_dump()) == set(Move.model_fields)


def test_the_lists_of_a_move_are_closed_and_fit_its_round() -> None:
    first = move_schema(Choices(("a", "b"), first=True)).model_json_schema()
    assert set(first["properties"]) == {"why", "criteria", "assignments", "teams", "question"}
    assert first["$defs"]["Task"]["properties"]["agent"]["enum"] == ["a", "b", ""]
    assert "needs" not in first["$defs"]["Task"]["properties"]
    later = move_schema(Choices(("a", "b"), ("a.1",), ("c1", "c2"))).model_json_schema()
    assert later["required"] == ["why", "met", "finish"] and "criteria" not in later["properties"]
    assert later["properties"]["met"]["items"]["enum"] == ["c1", "c2"]
    assert later["$defs"]["Task"]["properties"]["needs"]["items"]["enum"] == ["a.1"]
    assert later["$defs"]["Squad"]["properties"]["pattern"]["enum"] == list(BUILDERS)
    last = move_schema(Choices(("a",), ("a.1",), ("c1",), last=True)).model_json_schema()
    assert set(last["properties"]) == {"why", "met", "finish"}
    assert {one.__name__ for one in (move_schema(Choices(("a",))), Move)} == {"Move"}


@pytest.mark.parametrize("pattern", BUILDERS)
def test_every_pattern_is_built_from_a_few_agents(pattern: str) -> None:
    steps = [Step(agent(name, "Work.")) for name in "ab"]
    graph = build(pattern, steps, Step("agent-architect"))
    state = graph.compile().invoke({"task": "x"})
    assert state["status"] == "completed"
    with pytest.raises(UnknownName, match="Unknown pattern 'circus'"):
        build("circus", steps, Step("agent-architect"))
