"""What can be had: patterns, roles, pictures of teams, a project to begin with, and how things stand here."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from troupe.cli import output

if TYPE_CHECKING:
    from troupe.catalogue import Entry

_DRAWN = (".svg", ".png", ".mmd", ".json")


def show_all(as_json: bool) -> None:
    """The patterns, workflows and agents that can be named."""
    from troupe.agents.roster import known_roles
    from troupe.catalogue import CATALOGUE

    roles = known_roles().values()
    kinds = {kind: [one for one in CATALOGUE.values() if f"{one.kind}s" == kind] for kind in ("patterns", "workflows")}
    if as_json:
        agents = [{"name": one.name, "title": one.title, "tier": one.tier, "level": one.level} for one in roles]
        offers = {kind: [_offer(one) for one in entries] for kind, entries in kinds.items()}
        output.as_json({**offers, "agents": agents})
        return
    for kind, entries in kinds.items():
        if entries:
            output.table([kind.upper(), ""], [row for one in entries for row in _rows(one)])
            output.out("")
    output.table(["AGENTS", "TIER", ""], [(one.name, one.tier, one.title) for one in roles])
    output.note("\nRun one: troupe run NAME 'TASK'.  See one: troupe show AGENT, troupe draw NAME.")


def _offer(entry: Entry) -> dict[str, Any]:
    uses = [{"name": name, "summary": summary} for name, summary in entry.uses.items()]
    return {"name": entry.name, "summary": entry.summary, "uses": uses}


def _rows(entry: Entry) -> Iterator[tuple[str, str]]:
    yield entry.name, entry.summary
    yield from (("", f"- {name}: {summary}") for name, summary in entry.uses.items())


def show_role(name: str, as_json: bool) -> None:
    """A role and its prompt."""
    from troupe.agents.roster import find_role
    from troupe.agents.settings import Settings

    role = find_role(name)
    prompt = role.text(Settings.current().prompts)
    if as_json:
        output.as_json({**role.model_dump(mode="json"), "prompt": prompt})
        return
    facts = {
        "name": role.name,
        "title": role.title,
        "tier": role.tier,
        "level": role.level,
        "model": role.model or "",
        "skills": ", ".join(role.skills),
        "tools": ", ".join(role.tools),
        "backups": ", ".join(role.backups),
    }
    for label, text in facts.items():
        if text:
            output.out(f"{label:<9}{text}")
    output.out(f"\n{prompt}")


def show_workflow(name: str, as_json: bool) -> None:
    """A workflow that comes with Troupe, as YAML to begin from."""
    from troupe.graphs.workflows import source, template

    output.as_json(template(name).model_dump(mode="json", exclude_defaults=True)) if as_json else output.out(
        source(name)
    )


def explain_task(task: str, as_json: bool, **options: Any) -> None:
    """What an adaptive team would choose for a task, and why."""
    from troupe.cli.running import reserved

    with reserved():
        from troupe.explaining import explain

        explanation = explain(task, **options)
    output.as_json(explanation.to_json()) if as_json else output.out(str(explanation))


def draw_team(workflow: str, file: Path | None, fold: list[str], as_json: bool) -> None:
    """A team's graph as a file of the kind that its name says, or as Mermaid on standard output."""
    from troupe.agents.errors import SettingsError
    from troupe.cli.running import reserved

    if file is not None and file.suffix not in _DRAWN:
        raise SettingsError(f"{file} is none of {', '.join(_DRAWN)}, which say what is drawn.")
    with reserved():
        from troupe.catalogue import resolve
        from troupe.graphs.drawing import Drawing, folded, mermaid, png, svg, to_json

        target = resolve(workflow)
        drawing = Drawing.of(target.team.get_graph(xray=True))
        if fold:
            drawing = folded(drawing, "all" if "all" in fold else fold)
        kind = ".mmd" if file is None else file.suffix
        if kind == ".png":
            made = png(drawing, title=target.name)
        elif kind == ".json":
            made = json.dumps(to_json(drawing), ensure_ascii=False, indent=1).encode()
        else:
            text = svg(drawing, title=target.name) if kind == ".svg" else mermaid(drawing)
            made = f"{text.rstrip()}\n".encode()
    if file is not None:
        try:
            file.write_bytes(made)
        except OSError as error:
            raise SettingsError(f"{file} cannot be written: {error}.") from None
    if as_json:
        output.as_json({"workflow": target.name, "file": file and str(file), **to_json(drawing)})
    elif file is None:
        output.out(made.decode().rstrip("\n"))
    else:
        output.note(f"drawn      {file}")


def begin(folder: Path, as_json: bool) -> None:
    """A new project in a folder."""
    from troupe.scaffold import COMMANDS, scaffold

    files = scaffold(folder)
    if as_json:
        output.as_json({"folder": str(folder), "files": files, "next": list(COMMANDS)})
        return
    for one in files:
        output.out(str(folder / one))
    output.note(f"\nNext:\n  cd {folder}\n" + "\n".join(f"  {one}" for one in COMMANDS))


def examine(db: str | None, as_json: bool) -> None:
    """How things stand here; exit code 1 if something would keep a run from working."""
    from troupe.doctor import examination

    found = examination(db)
    if as_json:
        output.as_json({"ok": all(one.ok is not False for one in found), "checks": [one.to_json() for one in found]})
    else:
        signs: dict[Any, str] = {True: "ok", False: "NO", None: "--"}
        for one in found:
            first, *rest = one.said.splitlines() or [""]
            output.out(f"{signs[one.ok]:<4}{one.name:<14}{first}")
            for more in rest:
                output.out(f"{'':<18}{more}")
    if any(one.ok is False for one in found):
        sys.exit(1)
