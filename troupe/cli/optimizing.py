"""A workflow that could be faster: what would be changed, why, and what that saves."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from troupe.cli import output


def optimize_workflow(name: str, db: str | None, slots: int, write: Path | None, as_json: bool) -> None:
    """What `optimize` finds for a workflow and its recorded runs; nothing is written but `write`."""
    from troupe.agents.errors import SettingsError
    from troupe.graphs.optimize import optimize
    from troupe.graphs.workflow import Workflow
    from troupe.graphs.workflows import TEMPLATES, template
    from troupe.records import history

    if write is not None and write.resolve() == Path(name).resolve():
        raise SettingsError(f"{write} is the workflow itself, whose comments would be lost. Write another file.")
    workflow = template(name) if name in TEMPLATES else Workflow.read(name)
    found = optimize(workflow, history(workflow.name, db=db), slots=slots)
    text = found.workflow.to_yaml()
    if write is not None:
        try:
            write.write_text(text, "utf-8")
        except OSError as error:
            raise SettingsError(f"{write} cannot be written: {error}.") from None
    if as_json:
        output.as_json(
            {
                "workflow": workflow.name,
                "before": found.before,
                "after": found.after,
                "saving": found.saving,
                "changes": [asdict(one) for one in found.changes],
                "bound": [asdict(one) for one in found.bound],
                "recorded": list(found.recorded),
                "steps": found.steps,
                "slots": found.slots,
                "yaml": text,
                "file": write and str(write),
            }
        )
        return
    for change in found.changes:
        output.out(change.line())
    for bound in found.bound:
        output.note(bound.line(), "dim")
    output.out(f"predicted  {found.line()}" if found.changes else f"nothing to change; {found.line()}")
    if write is not None:
        output.note(f"written    {write}")
    elif found.changes:
        output.note(
            "Write it to a file with --write FILE; words are evidence and no proof, so read it before you use it."
        )
