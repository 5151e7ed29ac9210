"""Teams for the page's tests, as `tests.support.shows:team`: they wait when told to, and say what could do harm."""

from __future__ import annotations

import asyncio
import threading

from tests.support.people import noted
from troupe import Brief, Step, check, contains, gate, parallel, sequential

GO = threading.Event()
"""What `team`'s steps wait for, and `held`'s first one."""

ATTACKS = (
    "<script>alert('script')</script>",
    "<img src=x onerror=alert('handler')>",
    "<svg onload=alert('svg')><script>alert(1)</script></svg>",
    "[click](javascript:alert('link')) ![picture](http://evil.test/x.png)",
    "[data](data:text/html,<script>alert(2)</script>)",
    '"><a href=javascript:alert(3) onmouseover=alert(4) autofocus onfocus=alert(5)>x</a></textarea></title>',
)
ATTACK = "\n\n".join(ATTACKS)
SECRET = "sk-abcdefghijklmnop1234"  # noqa: S105 - it opens nothing


async def _wait() -> None:
    await asyncio.to_thread(GO.wait, 30)


async def first(brief: Brief) -> str:
    noted(brief)
    return "# The first\n\nIt is **done**."


async def held(brief: Brief) -> str:
    noted(brief)
    await _wait()
    return "held no more"


async def drafted(brief: Brief) -> str:
    await _wait()
    return f"Good, as wished: {brief.feedback}" if brief.feedback else "# A draft\n\n- it says nothing"


async def harmful(brief: Brief) -> str:
    return ATTACK


async def endless(brief: Brief) -> str:
    return "A word that is said again. " * 80_000


async def failing(brief: Brief) -> str:
    raise RuntimeError(f"401: Authorization: Bearer {SECRET} is not valid")


@check
def complains(work: object) -> str:
    return ATTACK


async def joined(brief: Brief) -> str:
    return "\n\n".join(one.content for one in brief.deliverables.values())


ASKS = gate(contains("Good"), rework=0, then="ask")
team = sequential(Step(first, "Begin.", gate=None), Step(drafted, name="draft", gate=ASKS), name="team")
still = sequential(Step(first, gate=None), Step(held, gate=None), Step(joined, name="last", gate=None), name="still")
quick = sequential(Step(first, gate=None), name="quick")
broken = sequential(Step(failing, gate=None), name="broken")
attack = sequential(
    Step(harmful, ATTACK, name="plain", gate=gate(complains, rework=1, then="partial")),
    Step(harmful, name="<img src=x onerror=alert(6)>", gate=gate(complains, rework=0, then="ask")),
    name="attack",
)
large = sequential(Step(endless, name="large", gate=ASKS), name="large")
many = parallel(*(Step(first, name=f"step-{number}", gate=None) for number in range(12)), merge=joined, name="many")
