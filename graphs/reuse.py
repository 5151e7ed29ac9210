"""Whether one result is taken up in another, as far as their words show: what of it comes back there, run by run.

    task, earlier results --> what is only the earlier step's own --> how much of that stands in the later result

Words are evidence, and no proof: whoever only acts on a result may repeat nothing of it. All bounds here are set so
that a doubt counts as use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from troupe.agents.matching import stems

LEAST_WORDS = 20
"""Different words that a text must have to say anything by not repeating another."""
FEW = 2
"""So many words of an earlier result's own may come back by chance, and this share of them:"""
SHARE = 0.05

_Parts = Callable[[str], frozenset[str]]
_TOKEN = re.compile(r"[A-Za-z0-9_][\w./:@#-]*[A-Za-z0-9_]")
_MARK = re.compile(r"[_/@#:]|\w\.\w|[a-z][A-Z]|[A-Za-z]\d|\d[A-Za-z]|\d{3}")
_NONE = frozenset({"and/or", "e.g", "i.e", "http", "https"})


@dataclass(frozen=True, slots=True)
class Pair:
    """What two steps delivered in one run, and what the earlier one had not made up itself.

    Attributes:
        known: the task, objectives, and what the earlier one was built on.
    """

    earlier: str
    later: str
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reuse:
    """What of an earlier result comes back in a later one.

    Attributes:
        runs: in how many runs both are known, and long enough to tell.
        used: in how many of these the later one takes the earlier one up.
        shared: of the earlier result's own words the largest share that came back in any run, from 0 to 1.
        examples: some of what came back.
    """

    runs: int
    used: int
    shared: float
    examples: tuple[str, ...] = ()


@lru_cache(maxsize=4096)
def marks(text: str) -> frozenset[str]:
    """Names that nobody hits upon by chance: paths, identifiers, addresses, numbers of three digits and more.

    >>> sorted(marks("Put user_id into app/main.py and see issue 4711, i.e. OrderService v2."))
    ['4711', 'OrderService', 'app/main.py', 'user_id', 'v2']
    """
    return frozenset(one for one in _TOKEN.findall(text) if _MARK.search(one) and one.lower() not in _NONE)


def reuse(pairs: Sequence[Pair]) -> Reuse:
    """How far a later step takes up an earlier one's results, over recorded runs.

    Words that the later step also uses in runs where the earlier result does not have them are its own.

    Args:
        pairs: the two results, run by run.

    >>> plan = "Orders live in orders_v2; refunds need a supervisor. " + " ".join(map("plan{}x".format, range(30)))
    >>> told = "Refunds go to orders_v2, says the supervisor. " + " ".join(map("word{}x".format, range(30)))
    >>> reuse([Pair(plan, told, ("Document refunds",))]).examples
    ('orders_v2',)
    """
    told = [one for one in pairs if min(len(stems(one.earlier)), len(stems(one.later))) >= LEAST_WORDS]
    used, largest, examples = 0, 0.0, dict[str, None]()
    for at, pair in enumerate(told):
        others = [one for number, one in enumerate(told) if number != at]
        names = _back(marks, pair, others)[1]
        own, back = _back(stems, pair, others)
        largest = max(largest, len(back) / len(own) if own else 0.0)
        if names or len(back) > max(FEW, SHARE * len(own)):
            used += 1
            examples |= dict.fromkeys(sorted(names or back))
    return Reuse(len(told), used, largest, tuple(examples)[:3])


def _back(parts: _Parts, pair: Pair, others: Iterable[Pair]) -> tuple[frozenset[str], frozenset[str]]:
    """What is only the earlier result's own, and what of it stands in the later one."""
    usual = frozenset(one for other in others for one in parts(other.later) - parts(other.earlier))
    own = parts(pair.earlier).difference(usual, *map(parts, pair.known))
    return own, own & parts(pair.later)
