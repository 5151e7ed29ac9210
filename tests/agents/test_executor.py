"""The seam that runs every call: cap, retries, deadline, cancellation and the record of what was done."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from langgraph.errors import GraphInterrupt
from langgraph.types import Interrupt
from pydantic import BaseModel

from tests.agents.calls import Waits, Worker, call_of, impatient, outcome_of, scope_of
from troupe import Brief, Executor, Verdict, agent, scripted
from troupe.agents.agent import Agent
from troupe.agents.call import current, current_call
from troupe.agents.contracts import Deliverable, Failed, Ok, Skipped
from troupe.agents.errors import InvalidOutput
from troupe.agents.events import Attempt
from troupe.agents.executor import shared_executor
from troupe.agents.functions import FunctionAgent
from troupe.agents.journal import MemoryJournal


def works(content: str = "done") -> Worker:
    async def act(brief: Brief) -> str:
        return content

    return Worker(act)


class Failing(Agent):
    """Raises what it is given, in order, and then works."""

    name = "failing"

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.asked = 0

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return Deliverable(step=brief.step, content="at last")


def rate_limited(seconds: str) -> Exception:
    request = httpx.Request("POST", "http://127.0.0.1")
    response: Any = httpx.Response(429, headers={"retry-after": seconds}, request=request)
    return openai.RateLimitError("slow down", response=response, body=None)


# ---------------------------------------------------------------------------------------------------------- outcomes


async def test_what_an_agent_makes_is_an_outcome_signed_with_step_and_agent() -> None:
    outcome = await outcome_of(works(), step="draft")
    assert isinstance(outcome, Ok)
    assert (outcome.value.step, outcome.value.agent, outcome.value.content) == ("draft", "worker", "done")
    assert outcome.attempts == 1


async def test_a_failure_is_a_value_and_not_an_exception() -> None:
    worker = Failing(KeyError("no such thing"))
    outcome = await outcome_of(worker)
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.attempts, worker.asked) == ("code", 1, 1)
    assert "no such thing" in outcome.cause


async def test_who_cannot_decide_fails_and_says_so() -> None:
    outcome = await outcome_of(works(), purpose="review", schema=Verdict)
    assert isinstance(outcome, Failed) and "cannot decide" in outcome.cause


async def test_an_interrupt_passes() -> None:
    with pytest.raises(GraphInterrupt):
        await outcome_of(Failing(GraphInterrupt((Interrupt("why?"),))))


# ----------------------------------------------------------------------------------------------------------- retries


@pytest.mark.parametrize(
    ("error", "asked", "waits"),
    [
        (ConnectionError("refused"), 4, 3),
        (InvalidOutput("no"), 1, 0),
        (ValueError("a mistake"), 1, 0),
        (PermissionError("no"), 1, 0),
        (TimeoutError("the model hung"), 2, 1),  # a hang costs its whole timeout: one more try, and no more
        (httpx.ReadTimeout("slow"), 2, 1),
    ],
)
async def test_how_often_a_call_is_tried_depends_on_why_it_failed(error: Exception, asked: int, waits: int) -> None:
    waited = Waits()
    worker = Failing(*[error] * 10)
    outcome = await outcome_of(worker, scope_of(executor=Executor(sleep=waited.sleep)))
    assert isinstance(outcome, Failed)
    assert (worker.asked, outcome.attempts, len(waited)) == (asked, asked, waits)


@pytest.mark.parametrize("retries", [0, 1, 4])
async def test_the_number_of_retries_can_be_set(retries: int) -> None:
    worker = Failing(*[ConnectionError("x")] * 10)
    await outcome_of(worker, scope_of(executor=impatient(retries=retries)))
    assert worker.asked == retries + 1


async def test_waits_grow_and_have_some_jitter() -> None:
    waited = Waits()
    await outcome_of(Failing(*[ConnectionError("x")] * 10), scope_of(executor=Executor(retries=8, sleep=waited.sleep)))
    assert len(waited) == 8 and len(set(waited)) > 6
    assert 0.5 <= waited[0] <= 1 and max(waited) <= 30
    assert waited[0] < waited[2] < waited[4]


async def test_what_the_server_asks_for_is_waited() -> None:
    waited = Waits()
    outcome = await outcome_of(
        Failing(rate_limited("3"), rate_limited("0.5")), scope_of(executor=Executor(sleep=waited.sleep))
    )
    assert isinstance(outcome, Ok) and outcome.attempts == 3
    assert waited == [3.0, 0.5]


@pytest.mark.parametrize("asked", ["0", "-5", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_a_server_that_asks_for_no_wait_is_not_hammered(asked: str) -> None:
    waited = Waits()
    await outcome_of(Failing(*[rate_limited(asked)] * 3), scope_of(executor=Executor(sleep=waited.sleep)))
    assert len(waited) == 3 and min(waited) >= 0.5 and sorted(waited)[-1] > 1.5


async def test_each_attempt_is_told_and_the_last_one_has_no_wait() -> None:
    events: list[Any] = []
    waited = Waits()
    worker = Failing(ConnectionError("one"), ConnectionError("two"), KeyError("three"))
    await outcome_of(worker, scope_of(executor=Executor(sleep=waited.sleep)), events=events)
    assert all(isinstance(one, Attempt) for one in events)
    assert [(one.number, one.failure) for one in events] == [(1, "connection"), (2, "connection"), (3, "code")]
    assert [one.wait for one in events] == [*waited, None]
    assert "three" in events[-1].cause


async def test_an_answer_that_costs_and_is_of_no_use_is_in_the_usage_of_the_failure() -> None:
    model = scripted([""] * 4)
    outcome = await outcome_of(agent("a", "Do."), scope_of(model, executor=impatient()))
    assert isinstance(outcome, Failed) and outcome.kind == "invalid_output"
    assert outcome.usage.calls == 4


# --------------------------------------------------------------------------------------------------- time and deadline


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def test_after_the_deadline_nothing_is_started() -> None:
    clock = Clock()
    scope = scope_of(clock=clock, context={"deadline": 5})
    clock.now += 5
    worker = Failing()
    outcome = await outcome_of(worker, scope)
    assert isinstance(outcome, Failed) and (outcome.kind, worker.asked) == ("limit", 0)
    assert "deadline of 5 s" in outcome.cause and "deadline=" in outcome.cause


async def test_no_retry_is_made_that_would_end_after_the_deadline() -> None:
    clock = Clock()
    scope = scope_of(clock=clock, context={"deadline": 10}, executor=Executor(sleep=clock.sleep))
    worker = Failing(rate_limited("4"), rate_limited("4"), rate_limited("4"))
    outcome = await outcome_of(worker, scope)
    assert isinstance(outcome, Failed) and outcome.kind == "rate_limit"
    assert (worker.asked, clock.now) == (3, 108.0)


async def test_a_call_that_hangs_is_left_at_the_deadline() -> None:
    outcome = await outcome_of(hangs(), scope_of(context={"deadline": 0.05}))
    assert isinstance(outcome, Failed) and outcome.kind == "limit" and outcome.attempts == 1


async def test_a_graph_that_hangs_is_left_at_the_deadline_too() -> None:
    async def forever(brief: Brief) -> str:
        await asyncio.Event().wait()
        return ""

    outcome = await outcome_of(FunctionAgent(forever), scope_of(context={"deadline": 0.05}))
    assert isinstance(outcome, Failed) and outcome.kind == "limit"


async def test_waiting_for_a_slot_counts_against_the_deadline() -> None:
    executor = Executor(cap=1)
    block = asyncio.Event()
    holding = asyncio.create_task(outcome_of(waits_for(block), scope_of(executor=executor)))
    await turns(3)
    outcome = await outcome_of(works(), scope_of(executor=executor, context={"deadline": 0.05}))
    assert isinstance(outcome, Failed) and outcome.kind == "limit"
    block.set()
    assert isinstance(await holding, Ok)
    assert isinstance(await outcome_of(works(), scope_of(executor=executor)), Ok), "no slot is lost"


async def test_an_attempt_that_hangs_says_which_setting_bounds_it() -> None:
    outcome = await outcome_of(hangs(), scope_of(executor=impatient(timeout=0.02)))
    assert isinstance(outcome, Failed) and (outcome.kind, outcome.attempts) == ("timeout", 2)
    assert "no answer within 0.02 s; TROUPE_TIMEOUT" in outcome.cause


async def test_a_timeout_of_the_agents_own_keeps_its_words() -> None:
    outcome = await outcome_of(Failing(*[TimeoutError()] * 2), scope_of(executor=impatient()))
    assert isinstance(outcome, Failed) and "TROUPE_TIMEOUT" not in outcome.cause
    outcome = await outcome_of(Failing(*[TimeoutError("the tool gave up")] * 2), scope_of(executor=impatient()))
    assert isinstance(outcome, Failed) and "the tool gave up" in outcome.cause


# ------------------------------------------------------------------------------------------------------- cancellation


async def test_a_cancellation_that_leaks_out_of_an_agent_skips_the_call() -> None:
    outcome = await outcome_of(Failing(asyncio.CancelledError()))
    assert isinstance(outcome, Skipped) and "cancelled from inside" in outcome.reason


async def test_our_own_cancellation_passes() -> None:
    task = asyncio.create_task(outcome_of(hangs()))
    await turns(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def turns(count: int) -> None:
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


def waits_for(event: asyncio.Event) -> Worker:
    async def act(brief: Brief) -> str:
        await event.wait()
        return "done"

    return Worker(act)


def hangs() -> Worker:
    return waits_for(asyncio.Event())


@pytest.mark.parametrize("after", range(6))
async def test_a_cancelled_wait_for_a_slot_loses_none_whenever_it_comes(after: int) -> None:
    executor = Executor(cap=1)
    block = asyncio.Event()

    def start(worker: Worker) -> "asyncio.Task[Any]":
        return asyncio.create_task(outcome_of(worker, scope_of(executor=executor)))

    holding = start(waits_for(block))
    await turns(3)
    waiting, behind = start(works()), start(works())
    await turns(3)
    block.set()
    await turns(after)  # the slot is still held, on its way, or just taken
    waiting.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(holding, behind)
        await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(await start(works()), Ok)
    assert executor._slots._free == 1 and not executor._slots._line


async def test_whoever_waits_is_served_in_order() -> None:
    executor = Executor(cap=1)
    served: list[str] = []

    async def note(brief: Brief) -> str:
        served.append(brief.step)
        return "done"

    scope = scope_of(executor=executor)
    await asyncio.gather(*(outcome_of(Worker(note), scope, step=str(number)) for number in range(10)))
    assert served == [str(number) for number in range(10)]


async def test_a_failure_gives_its_slot_back() -> None:
    executor = impatient(cap=1)
    for error in (KeyError("x"), ConnectionError("x"), asyncio.CancelledError(), GraphInterrupt(())):
        with contextlib.suppress(GraphInterrupt):
            await outcome_of(Failing(error), scope_of(executor=executor))
        assert executor._slots._free == 1


def test_the_cap_holds_over_event_loops_and_threads_and_is_used_to_the_full() -> None:
    cap, loops, each = 4, 3, 8
    executor = Executor(cap=cap)
    lock, together = threading.Lock(), threading.Barrier(cap, timeout=30)
    at_work = peak = 0

    async def act(brief: Brief) -> str:
        nonlocal at_work, peak
        with lock:
            at_work += 1
            peak = max(peak, at_work)
        # Nobody goes on before as many are at work as may be: the barrier breaks where a slot is lost.
        await asyncio.get_running_loop().run_in_executor(None, together.wait)
        with lock:
            at_work -= 1
        return "done"

    async def one_loop() -> list[Any]:
        return await asyncio.gather(
            *(outcome_of(Worker(act), scope_of(executor=executor), step=str(number)) for number in range(each))
        )

    outcomes: list[Any] = []
    threads = [threading.Thread(target=lambda: outcomes.extend(asyncio.run(one_loop()))) for _ in range(loops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == loops * each and all(isinstance(one, Ok) for one in outcomes)
    assert peak == cap
    assert executor._slots._free == cap


def test_a_loop_that_is_gone_does_not_take_a_slot_with_it() -> None:
    executor = Executor(cap=1)
    entered, leave = threading.Event(), threading.Event()

    async def hold(brief: Brief) -> str:
        entered.set()
        await asyncio.to_thread(leave.wait)
        return "done"

    async def give_up() -> None:
        task = asyncio.create_task(outcome_of(works(), scope_of(executor=executor)))
        await turns(3)
        task.cancel()

    holder = threading.Thread(target=lambda: asyncio.run(_outcome(executor, Worker(hold))))
    holder.start()
    entered.wait()
    asyncio.run(give_up())
    leave.set()
    holder.join()
    assert isinstance(asyncio.run(_outcome(executor, works())), Ok)


async def _outcome(executor: Executor, worker: Agent) -> Any:
    return await outcome_of(worker, scope_of(executor=executor))


async def test_a_function_or_graph_takes_no_slot_so_that_calls_inside_it_can() -> None:
    executor = Executor(cap=1)
    scope = scope_of(executor=executor)

    async def asks(brief: Brief) -> str:
        outcome = await outcome_of(works("from inside"), scope, step="inner")
        assert isinstance(outcome, Ok)
        return str(outcome.value.content)

    async with asyncio.timeout(5):
        outcome = await outcome_of(FunctionAgent(asks), scope)
    assert isinstance(outcome, Ok) and outcome.value.content == "from inside"


def test_runs_with_the_same_settings_share_the_cap() -> None:
    assert shared_executor(3, 1, 5.0) is shared_executor(3, 1, 5.0)
    assert shared_executor(3, 1, 5.0) is not shared_executor(4, 1, 5.0)


# ------------------------------------------------------------------------------------------------------------ stopping


async def parked(task: "asyncio.Task[Any]") -> bool:
    """Whether it waits for the end; cancels it then."""
    await turns(20)
    waits = not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return waits


async def test_a_run_that_is_stopping_starts_no_new_call() -> None:
    scope = scope_of()
    scope.stopping = True
    worker = Failing()
    assert await parked(asyncio.create_task(outcome_of(worker, scope)))
    assert worker.asked == 0


@pytest.mark.parametrize("holds_slot", [True, False])
async def test_nor_does_it_try_again_what_failed_so_that_a_resume_can(holds_slot: bool) -> None:
    scope = scope_of(executor=impatient())

    class Stops(Failing):
        async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
            scope.stopping = True
            return await super().work(brief, schema)

    worker = Stops(*[ConnectionError("x")] * 9)
    worker.holds_slot = holds_slot
    assert await parked(asyncio.create_task(outcome_of(worker, scope)))
    assert worker.asked == 1
    assert {row.kind for row in await scope.journal.rows("t/1/")} == {"failure"}


async def test_nor_what_waited_for_a_slot_which_is_free_for_others() -> None:
    executor = Executor(cap=1)
    block = asyncio.Event()
    holding = asyncio.create_task(outcome_of(waits_for(block), scope_of(executor=executor)))
    await turns(3)
    scope, worker = scope_of(executor=executor), Failing()
    waiting = asyncio.create_task(outcome_of(worker, scope))
    await turns(3)
    scope.stopping = True
    block.set()
    await holding
    assert isinstance(await outcome_of(works(), scope_of(executor=executor)), Ok)
    assert await parked(waiting)
    assert worker.asked == 0 and executor._slots._free == 1


# ----------------------------------------------------------------------------------------------------------- the record


async def test_a_recorded_call_is_not_made_again() -> None:
    worker, scope = Failing(), scope_of()
    first = await outcome_of(worker, scope)
    second = await outcome_of(worker, scope)
    assert isinstance(first, Ok) and isinstance(second, Ok)
    assert worker.asked == 1
    assert (second.value, second.usage, second.attempts) == (first.value, first.usage, 0)


async def test_a_failed_call_is_made_again() -> None:
    worker, scope = Failing(KeyError("x")), scope_of()
    assert isinstance(await outcome_of(worker, scope), Failed)
    assert isinstance(await outcome_of(worker, scope), Ok)
    assert worker.asked == 2


async def test_another_key_is_another_call() -> None:
    worker, scope = Failing(), scope_of()
    await outcome_of(worker, scope, key="t/1/a#1/work.x/00")
    await outcome_of(worker, scope, key="t/1/a#2/work.x/00")
    assert worker.asked == 2


async def test_the_value_of_a_decision_comes_back_as_its_class() -> None:
    scope = scope_of(scripted({"clerk": [Verdict(passed=True, score=0.5)]}))
    for _ in range(2):
        outcome = await outcome_of(agent("clerk", "Judge."), scope, purpose="review", schema=Verdict)
        assert isinstance(outcome, Ok) and outcome.value == Verdict(passed=True, score=0.5)


async def test_a_journal_that_fails_raises_because_nothing_could_be_kept() -> None:
    class Broken(MemoryJournal):
        async def reserve(self, key: str) -> Any:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await outcome_of(works(), scope_of(journal=Broken()))


@pytest.mark.parametrize(
    "make", [lambda: works(), lambda: Failing(KeyError("x")), lambda: Failing(ConnectionError("x"))]
)
async def test_the_current_call_is_known_inside_and_forgotten_after(make: Callable[[], Agent]) -> None:
    worker = make()
    await outcome_of(worker, scope_of(executor=impatient()))
    assert current.get() is None
    with pytest.raises(LookupError, match="no call under way"):
        current_call()


async def test_a_call_holds_what_it_was_made_with() -> None:
    call = call_of(works(), task="hello", step="draft")
    assert (call.brief.task, call.path, call.attempt, call.used.calls) == ("hello", "draft", 1, 0)
