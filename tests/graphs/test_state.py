"""How writes merge: the same however they are batched, and, where the rule does not name an order, in any order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver

from tests.support.teams import steps_asked
from troupe import Deliverable, TeamContext, TeamState, agent, run, scripted, sequential
from troupe.graphs.meshing.board import entry, merge_board
from troupe.graphs.state import (
    INTERNAL,
    merge_deliverables,
    merge_highest,
    merge_latest,
    merge_messages,
)

STEPS = st.sampled_from(["draft", "check", "file"])
DELIVERABLES = st.builds(
    Deliverable,
    step=STEPS,
    rounds=st.integers(1, 4),
    status=st.sampled_from(["submitted", "accepted", "partial", "failed", "superseded"]),
    content=st.text(max_size=3),
)
DELIVERED = st.lists(DELIVERABLES, max_size=3).map(lambda done: {one.step: one for one in done})
NUMBERS = st.dictionaries(STEPS, st.integers(1, 9), max_size=3)
MESSAGES = st.lists(
    st.builds(AIMessage, st.text(max_size=3), id=st.sampled_from("abcdef"))
    | st.builds(HumanMessage, st.text(max_size=3), id=st.sampled_from("abcdef")),
    max_size=4,
)

Merge = Callable[[Any, Sequence[Any]], Any]


def or_new_turn(writes: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Writes, among them the None that begins a turn."""
    return st.lists(writes | st.none(), max_size=6)


@pytest.mark.parametrize(
    ("merge", "writes"),
    [
        pytest.param(merge_deliverables, DELIVERED, id="deliverables"),
        pytest.param(merge_latest, NUMBERS, id="verdicts"),
        pytest.param(merge_highest, NUMBERS, id="rounds"),
    ],
)
@given(data=st.data())
def test_a_merge_is_the_same_however_writes_are_batched(merge: Merge, writes: Any, data: st.DataObject) -> None:
    state = merge({}, data.draw(or_new_turn(writes), "state"))
    first, second = data.draw(or_new_turn(writes), "first"), data.draw(or_new_turn(writes), "second")
    assert merge(merge(state, first), second) == merge(state, first + second)


@given(MESSAGES, st.lists(MESSAGES, max_size=3), st.lists(MESSAGES, max_size=3))
def test_messages_merge_the_same_however_writes_are_batched(
    state: list[AnyMessage], first: list[list[AnyMessage]], second: list[list[AnyMessage]]
) -> None:
    begun = merge_messages([], [state])
    assert merge_messages(merge_messages(begun, first), second) == merge_messages(begun, first + second)


@given(st.lists(NUMBERS, max_size=6), st.randoms(use_true_random=False))
def test_the_highest_round_does_not_depend_on_the_order(writes: list[dict[str, int]], order: Any) -> None:
    shuffled = order.sample(writes, len(writes))
    assert merge_highest({}, writes) == merge_highest({}, shuffled)


@given(
    st.lists(DELIVERABLES, max_size=8, unique_by=lambda one: (one.step, one.rounds)), st.randoms(use_true_random=False)
)
def test_parallel_deliverables_do_not_depend_on_the_order(done: list[Deliverable], order: Any) -> None:
    writes = [{one.step: one} for one in done]
    assert merge_deliverables({}, writes) == merge_deliverables({}, order.sample(writes, len(writes)))


@given(st.lists(DELIVERED, max_size=4))
def test_plain_data_merge_as_deliverables_do(writes: list[Any]) -> None:
    plain: list[Any] = [{step: one.model_dump() for step, one in write.items()} for write in writes]
    merged: Any = merge_deliverables({}, plain)
    assert merged == {step: one.model_dump() for step, one in merge_deliverables({}, writes).items()}


def test_plain_data_merge_as_entries_of_a_board_do() -> None:
    writes = [{"f": entry("fact", "It is JSON.", by, 0.5)} for by in ("ada", "bob")]
    plain: Any = [{"f": one["f"].model_dump()} for one in writes]
    merged: Any = merge_board({}, plain)
    assert merged == {"f": merge_board({}, writes)["f"].model_dump()}


@given(DELIVERABLES, DELIVERABLES)
def test_within_a_round_a_superseded_deliverable_stays_superseded(one: Deliverable, other: Deliverable) -> None:
    one, other = one.but(step="draft", rounds=2, status="superseded"), other.but(step="draft", rounds=2)
    for writes in ([one, other], [other, one]):
        assert merge_deliverables({}, [{"draft": write} for write in writes])["draft"].status == "superseded"


@given(DELIVERABLES, DELIVERABLES)
def test_an_older_round_never_replaces_a_newer_one(one: Deliverable, other: Deliverable) -> None:
    old, new = one.but(step="draft", rounds=1), other.but(step="draft", rounds=2)
    assert merge_deliverables({}, [{"draft": new}, {"draft": old}]) == {"draft": new}


@given(or_new_turn(DELIVERED), DELIVERED)
def test_a_new_turn_forgets_what_was_before_it(before: list[Any], after: Mapping[str, Deliverable]) -> None:
    assert merge_deliverables(merge_deliverables({}, before), [None, after]) == after


def test_an_answer_that_is_redone_is_taken_out_of_the_messages() -> None:
    kept = merge_messages([], [[HumanMessage("hi", id="a")], [AIMessage("old", id="b")], [RemoveMessage(id="b")]])
    assert [one.text for one in kept] == ["hi"]


# --- the state as users see it ---------------------------------------------------------------------------------------


class Ticket(TeamState, total=False):
    customer: str
    seen: Annotated[list[str], operator.add]


def test_a_state_of_ones_own_adds_fields_that_survive_turns() -> None:
    team = sequential(agent("draft", "Write."), state_schema=Ticket).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    context = TeamContext(models=scripted(["one", "two"]))
    first = team.invoke({"task": "hi", "customer": "ada", "seen": ["mail"]}, config, context=context)
    second = team.invoke({"task": "hi again", "seen": ["call"]}, config, context=context)
    assert (first["customer"], first["seen"]) == ("ada", ["mail"])
    assert (second["customer"], second["seen"]) == ("ada", ["mail", "call"])
    assert (first["turn"], second["turn"]) == (1, 2)


@pytest.mark.parametrize("field", sorted(INTERNAL))
def test_a_caller_cannot_set_what_belongs_to_the_engine(field: str) -> None:
    team = sequential(agent("draft", "Write.")).compile()
    with pytest.raises(ValueError, match=rf"Not known here: {field}\."):
        team.invoke({"task": "hi", field: None})


def test_a_long_line_grows_the_database_with_its_work_and_not_with_its_square(db: Any) -> None:
    def size(count: int) -> int:
        steps = [agent(f"step {n}", "Write.") for n in range(count)]
        path = db.with_name(f"{count}.db")
        model = scripted({"*": ["x" * 2000] * count})
        assert run(sequential(*steps), "hi", model=model, db=path).status == "completed"
        assert len(steps_asked(model)) == count
        return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))

    few, many = size(10), size(40)
    assert many < 6 * few
