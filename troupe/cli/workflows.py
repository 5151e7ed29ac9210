"""Workflows as files: whether one can work, who works when in it, and what may stand in one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from troupe.cli import output
from troupe.view.words import counted

if TYPE_CHECKING:
    from troupe.agents.errors import TroupeError
    from troupe.graphs.team import TeamGraph


def validate(file: Path, as_json: bool) -> None:
    """Say what is wrong with a workflow, or who works when in it; nothing is run. Exit code 2 if something is wrong."""
    from troupe.agents.errors import TroupeError
    from troupe.graphs.workflow import Workflow

    try:
        team = Workflow.read(file).build()
    except TroupeError as error:
        if not as_json:
            raise
        output.as_json({"ok": False, "file": str(file), "complaints": _complaints(error)})
        sys.exit(2)
    steps = _steps(team)
    first = [one["name"] for one in steps if not one["needs"]]
    if as_json:
        output.as_json({"ok": True, "file": str(file), "name": team.name, "at_once": first, "steps": steps})
        return
    rows = [(one["name"], one["agent"], ", ".join(one["needs"]) or "at once", one["gate"] or "") for one in steps]
    output.table(["STEP", "WHO", "WAITS FOR", "GATE"], rows)
    output.note(f"\n{file}: a workflow of {counted(len(steps), 'step')}; at once: {', '.join(first)}.\n")
    output.note(f"Run it: troupe run {file} 'TASK'.  See it: troupe draw {file} -o {file.stem}.svg.")


def write_schema(file: Path | None) -> None:
    """The JSON Schema of workflows, on standard output or into a file."""
    from troupe.agents.errors import SettingsError
    from troupe.graphs.workflow import schema

    if file is None:
        output.as_json(schema())
        return
    try:
        file.write_text(f"{json.dumps(schema(), indent=2)}\n", "utf-8")
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error}.") from None
    output.note(f"written    {file}")


def _steps(team: TeamGraph) -> list[dict[str, Any]]:
    """Who works when, in an order in which it could be done one by one."""
    from troupe.graphs.flowing.order import ordered
    from troupe.graphs.gates import Gate

    needs = {one.name: list(one.needs) for one in team.steps}
    return [
        {
            "name": one.name,
            "agent": one.agent.name,
            "needs": needs[one.name],
            "gate": one.gate.checks.for_author(one.agent).words if isinstance(one.gate, Gate) else None,
            "optional": one.optional,
        }
        for one in map(team.step, ordered(needs))
    ]


def _complaints(error: TroupeError) -> list[dict[str, Any]]:
    from troupe.graphs.flowing.reading import Misplaced

    if isinstance(error, Misplaced):
        return [{"line": one.line, "message": one.text} for one in error.complaints]
    return [{"line": None, "message": str(error)}]
