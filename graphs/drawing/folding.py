"""Frames that are shown as one card, with how many lie behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from troupe.agents.errors import UnknownName
from troupe.graphs.drawing.cards import Card, Drawing
from troupe.graphs.drawing.states import summed


def folded(drawing: Drawing, fold: Iterable[str] | str) -> Drawing:
    """The drawing with these frames as one card each.

    Args:
        drawing: as it was read, states and all.
        fold: ids or names of frames; or `"all"`.

    Raises:
        UnknownName: there is no such frame.

    >>> drawing = Drawing((Card("f:a", "a"), Card("f:b", "b")), frames=(Card("f", "flow", "frame"),))
    >>> [(card.label, card.note) for card in folded(drawing, "all").cards]
    [('flow', '2 cards')]
    """
    frames = {frame.id: frame for frame in drawing.frames}
    if fold == "all":
        shut = set(frames)
    else:
        wanted = [fold] if isinstance(fold, str) else list(fold)
        named = {
            one: [id for id, frame in frames.items() if one in (id, id.replace(":", "/"), frame.label)]
            for one in wanted
        }
        for one, found in named.items():
            if not found:
                raise UnknownName("frame", one, [*dict.fromkeys(frame.label for frame in frames.values()), "all"])
        shut = {id for found in named.values() for id in found}
    homes = drawing.homes()
    # Each card is shown as the outermost frame around it that is shut, or as itself.
    shown = {id: next((frame for frame in home if frame in shut), id) for id, home in homes.items()}
    cards: dict[str, Card] = {}
    for card in drawing.cards:
        key = shown[card.id]
        cards.setdefault(key, card if key == card.id else _shut(frames[key], drawing, shown))
    arrows = [
        replace(arrow, source=shown[arrow.source], target=shown[arrow.target])
        for arrow in drawing.arrows
        if arrow.source in shown and arrow.target in shown
    ]
    kept = [one for one in arrows if one.source != one.target or one.source in {card.id for card in drawing.cards}]
    left = tuple(frame for frame in drawing.frames if shown[frame.id] == frame.id and frame.id not in shut)
    return Drawing(tuple(cards.values()), tuple(dict.fromkeys(kept)), left)


def _shut(frame: Card, drawing: Drawing, shown: dict[str, str]) -> Card:
    inside = [card for card in drawing.cards if shown[card.id] == frame.id and card.kind not in ("start", "end")]
    steps = [card for card in inside if card.kind in ("step", "frame")] or inside
    note = f"{len(inside)} card{'' if len(inside) == 1 else 's'}"
    state = frame.state or summed(card.state for card in steps) or ""
    return replace(frame, note=frame.note or note, state=state)
