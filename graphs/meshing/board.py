"""What a team knows, shared: facts, decisions, open questions and files, each with who said it and how far to trust it.

An entry's id is made of what it says, so that whoever says the same adds to the same entry; merging is the same in any
order, and merging twice changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from troupe.agents.contracts import Deliverable, Value
from troupe.agents.matching import Weights, stems
from troupe.agents.notes import Text
from troupe.agents.text import summary, tokens
from troupe.graphs.state import merged_by, part

Kind = Literal["fact", "decision", "question", "artifact"]
MOST = 24  # entries of a kind from one deliverable
_LONG = 80  # tokens of an entry


class Entry(Value):
    """One thing that the team knows.

    >>> Entry(id="1", kind="fact", text="JSON", sources={"ada": 0.5, "bob": 0.5}).trust
    0.75
    """

    id: str
    kind: Kind
    text: Text
    sources: dict[str, float]
    """Who says so, and how far each is trusted, from 0 to 1."""

    @property
    def by(self) -> str:
        """Everybody who says so."""
        return ", ".join(sorted(self.sources))

    @property
    def trust(self) -> float:
        """How far it is trusted: more, the more say it."""
        doubt = 1.0
        for name in sorted(self.sources):
            doubt *= 1 - self.sources[name]
        return round(1 - doubt, 3)


def entry(kind: Kind, text: str, by: str, trust: float) -> Entry:
    """An entry of one author.

    >>> entry("fact", "It is JSON.", "ada", 0.7).id == entry("fact", " it is  JSON. ", "bob", 0.4).id
    True
    """
    said = summary(" ".join(text.split()), _LONG)
    seal = hashlib.blake2b(f"{kind}\0{said.casefold()}".encode("utf-8", "replace"), digest_size=5).hexdigest()
    return Entry(id=f"{kind[0]}-{seal}", kind=kind, text=said, sources={by: trust})


def merge_board(state: Mapping[str, Entry], writes: Sequence[Mapping[str, Entry] | None]) -> dict[str, Entry]:
    """By id, and in that order, everybody who says it with their highest trust; a write of None starts a new turn."""
    return dict(sorted(merged_by(state, writes, _joined).items()))  # who wrote first changes nothing


def _joined(one: Entry, other: Entry) -> Entry:
    if one == other:
        return one
    these, those = part(one, "sources"), part(other, "sources")
    sources = {name: max(these.get(name, 0.0), those.get(name, 0.0)) for name in sorted({*these, *those})}
    update = {"text": min(part(one, "text"), part(other, "text")), "sources": sources}
    return one.model_copy(update=update) if isinstance(one, Entry) else {**one, **update}


def entries(done: Deliverable, trust: float) -> dict[str, Entry]:
    """What a deliverable adds to the board: its author's notes, and the files in it."""
    said: list[Entry] = []
    if (notes := done.notes) is not None:
        said += [entry("fact", one, done.agent, trust) for one in notes.facts[:MOST]]
        for one in notes.decisions[:MOST]:
            sure = trust if one.confidence is None else min(trust, one.confidence)
            because = f" ({one.why})" if one.why else ""
            said.append(entry("decision", f"{one.topic}: {one.choice}{because}", done.agent, sure))
        said += [entry("question", one, done.agent, trust) for one in notes.questions[:MOST]]
        said += [
            entry("question", f"Assumed, is it so? {one.topic}: {one.choice}", done.agent, trust)
            for one in notes.assumptions[:MOST]
        ]
    said += [entry("artifact", f"{one.path} in {done.step}", done.agent, trust) for one in done.artifacts[:MOST]]
    return merge_board({}, [{one.id: one} for one in said if one.text])


def relevant(known: Iterable[Entry], wanted: Weights, limit: int) -> list[Entry]:
    """The entries that matter most for a need, in about `limit` tokens: first what it speaks of, then the most trusted.

    >>> board = [entry("fact", "The API answers in JSON.", "ada", 0.7), entry("fact", "It rains.", "bob", 0.9)]
    >>> [one.text for one in relevant(board, {"api": 1.0}, 8)]
    ['The API answers in JSON.']
    """

    def rank(one: Entry) -> tuple[float, float, str]:
        speaks = sum(wanted.get(word, 0.0) for word in stems(one.text))
        return -round(speaks * (0.5 + one.trust / 2), 6), -one.trust, one.id

    kept = []
    for one in sorted(known, key=rank):
        size = tokens(one.text)
        if size <= limit:
            kept.append(one)
            limit -= size
        if limit <= 0:
            break
    return kept


def written(shown: Iterable[Entry]) -> str:
    """Entries as lines for a brief."""
    return "\n".join(f"- {one.kind} ({one.by}, trust {one.trust:.2g}): {one.text}" for one in shown)
