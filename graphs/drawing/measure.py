"""How wide a text is, without a font to ask, and what of it fits."""

import unicodedata
from functools import cache

LABEL, NOTE, WORD = 13.0, 11.0, 11.0  # font sizes: a card's label, its second line, an arrow's word
BOLD = 1.12  # how much wider a bold text is
WORD_HEIGHT = 15.0
WORD_WIDEST = 110.0


def width(text: str, size: float) -> float:
    """The estimated width of a text in a common sans-serif font, a little on the generous side."""
    return sum(map(_em, text)) * size


@cache
def _em(letter: str) -> float:
    if letter in "iljI.,:;'|!()[]ft ":
        return 0.34
    if unicodedata.combining(letter) or unicodedata.category(letter) == "Cf":
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.05
    if letter in "mwMW@%":
        return 0.92
    return 0.7 if letter.isupper() else 0.58


def shorten(text: str, size: float, room: float) -> str:
    """The text, or as much as fits the room with an ellipsis; the ending of a dotted name stays ("fronte….gate")."""
    if width(text, size) <= room:
        return text
    begin, dot, ending = text.rpartition(".")
    if not (begin and 1 < len(ending) <= 6):
        begin, dot, ending = text, "", ""
    tail = f"…{dot}{ending}"
    while begin and width(begin + tail, size) + size * 0.3 > room:
        begin = begin[:-1]
    return begin.rstrip() + tail
