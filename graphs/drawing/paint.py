"""A laid-out drawing as one self-contained SVG."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from troupe.graphs.drawing.cards import Card, Drawing, plain
from troupe.graphs.drawing.layout import known
from troupe.graphs.drawing.measure import BOLD, LABEL, NOTE, WORD, shorten, width
from troupe.graphs.drawing.places import Box, Direction, Layout
from troupe.graphs.drawing.states import COLOURS, MARKS
from troupe.graphs.drawing.strokes import strokes

_FONT = "ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_FORWARD, _BYPASS, _BACK = ("#66717f", "#8e9aac"), ("#7f8a99", "#66738a"), ("#b45f06", "#eaa640")

# What is painted: (property, light, dark). Text keeps a contrast of 4.5 on what it stands on, lines one of 3.
PALETTE: dict[str, tuple[tuple[str, str, str], ...]] = {
    "page": (("fill", "#fbfbfd", "#14181f"),),
    "step": (("fill", "#ffffff", "#1e2530"), ("stroke", "#7f8a99", "#66738a")),
    "gate": (("fill", "#eceffd", "#232a52"), ("stroke", "#5b68cf", "#8b97ff")),
    "ask": (("fill", "#e4f5f0", "#123a33"), ("stroke", "#27836f", "#46b89f")),
    "frame": (("stroke", "#7f8a99", "#66738a"),),
    "end": (("fill", "#3a4454", "#c3ccd9"), ("stroke", "#3a4454", "#c3ccd9")),
    "text": (("fill", "#1a2230", "#e8edf4"),),
    "note": (("fill", "#566172", "#a3afbf"),),
    "word": (("fill", "#566172", "#a3afbf"),),
    "backword": (("fill", "#8f4a06", "#f2b450"),),
    "forward": (("stroke", *_FORWARD),),
    "bypass": (("stroke", *_BYPASS),),
    "back": (("stroke", *_BACK),),
    "forwardtip": (("fill", *_FORWARD),),
    "bypasstip": (("fill", *_BYPASS),),
    "backtip": (("fill", *_BACK),),
}


def _coloured(state: str, colour: str) -> str:
    """The rules of a state's colour: border, sign and word."""
    one = f".troupe .{state}>"
    return f"{one}.card,{one}.mark{{stroke:{colour}}}{one}.said{{fill:{colour}}}"


_LIGHT, _DARK = (
    "".join(
        f".troupe .{name}{{{';'.join(f'{rule[0]}:{rule[mode]}' for rule in rules)}}}" for name, rules in PALETTE.items()
    )
    for mode in (1, 2)
)
_CSS = (
    f".troupe text{{font-family:{_FONT};text-anchor:middle}}"
    f".troupe .text{{font-size:{LABEL:g}px;font-weight:500}}.troupe .note{{font-size:{NOTE:g}px}}"
    f".troupe .word,.troupe .backword{{font-size:{WORD:g}px}}"
    ".troupe .title{text-anchor:start}.troupe .sign{stroke-width:1.5px}.troupe .end{stroke-width:1px;fill-rule:evenodd}"
    ".troupe .forward,.troupe .bypass,.troupe .back{fill:none;stroke-width:1.5px}"
    ".troupe .maybe{stroke-dasharray:5 3.5}.troupe .frame{fill:none;stroke-dasharray:2 3}"
    f"{_LIGHT}@media(prefers-color-scheme:dark){{{_DARK}}}"
)
_STATED = (
    ".troupe .mark{fill:none;stroke-width:1.8px;stroke-linecap:round;stroke-linejoin:round}"
    f".troupe .said{{font-size:{NOTE:g}px;font-weight:600;text-anchor:start}}"
    + "".join(f".troupe .{name}>.card{{stroke-width:2px}}" for name in COLOURS if name != "pending")
    + "".join(_coloured(name, day) for name, (day, _) in COLOURS.items())
    + f"@media(prefers-color-scheme:dark){{{''.join(_coloured(name, night) for name, (_, night) in COLOURS.items())}}}"
)
_ROUND = {"gate": 20.0, "ask": 10.0}
_SIGNS = {  # a dot; a dot in a ring; a diamond; somebody's head and shoulders
    "start": "m-7 0a7 7 0 1 0 14 0 7 7 0 1 0 -14 0z",
    "end": "m-6.5 0a6.5 6.5 0 1 0 13 0 6.5 6.5 0 1 0 -13 0zm1 0a5.5 5.5 0 1 0 11 0 5.5 5.5 0 1 0 -11 0z"
    "m2.5 0a3 3 0 1 0 6 0 3 3 0 1 0 -6 0z",
    "gate": "m-5 0l5 -5 5 5 -5 5z",
    "ask": "m-6 8a6 6.5 0 0 1 12 0zm3 -12a3 3 0 1 1 6 0 3 3 0 1 1 -6 0z",
}


def svg(drawing: Drawing, *, title: str = "", direction: Direction | None = None, caption: str = "") -> str:
    """The drawing as one self-contained SVG, with a line of words below it where there is a `caption`.

    >>> from troupe.graphs.drawing import Arrow
    >>> drawing = Drawing((Card("a", "write"), Card("b", "check", "gate")), (Arrow("a", "b"),))
    >>> svg(drawing, title="Support team").startswith("<svg")
    True

    Solid arrows are always taken, dashed ones if the gate says their word; amber arrows go back.
    """
    plan = known(drawing, direction)
    style = _CSS + (_STATED if any(card.state for card in (*drawing.cards, *drawing.frames)) else "")
    wide = max(plan.width, min(width(caption, NOTE) + 32, 480.0)) if caption else plan.width
    high = plan.height + (22 if caption else 0)
    page = f'width="{wide:g}" height="{high:g}"'
    view = f'viewBox="0 0 {wide:g} {high:g}"'
    below = [_text("note title", caption, NOTE, 16, plan.height + 4, wide - 24)] if caption else []
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="troupe" role="img" {page} {view}>',
            f"<title>{escape(plain(title) or 'Graph')}</title>",
            f"<desc>{escape(_described(drawing, plan))}</desc>",
            f"<style>{style}</style>",
            f'<rect class="page" {page} rx="8"/>',
            *(_frame(frame, plan) for frame in drawing.frames if frame.id in plan.frames),
            *strokes(plan.routes),
            *(_card(card, plan.boxes[card.id]) for card in drawing.cards),
            *_words(plan),
            *below,
            "</svg>",
        ]
    )


def _described(drawing: Drawing, plan: Layout) -> str:
    labels = {card.id: plain(card.label) for card in drawing.cards}
    ways: dict[str, list[str]] = {}
    for arrow in (route.arrow for route in plan.routes):
        word = plain(arrow.label)
        ways.setdefault(arrow.source, []).append(labels[arrow.target] + (f" ({word})" if word else ""))
    return "; ".join(f"{labels[source]} to {', '.join(targets)}" for source, targets in ways.items())[:1500]


def _rect(kind: str, box: Box, rx: float) -> str:
    size = f'width="{box.width:g}" height="{box.height:g}"'
    return f'<rect class="{kind}" x="{box.x:g}" y="{box.y:g}" {size} rx="{rx:g}"/>'


def _text(kind: str, text: str, size: float, x: float, y: float, room: float) -> str:
    """A line of text; one that does not fit is shortened, and shows the whole when pointed at."""
    text = plain(text)
    short = shorten(text, size, room)
    whole = f"<title>{escape(text)}</title>" if short != text else ""
    return f'<text class="{kind}" x="{x:g}" y="{y + size * 0.35:g}">{escape(short)}{whole}</text>'


def _frame(frame: Card, plan: Layout) -> str:
    at = plan.titles[frame.id]
    name = _text("note title", frame.label, NOTE, at.x, at.y + at.height / 2, at.width + 1)
    around = _rect("frame card" if frame.state else "frame", plan.frames[frame.id], 10)
    return (
        f'<g data-frame="{escape(plain(frame.id))}" class="{frame.state}">{around}{name}</g>'
        if frame.state
        else around + name
    )


def _sign(kind: str, x: float, y: float) -> str:
    style = "end" if kind == "start" else kind
    return f'<path class="{style} sign" d="M{x:g} {y:g}{_SIGNS[kind]}"/>'


def _card(card: Card, box: Box) -> str:
    x, y, room = box.x + box.width / 2, box.y + box.height / 2, box.width - 16
    state = f' class="{card.state}"' if card.state in MARKS else ""
    begin = f'<g data-id="{escape(plain(card.id))}"{state}>'
    if card.kind in ("start", "end"):
        return f"{begin}<title>{card.kind}</title>{_sign(card.kind, x, y)}</g>"
    kind = "step" if card.kind == "frame" else card.kind
    parts = [begin, _rect(f"{kind} card" if card.state else kind, box, min(_ROUND.get(kind, 8.0), box.height / 2))]
    if card.kind == "frame":  # a card on a card: a whole graph lies behind it
        parts.append(_rect("frame", Box(box.x + 3, box.y + 3, box.width - 6, box.height - 6), 6))
    lines = [("note", card.note)] * bool(card.note) + [("said", card.said)] * bool(card.state)
    lines += [("note facts", card.facts)] * bool(card.facts)
    at = y - 7.5 * len(lines) + (0.5 if lines else 0.0)
    if kind in _SIGNS:
        parts.append(_sign(kind, box.x + 16, y))
        x, room = x + 8, room - 24
    parts.append(_text("text", card.label, LABEL, x, at, room))
    for style, text in lines:
        at += 15
        if style == "said":
            wide = min(width(text, NOTE) * BOLD, room - 16)
            parts.append(f'<path class="mark" d="M{x - wide / 2 - 3:.1f} {at:g}{MARKS[card.state]}"/>')
            parts.append(_text("said", text, NOTE, round(x - wide / 2 + 6.5, 1), at, room - 14))
        else:
            parts.append(_text(style, text, NOTE, x, at, room))
    return "".join((*parts, "</g>"))


def _words(plan: Layout) -> Iterator[str]:
    for word in plan.words:
        back, box = any(plan.routes[i].role == "back" for i in word.arrows), word.box
        # The ground interrupts the line under the word.
        yield _rect("page", box, 0) + _text(
            "backword" if back else "word", word.text, WORD, box.x + box.width / 2, box.y + box.height / 2, box.width
        )
