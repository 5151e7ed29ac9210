"""A file of cases: YAML, read as data, and refused with its line where it says what is not known.

name: greetings                  # of the evaluation; by default the file's
team: sequential                 # or teams.py:team, from where this file lies
checks: [non_empty]              # of every case
cases:
  - Say hello.                   # a task alone
  - name: order
    task: Where is order 42?
    expected: "42"
    checks: [expected, {review: {by: qa-engineer, at_least: 0.8}}]
variants:
  small: {model: openai:gpt-5-nano}
  mesh: {team: mesh, prompts: my-prompts}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from troupe.agents.errors import InputError, TroupeError, UnknownName
from troupe.catalogue import PATTERNS, function_at
from troupe.evaluation.cases import EvaluationCase, Variant
from troupe.evaluation.scoring import EXPECTED
from troupe.graphs.checks import Check, contains, non_empty, review

_FILE = ("name", "team", "checks", "cases", "variants")
_CASE = ("name", "task", "expected", "checks")
_VARIANT = ("team", "model", "prompts")
_CHECKS = ("non_empty", EXPECTED, "contains", "review", "function")
_LARGEST = 10_000_000


@dataclass(frozen=True)
class Suite:
    """What such a file holds."""

    name: str
    target: Any
    cases: Sequence[EvaluationCase]
    scorers: Sequence[Any] = ()
    variants: Mapping[str, Variant] = field(default_factory=dict)


def read_cases(path: str | Path) -> Suite:
    """The cases of a file.

    Raises:
        InputError: it cannot be read, or says what is not known; the message has the line and the choices.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} has more than {_LARGEST:,} bytes, which is more than a file of cases may have.")
        loader = _Loader(path.read_text("utf-8"))
        given = loader.get_single_data()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: this is not YAML: {error.problem}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not YAML: {str(error) or 'it is nested too deeply'}.") from None
    return _File(path).suite(given)


class _Lines(dict[str, Any]):
    """A mapping that knows where it and its keys stand."""

    line = 1

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with lines, and without keys that stand twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> _Lines:
    made = _Lines()
    made.line = node.start_mark.line + 1
    for key_node, value_node in node.value:
        key, line = str(loader.construct_object(key_node, deep=True)), key_node.start_mark.line + 1
        if key in made:
            raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands here twice", key_node.start_mark)
        made.lines[key] = line
        made[key] = loader.construct_object(value_node, deep=True)
    return made


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


class _File:
    """One file being read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def suite(self, given: Any) -> Suite:
        """All of it."""
        top = self._keys(given, _FILE, "a file of cases", 1)
        cases = self._list(top, "cases")
        if not cases:
            raise self._wrong(1, "there are no cases. Write cases: and a list of tasks below it")
        variants = self._keys(top.get("variants"), None, "variants", top.lines.get("variants", 1))
        return Suite(
            name=self._text(top, "name", self.path.stem),
            target=self._target(top),
            cases=[self._case(one, top.lines["cases"]) for one in cases],
            scorers=self._checks(top),
            variants={name: self._variant(one, variants.lines[name]) for name, one in variants.items()},
        )

    def _case(self, given: Any, line: int) -> EvaluationCase:
        if isinstance(given, str):
            return EvaluationCase(given)
        case = self._keys(given, _CASE, "a case", line)
        if "task" not in case:
            raise self._wrong(case.line, "this case has no task")
        expected = case.get("expected")
        if isinstance(expected, int | float) and not isinstance(expected, bool):
            expected = str(expected)
        elif expected is not None and not isinstance(expected, str):
            raise self._wrong(case.lines["expected"], f"expected must be a text, not {expected!r}; put it in quotes")
        return EvaluationCase(self._text(case, "task"), expected, self._text(case, "name", ""), self._checks(case))

    def _variant(self, given: Any, line: int) -> Variant:
        one = self._keys(given, _VARIANT, "a variant", line)
        prompts = self._text(one, "prompts", "")
        return Variant(
            target=self._target(one),
            model=self._text(one, "model", "") or None,
            prompts=self.path.parent / prompts if prompts else None,
        )

    def _target(self, given: _Lines) -> str | None:
        name = self._text(given, "team", "")
        if not name:
            return None
        if name not in PATTERNS and ":" not in name:
            raise self._wrong(given.lines["team"], UnknownName("team", name, PATTERNS, "Yours is file.py:name."))
        return self._reference(name)

    def _reference(self, name: str) -> str:
        """A reference to code; a file is meant from where this one lies."""
        where, _, attribute = name.rpartition(":")
        return f"{self.path.parent / where}:{attribute}" if where.endswith(".py") else name

    def _checks(self, given: _Lines) -> list[Any]:
        line = given.lines.get("checks", given.line)
        return [self._check(one, getattr(one, "line", line)) for one in self._list(given, "checks")]

    def _check(self, given: Any, line: int) -> Any:
        name, value = given, None
        if isinstance(given, _Lines) and len(given) == 1:
            ((name, value),) = given.items()
        if not isinstance(name, str):
            raise self._wrong(line, f"a check is one of: {', '.join(_CHECKS)}; not {given!r}")
        if name not in _CHECKS:
            raise self._wrong(line, UnknownName("check", name, _CHECKS))
        make: dict[str, Callable[[], Any]] = {
            "non_empty": non_empty,
            EXPECTED: lambda: EXPECTED,
            "contains": lambda: contains(*(value if isinstance(value, list) else [value])),
            "review": lambda: self._review(value, line),
            "function": lambda: function_at(self._reference(str(value))),
        }
        try:
            return make[name]()
        except TroupeError as error:
            raise self._wrong(line, error) from None

    def _review(self, given: Any, line: int) -> Check:
        if isinstance(given, str):
            return review(by=given)
        asked = self._keys(given, ("by", "at_least"), "a review", line)
        if "by" not in asked:
            raise self._wrong(line, "a review names who gives it: {review: {by: qa-engineer}}")
        return review(by=asked["by"], at_least=asked.get("at_least"))

    def _keys(self, given: Any, known: Sequence[str] | None, what: str, line: int) -> _Lines:
        """A mapping with no key but these."""
        if not isinstance(given, _Lines):
            if given is None or given == {}:
                made = _Lines()
                made.line = line
                return made
            listed = f" with the keys {', '.join(known)}" if known else ""
            raise self._wrong(line, f"{what} is a mapping{listed}, not {given!r:.60}")
        for key in given:
            if known is not None and key not in known:
                raise self._wrong(given.lines[key], UnknownName(f"key in {what}", key, known))
        return given

    def _list(self, given: _Lines, key: str) -> list[Any]:
        value = given.get(key) or []
        if not isinstance(value, list):
            raise self._wrong(given.lines[key], f"{key} is a list: - ..., not {value!r:.60}")
        return value

    def _text(self, given: _Lines, key: str, without: str | None = None) -> str:
        value = given.get(key, without)
        if not isinstance(value, str) or (without is None and not value.strip()):
            raise self._wrong(given.lines.get(key, given.line), f"{key} must be a text that is not empty")
        return value

    def _wrong(self, line: int, why: object) -> InputError:
        text = str(why)
        return InputError(f"{self.path}:{line}: {text}{'' if text.endswith('.') else '.'}")
