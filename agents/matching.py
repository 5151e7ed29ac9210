"""How well somebody's capabilities match a need: by words, or by vectors where an embedding model is given.

Both give a number from 0 to 1 by name. The words are stemmed, rare ones count more than common ones, and what nobody
here can do counts nothing; no model is called.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from troupe.agents.agent import Agent
from troupe.agents.chat import ChatAgent
from troupe.agents.contracts import Brief, Deliverable
from troupe.agents.errors import BuildError, InvalidOutput

Weights = Mapping[str, float]

_WORD = re.compile(r"[^\W_]+(?:\+\+|#)?")
_STOP = frozenset(
    re.findall(
        r"\w+",
        "a all an and are as at be by can do each every for from has have how in into is it its must no not of on one "
        "or our over shall should so some that the their them then there these they this those through to under up "
        "use was we what when where which who will with without you your",
    )
)
_ENDINGS = (
    "isations", "isation", "ations", "ation", "ements", "ement", "ments", "ment", "ities", "ity", "ings", "ing",
    "ions", "ion", "ises", "ised", "ise", "ers", "er", "ors", "or", "ies", "ied", "es", "ed", "als", "al", "s", "e",
    "y",
)  # fmt: skip
# Words for one thing that no common stem joins.
_ALIASES = {
    "apis": "api", "auth": "authentication", "backends": "backend", "bench": "benchmark", "bugs": "bug",
    "ci": "pipeline", "client": "frontend", "db": "database", "dbs": "database", "deploy": "deployment",
    "doc": "documentation", "docs": "documentation", "faster": "performance", "gui": "ui", "html": "frontend",
    "interface": "ui", "k8s": "kubernetes", "ml": "model", "perf": "performance", "postgres": "postgresql",
    "py": "python", "readme": "documentation", "screen": "ui", "server": "backend", "slow": "performance",
    "speed": "performance", "tests": "test", "web": "frontend",
}  # fmt: skip


def stem(word: str) -> str:
    """The part that a word shares with its relatives, in both spellings of English.

    >>> stem("optimization") == stem("optimise"), stem("Testing") == stem("tests")
    (True, True)
    """
    word = word.lower()
    word = _ALIASES.get(word, word)
    word = re.sub(r"iz(e|es|ed|ing|er|ation|ations)$", r"is\1", word).replace("our", "or")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


@lru_cache(maxsize=8192)
def stems(text: str) -> frozenset[str]:
    """The stems of a text's words, without those that say nothing.

    >>> sorted(stems("Test the API, and the tests"))
    ['api', 'test']
    """
    return frozenset(stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP)


def need(objective: str, skills: Iterable[str] = (), task: str = "") -> dict[str, float]:
    """What is needed, as weighted stems: skills that were named count double, the task around it a quarter."""
    wanted = dict.fromkeys(stems(task), 0.25)
    wanted |= dict.fromkeys(stems(objective), 1.0)
    for skill in skills:
        wanted |= dict.fromkeys(stems(skill), 2.0)
    return wanted


def profile(agent: Agent, name: str = "", objective: str = "") -> dict[str, float]:
    """What somebody can do, as weighted stems: skills and name before the title, a prompt of the user's own last."""
    found: dict[str, float] = {}
    role = agent.role if isinstance(agent, ChatAgent) else None
    if role is not None and role.prompt:
        found |= dict.fromkeys(stems(role.prompt[:2000]), 0.4)
    found |= dict.fromkeys(stems(objective), 0.6)
    found |= dict.fromkeys(stems(agent.title), 0.7)
    for part in (agent.name, name, *(role.skills if role is not None else ())):
        found |= dict.fromkeys(stems(part), 1.0)
    return found


def described(agent: Agent, objective: str = "") -> str:
    """What somebody can do, in a line."""
    skills = ", ".join(agent.role.skills) if isinstance(agent, ChatAgent) else ""
    parts = [agent.title, objective, f"skills: {skills}" if skills else ""]
    if not any(parts) and isinstance(agent, ChatAgent):
        parts = [" ".join(agent.role.prompt.split())[:120]]
    return "; ".join(one.rstrip(".") for one in parts if one)


class Lexicon:
    """Everybody's profile, read once, so that a need is matched with a hundred of them in well under a millisecond.

    >>> lexicon = Lexicon({"ada": {"databas": 1.0}, "bob": {"test": 1.0}})
    >>> lexicon.capabilities(need("Test it", ["testing"]))
    {'ada': 0.0, 'bob': 1.0}
    """

    def __init__(self, profiles: Mapping[str, Weights]) -> None:
        self._names = tuple(profiles)
        common = Counter(word for one in profiles.values() for word in one)
        self._rare = {word: math.log(1 + len(profiles) / count) for word, count in common.items()}
        self._who: dict[str, list[tuple[str, float]]] = {}
        for name, words in profiles.items():
            for word, weight in words.items():
                self._who.setdefault(word, []).append((name, weight))

    def capabilities(self, wanted: Weights) -> dict[str, float]:
        """By name, how much of the need somebody covers, from 0 to 1."""
        found = dict.fromkeys(self._names, 0.0)
        known = sorted(word for word in wanted if word in self._rare)
        whole = 0.0
        for word in known:
            worth = wanted[word] * self._rare[word]
            whole += worth
            for name, weight in self._who[word]:
                found[name] += worth * weight
        return {name: min(1.0, value / whole) for name, value in found.items()} if whole else found


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """How alike two vectors are, from 0 to 1; what points away from each other is 0.

    >>> cosine((1.0, 0.0), (2.0, 0.0)), cosine((1.0, 0.0), (-1.0, 0.0))
    (1.0, 0.0)
    """
    sizes = math.sqrt(math.fsum(a * a for a in one) * math.fsum(b * b for b in other))
    if not sizes or not math.isfinite(sizes):
        return 0.0
    return min(1.0, max(0.0, math.fsum(a * b for a, b in zip(one, other, strict=True)) / sizes))


class Vectors(BaseModel):
    """One vector for each text."""

    values: tuple[tuple[float, ...], ...]


class Embedder(Agent):
    """LangChain `Embeddings` as someone who decides: the Executor calls it, so a failure is a value, and is recorded.

    The texts are the brief's guidance.
    """

    name = "embeddings"

    def __init__(self, embeddings: Any) -> None:
        if not callable(getattr(embeddings, "aembed_documents", None)):
            raise BuildError(f"embeddings={embeddings!r} must be LangChain Embeddings, with aembed_documents().")
        self.embeddings = embeddings

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        """See `Agent`."""
        raise BuildError("Embeddings turn texts into vectors; they do no other work.")

    async def decide(self, brief: Brief, schema: Any) -> Any:
        """One vector for each text of the brief's guidance."""
        found = await self.embeddings.aembed_documents(list(brief.guidance))
        values = tuple(tuple(round(float(number), 6) for number in one) for one in found)
        if len(values) != len(brief.guidance) or len({len(one) for one in values}) > 1:
            raise InvalidOutput(f"The embeddings gave {len(values)} vectors for {len(brief.guidance)} texts.")
        if not all(math.isfinite(number) for one in values for number in one):
            raise InvalidOutput("The embeddings gave numbers that are not finite.")
        return schema(values=values)
