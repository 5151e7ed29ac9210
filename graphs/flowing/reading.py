"""YAML as plain data, with the line of everything in it; nothing in it can run, and nothing grows out of bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from troupe.agents.errors import BuildError

Place = tuple[str | int, ...]
"""Where in the data something is: keys and numbers, from the outside."""

MOST_BYTES = 1_000_000
MOST_NODES = 50_000
"""Counted as often as they are referred to, so that aliases cannot make much of little."""
DEEPEST = 40
_MANY = f"it holds more than {MOST_NODES:,} values, aliases counted as often as used"
_DEEP = f"it lies more than {DEEPEST} deep, or contains itself"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, where PyYAML was built with it: ten times as fast


@dataclass(frozen=True, order=True)
class Complaint:
    """Something that cannot be where it stands in a file."""

    line: int
    text: str


class Misplaced(BuildError):
    """What cannot be where it stands in a file; the message begins with the place, and has a line for each complaint.

    Attributes:
        where: the file.
        complaints: what is wrong, in the order of the lines.
    """

    def __init__(self, where: str, *complaints: Complaint) -> None:
        self.where = where
        self.complaints = sorted(dict.fromkeys(complaints), key=lambda one: one.line)
        super().__init__("\n".join(f"{where}:{one.line}: {one.text}" for one in self.complaints))


def together(found: Sequence[BuildError]) -> BuildError:
    """Several errors as one."""
    if len(found) == 1:
        return found[0]
    placed = [one for one in found if isinstance(one, Misplaced)]
    if len(placed) < len(found):
        return BuildError("\n".join(dict.fromkeys(map(str, found))))
    return Misplaced(placed[0].where, *(said for one in placed for said in one.complaints))


@dataclass
class Source:
    """Where a text's data stand in it."""

    where: str
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest around it that is written."""
        known: Place = ()
        for part in place:  # what is not written is the name of a kind, which only the schema knows
            known = (*known, part) if (*known, part) in self.lines else known
        return self.lines.get(known, 1)

    def complaint(self, place: Place, text: str) -> Misplaced:
        """A complaint with its place."""
        return Misplaced(self.where, Complaint(self.line(place), text))

    def at(self, line: int, text: str) -> Misplaced:
        """A complaint about a line."""
        return Misplaced(self.where, Complaint(line, f"{text}."))


def read(text: str, where: str) -> tuple[Any, Source]:
    """The data in a YAML text, and where everything stands.

    Args:
        text: the YAML.
        where: what it is called in messages.

    Raises:
        Misplaced: it is too large, no YAML, or holds more than plain data: tags, keys that come twice, aliases that
            contain themselves.
    """
    source = Source(where)
    if len(text) > MOST_BYTES:
        raise source.at(1, f"it has more than {MOST_BYTES:,} characters")
    try:
        _bounded(text, source)
        root = yaml.compose(text, Loader=_LOADER)
        if root is None:
            raise source.at(1, "it is empty. A workflow has a name and phases")
        return _Reader(source).value(root, (), 0), source
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(filter(None, (error.context, error.problem)))
        last = text.count("\n") + 1  # a mark at the end may be beyond it
        raise source.at(min(mark.line + 1, last) if mark else 1, f"it is no YAML: {said}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # PyYAML lets a bad date through as a ValueError
        if isinstance(error, BuildError):
            raise
        raise source.at(1, f"it is no YAML: {' '.join(str(error).split())}") from None


def _bounded(text: str, source: Source) -> None:
    """Refuse what would take long to be put together, while nothing is kept of it yet."""
    count = depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        count += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        if count > MOST_NODES:
            raise source.at(line, _MANY)
        if depth > DEEPEST:
            raise source.at(line, _DEEP)


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.count = 0
        self.loader = yaml.SafeLoader("")

    def value(self, node: yaml.Node, place: Place, depth: int) -> Any:
        """What a node holds."""
        self.count += 1
        line = node.start_mark.line + 1
        self.source.lines.setdefault(place, line)
        if self.count > MOST_NODES:
            raise self.source.at(line, _MANY)
        if depth > DEEPEST:
            raise self.source.at(line, _DEEP)
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.partition("2002:")[2] not in _PLAIN:
            raise self.source.at(line, f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not plain data")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(one, (*place, at), depth + 1) for at, one in enumerate(node.value)]
        return self.loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, place: Place, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, one in node.value:
            line = key_node.start_mark.line + 1
            key = self.value(key_node, (*place, "?"), depth + 1)
            if not isinstance(key, str):
                raise self.source.at(line, f"the key {key!r} is no text; put it into quotes")
            if key in made:
                raise self.source.at(line, f"the key {key!r} comes twice")
            self.source.lines[(*place, key)] = line
            made[key] = self.value(one, (*place, key), depth + 1)
        return made


_PLAIN = {"str", "int", "float", "bool", "null", "map", "seq", "timestamp"}
