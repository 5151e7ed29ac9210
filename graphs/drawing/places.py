"""What a layout says: where each card, frame and word lies, and which way each arrow takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from troupe.graphs.drawing.cards import Arrow

Direction = Literal["down", "right"]
Role = Literal["forward", "bypass", "back", "return"]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels; `x` and `y` are its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of the right side."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of the lower side."""
        return self.y + self.height


@dataclass(frozen=True, slots=True)
class Route:
    """An arrow's way, as the corners of a right-angled line from border to border.

    `role` is "bypass" for an arrow that passes other layers, "back" for one against the flow, and "return" for one
    that goes back along the very line of the arrow that came.
    """

    arrow: Arrow
    points: tuple[Point, ...]
    role: Role


@dataclass(frozen=True, slots=True)
class Word:
    """A word on an arrow, or once for several arrows that share a line; `arrows` are indices into the routes."""

    text: str
    box: Box
    arrows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing with its places: what `svg` paints, and what a test can measure.

    Routes stand in the order of the drawing's arrows, one each, so that a run can light up the ones it took.
    """

    width: float
    height: float
    direction: Direction
    boxes: Mapping[str, Box]
    frames: Mapping[str, Box]
    titles: Mapping[str, Box]
    routes: tuple[Route, ...]
    words: tuple[Word, ...]
