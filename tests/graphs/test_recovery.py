"""Recovery: who stands in when a step fails, what a person is asked, and how a run goes on with what it has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from tests.support.openai_server import OpenAIServer, Received, slow, status
from tests.support.openai_server import text as reply
from tests.support.teams import Crash, at_once, patient, priced, roles_asked, steps_asked, text_asked
from troupe import (
    Agent,
    Brief,
    BuildError,
    Deliverable,
    Executor,
    Recovery,
    Result,
    SettingsError,
    SimulatedChatModel,
    Step,
    TeamContext,
    TeamGraph,
    UnknownName,
    Verdict,
    agent,
    contains,
    each,
    gate,
    hierarchical,
    mesh,
    non_empty,
    parallel,
    resume,
    review,
    run,
    scripted,
    sequential,
)
from troupe.agents import models as identity
from troupe.agents.breaker import FAILURES, Breakers
from troupe.agents.call import Call
from troupe.agents.events import Event, Notice, Rerouted
from troupe.agents.roster import known_roles
from troupe.graphs import recovery as recovery_module

DOWN = ConnectionError("nobody answers")
BUILD = Step("python-engineer", "Build it.", name="build")
GOOD, BAD = Verdict(passed=True), Verdict(passed=False, feedback="not good")


class Denied(Exception):
    """What a provider's client raises for a wrong key (401), an unknown model (404), a fault of its own (500)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status_code = status


def start(team: Any, model: Any, **options: Any) -> Result:
    """A run whose retries take no time."""
    context = TeamContext(models=model, executor=patient(), listeners=options.pop("listeners", ()))
    return run(team, "the task", context=context, **{"db": ":memory:", **options})


def course(done: Deliverable) -> list[tuple[str, str, str | None]]:
    """Who was turned to, how, and how they failed."""
    return [(one.how, one.agent, one.kind) for one in done.tried]


# --- who stands in ---------------------------------------------------------------------------------------------------


def test_a_role_that_fails_is_stood_in_for_by_its_first_backup() -> None:
    events: list[Event] = []
    model = scripted({"python-engineer": RuntimeError("lost"), "specialist-engineer": "built"})
    result = start(sequential(BUILD), model, listeners=(events.append,))
    assert (result.status, result.answer, result["build"].agent) == ("completed", "built", "specialist-engineer")
    assert course(result["build"]) == [
        ("first", "python-engineer", "code"),
        ("backup", "specialist-engineer", None),
    ]
    (turned,) = [one for one in events if isinstance(one, Rerouted)]
    assert (turned.path, turned.agent, turned.to, turned.how) == (
        "build", "python-engineer", "specialist-engineer", "backup",
    )  # fmt: skip


def test_who_delivers_at_once_has_no_course() -> None:
    result = start(sequential(BUILD), scripted({"python-engineer": "built"}))
    assert result["build"].tried == ()


def test_backups_come_first_then_other_models_then_whoever_has_the_skills() -> None:
    tiers = {
        "economy": scripted({"python-engineer": "built cheaply"}),
        "standard": scripted({"*": [RuntimeError("lost")] * 9}),
        "premium": scripted({"*": [RuntimeError("lost, too")] * 9}),
    }
    result = start(sequential(BUILD), tiers)
    assert result.answer == "built cheaply"
    assert [(how, who) for how, who, _ in course(result["build"])] == [
        ("first", "python-engineer"),
        ("backup", "specialist-engineer"),
        ("backup", "data-engineer"),
        ("model", "python-engineer"),
        ("model", "python-engineer"),
    ]


def test_each_model_that_an_agent_is_tried_on_has_rows_of_its_own(tmp_path: Path) -> None:
    class Form(BaseModel):
        number: int

    wrong = [{"number": "none"}] * 4
    tiers = {
        "economy": priced({"*": {"number": 3}}),
        "standard": priced({"*": wrong}),
        "premium": priced({"*": wrong}),
    }
    step = Step("python-engineer", name="build", returns=Form, recovery=Recovery(backups=False))
    result = start(sequential(step), tiers, db=tmp_path / "runs.db")
    assert result["build"].data == Form(number=3)
    assert [how for how, _, _ in course(result["build"])] == ["first", "model", "model"]
    # An answer and its repair on each of two models, and the answer of the third.
    assert result.usage.calls == 5 and result["build"].usage.usd == result.usage.usd


def test_the_roster_is_searched_by_skills_when_neither_backups_nor_models_could() -> None:
    model = scripted({"qa-engineer": RuntimeError("lost"), "performance-engineer": "no bottleneck found"})
    recovery = Recovery(backups=False, models=False)
    load = Step("qa-engineer", "Run load testing, profile latency and throughput, find the bottleneck.", name="load")
    result = start(sequential(load, recovery=recovery), model)
    assert course(result["load"])[-1] == ("skills", "performance-engineer", None)
    other = scripted({"devops-engineer": RuntimeError("lost"), "performance-engineer": "fast enough"})
    fast = Step("devops-engineer", "Load testing: profiling, latency, throughput, bottleneck, capacity.", name="load")
    found = start(sequential(fast, recovery=recovery), other)
    assert found.answer == "fast enough" and course(found["load"])[-1] == ("skills", "performance-engineer", None)


def test_the_first_failure_is_the_reason_and_everybody_who_was_turned_to_is_named() -> None:
    result = start(sequential(BUILD), scripted({"*": [RuntimeError("lost")] * 9}))
    assert result.status == "failed" and result.reason is not None
    assert result.reason.message.startswith("RuntimeError: lost. Nor could it be done by: specialist-engineer")
    assert [how for how, _, _ in course(result["build"])] == ["first", "backup", "backup"]
    assert len(result.reason.message) < 400


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_unknown_model_is_neither_tried_again_nor_by_others_on_that_model(status: int) -> None:
    model = scripted({"*": [Denied(status)] * 9})
    result = start(sequential(BUILD), model)
    assert len(model.asked) == 1, "one request, and no other by anybody"
    assert result.status == "failed"


@pytest.mark.parametrize("status", [401, 404])
def test_but_another_model_may_do_it(status: int) -> None:
    standard, other = scripted({"*": [Denied(status)] * 9}), scripted({"*": "built elsewhere"})
    tiers = {"economy": other, "standard": standard, "premium": other}
    result = start(sequential(BUILD), tiers)
    assert result.answer == "built elsewhere" and len(standard.asked) == 1
    assert course(result["build"])[-1][0] == "model"


def test_an_agent_with_a_model_of_its_own_sends_nothing_to_another() -> None:
    mine, others = scripted({"*": [RuntimeError("lost")] * 9}), scripted({"*": "from another model"})
    private = Step(agent("python-engineer", model=mine), "Build it.", name="build")
    result = start(sequential(private), others)
    assert result.status == "failed" and not others.asked
    named = Step(agent("python-engineer", model=mine), name="build", recovery=Recovery(backups=False, models=[others]))
    assert start(sequential(named), others).answer == "from another model"


@pytest.mark.parametrize("how", [{"pattern": "hierarchical"}, {"adapt": "guide"}, {"adapt": "split"}])
def test_nor_does_the_senior_who_leads_splits_or_guides_its_work(how: dict[str, Any]) -> None:
    mine, others = scripted({"*": [RuntimeError("lost")] * 20}), scripted({"*": "from another model"})
    private = Step(agent("python-engineer", model=mine), "Build it.", name="build", recovery=Recovery(**how))
    start(sequential(private), others)
    assert "sr-architect" in roles_asked(mine) and not others.asked


@pytest.mark.parametrize("how", [{"pattern": "hierarchical"}, {"adapt": "guide"}, {"adapt": "split"}])
def test_a_wrong_key_is_not_tried_again_in_a_team_either(how: dict[str, Any]) -> None:
    model = scripted({"*": [Denied(401)] * 20})
    assert start(sequential(BUILD, recovery=Recovery(**how)), model).status == "failed"
    assert len(model.asked) == 1


def test_who_stands_in_has_the_tools_of_the_step_and_no_others() -> None:
    def count(text: str) -> int:
        """The number of its letters."""
        return len(text)

    lines = {
        "python-engineer": RuntimeError("lost"),
        "specialist-engineer": [{"tool": "count", "args": {"text": "four"}}, "it has 4"],
    }
    model = scripted(lines)
    result = start(sequential(Step(agent("python-engineer", tools=[count]), "Count.", name="build")), model)
    assert result.answer == "it has 4" and result["build"].agent == "specialist-engineer"


def test_a_backup_who_needs_tools_that_the_step_has_not_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(text: str) -> str:
        """Look it up."""
        return text

    roles = known_roles()
    needy = roles["specialist-engineer"].model_copy(update={"tools": ("deploy",)})
    monkeypatch.setattr(recovery_module, "known_roles", lambda: {**roles, "specialist-engineer": needy})
    model = scripted({"python-engineer": RuntimeError("lost"), "data-engineer": "built"})
    result = start(sequential(Step(agent("python-engineer", tools=[look]), name="build")), model)
    assert (result.answer, result["build"].agent) == ("built", "data-engineer")


def test_those_who_are_named_stand_in_instead_be_it_functions() -> None:
    def by_hand(brief: Brief) -> str:
        return f"{brief.objective} by hand"

    model = scripted({"python-engineer": RuntimeError("lost")})
    result = start(sequential(BUILD, recovery=Recovery(backups=[by_hand], models=False, matched=False)), model)
    assert result.answer == "Build it. by hand" and course(result["build"])[-1] == ("backup", "by_hand", None)


def test_nobody_stands_in_where_that_is_not_wanted() -> None:
    model = scripted({"*": [RuntimeError("lost")] * 9})
    result = start(sequential(BUILD, recovery=Recovery(backups=False, models=False, matched=False)), model)
    assert len(model.asked) == 1 and result.status == "failed" and result["build"].tried == ()


def test_a_step_of_its_own_recovery_has_that_and_not_the_builders() -> None:
    model = scripted({"*": [RuntimeError("lost")] * 9})
    never = Recovery(backups=False, models=False, matched=False)
    start(sequential(Step("python-engineer", recovery=Recovery(models=False, matched=False)), recovery=never), model)
    assert len(model.asked) == 3, "the engineer and two backups"


def test_a_reviewer_that_fails_is_stood_in_for_but_never_by_the_author() -> None:
    model = scripted(
        {
            "performance-engineer": "fast",
            "qa-engineer": RuntimeError("lost"),
            "specialist-engineer": GOOD,
        }
    )
    team = sequential("performance-engineer", gate=gate(review(by="qa-engineer")))
    result = start(team, model)
    assert result.status == "completed"
    # performance-engineer is qa-engineer's first backup, and the author
    assert roles_asked(model) == ["performance-engineer", "qa-engineer", "specialist-engineer"]


def test_reviewers_and_whoever_splits_a_list_have_the_recovery_of_the_step() -> None:
    nobody = Recovery(backups=False, models=False, matched=False)
    model = scripted({"python-engineer": "built", "*": [RuntimeError("lost")] * 9})
    start(sequential(BUILD, gate=gate(review(by="qa-engineer")), recovery=nobody), model)
    assert roles_asked(model) == ["python-engineer", "qa-engineer"]
    named = Recovery(backups=[agent("second", "Work.")], models=False, matched=False)
    model = scripted({"python-engineer": "built", "qa-engineer": RuntimeError("lost"), "*": GOOD})
    start(sequential(BUILD, gate=gate(review(by="qa-engineer")), recovery=named), model)
    assert roles_asked(model)[2:] == ["performance-engineer"], "who is named stands in for the author only"
    model = scripted({"*": [RuntimeError("lost")] * 9})
    start(parallel(each(agent("worker", "Work."), "qa-engineer"), recovery=nobody), model)
    assert roles_asked(model) == ["qa-engineer"]


def test_an_author_is_never_stood_in_for_by_the_reviewer() -> None:
    model = scripted({"performance-engineer": RuntimeError("lost"), "devops-engineer": RuntimeError("lost"), "*": "x"})
    recovery = Recovery(models=False, matched=False)
    result = start(sequential("performance-engineer", gate=gate(review(by="qa-engineer")), recovery=recovery), model)
    assert result.status == "failed" and "qa-engineer" not in roles_asked(model)


def test_a_nested_team_that_fails_is_stood_in_for_like_anybody() -> None:
    inner = sequential(agent("inner", "Work."), name="inner-team")
    model = scripted({"inner": RuntimeError("lost"), "second": "from the second"})
    recovery = Recovery(backups=[agent("second", "Work.")])
    result = start(sequential(Step(inner, recovery=recovery)), model)
    assert result.status == "completed" and result.answer == "from the second"


def test_what_it_took_is_in_the_books_whoever_delivered() -> None:
    model = priced({"python-engineer": ["", "", "", ""], "specialist-engineer": "built"})
    result = start(sequential(BUILD), model)
    assert result.answer == "built" and result.usage.calls == 5
    assert result["build"].usage.usd == result.usage.usd


@pytest.mark.parametrize("last", ["done", RuntimeError("lost, too")])
def test_that_of_a_team_that_failed_is_too(last: Any) -> None:
    strict = Step(agent("inner", "Work."), gate=gate(contains("impossible"), rework=0, then="fail"))
    model = priced({"inner": "a text", "second": last})
    recovery = Recovery(backups=[agent("second", "Work.")])
    result = start(sequential(Step(sequential(strict, name="team"), recovery=recovery)), model)
    assert result["team"].usage.usd == result.usage.usd and result["team"].usage.calls == result.usage.calls


def test_a_used_up_budget_is_no_reason_to_turn_to_anybody() -> None:
    model = priced({"*": ["x"] * 9})
    result = start(sequential(Step("python-engineer", name="a"), Step("java-engineer", name="b")), model, budget=1e-9)
    assert result.reason is not None and result.reason.kind == "limit"
    assert len(model.asked) <= 1 and not any(one.tried for one in result.deliverables.values())


def test_what_a_stand_in_had_answered_before_a_crash_is_neither_lost_nor_asked_again(tmp_path: Path) -> None:
    class DiesBeforeTheEnd(Executor):
        async def _by_anyone(self, call: Call) -> Any:
            await super()._by_anyone(call)
            raise Crash

    first = scripted({"python-engineer": RuntimeError("lost"), "specialist-engineer": "built"})
    team, db = sequential(BUILD), tmp_path / "runs.db"
    with pytest.raises(Crash):
        run(team, "x", context=TeamContext(models=first, executor=DiesBeforeTheEnd(sleep=at_once)), db=db, thread="t")
    second = scripted({"*": "asked again"})
    result = resume("t", target=team, model=second, db=db)
    assert (result.answer, result["build"].agent) == ("built", "specialist-engineer") and not second.asked
    assert course(result["build"]) == [("first", "python-engineer", "code"), ("backup", "specialist-engineer", None)]


def test_nor_is_that_where_the_first_had_come_some_way_before_it_failed(tmp_path: Path) -> None:
    class DiesBeforeTheEnd(Executor):
        async def _by_anyone(self, call: Call) -> Any:
            await super()._by_anyone(call)
            raise Crash

    def look(text: str) -> str:
        """Look it up."""
        return text

    use = {"tool": "look", "args": {"text": "it"}}
    first = priced({"python-engineer": [use, RuntimeError("lost")], "specialist-engineer": "built"})
    team, db = sequential(Step(agent("python-engineer", tools=[look]), name="build")), tmp_path / "runs.db"
    with pytest.raises(Crash):
        run(team, "x", context=TeamContext(models=first, executor=DiesBeforeTheEnd(sleep=at_once)), db=db, thread="t")
    second = priced({"*": "asked again"})
    result = resume("t", target=team, model=second, db=db)
    assert (result.answer, result["build"].agent) == ("built", "specialist-engineer") and not second.asked
    assert course(result["build"]) == [("first", "python-engineer", "code"), ("backup", "specialist-engineer", None)]
    assert result["build"].usage.usd == result.usage.usd != 0


TWO_ABLE = Step("data-engineer", "Test latency under load, and threat model the authentication.", name="test")
"""By skills a security engineer would do it, and next to that a performance engineer."""


def fails_often(name: str, db: Path) -> None:
    never = Recovery(backups=False, models=False, matched=False)
    for _ in range(3):
        run(sequential(name, recovery=never), "x", model=scripted({"*": RuntimeError("lost")}), db=db)


def test_nor_is_that_of_whoever_was_chosen_by_skills_though_others_are_more_reliable_now(tmp_path: Path) -> None:
    class DiesBeforeTheEnd(Executor):
        async def _by_anyone(self, call: Call) -> Any:
            await super()._by_anyone(call)
            raise Crash

    team, db = sequential(TWO_ABLE, recovery=Recovery(backups=False, models=False)), tmp_path / "runs.db"
    first = scripted({"data-engineer": RuntimeError("lost"), "security-engineer": "tested"})
    context = TeamContext(models=first, executor=DiesBeforeTheEnd(sleep=at_once))
    with pytest.raises(Crash):
        run(team, "x", context=context, db=db, thread="t")
    fails_often("security-engineer", db)
    second = scripted({"*": "asked again"})
    assert resume("t", target=team, model=second, db=db).answer == "tested" and not second.asked


def test_of_those_who_have_the_skills_the_more_reliable_is_chosen(tmp_path: Path) -> None:
    team, db = sequential(TWO_ABLE, recovery=Recovery(backups=False, models=False)), tmp_path / "runs.db"
    lines = {"data-engineer": [RuntimeError("lost")] * 2, "*": "tested"}
    assert run(team, "x", model=scripted(lines), db=db)["test"].agent == "security-engineer"
    fails_often("security-engineer", db)
    assert run(team, "x", model=scripted(lines), db=db)["test"].agent == "performance-engineer"
    fails_often("performance-engineer", db)
    fails_often("performance-engineer", db)
    assert run(team, "x", model=scripted(lines), db=db)["test"].agent == "security-engineer", "better than nobody"


def test_twenty_percent_of_further_attempts_and_never_fewer_than_ten() -> None:
    notices: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)

    class Dead(Agent):
        name = "dead"

        async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
            asked.append(brief.item)
            raise Denied(500)

    for count, most in ((5, 15), (100, 120)):
        asked: list[str] = []
        never = Breakers(clock=iter(range(0, 10**9, 10**4)).__next__)  # whose pauses are over at once
        context = TeamContext(executor=Executor(sleep=at_once, breakers=never), listeners=(hear,))
        result = run(parallel(each(Dead(), [str(n) for n in range(count)])), "x", context=context, db=":memory:")
        assert result.status == "failed" and count < len(asked) <= most
    assert any("further attempts are used up" in text for text in notices)


def test_a_dead_provider_is_left_alone_after_five_failures_by_whoever_asks() -> None:
    standing_still = Breakers(clock=lambda: 0.0)
    model = scripted({"*": [DOWN] * 999})
    notices: list[str] = []
    listeners = (lambda event: notices.append(event.text) if isinstance(event, Notice) else None,)
    executor = Executor(sleep=at_once, breakers=standing_still)
    context = TeamContext(models=model, executor=executor, listeners=listeners)
    names = [Step("python-engineer", name=f"step {number}") for number in range(20)]
    result = run(parallel(*names), "x", context=context, db=":memory:")
    assert result.status == "failed"
    assert len(model.asked) <= 20, "all began at once; no further attempt was made once the circuit was open"
    assert any("5 times in a row: it is left alone for a while" in text for text in notices)


WORKERS = FAILURES + 2


def test_a_call_that_is_left_alone_waits_for_a_probe_however_long_that_takes() -> None:
    """A hiccup of the provider is no reason for those to fail who come while one call finds out that it is over."""
    replies = itertools.count()

    def hiccup(request: Received) -> Any:
        return status(500) if next(replies) < WORKERS else slow(reply("done"), 1.2)

    with OpenAIServer(hiccup) as server:
        model = ChatOpenAI(model="gpt-test", base_url=server.base_url, api_key=SecretStr("none"), max_retries=0)
        context = TeamContext(models=model, executor=Executor())
        workers = [agent(f"worker {number}", "Work.") for number in range(WORKERS)]
        result = run(parallel(*workers, merge=lambda brief: "all"), "x", context=context, db=":memory:")
    assert result.status == "completed", result.reason


def test_whoever_else_could_do_the_work_is_turned_to_while_the_first_is_left_alone() -> None:
    dead, other = scripted({"*": [DOWN] * 99}), scripted({"*": ["done"] * 9})
    circuits = Breakers(clock=lambda: 0.0)
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    team = sequential(Step("python-engineer", name="build", recovery=Recovery(backups=False, models=[other])))
    for number in range(3):
        context = TeamContext(models=dead, executor=Executor(sleep=sleep, breakers=circuits))
        result = run(team, "x", context=context, db=":memory:")
        assert result.answer == "done" and [how for how, _, _ in course(result["build"])] == ["first", "model"]
        if not number:
            waits.clear()
    assert waits == [] or len(waits) == 1, "the fifth failure opened it, and nobody waited from then on"
    assert len(dead.asked) == FAILURES


def test_but_where_they_fail_as_well_the_one_left_alone_is_waited_for() -> None:
    clock = [0.0]
    circuits = Breakers(clock=lambda: clock[0])
    for _ in range(FAILURES):
        circuits.failed(["python-engineer on gpt at test"], "server")
    model, refusing = scripted({"*": "done"}), scripted({"*": [Denied(401)] * 9})

    async def sleep(seconds: float) -> None:
        clock[0] += seconds

    for one, name in ((model, "gpt"), (refusing, "other")):
        identity._served[id(one)] = ref(one), ("test", f"{name} at test")
    step = Step("python-engineer", name="build", recovery=Recovery(backups=False, matched=False, models=[refusing]))
    context = TeamContext(models=model, executor=Executor(sleep=sleep, breakers=circuits))
    result = run(sequential(step), "x", context=context, db=":memory:")
    assert result.answer == "done", result.reason
    assert course(result["build"]) == [
        ("first", "python-engineer", "server"),
        ("model", "python-engineer", "auth"),
        ("first", "python-engineer", None),
    ]


# --- rework by others ------------------------------------------------------------------------------------------------


def test_what_is_sent_back_for_the_second_time_goes_to_another_who_is_told_whose_work_it_is() -> None:
    model = scripted(
        {
            "python-engineer": ["first", "second"],
            "specialist-engineer": ["third"],
            "qa-engineer": [BAD, BAD, GOOD],
        }
    )
    result = start(sequential(BUILD, gate=gate(review(by="qa-engineer"), rework=2)), model)
    assert (result.status, result.answer, result["build"].rounds) == ("completed", "third", 3)
    asked = [text_asked(model, number) for number, role in enumerate(roles_asked(model)) if "engineer" in role]
    assert "# Your last version" in asked[2] and "whose work you take over" not in asked[2]
    assert "# The last version, by python-engineer, whose work you take over" in asked[4]
    assert "not good" in asked[4]


def test_it_stays_with_the_author_where_that_is_wanted_or_nobody_else_could() -> None:
    for one, recovery in ((BUILD, Recovery(hand_over=False)), (Step(agent("poet", "Write."), name="build"), None)):
        model = scripted({"*": ["text"] * 4, "qa-engineer": [BAD, BAD, BAD, GOOD]})
        result = start(sequential(one, gate=gate(review(by="qa-engineer"), rework=3), recovery=recovery), model)
        assert result["build"].agent == one.agent.name and result["build"].rounds == 4


def test_a_tier_up_where_that_is_wanted() -> None:
    standard = scripted({"python-engineer": ["1", "2"], "qa-engineer": [BAD, BAD, GOOD]})
    premium = scripted({"specialist-engineer": "3"})
    tiers = {"economy": standard, "standard": standard, "premium": premium}
    team = sequential(BUILD, gate=gate(review(by="qa-engineer"), rework=2), recovery=Recovery(tier_up=True))
    assert start(team, tiers).answer == "3" and roles_asked(premium) == ["specialist-engineer"]


# --- with what there is ----------------------------------------------------------------------------------------------


def chain(*optional: str) -> TeamGraph:
    return sequential(*(Step(agent(name, "Work."), optional=name in optional) for name in "abc"))


def test_a_failed_step_ends_a_sequence() -> None:
    model = scripted({"a": "A", "b": RuntimeError("no luck"), "c": "C"})
    result = start(chain(), model)
    assert (result.status, steps_asked(model)) == ("partial", ["a", "b"]) and result.missing == ("b", "c")


def test_after_an_optional_step_it_goes_on_and_later_briefs_say_what_is_missing_and_why() -> None:
    model = scripted({"a": RuntimeError("no luck"), "b": "B", "c": "C"})
    result = start(chain("a"), model)
    assert (result.status, result.answer, result.missing) == ("partial", "C", ("a",))
    for number in (1, 2):
        assert "# Missing" in text_asked(model, number) and "a: RuntimeError: no luck" in text_asked(model, number)
    assert result.reason is not None and "no luck" in result.reason.message


def test_what_failed_is_never_handed_on_as_content() -> None:
    seen: list[Brief] = []

    def last(brief: Brief) -> str:
        seen.append(brief)
        return "end"

    strict = Step(agent("a", "Work."), optional=True, gate=gate(contains("impossible"), rework=0, then="fail"))
    result = start(sequential(strict, last), scripted({"a": "a text that did not pass"}))
    assert result.status == "partial" and seen[0].deliverables == {} and "a" in seen[0].missing
    assert seen[0].input == "the task"


@pytest.mark.parametrize("then", ["fail", "ask"])
def test_the_ways_on_from_an_optional_step_are_drawn_with_all_of_their_words(then: Any) -> None:
    strict = Step(agent("a", "Work."), optional=True, gate=gate(contains("impossible"), rework=0, then=then))
    drawn = sequential(strict, agent("b", "Work.")).compile().get_graph().draw_mermaid()
    assert {"fail": "pass or fail", "ask": "approve or reject"}[then] in drawn


# --- another way of working ------------------------------------------------------------------------------------------

ADAPTED: dict[str, dict[str, Any]] = {
    "guide": {"guidance": "do it so", "work": "done so"},
    "split": {"sr-architect": {"items": ["left", "right"]}, "part.1": "L", "part.2": "R", "whole": "L and R"},
}


@pytest.mark.parametrize(("how", "answer"), [("guide", "done so"), ("split", "L and R")])
def test_a_step_that_nobody_could_do_is_done_in_another_way(how: Any, answer: str) -> None:
    model = scripted({"build": [RuntimeError("lost")] * 9, **ADAPTED[how]})
    recovery = Recovery(backups=False, models=False, matched=False, adapt=how)
    result = start(sequential(BUILD, recovery=recovery), model)
    assert (result.status, result.answer) == ("completed", answer)
    assert [one[0] for one in course(result["build"])] == ["first", how]
    assert result["build"].parts, "what it took is there to be looked at"


@pytest.mark.parametrize(
    "how",
    [{"adapt": "guide"}, {"adapt": "split"}, *({"pattern": one} for one in ("sequential", "parallel", "hierarchical"))],
)
def test_what_is_done_in_another_way_has_the_form_that_the_step_returns(how: dict[str, Any]) -> None:
    class Form(BaseModel):
        number: int

    model = SimulatedChatModel(faults={"build": [RuntimeError("lost")]})
    recovery = Recovery(backups=False, models=False, matched=False, **how)
    result = start(
        sequential(Step("python-engineer", "Build it.", name="build", returns=Form), recovery=recovery), model
    )
    assert result.status == "completed", result.reason
    assert isinstance(result["build"].data, Form) and Form.model_validate_json(result["build"].content)


@pytest.mark.parametrize("pattern", ["sequential", "parallel", "hierarchical"])
def test_a_team_of_another_pattern_works_in_the_agents_place(pattern: str) -> None:
    model = SimulatedChatModel(faults={"build": [RuntimeError("lost")]})
    recovery = Recovery(backups=False, models=False, matched=False, pattern=pattern)
    result = start(sequential(BUILD, recovery=recovery), model)
    assert result.status == "completed" and course(result["build"])[-1][0] == "pattern"


def test_another_way_survives_a_crash_in_the_middle(tmp_path: Path) -> None:
    class Dies(Executor):
        async def _attempt(self, call: Call) -> BaseModel:
            if call.brief.step == "work":
                raise Crash
            return await super()._attempt(call)

    recovery, db = Recovery(backups=False, models=False, matched=False, adapt="guide"), tmp_path / "runs.db"
    team = sequential(BUILD, recovery=recovery)
    first = scripted({"build": [RuntimeError("lost")] * 9, "guidance": "do it so"})
    with pytest.raises(Crash):
        run(team, "x", context=TeamContext(models=first, executor=Dies()), db=db, thread="t")
    second = scripted({"work": "done so", "build": RuntimeError("lost again")})
    result = resume("t", target=team, model=second, db=db)
    assert result.answer == "done so" and "guidance" not in steps_asked(second)


# --- a person --------------------------------------------------------------------------------------------------------

ASK = Recovery(backups=False, models=False, matched=False, ask=True)
WORKER = agent("worker", "Work.")


Team = Callable[[Recovery], TeamGraph]
TEAMS: dict[str, tuple[Team, str]] = {
    "sequential": (lambda how: sequential(Step(WORKER, recovery=how), agent("last", "End.")), "worker"),
    "gated": (
        lambda how: sequential(Step(WORKER, gate=gate(non_empty())), agent("last", "End."), recovery=how),
        "worker",
    ),
    "parallel": (lambda how: parallel(Step(WORKER, recovery=how), agent("other", "Work.")), "worker"),
    "items": (lambda how: parallel(each(Step(WORKER, recovery=how), ["x", "y"])), "worker.1"),
    "nested": (lambda how: sequential(Step(sequential(Step(WORKER, recovery=how)), name="inner")), "inner/worker"),
    "hierarchical": (
        lambda how: hierarchical(
            tactical=Step(agent("lead", "Lead."), recovery=Recovery()), implementation=Step(WORKER, recovery=how)
        ),
        "worker.1",
    ),
    "mesh": (lambda how: mesh([Step(WORKER, recovery=how), agent("other", "Work.")], Step("agent-architect")), ""),
}


def failing(team: str, times: int = 1) -> Any:
    """A simulated model in which the worker fails so often at first."""
    faults: Sequence[Exception] = [RuntimeError("no luck")] * times
    if team == "items":
        return SimulatedChatModel(faults={"worker.1": faults})
    return SimulatedChatModel(faults={"worker": faults})


@pytest.mark.parametrize("name", TEAMS)
def test_somebody_stands_in_for_a_worker_in_every_pattern(name: str) -> None:
    made, path = TEAMS[name]
    model = SimulatedChatModel(faults={"worker": [RuntimeError("no luck")]})
    result = start(made(Recovery(backups=[agent("second", "Work.")], models=False, matched=False)), model)
    assert result.status == "completed", result.reason
    if path:
        assert course(result[path]) == [("first", "worker", "code"), ("backup", "second", None)]
        assert result[path].agent == "second"


@pytest.mark.parametrize("name", TEAMS)
def test_a_person_is_asked_about_a_step_that_nobody_could_do(name: str, tmp_path: Path) -> None:
    made, path = TEAMS[name]
    db = tmp_path / "runs.db"
    result = start(made(ASK), failing(name), db=db)
    assert result.status == "waiting" and len(result.waiting) == 1
    asked = result.waiting[0]
    assert "no luck" in asked.question and "Go on without it?" in asked.question
    assert not path or asked.step == path

    again = resume(result.run, {asked.id: "with more care"}, target=made(ASK), model=SimulatedChatModel(), db=db)
    assert again.status == "completed", again.reason
    if path:
        assert again[path].rounds == 2 and again[path].status == "accepted"


@pytest.mark.parametrize("name", TEAMS)
def test_a_persons_own_words_may_be_the_result(name: str, tmp_path: Path) -> None:
    made, path = TEAMS[name]
    db = tmp_path / "runs.db"
    result = start(made(ASK), failing(name), db=db)
    answer = {"type": "edit", "message": "ok, by hand", "by": "ada"}
    done = resume(result.run, {result.waiting[0].id: answer}, target=made(ASK), model=SimulatedChatModel(), db=db)
    assert done.status == "completed", done.reason
    if path:
        work = done[path]
        assert (work.content, work.agent, course(work)[-1]) == ("ok, by hand", "ada", ("person", "ada", None))


@pytest.mark.parametrize("name", TEAMS)
@pytest.mark.parametrize("answer", ["approve", "reject"])
def test_a_person_may_let_it_go_on_without_or_end_it(name: str, answer: str, tmp_path: Path) -> None:
    made, path = TEAMS[name]
    db = tmp_path / "runs.db"
    result = start(made(ASK), failing(name), db=db)
    ended = resume(result.run, {result.waiting[0].id: answer}, target=made(ASK), model=SimulatedChatModel(), db=db)
    assert not ended.waiting
    # The hub of a mesh gives the work to somebody else.
    assert ended.status in ("partial", "failed") or name == "mesh"
    if path:
        assert ended[path].status == "failed" and ended[path].content == ""
    if name in ("sequential", "gated"):
        assert (ended["last"].status == "accepted") == (answer == "approve")
        assert ended.reason is not None
        assert (ended.reason.kind == "person") == (answer == "reject")


@pytest.mark.parametrize("name", ["sequential", "hierarchical"])
def test_with_another_way_at_hand_an_approval_is_for_that_and_the_next_for_going_on(name: str, tmp_path: Path) -> None:
    made, path = TEAMS[name]
    db, how = tmp_path / "runs.db", Recovery(backups=False, models=False, matched=False, ask=True, adapt="guide")
    team = made(how)
    result = start(team, failing(name), db=db)
    assert "Try it with a senior's guidance?" in result.waiting[0].question
    done = resume(result.run, "approve", target=team, model=SimulatedChatModel(), db=db)
    assert done.status == "completed" and set(done[path].parts) == {"guidance", "work"}


def test_a_persons_guidance_takes_nothing_of_what_a_gate_may_send_back(tmp_path: Path) -> None:
    db, team = tmp_path / "runs.db", sequential(Step(WORKER, gate=gate(contains("good"), rework=1)), recovery=ASK)
    result = start(team, scripted({"worker": RuntimeError("no luck")}), db=db)
    model = scripted({"worker": ["bad", "good"]})
    done = resume(result.run, {result.waiting[0].id: "with more care"}, target=team, model=model, db=db)
    assert (done.status, done.answer) == ("completed", "good")
    assert "with more care" in text_asked(model, 0)


def test_two_branches_that_fail_at_once_are_answered_in_any_order_and_each_as_often_as_it_fails(tmp_path: Path) -> None:
    db = tmp_path / "runs.db"
    team = parallel(
        agent("a", "Work."), agent("b", "Work."), merge=lambda brief: str(dict(brief.missing)), recovery=ASK
    )
    result = start(team, scripted({"a": RuntimeError("one"), "b": RuntimeError("two")}), db=db)
    first = {one.step: one.id for one in result.waiting}
    assert sorted(first) == ["a", "b"]
    result = resume(result.run, {first["b"]: "so"}, target=team, model=scripted({"b": RuntimeError("three")}), db=db)
    second = {one.step: one.id for one in result.waiting}
    assert second["a"] == first["a"] and second["b"] != first["b"]
    answers = {second["b"]: {"type": "edit", "message": "B", "by": "ada"}, second["a"]: "approve"}
    result = resume(result.run, answers, target=team, model=scripted(["unused"]), db=db)
    assert (result.status, result["b"].content, result.missing) == ("partial", "B", ("a",))
    assert result.answer == "{'a': 'RuntimeError: one'}"


def test_who_is_asked_about_work_whose_rework_failed_is_told_that_it_did(tmp_path: Path) -> None:
    judged = gate(contains("good"), rework=1, then="ask")
    model = scripted({"worker": ["bad", RuntimeError("no luck")]})
    team = sequential(Step(WORKER, gate=judged, recovery=Recovery(backups=False, models=False, matched=False)))
    asked = start(team, model, db=tmp_path / "runs.db").waiting[0]
    assert asked.content == "bad" and "The round after that failed: RuntimeError: no luck" in asked.question


def test_no_person_is_asked_where_a_limit_ended_it() -> None:
    model = priced({"*": ["x"] * 9})
    result = start(sequential(Step(WORKER, recovery=ASK), agent("last", "End.")), model, budget=1e-9)
    assert result.status in ("partial", "failed") and not result.waiting
    assert result.reason is not None and result.reason.kind == "limit"


# --- what cannot be --------------------------------------------------------------------------------------------------


def test_a_policy_that_cannot_be_is_refused_when_it_is_made() -> None:
    with pytest.raises(UnknownName, match=r"Unknown pattern 'paralel'\. Did you mean 'parallel'"):
        Recovery(pattern="paralel")
    with pytest.raises(UnknownName, match="There are: guide, split"):
        Recovery(adapt="drop")  # type: ignore[arg-type]
    with pytest.raises(BuildError, match="0 to 20"):
        Recovery(retries=-1)
    with pytest.raises(SettingsError, match="'gpt-5-mini' is not a model: write provider:name"):
        Recovery(models="gpt-5-mini")
    with pytest.raises(BuildError, match=r"must be a Recovery\(\.\.\.\), not 3"):
        Step("qa-engineer", recovery=3)  # type: ignore[arg-type]
    with pytest.raises(BuildError, match="recovery= must be a Recovery"):
        sequential("qa-engineer", recovery="retry")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="Unknown role 'python-enginer'"):
        sequential("qa-engineer", recovery=Recovery(backups="python-enginer"))
