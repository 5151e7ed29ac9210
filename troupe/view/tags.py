"""Pieces of HTML that say what a model or a user wrote, and can do nothing else: lines, prose, signs, tables."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape

from troupe.view.markdown import cut, tidy
from troupe.view.runview import STATES

SHORT = 2_000
"""Characters of a text that is only quoted."""
SIGNS = {"completed": "✓", "stopped": "■", "queued": "…", **{str(state): sign for state, sign in STATES.items()}}


def inline(text: object) -> str:
    """A text as one line of HTML."""
    return escape(" ".join(tidy(str(text)).split()))


def prose(text: str, most: int = SHORT) -> str:
    """A text of several lines as HTML, as it was written."""
    shown, left = cut(tidy(text), most)
    more = f' <span class="cut">({left:,} characters more)</span>' if left else ""
    return escape(shown).replace("\n", "<br>") + more


def clock(at: float) -> str:
    """The time of day."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def badge(state: str, word: str = "") -> str:
    """How a run stands, framed."""
    return f'<span class="badge {state}">{SIGNS.get(state, "")} {escape(word or state)}</span>'


def verdict(state: str, word: str = "") -> str:
    """How a step stands, or what was decided, in a line of others."""
    return f'<span class="verdict {state}">{SIGNS.get(state, "")} {escape(word or state)}</span>'


def section(title: str, inner: str, id: str = "") -> str:
    """A part of a page under its title; nothing where there is nothing in it."""
    return f"<section{f' id={id!r}' if id else ''}><h2>{escape(title)}</h2>{inner}</section>" if inner else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = (), wide: bool = True) -> str:
    """A table of cells that are HTML already.

    Args:
        header: of the columns.
        rows: their cells.
        numbers: columns that are set to the right.
        wide: whether it becomes a list where there is no room for it.
    """
    labels = [f' data-label="{one}"' if wide else "" for one in header]
    right = [" class=n" if at in numbers else "" for at in range(len(header))]
    around = ("<div>", "</div>") if wide else ("", "")
    lines = []
    for one in rows:
        cells = (cell.join(around) if cell else "" for cell in one)
        inner = (f"<td{n}{label}>{cell}</td>" for n, label, cell in zip(right, labels, cells, strict=False))
        lines.append(f"<tr>{''.join(inner)}</tr>")
    if not lines:
        return ""
    heads = "".join(f"<th{' class=n' if at in numbers else ''}>{one}</th>" for at, one in enumerate(header))
    kind = ' class="wide"' if wide else ""
    return (
        f'<div class="scroll"><table{kind}><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )
