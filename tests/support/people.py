"""Teams that ask people, one of each pattern: `tests.support.people:branches`. Each call is a line of calls.txt."""

from __future__ import annotations

from pathlib import Path

from tests.support.hubs import fixed
from troupe import Brief, Step, TeamGraph, agent, contains, each, gate, hierarchical, merge, mesh, parallel, sequential

ASKS = gate(contains("good"), rework=0, then="ask")


def noted(brief: Brief) -> None:
    with Path("calls.txt").open("a") as file:
        file.write(f"{brief.step}#{brief.round}\n")


def worker(name: str) -> Step:
    """Whoever does nothing good before a person has said how."""

    async def work(brief: Brief) -> str:
        noted(brief)
        return f"{name}: {brief.item or brief.step}" + (f", good: {brief.feedback}" if brief.feedback else "")

    return Step(work, name=name, gate=ASKS)


def plain(name: str) -> Step:
    async def work(brief: Brief) -> str:
        noted(brief)
        return name

    return Step(work, name=name, gate=None)


async def joined(brief: Brief) -> str:
    return " | ".join(one.content for one in brief.deliverables.values())


def deciding(name: str) -> Step:
    async def decides(brief: Brief) -> dict[str, str]:
        return {"colour": name}

    return Step(decides, name=name, gate=None)


_move = {"assignments": [{"objective": "One.", "agent": "m"}, {"objective": "Two.", "agent": "n"}]}
_again = {"objective": "Three.", "agent": "m"}

line = sequential(plain("first"), worker("second"), plain("third"), name="line")
branches = parallel(worker("a"), worker("b"), plain("c"), worker("d"), merge=joined, name="branches")
items = parallel(each(worker("w"), ["one", "two", "three"]), merge=joined, name="items")
inner = sequential(worker("i"), name="inner")
fan = parallel(worker("p"), worker("q"), merge=joined, name="fan")
nested = parallel(Step(inner, name="x"), worker("y"), Step(fan, name="z"), merge=joined, name="nested")
levels = hierarchical(None, agent("lead", "Plan."), [worker("left"), worker("right")], name="levels")
hub = mesh(
    [worker("m"), worker("n")],
    hub=fixed("switch", {"assignments": [*_move["assignments"], _again]}, {"finish": True}),
    name="hub",
)
wondering = mesh([plain("m"), plain("n")], hub=fixed("switch", {"question": "Which one?"}, {"finish": True, **_move}))
rival = parallel(deciding("red"), deciding("blue"), merge=merge(by=joined, conflicts="ask"), name="rival")

ASKING: dict[str, tuple[TeamGraph, list[str]]] = {
    "line": (line, ["second"]),
    "branches": (branches, ["a", "b", "d"]),
    "items": (items, ["w.1", "w.2", "w.3"]),
    "nested": (nested, ["x/i", "y", "z/p", "z/q"]),
    "levels": (levels, ["left.1", "right.1"]),
    "hub": (hub, ["m.1", "n.1", "m.2"]),
}
"""By name, the team and the paths of those who ask."""
