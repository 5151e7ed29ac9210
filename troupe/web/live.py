"""What viewers are shown, made once for all of them and sent as it changes: server-sent events of changed pieces.

What is shown is HTML in parts, each cut into pieces where an element begins. A viewer gets every part whole at first,
then only the pieces that are others than before.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

PAUSE = 0.2
"""Seconds from one push to the next, at least."""
BEAT = 15.0
"""Seconds after which a viewer of whom nothing has been heard is sent a sign of life."""
VIEWERS = 200
"""At most, of everything together."""
_SHARE = 5  # making what is shown takes at most this part of the time

_CUTS = re.compile(
    r'(?<=\n)|(?=<(?:g data-|div class="row|tr>|tr data-|section|details|li>|form|table|h3|div class="picture))'
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What is shown at a moment: parts by name, in pieces; `at` is when the last event in it happened."""

    at: float
    parts: Mapping[str, list[str]]
    whole: Mapping[str, str] = field(repr=False)
    """The same uncut."""

    @classmethod
    def of(cls, at: float, parts: Mapping[str, str], before: Frame | None = None) -> Frame:
        """The frame of parts as HTML; those that are as `before` are the same objects."""
        made = {}
        for name, html in parts.items():
            if before is not None and before.whole.get(name) == html:
                made[name] = before.parts[name]
            else:
                made[name] = [one for one in _CUTS.split(html) if one]
        return cls(at, made, parts)


def delta(before: Frame | None, after: Frame) -> dict[str, Any]:
    """What a viewer who was shown `before` must be told.

    >>> one, two = Frame.of(1, {"a": "<li>x<li>y", "b": "z"}), Frame.of(2, {"a": "<li>x<li>w", "b": "z"})
    >>> delta(one, two)
    {'at': 2, 'parts': {'a': {'set': [[1, '<li>w']]}}}
    """
    parts: dict[str, Any] = {}
    for name, pieces in after.parts.items():
        known = before.parts.get(name) if before is not None else None
        if known == pieces:
            continue
        if known is None:
            parts[name] = {"all": pieces}
        elif len(known) == len(pieces):
            both = enumerate(zip(known, pieces, strict=True))
            parts[name] = {"set": [[number, new] for number, (old, new) in both if old != new]}
        else:
            parts[name] = {"splice": _spliced(known, pieces)}
    return {"at": after.at, "parts": parts}


def _spliced(known: list[str], pieces: list[str]) -> list[Any]:
    """Where to begin, how many to leave out, and what to put there instead."""
    least = min(len(known), len(pieces))
    begin = next((number for number in range(least) if known[number] != pieces[number]), least)
    end = next((number for number in range(least - begin) if known[-1 - number] != pieces[-1 - number]), least - begin)
    return [begin, len(known) - begin - end, pieces[begin : len(pieces) - end]]


class Feed:
    """What viewers of one thing are shown: made when it has changed, once for all, at most five times a second.

    Args:
        make: gives when the last event happened, and the parts as HTML.

    Attributes:
        viewers: how many look on.
        closed: whether they are to go.
    """

    def __init__(self, make: Callable[[], tuple[float, Mapping[str, str]]]) -> None:
        self._make = make
        self.viewers = 0
        self.frame: Frame | None = None
        self._stale = True
        self._due: asyncio.TimerHandle | None = None
        self._next = 0.0
        self._news = asyncio.Event()
        self.closed = False

    def touch(self) -> None:
        """Something has changed."""
        self._stale = True
        if self.viewers and self._due is None and not self.closed:
            loop = asyncio.get_running_loop()
            self._due = loop.call_at(max(self._next, loop.time()), self._publish)

    def close(self) -> None:
        """Let every viewer go."""
        self.closed = True
        self._news.set()

    def current(self) -> Frame:
        """What is shown now."""
        if self._stale or self.frame is None:
            self._publish()
        assert self.frame is not None  # noqa: S101 - that made it
        return self.frame

    def _publish(self) -> None:
        self._due = None
        self._stale = False
        loop = asyncio.get_running_loop()
        began = loop.time()
        at, parts = self._make()
        self.frame = Frame.of(at, parts, self.frame)
        took = loop.time() - began
        self._next = began + max(PAUSE, _SHARE * took)
        self._news.set()
        self._news = asyncio.Event()

    async def frames(self) -> AsyncGenerator[Frame | None, None]:
        """Every frame from now on that this viewer is quick enough for; None is a sign of life."""
        self.viewers += 1
        try:
            seen = None
            while not self.closed:
                if (frame := self.current() if seen is None else self.frame) is not seen:
                    seen = frame
                    yield frame
                    continue
                try:
                    await asyncio.wait_for(self._news.wait(), BEAT)
                except TimeoutError:
                    yield None
        finally:
            self.viewers -= 1


async def parts_of(feed: Feed) -> AsyncIterator[bytes]:
    """A feed as server-sent events for the page's script."""
    before: Frame | None = None
    yield b"retry: 1000\n\n"
    async with aclosing(feed.frames()) as frames:
        async for frame in frames:
            if frame is None:
                yield b": still here\n\n"
                continue
            told = delta(before, frame)
            before = frame
            if told["parts"]:
                yield event(told)


def event(data: Any, name: str = "", id: str = "") -> bytes:
    """One server-sent event with data as JSON, which has no line breaks."""
    lines = [f"event: {name}"] * bool(name) + [f"id: {id}"] * bool(id) + [f"data: {json.dumps(data, default=str)}"]
    return ("\n".join(lines) + "\n\n").encode()
