"""A drawing as Mermaid text, for a README or an editor that renders it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from troupe.graphs.drawing.cards import Card, Drawing, plain
from troupe.graphs.drawing.layout import layout

_RESERVED = {"class", "classdef", "click", "default", "end", "graph", "linkstyle", "style", "subgraph"}
_SHAPES = {
    "step": ("(", ")"),
    "start": ("((", "))"),
    "end": ("(((", ")))"),
    "gate": ("{{", "}}"),
    "ask": ("[/", "/]"),
    "frame": ("[[", "]]"),
}


def mermaid(drawing: Drawing) -> str:
    """The drawing as Mermaid text.

    >>> from troupe.graphs.drawing import Arrow
    >>> print(mermaid(Drawing((Card("a", "write"), Card("b", "check", "gate")), (Arrow("a", "b"),))))
    flowchart LR
        a("write")
        b{{"check"}}
        a --> b
    <BLANKLINE>
    """
    names: dict[str, str] = {}
    for card in (*drawing.cards, *drawing.frames):
        name = re.sub(r"[\W_]+", "_", plain(card.id), flags=re.ASCII).strip("_") or "node"
        name += "_" if name.lower() in _RESERVED or name[0].isdigit() else ""
        while name in names.values():
            name += "_"
        names[card.id] = name
    homes = drawing.homes()

    def inside(frame: str, indent: str) -> Iterator[str]:
        for card in drawing.cards:
            if homes[card.id][-1] == frame:
                yield f"{indent}{names[card.id]}{_shape(card)}"
        for child in drawing.frames:
            if homes[child.id][-1] == frame:
                yield f'{indent}subgraph {names[child.id]}["{_text(child.label)}"]'
                yield from inside(child.id, indent + "    ")
                yield f"{indent}end"

    lines = [f"flowchart {'TD' if layout(drawing).direction == 'down' else 'LR'}", *inside("", "    ")]
    for arrow in drawing.arrows:
        if arrow.source in names and arrow.target in names:
            word, line = _text(arrow.label), "-.->" if arrow.conditional else "-->"
            if word and (not re.fullmatch(r"[\w .-]+", word) or word.lower() in _RESERVED):
                word = f'"{word}"'
            lines.append(f"    {names[arrow.source]} {line}{f'|{word}|' if word else ''} {names[arrow.target]}")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return re.sub(r"[\"#<>&`|]", lambda sign: f"#{ord(sign[0])};", plain(text))


def _shape(card: Card) -> str:
    label = _text(card.label) + (f"<br/>{_text(card.note)}" if card.note else "")
    left, right = _SHAPES[card.kind]
    return f'{left}"{label}"{right}'
