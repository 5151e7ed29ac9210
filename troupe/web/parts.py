"""What is shown of a run and of the list of runs, as parts of a page: HTML from one `RunView` each.

Everything that a model or a user wrote goes through `troupe.view.tags` or `troupe.view.markdown`: it is text, or
Markdown without tags.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from troupe.graphs.asking import ANSWERS
from troupe.graphs.drawing import Card, Drawing
from troupe.view.markdown import html
from troupe.view.report import facts, happened, pictures, sections
from troupe.view.runview import Word
from troupe.view.tags import SIGNS, badge, clock, inline, prose, section, verdict
from troupe.view.words import counted, duration, money

if TYPE_CHECKING:
    from troupe.store.turns import Turn
    from troupe.web.runs import Runs, Watched

_CHOICES = {
    "approve": ("Approve", "accept the work as it is"),
    "edit": ("Edit", "accept your own text in its place"),
    "respond": ("Respond", "say what to change, and have it done again"),
    "reject": ("Reject", "refuse the work, and say why"),
}
_LOG = 60
_EDITED = 200_000
"""Characters of a work that can be edited in the page: the form sends it along with every answer."""
_BLANK = "\u00a0"


def of_run(watched: Watched) -> Mapping[str, str]:
    """The parts of a run's page, in their order."""
    view = watched.view
    drawing, built = map(_steady, pictures(view))
    return {
        "head": _head(watched),
        "say": _say(watched),
        "questions": _questions(watched),
        "answer": _answer(watched),
        "happened": happened(view, drawing, built, False),
        **sections(view, opened=False),
        "log": _log(watched),
    }


def _steady(drawing: Drawing) -> Drawing:
    """The drawing with room for what steps and gates will tell once it is known: then nothing moves."""
    return replace(drawing, cards=tuple(map(_roomy, drawing.cards)))


def _roomy(card: Card) -> Card:
    if card.kind == "step" and card.state and not card.facts:
        return replace(card, facts=_BLANK)
    if card.kind == "gate" and not card.state and card.id.endswith((".gate", ".align")):
        return replace(card, state="pending")
    return card


def address(run: str) -> str:
    """Where a run's page is."""
    return f"/runs/{quote(run, safe='')}"


def _head(watched: Watched) -> str:
    view, problem = watched.view, watched.problem
    notes = []
    if problem:
        notes.append(f'<p class="note bad" role="alert">{prose(problem)}</p>')
    elif watched.queued:
        notes.append('<p class="note">It waits for its turn: other runs are under way.</p>')
    if view.status == "running" and watched.holder is not None:
        notes.append(
            f'<p class="note">Another process works on it: {inline(watched.holder)}. It is shown as it goes.</p>'
        )
    if view.status == "stopped" and not watched.here:
        notes.append(
            '<p class="note">It was stopped, and can be gone on with: nothing that was recorded is paid again.</p>'
        )
    elif view.reason is not None and view.reason.message:
        notes.append(f'<p class="note">{prose(view.reason.message)}</p>')
    if view.simulated and watched.begun:
        notes.append(
            '<p class="note">Simulated: no model is called, and the words mean nothing. '
            "Graph, gates and times are real.</p>"
        )
    since = f' <span class="clock" data-since="{view.started:.3f}"></span>' if watched.here and view.started else ""
    return (
        f"<header>{badge(watched.status)}{since}<h1>{inline(view.workflow) or 'A run'}</h1>"
        f'<p class="task">{prose(view.task)}</p>{"".join(notes)}{_actions(watched)}{facts(view)}</header>'
    )


def _actions(watched: Watched) -> str:
    view, base, made = watched.view, address(watched.id), ""
    if watched.here:
        made += f'<form method="post" action="{base}/stop"><button>Stop</button></form>'
    elif view.status == "stopped" and watched.begun:
        made += f'<form method="post" action="{base}/resume"><button class="first">Go on</button></form>'
    if watched.begun:
        made += f'<a href="{base}/replay">Replay</a><a href="{base}/report.html" download>Report</a>'
    return f'<nav class="actions" aria-label="This run">{made}</nav>' if made else ""


def _say(watched: Watched) -> str:
    """How far it is, in one line: what is read out when it changes."""
    view = watched.view
    done, whole = view.progress
    now = ", ".join(step.name for step in view.under_way[:4])
    said = [f"{SIGNS.get(watched.status, '')} {watched.status}"]
    said += [f"{done} of {counted(whole, 'step')} delivered"] if whole else []
    said += [f"now: {inline(now)}"] if now and view.status == "running" else []
    return " · ".join(said)


def _answer(watched: Watched) -> str:
    view = watched.view
    if not view.answer or view.status not in ("completed", "partial"):
        return ""
    return section("Answer", f'<div class="answer">{html(view.answer)}</div>')


def _log(watched: Watched) -> str:
    view = watched.view
    told = [one for one in view.history if one.text]
    shown = told[max(0, (len(told) // _LOG - 1) * _LOG) :]  # so that most changes only add a line
    lines = "".join(
        f"<li><small>{clock(one.at)}</small> {inline(f'{one.path}: {one.text}' if one.path else one.text)}</li>"
        for one in reversed(shown)
    )
    more = f"<p class=quiet>… and {len(told) - len(shown):,} before these.</p>" if len(told) > len(shown) else ""
    return section("Log", f'<ol class="log" tabindex="0" reversed>{lines}</ol>{more}') if lines else ""


# --- questions ------------------------------------------------------------------------------------------------------


def _questions(watched: Watched) -> str:
    if watched.view.status != "waiting":
        return ""
    return "".join(_question(one, watched) for one in watched.view.words.values() if one.answered is None)


def _question(word: Word, watched: Watched) -> str:
    id = inline(word.id)
    short = len(word.content) <= _EDITED
    ours = [one for one in ANSWERS if one in word.options and (short or one != "edit")]
    until = work = ""
    if word.expires is not None:
        ends = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(word.expires))
        until = f"<p class=quiet>It can be answered until {ends}.</p>"
    if word.content:
        work = f'<div class="quoted" tabindex="0" aria-label="The work in question">{html(word.content)}</div>'
    if not short:
        work += "<p class=quiet>It is too long to be edited here: troupe approve RUN --edit FILE does it.</p>"
    choices = "".join(
        f'<label class="choice"><input type="radio" name="type" value="{one}" required> '
        f"<span>{_CHOICES[one][0]}<small>{_CHOICES[one][1]}</small></span></label>"
        for one in ours
    )
    fields = f'<fieldset class="choices"><legend>Your decision</legend>{choices}</fieldset>' if ours else ""
    label = "What to change, or why" if ours else "Your answer"
    fields += f'<label class="message">{label}<textarea name="message" rows="3"></textarea></label>'
    if "edit" in ours:
        text = f'<textarea name="edited" rows="12">\n{escape(word.content)}</textarea>'
        fields += f'<label class="edited">Your text{text}</label>'
    return (
        f'<section class="ask" id="ask-{id}"><h2>{SIGNS["waiting"]} {inline(word.step) or "The run"} asks</h2>'
        f"<p>{prose(word.question)}</p>{until}{work}"
        f'<form method="post" action="{address(watched.id)}/answers">'
        f'<input type="hidden" name="id" value="{id}">{fields}'
        '<label>Your name<input name="by" maxlength="100" autocomplete="name"></label>'
        '<button class="first">Send the answer</button></form></section>'
    )


# --- the list -------------------------------------------------------------------------------------------------------


def of_list(runs: Runs) -> Mapping[str, str]:
    """The parts of the page that lists the runs."""
    listed = runs.listed()
    live = sum(known is not None and not known.queued for known, _, _ in listed)
    queued = sum(known is not None and known.queued for known, _, _ in listed)
    waiting = sum(status == "waiting" for _, _, status in listed)
    said = [f"{counted(live, 'run')} under way here"] if live else []
    said += [f"{queued:,} in the queue"] if queued else []
    said += [f"{counted(waiting, 'run')} waiting for a person"] if waiting else []
    outage = f'<p class="note bad" role="alert">{prose(runs.outage)}</p>' if runs.outage else ""
    rows = "".join(_row(*one) for one in listed)
    heads = "".join(f"<th scope=col{kind}>{name}</th>" for name, kind in _HEADS.items())
    table = f'<table class="wide runs"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    empty = "<p class=quiet>There are no runs yet. Start the first one here.</p>"
    return {"say": " · ".join(said) or counted(len(listed), "run"), "runs": outage + (table if rows else empty)}


_HEADS = {
    "Status": "",
    "Task": "",
    "Workflow": "",
    "Began": "",
    "Took": " class=n",
    "Cost": " class=n",
}


def _row(known: Watched | None, turn: Turn | None, status: str) -> str:
    ended: float | None
    if known is not None:
        view = known.view
        run, workflow, task, simulated, usd = view.run, view.workflow, view.task, view.simulated, view.usd
        started, ended = view.started, view.last
        done, whole = view.progress
        steps = f"{done} of {whole}" if whole else ""
        simulated = simulated and known.begun
    else:
        assert turn is not None  # noqa: S101 - one of both is there
        run, workflow, task, simulated, usd = turn.thread, turn.workflow, turn.task, turn.simulated, turn.usage.usd
        started, ended, steps = turn.started, turn.finished, ""
    cost = "simulated" if simulated else money(usd)
    short = " ".join(task.split())
    short = f"{short[:159]}…" if len(short) > 160 else short
    cells = {
        "Status": verdict(status) + (f'<small class="id">{steps}</small>' if steps else ""),
        "Task": f'<a href="{address(run)}">{inline(short) or "no words"}</a><small class="id">{inline(run)}</small>',
        "Workflow": inline(workflow),
        "Began": time.strftime("%b %d, %H:%M:%S", time.localtime(started)) if started else "",
        "Took": duration(max(0.0, ended - started)) if ended and started else "",
        "Cost": cost if started else "",
    }
    inner = "".join(
        f'<td{_HEADS[name]} data-label="{name}">{f"<div>{cell}</div>" if cell else ""}</td>'
        for name, cell in cells.items()
    )
    return f'<tr data-key="{inline(run)}">{inner}</tr>'
