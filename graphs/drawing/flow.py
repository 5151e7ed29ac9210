"""What was built on what: a drawing made of results, where there is no graph, or more than it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from troupe.graphs.drawing.cards import Arrow, Card, Drawing
from troupe.graphs.drawing.states import Look, dressed

PLAIN = Look()


@dataclass(frozen=True, slots=True)
class Built:
    """A result: what it is called, who made it, of what, and how it stands. `whole`: of a team that lies behind it."""

    name: str
    note: str = ""
    sources: Sequence[str] = ()
    look: Look = PLAIN
    whole: bool = False


def flow(results: Iterable[Built]) -> Drawing:
    """Results as cards, with arrows from what each was built on.

    >>> flow([Built("a"), Built("b", sources=("a", "c"))]).arrows
    (Arrow(source='a', target='b', label='', conditional=False),)
    """
    every = list(results)
    names = {one.name for one in every}
    cards = tuple(Card(one.name, one.name, "frame" if one.whole else "step", one.note) for one in every)
    arrows = dict.fromkeys(Arrow(source, one.name) for one in every for source in one.sources if source in names)
    return dressed(Drawing(cards, tuple(arrows)), {one.name: one.look for one in every})
