"""What a rehearsal draws: how long replies take and how long they are, what passes, what fails.

From recorded runs where there are enough of them, else from defaults that say so.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from troupe.agents.call import Purpose
from troupe.agents.contracts import FailureKind, Tier
from troupe.graphs.history import Asked, History
from troupe.graphs.rehearsing.faults import Faults

Origin = Literal["recorded", "default", "given"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a number of a rehearsal comes from.

    Attributes:
        what: the number.
        origin: recorded runs, a default, or what was given.
        value: it, in words.
        samples: how many recordings it was drawn from.
    """

    what: str
    origin: Origin
    value: str
    samples: int = 0

    def line(self) -> str:
        """It in a line."""
        where = f"recorded, n={self.samples}" if self.origin == "recorded" else self.origin
        return f"{self.what}: {self.value} ({where})"


@dataclass(frozen=True, slots=True)
class Pace:
    """How a tier's models reply: seconds to the first token, then tokens per second."""

    first: float
    rate: float


# None of these is measured: they are of the order of what providers show today. Record runs, and they are not used.
PACE: Mapping[Tier, Pace] = {
    "economy": Pace(0.4, 120.0),
    "standard": Pace(0.6, 80.0),
    "premium": Pace(1.0, 50.0),
}
PRICED_AS: Mapping[Tier, str] = {"economy": "gpt-5-nano", "standard": "gpt-5-mini", "premium": "gpt-5"}
"""Models of openai whose prices stand for those of a tier that is simulated."""
LENGTH: Mapping[Purpose, tuple[float, float]] = {
    "work": (700.0, 0.6),
    "decide": (200.0, 0.5),
    "review": (200.0, 0.5),
    "undo": (0.0, 0.0),
}
"""Tokens of a reply by purpose: the median, and the spread of their logarithm."""
JITTER = 0.25
"""Spread of the logarithm of a reply's seconds, for one length."""
PASSES = 0.8
FUNCTION, FOREIGN, TOOL = 1.0, 30.0, 1.0
"""Seconds of a function, of a graph, Runnable or agent of the user's, and of a tool call."""
REQUESTS = 3
"""Of an agent with tools, in one piece of work."""
ITEMS = 3
"""Of a list that a function makes."""
REFUSED: Mapping[FailureKind, float] = {"rate_limit": 0.3, "connection": 1.0, "server": 2.0}
"""Seconds until a request fails."""
HANGS = 7 * 86_400.0
"""Seconds of one that times out: as long as the Executor lets it, which gives up long before."""

OF_A_STEP, OF_AN_AGENT, OF_A_TIER = 3, 5, 10
"""Recorded replies from which on they are drawn from, and not from what is less alike."""
VERDICTS, ALL_VERDICTS = 5, 20
ATTEMPTS, ALL_ATTEMPTS = 20, 50
_PASSING: frozenset[FailureKind] = frozenset({"limit", "journal", "code", "tool"})
"""Failures that say nothing of a model."""


@dataclass
class Odds:
    """What is drawn, and from what.

    Args:
        history: recorded runs, of all workflows.
        workflow: whose steps' own recordings count.
        seed: the same seed draws the same.
        faults: what goes wrong besides what is recorded.
    """

    history: History
    workflow: str
    seed: int = 0
    faults: Faults = field(default_factory=Faults)
    sources: dict[str, Source] = field(default_factory=dict)
    """By what, every number that was used."""

    def __post_init__(self) -> None:
        own = self.history.of(self.workflow)
        self._replies: dict[tuple[str, ...], list[tuple[float, int]]] = defaultdict(list)
        for step in own.steps():
            for one in _answered(step.asked):
                self._replies["step", step.template, one.agent, one.purpose].append(_shape(one))
        for one in _answered(self.history.asked()):
            self._replies["agent", one.agent, one.purpose].append(_shape(one))
            if one.tier is not None:
                self._replies["tier", one.tier, one.purpose].append(_shape(one))
        self._took: dict[str, list[float]] = defaultdict(list)
        self._requests: dict[str, list[int]] = defaultdict(list)
        for step in own.steps():
            if step.delivered and not step.composed:
                self._took[step.template].append(step.seconds)
        paths = sorted({step.template for step in own.steps()})
        self._judged = {path: found for path in paths if (found := own.verdicts(path))}
        every = [passed for step in self.history.steps() for passed in step.judged]
        self._all_judged = every if len(every) >= ALL_VERDICTS else []
        self._failed: dict[str, Counter[FailureKind | None]] = defaultdict(Counter)
        for step in self.history.steps():
            rounds = Counter(one.round for one in step.asked if one.purpose == "work" and one.failure is None)
            self._requests[step.agent].extend(rounds.values())
            for one in step.asked:
                if one.failure not in _PASSING:
                    self._failed[one.agent][one.failure] += 1
                    self._failed[""][one.failure] += 1

    def draw(self, *place: object) -> random.Random:
        """Randomness of one place in one trial: what is drawn elsewhere changes nothing here."""
        return random.Random("|".join(map(str, (self.seed, *place))))  # noqa: S311 - a simulation

    def fails(
        self, random_: random.Random, path: str, agent: str, tier: Tier, purpose: Purpose
    ) -> tuple[FailureKind, float] | None:
        """How a request fails, and after how many seconds, if it does."""
        if (kind := self._failure(random_, agent, tier)) is None:
            return None
        if kind == "timeout":
            return kind, HANGS
        if kind in REFUSED:
            return kind, REFUSED[kind] * random_.lognormvariate(0, JITTER)
        return kind, self.reply(random_, path, agent, tier, purpose)[0]  # what was said is of no use

    def reply(self, random_: random.Random, path: str, agent: str, tier: Tier, purpose: Purpose) -> tuple[float, int]:
        """The seconds that a reply takes, and its tokens."""
        for key, least, whose in (
            (("step", path, agent, purpose), OF_A_STEP, f"{agent} at {path}"),
            (("agent", agent, purpose), OF_AN_AGENT, agent),
            (("tier", tier, purpose), OF_A_TIER, f"{tier} models"),
        ):
            if len(pool := self._replies.get(key, ())) >= least:
                self._note(f"replies of {whose} ({purpose})", "recorded", "seconds and tokens as they were", len(pool))
                return random_.choice(pool)
        (median, spread), pace = LENGTH[purpose], PACE[tier]
        said = f"{pace.first:g} s and 1 s per {pace.rate:g} tokens; {median:g} tokens, lognormal σ {spread:g}"
        self._note(f"replies of {tier} models ({purpose})", "default", said)
        tokens = max(1, round(random_.lognormvariate(math.log(median), spread)))
        return (pace.first + tokens / pace.rate) * random_.lognormvariate(0, JITTER), tokens

    def _failure(self, random_: random.Random, agent: str, tier: Tier) -> FailureKind | None:
        if agent in self.faults.down or tier in self.faults.down:
            return "server"
        at, drawn = 0.0, random_.random()
        for kind, rate in self.faults.rates.items():
            at += rate
            if drawn < at:
                return kind
        for name, least in ((agent, ATTEMPTS), ("", ALL_ATTEMPTS)):
            counts = self._failed.get(name)
            if counts is not None and (total := counts.total()) >= least:
                whose = f"failures of {name}" if name else "failures of all agents"
                self._note(whose, "recorded", f"{1 - counts[None] / total:.1%} of requests", total)
                drawn = random_.random() * total
                for one, count in sorted(counts.items(), key=lambda item: str(item[0])):
                    drawn -= count
                    if drawn < 0:
                        return one
                return None
        self._note("failures besides those asked for", "default", "none, as too few attempts are recorded")
        return None

    def passes(self, random_: random.Random, path: str) -> bool:
        """Whether work passes its gate."""
        judged: Sequence[bool] = self._judged.get(path, ())
        if len(judged) >= VERDICTS:
            self._note(f"verdicts on {path}", "recorded", f"{sum(judged) / len(judged):.0%} pass", len(judged))
        elif self._all_judged:
            judged = self._all_judged
            self._note("verdicts", "recorded", f"{sum(judged) / len(judged):.0%} pass", len(judged))
        else:
            self._note("verdicts", "default", f"{PASSES:.0%} pass")
            return random_.random() < PASSES
        return random_.random() < sum(judged) / len(judged)

    def requests(self, random_: random.Random, agent: str) -> int:
        """How many requests an agent with tools makes in one piece of work."""
        if len(pool := self._requests.get(agent, ())) >= OF_AN_AGENT:
            self._note(f"requests of {agent}, with tools", "recorded", "as many as they were", len(pool))
            return random_.choice(pool)
        self._note("requests of an agent with tools", "default", f"{REQUESTS}, {TOOL:g} s per tool call between them")
        return REQUESTS

    def seconds(self, random_: random.Random, path: str, function: bool) -> float:
        """What something takes that is not called: a function, or whatever else is the user's own."""
        if len(pool := self._took.get(path, ())) >= OF_A_STEP:
            self._note(f"what {path} takes", "recorded", "as it was", len(pool))
            return random_.choice(pool)
        what, seconds = ("a function", FUNCTION) if function else ("a graph or agent of your own", FOREIGN)
        self._note(f"what {what} takes", "default", f"{seconds:g} s")
        return seconds

    def given(self, what: str, value: str) -> None:
        """Note a number that somebody stated."""
        self._note(what, "given", value)

    def assumed(self, what: str, value: str) -> None:
        """Note a default that is drawn elsewhere."""
        self._note(what, "default", value)

    def _note(self, what: str, origin: Origin, value: str, samples: int = 0) -> None:
        if what not in self.sources:
            self.sources[what] = Source(what, origin, value, samples)


def _answered(asked: Iterable[Asked]) -> list[Asked]:
    """Those that a model answered; what a cache did has no tokens."""
    return [one for one in asked if one.failure is None and one.tokens.total]


def _shape(one: Asked) -> tuple[float, int]:
    return one.seconds, one.tokens.output
