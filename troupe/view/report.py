"""A run as one HTML file that needs nothing else: what happened, what it cost, what was judged, and what came of it.

Everything that a model or a user wrote is escaped, or is Markdown without tags (`markdown.py`). The one script of the
page moves the replay; its hash is in the page's own content security policy, so that no other could run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from functools import cache
from html import escape
from importlib.resources import files

from troupe.agents.contracts import Kept
from troupe.graphs.drawing import Drawing, folded, svg
from troupe.graphs.drawing.states import MARKS
from troupe.graphs.team import Team, TeamGraph
from troupe.view.gantt import gantt
from troupe.view.markdown import MOST, html
from troupe.view.picture import drawn, flow, path_of
from troupe.view.replay import replayed
from troupe.view.runview import RunView, StepView
from troupe.view.tags import SHORT, badge, clock, inline, prose, section, table, verdict
from troupe.view.words import counted, duration, money

WHOLE = 1_500_000
"""Characters of all deliverables that are shown together; of the rest only the beginning is."""
_DECIDED = {
    "pass": "passed", "rework": "sent back", "rollback": "rolled back", "ask": "asked a person",
    "partial": "kept as partial", "fail": "failed", "again": "to be done again", "adapt": "in another way",
}  # fmt: skip


def page(view: RunView, team: Team | TeamGraph | Drawing | None = None) -> str:
    """The report of a run as it stands.

    Args:
        view: the run.
        team: what ran, where the view does not know it.
    """
    drawing, built = pictures(view, team)
    title = inline(f"{view.workflow} · {view.run}") or "A run"
    script, style = _text("replay.js"), _text("report.css")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; base-uri 'none'"
    replay = moments(view, drawing, built)
    body = "".join([_header(view), happened(view, drawing, built, bool(replay)), *sections(view).values()])
    moves = f"<script>{script}</script>" if replay else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{style}</style></head>\n<body><main>{body}</main>{replay}{moves}</body></html>\n"
    )


def pictures(view: RunView, team: Team | TeamGraph | Drawing | None = None) -> tuple[Drawing, Drawing]:
    """What is drawn of a run: its graph, and what was built on what, where there is more than the graph shows."""
    drawing = drawn(view, team)
    if len(drawing.cards) > 60 and drawing.frames:
        drawing = folded(drawing, "all")
    return drawing, flow(view) if _has_more(view, drawing) else Drawing(())


def moments(view: RunView, *drawings: Drawing) -> str:
    """What the replay's script reads; empty where nothing has happened."""
    frames = replayed(view, *drawings)
    if not frames:
        return ""
    span = max((view.ended or view.last) - (view.started or 0.0), 0.001)
    data = json.dumps({"span": span, "marks": MARKS, "frames": [one.to_json() for one in frames]}, ensure_ascii=True)
    safe = data.replace("<", "\\u003c")
    return f'<script type="application/json" id="replay-data">{safe}</script>'


def sections(view: RunView, opened: bool = True) -> dict[str, str]:
    """What is told of a run below its picture, by name and in order; a part of which there is nothing is empty.

    Args:
        view: the run.
        opened: whether the last usable deliverable is open.
    """
    return {
        "cost": _costs(view),
        "gates": _gates(view),
        "conflicts": _conflicts(view),
        "escalations": _escalations(view),
        "people": _people(view),
        "faults": _faults(view),
        "record": _record(view),
        "deliverables": _deliverables(view, opened),
    }


def _has_more(view: RunView, drawing: Drawing) -> bool:
    """Whether steps were made on the way, which the graph shows on one card."""
    ids = {path_of(card.id) for card in (*drawing.cards, *drawing.frames)}
    return any(not step.outer and step.path not in ids for step in view.steps.values())


@cache
def _text(name: str) -> str:
    return files("troupe.view").joinpath("page", name).read_text("utf-8").strip()


# --- the parts of the page ------------------------------------------------------------------------------------------


def facts(view: RunView) -> str:
    """A run in figures."""
    used = view.used()
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(view.started)) if view.started else "not yet"
    done, whole = view.progress
    given = {
        "Run": inline(view.run) + (f", turn {view.turn}" if view.turn > 1 else ""),
        "Began": clock,
        "Took": duration(view.seconds()),
        "Steps": f"{done} of {whole} delivered",
        "Requests": f"{used['requests']:,}" + (f" and {used['cached']:,} from the cache" if used["cached"] else ""),
        "Tokens": f"{used['input_tokens']:,} in, {used['output_tokens']:,} out" + (" (estimated)" * view.estimated),
        "Cost": "simulated" if view.simulated else money(used["usd"]),
    }
    inner = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in given.items())
    return f'<dl class="facts">{inner}</dl>'


def _header(view: RunView) -> str:
    notes = []
    if view.status == "running":
        at = clock(view.last) if view.last else "the beginning"
        notes.append(
            f"This run is in progress. The report shows how it stood at {at}; make it again when it has ended."
        )
    if view.status == "waiting":
        notes.append("This run waits for a person; see Questions and answers.")
    if view.status == "stopped":
        notes.append(f"This run was stopped, and can be gone on with: troupe resume {inline(view.run)}")
    if view.simulated:
        notes.append("Simulated: no model was called, and the words mean nothing. Graph, gates and times are real.")
    if view.reason is not None and view.reason.message:
        notes.append(prose(view.reason.message, 600))
    return (
        f"<header>{badge(view.status)}<h1>{inline(view.workflow) or 'A run'}</h1>"
        f'<p class="task">{prose(view.task)}</p>'
        f"{''.join(f'<p class=note>{one}</p>' for one in notes)}{facts(view)}</header>"
    )


def happened(view: RunView, drawing: Drawing, built: Drawing, moves: bool) -> str:
    """The run on its graph and along its time; `moves` where there is a replay of it."""
    replay = (
        '<div class="replay" id="replay" hidden><button type="button">Play</button>'
        '<input type="range" min="0" value="0" step="1" aria-label="Moment of the run"><output></output></div>'
        if moves
        else ""
    )
    picture = _picture(drawing, "The run on its graph") if drawing.cards else ""
    if built.cards:
        picture += f"<h3>What was built on what</h3>{_picture(built, 'Steps as they were made, and what they had')}"
    timeline = gantt(view) if view.steps or view.requests else ""
    told = "".join(
        f"<li><small>{clock(at)}</small> {inline(f'{path}: {text}' if path else text)}</li>"
        for at, path, text in view.notices[:200]
    )
    notices = f"<h3>Notices</h3><ul class=plain>{told}</ul>" if told else ""
    if not (picture or timeline):
        return ""
    return section("What happened", replay + picture + "<h3>Timeline</h3>" + timeline + notices)


def _picture(drawing: Drawing, title: str) -> str:
    return f'<div class="picture" tabindex="0">{svg(drawing, title=title)}</div>'


def _costs(view: RunView) -> str:
    if not view.requests:
        return ""
    whole = view.used()
    paid = (whole["usd"] or 0) > 0
    tables = []
    for what, title in (("agent", "By agent"), ("tier", "By tier"), ("path", "By step"), ("model", "By model")):
        found = view.by(what)  # type: ignore[arg-type]
        rows = []
        for name, used in list(found.items())[:40]:
            share = (used["usd"] or 0) / whole["usd"] if paid else used["tokens"] / max(whole["tokens"], 1)
            bar = f'<i class="share" style="width:{100 * share:.1f}%"></i>'
            cells = [inline(name) + bar, f"{used['requests']:,}", f"{used['tokens']:,}", duration(used["seconds"])]
            rows.append([*cells, *([money(used["usd"])] if not view.simulated else [])])
        header = [
            title.removeprefix("By ").capitalize(),
            "Requests",
            "Tokens",
            "Time",
            *(["USD"] * (not view.simulated)),
        ]
        tables.append(f"<div><h3>{title}</h3>{table(header, rows, (1, 2, 3, 4), wide=False)}</div>")
    return section("Cost" if not view.simulated else "Use", f'<div class="grid">{"".join(tables)}</div>')


def _gates(view: RunView) -> str:
    rows = []
    for step in view.steps.values():
        for one in step.verdicts:
            state = "accepted" if one.passed else {"partial": "partial", "fail": "failed"}.get(one.decision, "reworked")
            said = [one.feedback, *(f"• {finding}" for finding in one.findings if finding != one.feedback)]
            blame = f"• to blame: {one.blame}" if one.blame else ""
            score = "" if one.score is None else f"{one.score:.2f}"
            what = prose("\n".join(filter(None, [*said, blame])))
            rows.append(
                [inline(step.path), str(one.round), inline(one.by), verdict(state, _DECIDED[one.decision]), score, what]
            )
    return section("Gates", table(["Step", "Round", "By", "Decision", "Score", "Findings"], rows))


def _conflicts(view: RunView) -> str:
    rows = []
    for one in view.record.get("conflicts", {}).values():
        sides = "".join(f"<li><b>{inline(step)}</b>: {prose(said, 600)}</li>" for step, said in one.sides.items())
        holds = (
            f"What {inline(one.winner)} says holds." if one.winner else prose(one.ruling, 600) or "It is not settled."
        )
        stands = "" if one.stands else "<br><small>No longer said by the last versions.</small>"
        ruled = (
            f"{holds}<br><small>by {inline(one.by) or 'nobody'}{f': {prose(one.why, 600)}' if one.why else ''}</small>"
        )
        rows.append([inline(one.about), f'<ul class="plain">{sides}</ul>', ruled + stands])
    return section("Conflicts and rulings", table(["About", "Sides", "Ruling"], rows))


def _escalations(view: RunView) -> str:
    rows = []
    for one in view.record.get("escalations", {}).values():
        way = " → ".join(map(inline, one.asked)) or "nobody yet"
        answer = f"<b>{inline(one.answered_by)}</b>: {prose(one.guidance, 600)}" if one.answered_by else "not answered"
        why = f"<br><small>{prose(one.why, 600)}</small>" if one.why else ""
        rows.append([inline(one.id), prose(one.question, 600), way, answer + why])
    return section("Escalations", table(["", "Question", "Asked", "Answer"], rows))


def _people(view: RunView) -> str:
    rows = []
    for one in view.words.values():
        if one.answered is None:
            answer = f"{verdict('waiting', 'open')}"
        else:
            took = duration(max(0.0, one.answered - one.asked))
            text = f": {prose(one.text, 600)}" if one.text else ""
            answer = f"<b>{inline(one.answer)}</b>{text}<br><small>by {inline(one.by)}, after {took}</small>"
        rows.append([inline(one.step), prose(one.question, 1200), answer])
    return section("Questions and answers", table(["Step", "Question", "Answer"], rows))


def _faults(view: RunView) -> str:
    rows = []
    for one in sorted(view.faults, key=lambda fault: fault.at)[:300]:
        start = duration(max(0.0, one.at - (view.started or one.at)))
        end = verdict("accepted", f"recovered by {one.by}") if one.by else verdict("failed", "not recovered")
        then = f"{inline(one.then)}<br>" if one.then else ""
        what = f"<b>{inline(one.failure)}</b>: {prose(one.cause, 600)}"
        who = f"{inline(one.agent)}<br><small>{inline(one.purpose)}, attempt {one.number}</small>"
        rows.append([start, inline(one.step), who, what, then + end])
    return section("Errors and recovery", table(["After", "Step", "Who", "What failed", "Then"], rows))


def _record(view: RunView) -> str:
    parts = []
    for name, kept in view.record.items():
        if name in ("conflicts", "escalations", "answers"):
            continue
        lines = [one.line() for one in kept.values() if isinstance(one, Kept)]
        if lines:
            items = "".join(f"<li>{prose(one, 500)}</li>" for one in lines[:200])
            more = f"<li>… and {len(lines) - 200:,} more</li>" if len(lines) > 200 else ""
            title = f"{escape(name.replace('_', ' ').capitalize())} <small>{len(lines):,}</small>"
            parts.append(
                f'<details><summary>{title}</summary><div><ul class="plain">{items}{more}</ul></div></details>'
            )
    return section("On record", "".join(parts))


def _deliverables(view: RunView, opened: bool) -> str:
    steps = [step for step in view.steps.values() if step.content or step.reason]
    usable = [step.path for step in steps if step.state in ("accepted", "partial") and not step.outer]
    left, parts = WHOLE, []
    for step in steps:
        most = MOST if left > 0 else SHORT
        left -= min(len(step.content), most)
        parts.append(_deliverable(step, view, most, opened and bool(usable) and step.path == usable[-1]))
    return section("Deliverables", "".join(parts))


def _deliverable(step: StepView, view: RunView, most: int, opened: bool) -> str:
    facts = [inline(step.agent)] if step.agent != step.name else []
    facts += [f"round {step.round}"] if step.round > 1 else []
    facts += [f"score {step.score:.2f}"] if step.score is not None else []
    facts += [f"built on {', '.join(map(inline, step.sources))}"] if step.sources else []
    facts += [counted(len(step.artifacts), "file")] if step.artifacts else []
    why = f'<p class="note">{prose(step.reason)}</p>' if step.reason else ""
    title = f"{inline(step.path)} {verdict(step.state)}<small>{' · '.join(facts)}</small>"
    content = html(step.content, most) if step.content else ""
    key = f'data-key="{inline(step.path)}"'
    return f"<details {key}{' open' if opened else ''}><summary>{title}</summary><div>{why}{content}</div></details>"
