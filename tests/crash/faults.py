"""Faults: runs in which providers and the database misbehave as drawn by hypothesis, in every pattern.

    python -m tests.crash.faults [--runs 10000] [--seed 0]

Each run ends in one of the five statuses and says why; none outlives its deadline by 5 s; nothing is raised, not even
where nobody looks; no limit of calls, money or further attempts is passed. What is waited for between attempts takes
no time here; hangs end by a timeout of 0.1 s. Exits with 1 if any of that is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sqlite3
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, get_args

import httpx2 as httpx  # what the openai package is built on
import openai
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from tests.crash.cast import PLAYS, who
from tests.crash.lives import begin, end, warm
from troupe import Executor, Limits, Result, TeamContext, arun, resume, run
from troupe.agents.call import current_call
from troupe.agents.contracts import RunStatus
from troupe.agents.models.offline import OfflineChatModel
from troupe.agents.models.scripted import _reply
from troupe.agents.scope import FREE_RETRIES, RETRY_SHARE
from troupe.sqlite import SqliteStore

STATUSES = get_args(RunStatus)
OUTPUT, PRICE = 1_000, 0.6e-6
"""Tokens of a reply, and what each costs."""
TIMEOUT = 0.1
GRACE = 5.0
UNBOUNDED = 20.0
"""Seconds that a run without a deadline may take here."""

# --- what goes wrong --------------------------------------------------------------------------------------------------

_REQUEST = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions")


def _status(code: int, retry_after: str | None = None, body: Any = None) -> openai.APIStatusError:
    headers = {"retry-after": retry_after} if retry_after is not None else {}
    kinds = {
        400: openai.BadRequestError, 401: openai.AuthenticationError, 403: openai.PermissionDeniedError,
        404: openai.NotFoundError, 429: openai.RateLimitError,
    }  # fmt: skip
    response = httpx.Response(code, headers=headers, request=_REQUEST)
    return kinds.get(code, openai.InternalServerError)(f"status {code}", response=response, body=body)


def _late() -> str:
    return formatdate(time.time() + 3600, usegmt=True)


FAULTS: dict[str, Any] = {
    "429 at once": lambda: _status(429, "0"),
    "429 soon": lambda: _status(429, "0.5"),
    "429 never": lambda: _status(429, "1e9"),
    "429 nonsense": lambda: _status(429, "soon"),
    "429 nan": lambda: _status(429, "nan"),
    "429 negative": lambda: _status(429, "-3"),
    "429 date": lambda: _status(429, _late()),
    "quota": lambda: _status(429, None, {"code": "insufficient_quota"}),
    "500": lambda: _status(500),
    "503": lambda: _status(503, "1"),
    "400": lambda: _status(400),
    "401": lambda: _status(401),
    "404": lambda: _status(404),
    "timeout": lambda: openai.APITimeoutError(_REQUEST),
    "reset": lambda: openai.APIConnectionError(request=_REQUEST),
    "reset mid-stream": lambda: httpx.RemoteProtocolError("peer closed connection without sending complete message"),
    "os reset": lambda: ConnectionResetError(104, "Connection reset by peer"),
    "their own mistake": lambda: KeyError("choices"),
    "cancelled inside": asyncio.CancelledError,
}
"""Errors by name; the rest of what can go wrong are answers."""
ANSWERS: dict[str, Any] = {
    "empty": "",
    "blank": " \n\t ",
    "malformed": '{"passed": tru',
    "another schema": '{"verdict": [1, {}]}',
    "prose": "I would rather not say it in JSON.",
    "nul and surrogate": "a \0 and a \ud800",
    "long": "word " * 40_000,
}
WAITS = ("hang", "slow")
KINDS = (*FAULTS, *ANSWERS, *WAITS, "refusal", "locked")


class FaultyChatModel(OfflineChatModel):
    """Says what a play's line says, unless it is a fault's turn."""

    is_simulated: bool = False
    play: str
    faults: list[str | None] = Field(default_factory=list)
    """One for each request, in the order of arrival; None is none."""
    lasting: str | None = None
    """What goes wrong in every request after these."""
    db: str = ""
    asked: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "faulty"

    def _answer(self, messages: list[BaseMessage], tools: list[dict[str, Any]], forced: bool) -> AIMessage:
        reply = _reply(PLAYS[self.play].line(current_call()), tools, forced)
        return self._priced(reply)

    def _priced(self, reply: AIMessage) -> AIMessage:
        usage = UsageMetadata(input_tokens=0, output_tokens=OUTPUT, total_tokens=OUTPUT)
        meta = {"model_name": "gpt-4o-mini", "model_provider": "openai"}
        return reply.model_copy(update={"usage_metadata": usage, "response_metadata": meta})

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        number = len(self.asked)
        self.asked.append(who(current_call()))
        fault = self.faults[number] if number < len(self.faults) else self.lasting
        if fault in FAULTS:
            raise FAULTS[fault]()
        if fault == "hang":
            await asyncio.Event().wait()
        if fault == "slow":
            await asyncio.sleep(0.03)
        if fault == "locked":
            locked(self.db, 0.05)
        reply = self._reply(messages, kwargs)
        if fault in ANSWERS:
            reply = reply.model_copy(update={"content": ANSWERS[fault], "tool_calls": []})
        if fault == "refusal":
            reply = reply.model_copy(
                update={"content": "", "tool_calls": [], "additional_kwargs": {"refusal": "I must not."}}
            )
        return ChatResult(generations=[ChatGeneration(message=reply)])


def locked(db: str, seconds: float) -> None:
    """Write to the database from elsewhere, and take one's time over it."""
    if not db:
        return
    other = sqlite3.connect(db, isolation_level=None, check_same_thread=False, timeout=30)
    other.execute("BEGIN IMMEDIATE")

    def leave() -> None:
        other.execute("COMMIT")
        other.close()

    threading.Timer(seconds, leave).start()


# --- what is drawn ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """A run, and what goes wrong in it."""

    play: str
    faults: tuple[str | None, ...] = ()
    lasting: str | None = None
    deadline: float | None = None
    budget: float | None = None
    calls: int | None = None
    sync: bool = True
    again: bool = False
    timeout: float = TIMEOUT


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any of them."""
    fault = st.one_of(st.none(), st.none(), st.sampled_from(KINDS))
    return Plan(
        play=draw(st.sampled_from(list(PLAYS))),
        faults=tuple(draw(st.lists(fault, max_size=12))),
        lasting=draw(st.one_of(st.none(), st.none(), st.none(), st.sampled_from(KINDS))),
        deadline=draw(st.sampled_from([None, None, None, 0.2, 1.0])),
        budget=draw(st.sampled_from([None] * 6 + [0.0, 2.5 * OUTPUT * PRICE, 6 * OUTPUT * PRICE])),
        calls=draw(st.sampled_from([None] * 6 + [1, 4, 9])),
        sync=draw(st.booleans()),
        again=draw(st.booleans()),
    )


# --- what is promised -------------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """What is heard of a run besides its result."""

    again: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __call__(self, event: Any) -> None:
        # What an open circuit keeps waiting asked nobody, and so is no further attempt at anything.
        if event.kind == "attempt" and event.wait is not None and "is left alone" not in event.cause:
            self.again.append(f"{event.path} {event.purpose} by {event.agent}: {event.failure}")


class Complaints(logging.Handler):
    """What asyncio says of exceptions that nobody looked at."""

    def __init__(self, to: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.to = to

    def emit(self, record: logging.LogRecord) -> None:
        self.to.append(self.format(record))


@contextmanager
def listening(to: list[str]) -> Iterator[None]:
    """Hear what asyncio complains of."""
    handler = Complaints(to)
    logging.getLogger("asyncio").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("asyncio").removeHandler(handler)


@lru_cache
def _team(play: str) -> Any:
    return PLAYS[play].make()


async def at_once(_: float) -> None:
    """Waiting between attempts takes no time."""


@dataclass
class House:
    """A database for many runs."""

    store: SqliteStore
    runs: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0

    def perform(self, plan: Plan, model: Any = None, asked: Sequence[Any] | None = None) -> None:
        """Live through a plan, with the model that goes with it or one of which is known what it was `asked`.

        Raises:
            AssertionError: a promise was broken.
        """
        self.runs += 1
        thread, watched = f"run-{self.runs}", Watched()
        if model is None:
            faults = list(plan.faults)
            model = FaultyChatModel(play=plan.play, faults=faults, lasting=plan.lasting, db=self.store.path)
        asked = model.asked if asked is None else asked
        bounds: dict[str, Any] = {} if plan.calls is None else {"limits": Limits(calls=plan.calls)}
        context = TeamContext(
            models=model,
            executor=Executor(timeout=plan.timeout, sleep=at_once),
            listeners=[watched],
            deadline=plan.deadline,
            budget=plan.budget,
            **bounds,
        )
        team = _team(plan.play)
        started = time.monotonic()
        with listening(watched.complaints):
            if plan.sync:
                result = run(team, "the task", context=context, db=self.store, thread=thread)
            else:
                result = asyncio.run(arun(team, "the task", context=context, db=self.store, thread=thread))
            took = time.monotonic() - started
            self.check(plan, result, len(asked), watched, took)
            if plan.again:
                before = len(asked)
                again = resume(thread, target=team, context=context, db=self.store)
                assert (again.status, again.answer, again.reason) == (result.status, result.answer, result.reason)
                assert len(asked) == before, "what has ended asks nobody again"
        self.ended[result.status] += 1
        self.faults.update(one for one in plan.faults[: len(asked)] if one)
        self.longest = max(self.longest, took)

    def check(self, plan: Plan, result: Result, asked: int, watched: Watched, took: float) -> None:
        """What every run promises."""
        assert result.status in STATUSES and result.status not in ("running", "stopped"), result.status
        if result.status in ("partial", "failed"):
            assert result.reason is not None and result.reason.message, "it says why"
        if result.status == "completed":
            assert result.reason is None and not result.missing and result.answer
        if result.status == "waiting":
            assert result.waiting and all(one.question for one in result.waiting)
        assert took <= (UNBOUNDED if plan.deadline is None else plan.deadline + GRACE), f"it took {took:.1f} s"
        limit = plan.calls if plan.calls is not None else 2_000
        assert result.usage.calls <= limit, f"{result.usage.calls} calls are more than {limit}"
        if plan.budget is not None:
            assert result.usage.usd is not None and result.usage.usd <= plan.budget + 1e-9, result.usage.usd
        # What was begun is no less than what was asked, or nothing was asked at all.
        retries = len(watched.again)
        assert retries <= max(FREE_RETRIES, RETRY_SHARE * (asked + retries)), (asked, watched.again)
        assert not watched.complaints, watched.complaints
        (turn,) = asyncio.run(self.store.turns(result.run))
        assert turn.status == result.status, "the books say the same"


@contextmanager
def opened() -> Iterator[House]:
    """A house with an empty database."""
    with (
        tempfile.TemporaryDirectory(prefix="troupe-faults-") as folder,
        closing(SqliteStore(Path(folder) / "runs.db")) as store,
    ):
        yield House(store)


def campaign(house: House, runs: int, start: int) -> None:
    """Perform so many plans.

    Raises:
        AssertionError: a promise was broken, by the plan that is named. It is not made smaller: what is drawn also
            depends on who is faster.
    """

    @seed(start)
    @settings(
        max_examples=runs,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    @given(plans())
    def performed(plan: Plan) -> None:
        try:
            house.perform(plan)
        except Exception as error:
            raise AssertionError(f"{plan} broke a promise: {error!r}") from error

    performed()


@dataclass
class Figures:
    """What many runs came to."""

    runs: int = 0
    longest: float = 0.0
    ended: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def add(self, house: House) -> None:
        """Add the runs of a house."""
        self.runs += house.runs
        self.ended.update(house.ended)
        self.faults.update(house.faults)
        self.longest = max(self.longest, house.longest)


def share(parts: Sequence[int], runs: int, start: int) -> dict[str, Any]:
    """Some parts of a campaign, each of so many runs in a house of its own."""
    figures = Figures()
    for part in parts:
        with opened() as house:
            try:
                campaign(house, runs, start + part)
            except Exception as error:  # noqa: BLE001 - whatever is raised breaks a promise, and is told
                figures.broken.append("\n    ".join(traceback.format_exception(error)))
            figures.add(house)
    return vars(figures)


def main() -> int:
    """The campaign from the command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--jobs", type=int, default=2)
    given = arguments.parse_args()
    warm()
    started, each = time.monotonic(), min(500, given.runs)
    parts = range(-(-given.runs // each))
    total = Figures()
    with tempfile.TemporaryDirectory(prefix="troupe-faults-") as name:
        folder = Path(name)
        acts = [partial(share, parts[job :: given.jobs], each, given.seed) for job in range(given.jobs)]
        for worker in [begin(act, folder, patience=0) for act in acts]:
            ended = end(worker, folder)
            if ended.value is None:
                total.broken.append(ended.error or "a worker was killed")
                continue
            told = ended.value
            total.runs += told["runs"]
            total.longest = max(total.longest, told["longest"])
            total.ended.update(told["ended"])
            total.faults.update(told["faults"])
            total.broken += told["broken"]
    for one in total.broken:
        print(one)
    print(f"runs: {total.runs} in {time.monotonic() - started:.0f} s, the longest took {total.longest:.2f} s")
    print("ended: " + ", ".join(f"{status} {count}" for status, count in total.ended.most_common()))
    print("faults: " + ", ".join(f"{fault} {count}" for fault, count in total.faults.most_common()))
    print(f"broken: {len(total.broken)}")
    return int(bool(total.broken))


if __name__ == "__main__":
    sys.exit(main())
