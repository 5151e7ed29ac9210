"""Who of a pool can do what: by words, or by the vectors of an embedding model where one is given and works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from troupe.agents.contracts import Brief, Ok, Skipped
from troupe.agents.events import Notice
from troupe.agents.matching import Embedder, Lexicon, Vectors, cosine, described, need, profile
from troupe.graphs.node import Here, now
from troupe.graphs.step import Step

Capabilities = Mapping[str, float]


class Matcher:
    """Matches needs with the members of a pool.

    Args:
        members: by name.
        embeddings: LangChain `Embeddings`, or None to compare words.
    """

    def __init__(self, members: Mapping[str, Step], embeddings: Any = None) -> None:
        self._lexicon = Lexicon({name: profile(one.agent, name, one.objective) for name, one in members.items()})
        self._embedder = Embedder(embeddings) if embeddings is not None else None
        self._names = tuple(sorted(members))
        self._texts = tuple(
            f"{name}: {described(members[name].agent, members[name].objective)}" for name in self._names
        )
        self._vectors: Vectors | None = None

    def lexical(self, objective: str, skills: Sequence[str], task: str) -> Capabilities:
        """By name, from words alone."""
        return self._lexicon.capabilities(need(objective, skills, task))

    async def match(
        self, wanted: Sequence[tuple[str, Sequence[str]]], state: Any, here: Here
    ) -> tuple[list[Capabilities], bool]:
        """For each need, an objective and skills, what everybody can do; and whether the embeddings failed now."""
        task = state["task"]
        words = [self.lexical(objective, skills, task) for objective, skills in wanted]
        if self._embedder is None or not wanted or _gave_up(state):
            return words, False
        texts = tuple(f"{objective} {', '.join(skills)}".strip() for objective, skills in wanted)
        if self._vectors is None:  # the pool's own texts are embedded once, a call of their own in the journal
            self._vectors = await self._embed(self._texts, state, here)
        found = await self._embed(texts, state, here) if self._vectors is not None else None
        if self._vectors is None or found is None:
            return words, True
        if (size := len(found.values[0])) != (known := len(self._vectors.values[0])):
            self._vectors = None  # of another model, perhaps
            _fallen_back(f"vectors of {known} numbers for the pool, of {size} for the need.", here)
            return words, True
        return [
            {name: cosine(one, other) for name, other in zip(self._names, self._vectors.values, strict=True)}
            for one in found.values
        ], False

    async def _embed(self, texts: tuple[str, ...], state: Any, here: Here) -> Vectors | None:
        assert self._embedder is not None  # noqa: S101 - asked only where there is one
        brief = Brief(task="Embed these texts.", step="matching", guidance=texts)
        outcome = await here.call(self._embedder, brief, state, purpose="decide", schema=Vectors)
        if isinstance(outcome, Ok):
            vectors: Vectors = outcome.value
            return vectors
        cause = outcome.reason if isinstance(outcome, Skipped) else outcome.cause
        _fallen_back(cause, here)
        return None


def _fallen_back(cause: str, here: Here) -> None:
    here.emit(Notice(now(), here.outer, f"The embeddings failed, so words are compared instead: {cause}"))


def _gave_up(state: Any) -> bool:
    """Whether the embeddings failed before in this turn: they are not tried again."""
    decided = (state.get("decided") or {}).values()
    return any(one.lexical or (one.course is not None and one.course.lexical) for one in decided)
