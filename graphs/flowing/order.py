"""What hangs on what among steps with needs: their order, what is behind each, and how much work hangs on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from troupe.agents.errors import BuildError

Needs = Mapping[str, Sequence[str]]
"""By step, those that it waits for."""


def ordered(needs: Needs) -> list[str]:
    """The steps, each after all that it needs, and otherwise as they were given.

    Raises:
        BuildError: some need one another in a circle; the message shows it.

    >>> ordered({"check": ["draft"], "draft": []})
    ['draft', 'check']
    """
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " -> ".join(map(repr, error.args[1]))
        raise BuildError(f"Steps wait for one another in a circle: {circle} (each is needed by the next).") from None
    place = {name: at for at, name in enumerate(needs)}
    found: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        found += ready
        sorter.done(*ready)
    return found


def behind(needs: Needs) -> dict[str, list[str]]:
    """By step, everything that it builds on, directly or not, in order.

    >>> behind({"draft": [], "check": ["draft"], "ship": ["check"]})["ship"]
    ['draft', 'check']
    """
    order = ordered(needs)
    known: dict[str, set[str]] = {}
    for name in order:
        known[name] = {*needs[name], *(far for near in needs[name] for far in known[near])}
    return {name: [one for one in order if one in known[name]] for name in needs}


def ranks(needs: Needs, seconds: Mapping[str, float]) -> dict[str, float]:
    """By step, how long it and the longest way on from it take: the upward rank of list scheduling.

    Args:
        needs: what waits for what.
        seconds: how long each step takes by itself.

    >>> ranks({"draft": [], "check": ["draft"]}, {"draft": 2.0, "check": 3.0})
    {'draft': 5.0, 'check': 3.0}
    """
    after = following(needs)
    rank: dict[str, float] = {}
    for name in reversed(ordered(needs)):
        rank[name] = seconds[name] + max((rank[one] for one in after[name]), default=0.0)
    return {name: rank[name] for name in needs}


def following(needs: Needs) -> dict[str, list[str]]:
    """By step, those that need it themselves.

    >>> following({"draft": [], "check": ["draft"]})
    {'draft': ['check'], 'check': []}
    """
    after: dict[str, list[str]] = {name: [] for name in needs}
    for name, wanted in needs.items():
        for one in dict.fromkeys(wanted):
            after[one].append(name)
    return after


def ends(names: Iterable[str], needs: Needs) -> list[str]:
    """Those of some steps that none of them needs.

    >>> ends(["a", "b"], {"a": [], "b": ["a"]})
    ['b']
    """
    some = list(names)
    wanted = {one for name in some for one in needs[name]}
    return [name for name in some if name not in wanted]
