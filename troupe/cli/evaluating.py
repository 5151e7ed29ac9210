"""`troupe eval`: cases from a file, variants from words, a table or one object."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from troupe.cli import output
from troupe.cli.running import reserved

if TYPE_CHECKING:
    from troupe.evaluation.cases import Variant
    from troupe.evaluation.report import Scored


def show(cases: Path, words: Sequence[str], name: str | None, options: Mapping[str, Any], as_json: bool) -> NoReturn:
    """Evaluate, print, and end the process: 0 where every run completed and was judged, else 3."""
    from troupe.evaluation.evaluating import aevaluate
    from troupe.evaluation.reading import read_cases
    from troupe.evaluation.report import HEADER

    with reserved():
        suite = read_cases(cases)
        variants = chosen(words, suite.variants) if words else suite.variants
        work = aevaluate(
            suite.target,
            suite.cases,
            suite.scorers,
            name=name or suite.name,
            variants=variants or None,
            told=None if as_json else _tell,
            **options,
        )
        try:
            evaluation = asyncio.run(work)
        except (KeyboardInterrupt, SystemExit):
            output.note("Stopped. The same command goes on; what has ended is not paid for again.")
            raise
    if as_json:
        output.as_json(evaluation.to_json())
    else:
        output.note("")
        output.table(HEADER, [one.cells() for one in evaluation.summaries])
        for one in evaluation.notes:
            output.note(one)
    sys.exit(0 if evaluation.complete else 3)


def _tell(row: Scored) -> None:
    """A line for a run that is scored."""
    why = next((one.why for one in row.scores.values() if one.why), "") or row.reason
    output.note(f"{row.score:.2f}  {row.variant} · {row.case}: {row.status}{f' · {why}' if why else ''}")


def chosen(words: Sequence[str], known: Mapping[str, Variant]) -> dict[str, Variant]:
    """Variants from words: a name that is known, or a team with what it has of its own.

    Raises:
        UnknownName: a word that is neither.

    >>> chosen(["mesh model=openai:gpt-5-nano"], {})
    {'mesh model=openai:gpt-5-nano': Variant(target='mesh', model='openai:gpt-5-nano', prompts=None)}
    """
    from troupe.agents.errors import InputError, UnknownName
    from troupe.catalogue import PATTERNS
    from troupe.evaluation.cases import Variant

    found: dict[str, Variant] = {}
    for one in words:
        if one in known:
            found[one] = known[one]
            continue
        try:
            team, *more = shlex.split(one)
        except ValueError:
            raise InputError(f"--variants {one!r} cannot be read: TEAM [model=SPEC] [prompts=DIR].") from None
        if team not in PATTERNS and ":" not in team:
            raise UnknownName("variant", team, {*known, *PATTERNS}, "Your own team is file.py:name.")
        given = dict(part.partition("=")[::2] for part in more)
        if unknown := [key for key, value in given.items() if key not in ("model", "prompts") or not value]:
            raise UnknownName("part of a variant", unknown[0], ("model", "prompts"), "Write model=SPEC, prompts=DIR.")
        found[one.replace("/", "-")] = Variant(team, given.get("model"), given.get("prompts"))
    return found
