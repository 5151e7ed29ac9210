"""Where the words of arrows stand: on their own line or just beside it, hiding no card, no word and no other line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from troupe.graphs.drawing.measure import WORD, WORD_HEIGHT, WORD_WIDEST, width
from troupe.graphs.drawing.places import Box, Point, Word

_HIDES = 1000.0  # the cost of a place where a word would hide a card or another word
_Sides = tuple[float, float, float, float]  # left, top, right, bottom


def place_words(
    said: Iterable[tuple[str, list[int]]], ways: dict[int, list[Point]], boxes: Iterable[Box], frames: Iterable[Box]
) -> list[Word]:
    """A box for each word that is said on some of the ways."""
    rims = [(-1, [(f.x, f.y), (f.right, f.y), (f.right, f.bottom), (f.x, f.bottom), (f.x, f.y)]) for f in frames]
    lines = [
        (i, (min(x, p), min(y, q), max(x, p), max(y, q)))
        for i, way in [*ways.items(), *rims]
        for (x, y), (p, q) in pairwise(way)
    ]
    solid = [(b.x, b.y, b.right, b.bottom) for b in boxes]
    words: list[Word] = []
    for text, arrows in said:
        wide = min(width(text, WORD), WORD_WIDEST) + 6
        others = [line for i, line in lines if i not in arrows]
        own = [ways[i] for i in arrows]
        for parts in (0.5, 0.35, 0.65, 0.2, 0.8), [part / 40 for part in range(41)]:
            cost, x, y = _best(_spots(own, wide, parts), wide, solid, others)
            if cost < _HIDES:  # else there is no place at all, and a card matters more; the description has the word
                solid.append((x, y, x + wide, y + WORD_HEIGHT))
                words.append(Word(text, Box(x, y, wide, WORD_HEIGHT), tuple(arrows)))
                break
    return words


def _best(
    spots: Iterable[tuple[float, float, float]], wide: float, solid: list[_Sides], lines: list[_Sides]
) -> tuple[float, float, float]:
    """The place with the least against it."""
    best = (float("inf"), 0.0, 0.0)
    for cost, x, y in sorted(spots):
        if cost >= best[0]:
            break
        right, bottom = x + wide, y + WORD_HEIGHT
        cost += _HIDES * sum(a - 2 < right and x < c + 2 and b - 2 < bottom and y < d + 2 for a, b, c, d in solid)
        cost += 30 * sum(a <= right and x <= c and b <= bottom and y <= d for a, b, c, d in lines)
        best = min(best, (cost, x, y))
    return best


def _spots(ways: Iterable[list[Point]], wide: float, parts: Sequence[float]) -> Iterator[tuple[float, float, float]]:
    """Places for a word along some ways, each with what speaks against it: the cost, and the upper left corner."""
    for a, b, last in dict.fromkeys((a, b, b == way[-1]) for way in ways for a, b in pairwise(way)):
        (x0, y0), (x1, y1) = a, b
        level = y0 == y1
        long, need = (abs(x1 - x0), wide) if level else (abs(y1 - y0), WORD_HEIGHT)
        tight = max(0.0, need + 14 - long)
        for part in parts:
            off = 3 * abs(part - 0.5) - min(long, 200) / 1000
            x, y = x0 + (x1 - x0) * part, y0 + (y1 - y0) * part
            hides_tip = last and abs(x1 - x) + abs(y1 - y) < need / 2 + 10
            yield off + 12 * hides_tip + tight + (0 if level else 0.2), x - wide / 2, y - WORD_HEIGHT / 2
            for side in (-1, 1):
                dx, dy = (0.0, side * (WORD_HEIGHT / 2 + 3)) if level else (side * (wide / 2 + 3), 0.0)
                yield 3 + off + tight / 4 + (0.1 if side > 0 else 0), x + dx - wide / 2, y + dy - WORD_HEIGHT / 2
