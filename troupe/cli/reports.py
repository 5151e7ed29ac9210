"""A run as one file that people can open, send and keep."""

from __future__ import annotations

from pathlib import Path

from troupe.cli import output


def write(run: str, file: Path, turn: int | None, target: str | None, db: str | None, as_json: bool) -> None:
    """Write the report of a run."""
    from troupe.agents.errors import SettingsError
    from troupe.cli.books import must_exist, read

    if file.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"{file} is no .html file, and a report is nothing else.")
    must_exist(db, run)
    from troupe.looking import areport, aview

    view = read(aview(run, db=db, target=target, turn=turn))
    read(areport(view, file))
    if as_json:
        output.as_json({"run": view.run, "turn": view.turn, "status": view.status, "file": str(file)})
        return
    if view.drawing is None:
        output.note("What ran cannot be imported here, so the picture shows what was built on what.")
    output.note(f"written    {file}")
