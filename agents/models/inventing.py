"""A value that is valid against a JSON Schema: what it needs, and every number it may have."""

from __future__ import annotations

import math
import random
import re
import uuid
from collections.abc import Iterable
from typing import Any

_FEW = 3  # of what is chosen from a closed list
_DEEP = 4  # a schema that holds itself ends here
_FORMATS = {
    "date": "2026-01-{day:02d}",
    "date-time": "2026-01-{day:02d}T09:30:00Z",
    "time": "09:30:{day:02d}",
    "duration": "P{day}D",
    "email": "somebody{day}@example.com",
    "uri": "https://example.com/{day}",
    "hostname": "host{day}.example.com",
    "ipv4": "192.0.2.{day}",
    "ipv6": "2001:db8::{day}",
    "ipv4network": "192.0.2.{day}/32",
    "ipv6network": "2001:db8::{day}/128",
    "ipvanyaddress": "192.0.2.{day}",
    "regex": "x{{{day}}}",
    "json-string": "{day}",
}
_CATEGORIES = {"DIGIT": "7", "NOT_DIGIT": "x", "SPACE": " ", "NOT_SPACE": "x", "WORD": "x", "NOT_WORD": "-"}


def invent(shape: dict[str, Any], random_: random.Random, name: str = "value") -> Any:
    """A value that is valid against `shape`.

    >>> invent({"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"}, random.Random(0))
    'AA-0'
    """
    return _Inventor(shape.get("$defs", {}), random_).value(shape, name)


class _Inventor:
    def __init__(self, defs: dict[str, Any], random_: random.Random) -> None:
        self.defs = defs
        self.random = random_

    def value(self, shape: Any, name: str, depth: int = 0, nth: int = 0) -> Any:
        """The value of a field; the `nth` of several that must differ."""
        if not isinstance(shape, dict):
            return f"[simulated] {name}"
        if "$ref" in shape:
            return self.value(self.defs.get(str(shape["$ref"]).rpartition("/")[2], {}), name, depth + 1, nth)
        if "const" in shape:
            return shape["const"]
        if "enum" in shape:
            return shape["enum"][nth % len(shape["enum"])]
        if parts := shape.get("allOf"):
            return self.value(
                _merged([{**shape, "allOf": None}, *(self._named(one) for one in parts)]), name, depth, nth
            )
        if choices := shape.get("anyOf") or shape.get("oneOf"):
            nothing = [one for one in choices if one.get("type") == "null"]
            some = [one for one in choices if one.get("type") != "null"]
            return None if not some or (nothing and depth >= _DEEP) else self.value(some[0], name, depth, nth)
        kind = shape.get("type", "object" if "properties" in shape else "string")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind == "object":
            return self._object(shape, depth, nth)
        if kind == "array":
            return self._array(shape, name, depth)
        if kind in ("integer", "number"):
            return self._number(shape, kind == "integer", nth)
        if kind in ("boolean", "null"):
            return True if kind == "boolean" else None
        return self._text(shape, name, nth)

    def _named(self, shape: dict[str, Any]) -> dict[str, Any]:
        return self.defs.get(str(shape["$ref"]).rpartition("/")[2], {}) if "$ref" in shape else shape

    def _object(self, shape: dict[str, Any], depth: int, nth: int = 0) -> dict[str, Any]:
        """An object; several of a list are told apart by what is chosen from a closed list."""
        needed = set(shape.get("required", ()))
        made = {
            name: self.value(one, name, depth + 1, nth if isinstance(one, dict) and "enum" in one else 0)
            for name, one in shape.get("properties", {}).items()
            if name in needed or (depth < _DEEP - 1 and _numeric(one))
        }
        for number in range(shape.get("minProperties", 0) - len(made)):
            made[f"key {number + 1}"] = self.value(shape.get("additionalProperties"), "value", depth + 1, number)
        return made

    def _array(self, shape: dict[str, Any], name: str, depth: int) -> list[Any]:
        made = [self.value(one, name, depth + 1) for one in shape.get("prefixItems", ())]
        choices = self._choices(shape.get("items"))
        usual = min(max(choices, 1), _FEW) if depth < _DEEP and "items" in shape and not made else 0
        count = max(shape.get("minItems", 0), usual)
        rest = range(min(count, shape.get("maxItems", count)) - len(made))
        differ = 1 if shape.get("uniqueItems") or choices else 0
        return made + [self.value(shape.get("items", {}), name, depth + 1, number * differ) for number in rest]

    def _choices(self, shape: Any) -> int:
        """How long the closed list is that an object's field is from, which says what each of several is about."""
        shape = self._named(shape) if isinstance(shape, dict) else {}
        fields = [one for one in shape.get("properties", {}).values() if isinstance(one, dict)]
        return max((sum(choice != "" for choice in one["enum"]) for one in fields if "enum" in one), default=0)

    def _number(self, shape: dict[str, Any], whole: bool, nth: int) -> float | int:
        low = shape.get("minimum", shape.get("exclusiveMinimum"))
        high = shape.get("maximum", shape.get("exclusiveMaximum"))
        if low is None:
            low = 0 if high is None or high > 0 else high - 10
        high = low + 10 if high is None else high
        step = shape.get("multipleOf") or (1 if whole else None)
        share = self.random.uniform(0.88, 0.97)  # near the top, so that a score from 0 to 1 says that the work is good
        if step:
            first = math.ceil(low / step) + ("exclusiveMinimum" in shape and low % step == 0)
            last = math.floor(high / step) - ("exclusiveMaximum" in shape and high % step == 0)
            number = first + (int((last - first) * share) + nth) % max(last - first + 1, 1)
            return int(number * step) if whole else number * step
        value = float(low + (high - low) * (share - nth * 0.01))
        short = round(value, 2)
        return short if low < short < high or low == high == short else value

    def _text(self, shape: dict[str, Any], name: str, nth: int) -> str:
        least, most = shape.get("minLength", 0), shape.get("maxLength")
        if shape.get("format") == "uuid":
            return str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        if form := _FORMATS.get(shape.get("format", "")):
            return form.format(day=1 + nth % 28)
        if pattern := shape.get("pattern"):
            for extra in range(nth, nth + least + 1):
                made = _matching(pattern, extra)
                if made is not None and least <= len(made) <= (len(made) if most is None else most):
                    return made
        text = f"[simulated] {name.replace('_', ' ')}"
        if nth:
            text = f"{nth + 1} {text}"
        return text.ljust(least, ".")[:most]


def _merged(shapes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for shape in shapes:
        for key, one in shape.items():
            if key in ("properties", "$defs"):
                one = {**merged.get(key, {}), **one}
            elif key == "required":
                one = [*merged.get(key, ()), *one]
            merged[key] = one
    return merged


def _numeric(shape: Any) -> bool:
    if not isinstance(shape, dict):
        return False
    return any(one.get("type") in ("number", "integer") for one in (shape, *shape.get("anyOf", ())))


def _matching(pattern: str, extra: int) -> str | None:
    """A text that a pattern finds, each repetition `extra` times more than it must be; None if that is too hard."""
    try:
        from re import _parser  # type: ignore[attr-defined]  # the standard library's own, without a public name

        groups: dict[int, str] = {}
        made = "".join(_written(_parser.parse(pattern), extra, groups))
        return made if re.search(pattern, made) else None
    except (ImportError, AttributeError, re.error, LookupError, ValueError, TypeError):
        return None


def _written(parsed: Any, extra: int, groups: dict[int, str]) -> Iterable[str]:
    for operation, argument in parsed:
        match str(operation):
            case "LITERAL":
                yield chr(argument)
            case "NOT_LITERAL":
                yield "y" if chr(argument) == "x" else "x"
            case "ANY":
                yield "x"
            case "IN":
                yield _of_set(argument)
            case "BRANCH":
                yield from _written(argument[1][0], extra, groups)
            case "SUBPATTERN":
                groups[argument[0]] = "".join(_written(argument[3], extra, groups))
                yield groups[argument[0]]
            case "GROUPREF":
                yield groups[argument]
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, inner = argument
                for _ in range(min(least + extra, int(most))):
                    yield from _written(inner, extra, groups)
            case _:  # anchors and looks around write nothing
                continue


def _of_set(parts: Any) -> str:
    if str(parts[0][0]) == "NEGATE":
        banned = re.compile("[" + "".join(_shown(one) for one in parts[1:]) + "]")
        return next(sign for sign in "x7 -_Aé" if not banned.match(sign))
    return _example(parts[0])


def _example(part: Any) -> str:
    operation, argument = str(part[0]), part[1]
    if operation == "CATEGORY":
        return _CATEGORIES[str(argument).removeprefix("CATEGORY_")]
    return chr(argument[0] if operation == "RANGE" else argument)


def _shown(part: Any) -> str:
    operation, argument = str(part[0]), part[1]
    if operation == "CATEGORY":
        name = str(argument).removeprefix("CATEGORY_")
        letter = name.removeprefix("NOT_")[0].lower()
        return "\\" + (letter.upper() if name.startswith("NOT_") else letter)
    if operation == "RANGE":
        return f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
    return re.escape(chr(argument))
