"""Texts, numbers and money as people read them, safe to show in a terminal."""

from __future__ import annotations

import math

from troupe.agents.text import printable, redact


def visible(text: str) -> str:
    r"""A text of several lines: nothing in it can move the cursor or change a colour.

    >>> visible("a\r\n\x1b[2J")
    'a\n\\x1b[2J'
    """
    return printable(text.replace("\r\n", "\n"))


def line(text: str, limit: int | None = None) -> str:
    """A text as one such line, without credentials, cut to `limit` characters.

    >>> line("one\\n  two", 5)
    'one …'
    """
    text = printable(redact(" ".join(text.split())))
    return text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"


def money(usd: float | None) -> str:
    """USD; `$?` where a price is unknown.

    >>> money(0.0123), money(12.5), money(0), money(None)
    ('$0.0123', '$12.50', '$0', '$?')
    """
    if usd is None:
        return "$?"
    return "$0" if usd == 0 else f"${usd:.4f}" if usd < 1 else f"${usd:,.2f}"


def counted(number: int, what: str) -> str:
    """A number and its noun.

    >>> counted(1, "step"), counted(2000, "step")
    ('1 step', '2,000 steps')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """Bytes.

    >>> size(0), size(999), size(1200), size(2.5e6), size(7.25e9)
    ('0 B', '999 B', '1.2 kB', '2.5 MB', '7.2 GB')
    """
    if number < 1000:
        return f"{number:.0f} B"
    thousands = min(int(math.log(number * 1.00005, 1000)), 3)
    return f"{number / 1000**thousands:,.1f} {('kB', 'MB', 'GB')[thousands - 1]}"


def duration(seconds: float) -> str:
    """Seconds, or minutes and hours where it is long.

    >>> duration(0.42), duration(75), duration(3700)
    ('0.4 s', '1 min 15 s', '1 h 1 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
