"""What commands can be told, written once: as types of parameters, and as `Wishes`, which many commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

RunId = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's id, as `troupe runs` lists it.", show_default=False)
]
Question = Annotated[
    str | None, typer.Argument(metavar="ID", help="The question, if there are several.", show_default=False)
]
Model = Annotated[
    str | None, typer.Option(metavar="SPEC", help="As provider:name, for every tier; e.g. openai:gpt-5-mini.")
]
Budget = Annotated[float | None, typer.Option(metavar="USD", min=0, help="The most that this turn may cost.")]
Deadline = Annotated[float | None, typer.Option(metavar="SECONDS", help="The longest that this turn may take.")]
Quality = Annotated[str | None, typer.Option(metavar="standard|high|critical", help="What a mistake costs.")]
Timeline = Annotated[str | None, typer.Option(metavar="urgent|normal|flexible", help="How soon it is wanted.")]
UseCache = Annotated[
    bool | None,
    typer.Option(
        "--cache/--no-cache", help="Whether replies of models are kept, and not asked for again.", show_default=False
    ),
]
Named = Annotated[
    str | None,
    typer.Option("--target", metavar="WORKFLOW", help="What ran, where what the run recorded is not to be imported."),
]
Db = Annotated[str | None, typer.Option(metavar="FILE|URL", help="The database of runs: a file, or postgresql://...")]
Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write each step's STEP.md and result.json there.", file_okay=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Plain = Annotated[bool, typer.Option("--plain", help="One line per event, also in a terminal.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Where another process works on the run, say who, and end at once.")
]
Accept = Annotated[
    bool, typer.Option("--accept-changes", help="Go on although the graph is another one than the run began with.")
]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who answers; kept with the answer.")]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What commands that work on a run can be told."""

    model: Model = None
    budget: Budget = None
    deadline: Deadline = None
    db: Db = None
    out: Out = None
    json: Json = False
    plain: Plain = False
    cache: UseCache = None
    target: Named = None
    no_wait: NoWait = False
    accept_changes: Accept = False
    by: By = None

    @property
    def options(self) -> dict[str, Any]:
        """Those that the doors take."""
        limits = {"budget": self.budget, "deadline": self.deadline}
        named = {"target": self.target} if self.target is not None else {}
        return {"model": self.model, **limits, "db": self.db, "wait": not self.no_wait, "cache": self.cache, **named}


def wishing(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command that has an option for each of its `wishes`, except those in `without`."""

    def made(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(Wishes, include_extras=True)
        shared = {one.name: one.default for one in fields(Wishes) if one.name not in without}
        own = [one for one in inspect.signature(command, eval_str=True).parameters.values() if one.name != "wishes"]
        keyword = inspect.Parameter.KEYWORD_ONLY
        more = [
            inspect.Parameter(name, keyword, default=plain, annotation=hints[name]) for name, plain in shared.items()
        ]

        @wraps(command)
        def called(**given: Any) -> None:
            command(wishes=Wishes(**{name: given.pop(name) for name in shared}), **given)

        # What typer reads of a function.
        parameters = [*(one.replace(kind=keyword) for one in own), *more]
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return made
