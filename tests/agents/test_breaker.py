"""Circuit breakers: who fails again and again is left alone, and tried once before all come back."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from troupe.agents.breaker import FAILURES, LONGEST_PAUSE, PAUSE, Breakers


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuits(clock: Clock) -> Breakers:
    return Breakers(clock)


def fails(circuits: Breakers, times: int, kind: str = "server") -> list[str]:
    opened: list[str] = []
    for _ in range(times):
        opened += circuits.failed(["p"], kind)  # type: ignore[arg-type]
    return opened


def test_four_failures_in_a_row_change_nothing_and_the_fifth_opens_the_circuit(circuits: Breakers) -> None:
    assert fails(circuits, 4) == [] and circuits.ask(["p"]) is None
    assert fails(circuits, 1) == ["p"] and circuits.ask(["p"]) == ("p", PAUSE, "")


def test_a_success_begins_the_count_again(circuits: Breakers) -> None:
    fails(circuits, 4)
    circuits.succeeded(["p"])
    fails(circuits, 4)
    assert circuits.ask(["p"]) is None


def test_after_the_pause_one_attempt_is_made_and_all_others_wait_for_what_comes_of_it(
    circuits: Breakers, clock: Clock
) -> None:
    fails(circuits, FAILURES)
    clock.now += PAUSE
    assert circuits.ask(["p"]) is None, "the probe"
    assert [circuits.ask(["p"]) is None for _ in range(3)] == [False] * 3
    circuits.succeeded(["p"])
    assert [circuits.ask(["p"]) is None for _ in range(3)] == [True] * 3


def test_a_probe_that_fails_doubles_the_pause_up_to_a_bound(circuits: Breakers, clock: Clock) -> None:
    fails(circuits, FAILURES)
    pauses = []
    for _ in range(9):
        asked = circuits.ask(["p"])
        assert asked is not None
        pauses.append(asked[1])
        clock.now += asked[1]
        assert circuits.ask(["p"]) is None
        fails(circuits, 1)
    assert pauses[:4] == [PAUSE, 2 * PAUSE, 4 * PAUSE, 8 * PAUSE] and max(pauses) == LONGEST_PAUSE


def test_a_probe_that_was_cancelled_lets_another_be_made(circuits: Breakers, clock: Clock) -> None:
    fails(circuits, FAILURES)
    clock.now += PAUSE
    assert circuits.ask(["p"]) is None
    circuits.given_up(["p"])
    assert circuits.ask(["p"]) is None


@pytest.mark.parametrize("kind", ["rate_limit", "auth", "not_found", "bad_request", "content_filter", "invalid_output"])
def test_who_answers_is_well_whatever_the_answer(circuits: Breakers, kind: str) -> None:
    fails(circuits, 4)
    fails(circuits, 1, kind)
    fails(circuits, 4)
    assert circuits.ask(["p"]) is None


@pytest.mark.parametrize("kind", ["code", "tool", "limit", "journal"])
def test_a_failure_of_ones_own_says_nothing_about_who_was_asked(circuits: Breakers, kind: str) -> None:
    assert fails(circuits, 20, kind) == [] and circuits.ask(["p"]) is None
    fails(circuits, 4)
    fails(circuits, 1, kind)
    assert fails(circuits, 1) == ["p"]


def test_an_attempt_counts_in_every_circuit_that_it_names(circuits: Breakers) -> None:
    for agent in "abcde":
        circuits.failed(["provider", agent], "connection")
    assert circuits.ask(["provider", "new"]) == ("provider", PAUSE, "")
    assert circuits.ask(["a"]) is None and circuits.ask(["elsewhere", "a"]) is None


def test_a_dead_agent_in_a_pool_of_five_gets_next_to_no_calls_and_is_back_after_one_probe(clock: Clock) -> None:
    """200 calls a second for a minute of virtual time, each to whoever is chosen and not to be left alone."""
    circuits, choose = Breakers(clock), random.Random(7)  # noqa: S311 - no secret
    calls, dead_until = dict.fromkeys("abcde", 0), 100.0 + 20.0
    before_open, after_mend = 0, 0
    for _ in range(200 * 60):
        clock.now += 1 / 200
        name = choose.choice("abcde")
        if circuits.ask([name]) is not None:
            continue
        calls[name] += 1
        if name == "a" and clock.now < dead_until:
            circuits.failed([name], "connection")
            before_open += not circuits.is_open([name])
        else:
            circuits.succeeded([name])
            after_mend += name == "a"
    assert before_open < FAILURES
    assert calls["a"] - after_mend <= 0.02 * sum(calls.values())
    assert after_mend > 0


class Circuits(RuleBasedStateMachine):
    """Whatever happens in whatever order, nobody is left alone for nothing, and one probe is made at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.circuits = Breakers(self.clock)
        self.in_a_row = 0
        self.under_way = 0
        self.was_open = False

    @rule()
    def ask(self) -> None:
        open_before = self.circuits.is_open(["p"])
        if self.circuits.ask(["p"]) is None:
            assert not open_before
            assert not (self.was_open and self.under_way), "two probes at once"
            self.under_way += 1
        else:
            assert self.in_a_row >= FAILURES

    @precondition(lambda self: self.under_way)
    @rule()
    def succeed(self) -> None:
        self.circuits.succeeded(["p"])
        self.under_way -= 1
        self.in_a_row, self.was_open = 0, False

    @precondition(lambda self: self.under_way)
    @rule(kind=st.sampled_from(["server", "connection", "timeout"]))
    def fail(self, kind: str) -> None:
        self.circuits.failed(["p"], kind)  # type: ignore[arg-type]
        self.under_way = 0 if self.in_a_row >= FAILURES - 1 else self.under_way - 1
        self.in_a_row += 1
        self.was_open = self.in_a_row >= FAILURES

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def whoever_waits_long_enough_may_ask(self) -> None:
        if not self.under_way:
            self.clock.now += LONGEST_PAUSE
            assert not self.circuits.is_open(["p"])
            self.clock.now -= LONGEST_PAUSE


TestCircuits = Circuits.TestCase
TestCircuits.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
