"""A drawing as data with its places, and as pixels where a renderer is installed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from troupe.agents.errors import SettingsError
from troupe.graphs.drawing.cards import Drawing
from troupe.graphs.drawing.layout import layout
from troupe.graphs.drawing.paint import svg
from troupe.graphs.drawing.places import Box, Direction


def to_json(drawing: Drawing, *, direction: Direction | None = None) -> dict[str, Any]:
    """The drawing as plain data, with where everything lies in pixels.

    >>> from troupe.graphs.drawing import Card
    >>> to_json(Drawing((Card("a", "write"),)))["cards"][0]["box"]
    {'x': 16.0, 'y': 16.0, 'width': 84.0, 'height': 38.0}
    """
    plan = layout(drawing, direction)

    def box(at: Box | None) -> dict[str, float] | None:
        return asdict(at) if at is not None else None

    return {
        "width": plan.width,
        "height": plan.height,
        "direction": plan.direction,
        "cards": [{**asdict(card), "box": box(plan.boxes.get(card.id))} for card in drawing.cards],
        "frames": [
            {"id": frame.id, "label": frame.label, "state": frame.state, "box": box(plan.frames.get(frame.id))}
            for frame in drawing.frames
        ],
        "arrows": [
            {**asdict(one.arrow), "role": one.role, "points": [list(point) for point in one.points]}
            for one in plan.routes
        ],
        "words": [{"text": one.text, "box": box(one.box), "arrows": list(one.arrows)} for one in plan.words],
    }


def png(drawing: Drawing, *, title: str = "", direction: Direction | None = None, scale: int = 2) -> bytes:
    """The drawing as a picture in pixels, light, `scale` times as large as the SVG.

    Raises:
        SettingsError: no renderer is installed; the message names the extra.
    """
    try:
        import resvg_py
    except ImportError:
        raise SettingsError(
            "A PNG needs a renderer: pip install 'agent-troupe[png]'. An .svg needs none, and shows the same."
        ) from None
    made = resvg_py.svg_to_bytes(svg_string=svg(drawing, title=title, direction=direction), zoom=scale)
    return bytes(made)
