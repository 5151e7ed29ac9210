"""YAML as plain data, with the line of everything in it; nothing in it can run, and nothing grows out of bounds."""

from __future__ import annotations

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


class Misplaced(BuildError):
    """Something that cannot be where it stands in a file; the message begins with the place."""


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
        return Misplaced(f"{self.where}:{self.line(place)}: {text}")


def read(text: str, where: str) -> tuple[Any, Source]:
    """The data in a YAML text, and where everything stands.

    Args:
        text: the YAML.
        where: what it is called in messages.

    Raises:
        BuildError: it is too large, no YAML, or holds more than plain data: tags, keys that come twice, aliases that
            contain themselves.
    """
    if len(text) > MOST_BYTES:
        raise BuildError(f"{where} has {len(text):,} characters; {MOST_BYTES:,} are the most.")
    source = Source(where)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            raise BuildError(f"{where}:1: it is empty. A workflow has a name and phases.")
        return _Reader(source).value(root, (), 0), source
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(filter(None, (error.context, error.problem)))
        raise BuildError(f"{where}:{mark.line + 1 if mark else 1}: it is no YAML: {said}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # PyYAML lets a bad date through as a ValueError
        if isinstance(error, BuildError):
            raise
        raise BuildError(f"{where} is no YAML: {error}") from None


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
            raise self._error(line, f"it holds more than {MOST_NODES:,} values, aliases counted as often as used")
        if depth > DEEPEST:
            raise self._error(line, f"it lies more than {DEEPEST} deep, or contains itself")
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.partition("2002:")[2] not in _PLAIN:
            raise self._error(line, f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not plain data")
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
                raise self._error(line, f"the key {key!r} is no text; put it into quotes")
            if key in made:
                raise self._error(line, f"the key {key!r} comes twice")
            self.source.lines[(*place, key)] = line
            made[key] = self.value(one, (*place, key), depth + 1)
        return made

    def _error(self, line: int, text: str) -> BuildError:
        return BuildError(f"{self.source.where}:{line}: {text}.")


_PLAIN = {"str", "int", "float", "bool", "null", "map", "seq", "timestamp"}
