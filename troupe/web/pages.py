"""The page's pages: one template, filled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from troupe.view.tags import badge, inline, prose

if TYPE_CHECKING:
    from troupe.view.runview import RunView
    from troupe.web.offers import Offer
    from troupe.web.runs import Runs, Watched

ASSETS = {
    "report.css": ("troupe.view", "page", "text/css"),
    "replay.js": ("troupe.view", "page", "text/javascript"),
    "page.css": ("troupe.web", "static", "text/css"),
    "page.js": ("troupe.web", "static", "text/javascript"),
    "icon.svg": ("troupe.web", "static", "image/svg+xml"),
}
"""What pages load besides, all of it from here: where it lies, and its type."""


@cache
def asset(name: str) -> bytes:
    """One of `ASSETS`."""
    package, folder, _ = ASSETS[name]
    return files(package).joinpath(folder, name).read_bytes()


@cache
def _at(name: str) -> str:
    """Its address, which is another one when it has changed."""
    return f"/static/{name}?v={hashlib.sha256(asset(name)).hexdigest()[:12]}"


@cache
def _template() -> Template:
    return Template(files("troupe.web").joinpath("static", "page.html").read_text("utf-8"))


def _page(title: str, body: str, *scripts: str, more: str = "", head: str = "") -> str:
    return _template().substitute(
        title=inline(title),
        icon=_at("icon.svg"),
        styles="".join(f'<link rel="stylesheet" href="{_at(name)}">' for name in ("report.css", "page.css")),
        scripts="".join(f'<script src="{_at(name)}" defer></script>' for name in scripts),
        head=head,
        body=body,
        more=more,
    )


def told(title: str, why: str, leads_to: str = "", back: str = "") -> str:
    """A page that says one thing; it leads on by itself, or shows a way back."""
    on = f'<meta http-equiv="refresh" content="0;url={escape(leads_to)}">' if leads_to else ""
    link = f'<p><a href="{escape(leads_to or back or "/")}">{"Go on" if leads_to else "Back"}</a></p>'
    return _page(title, f"<h1>{inline(title)}</h1><p>{prose(why)}</p>{link}", head=on)


def index(runs: Runs, offers: Mapping[str, Offer], given: Mapping[str, str], problem: str = "") -> str:
    """The list of runs, and the form that starts one; `given` is what stands in it."""
    parts = runs.feed.current().parts
    chosen = given.get("workflow") or "sequential"
    options = "".join(
        f'<option value="{escape(one.name)}"{" selected" if one.name == chosen else ""}>'
        f"{inline(one.name)}: {inline(one.summary)}</option>"
        for one in offers.values()
    )
    wrong = f'<p class="note bad" role="alert">{prose(problem)}</p>' if problem else ""
    more = " open" if any(given.get(name) for name in ("model", "budget", "deadline")) else ""

    def value(name: str) -> str:
        return f'value="{escape(given.get(name, ""))}"'

    form = (
        f'<form method="post" action="/runs" class="start">{wrong}'
        f'<label>Task<textarea name="task" rows="3" required>\n{escape(given.get("task", ""))}</textarea></label>'
        f'<label>Workflow<select name="workflow">{options}</select></label>'
        f"<details{more}><summary>Model and limits</summary><div class=limits>"
        f'<label>Model<input name="model" {value("model")} placeholder="as in the settings" spellcheck="false" '
        'autocapitalize="none"></label>'
        f'<label>Budget in USD<input name="budget" {value("budget")} inputmode="decimal" placeholder="none"></label>'
        f'<label>Seconds at most<input name="deadline" {value("deadline")} inputmode="decimal" '
        'placeholder="no end"></label>'
        '</div></details><button class="first">Start</button></form>'
    )
    body = (
        f'<h1>Runs</h1><p id="part-say" class="say" role="status" aria-live="polite">{"".join(parts["say"])}</p>'
        f'<div class="columns"><section aria-labelledby="new"><h2 id="new">A new run</h2>{form}</section>'
        f'<section aria-labelledby="all"><h2 id="all">All runs</h2>'
        f'<div id="part-runs" class="scroll">{"".join(parts["runs"])}</div></section></div>'
    )
    return _page("Runs", body, "page.js", more=' data-events="/events"')


def run(watched: Watched, address: str) -> str:
    """A run, as it stands and as it goes on."""
    shown = {name: "".join(pieces) for name, pieces in watched.feed.current().parts.items()}
    say = f'<p id="part-say" class="say" role="status" aria-live="polite">{shown.pop("say")}</p>'
    head = f'<div id="part-head">{shown.pop("head")}</div>'
    rest = "".join(f'<div id="part-{name}">{html}</div>' for name, html in shown.items())
    title = f"{watched.view.workflow} · {watched.id}"
    return _page(title, f"{head}{say}{rest}", "page.js", more=f' data-events="{address}/events"')


def replay(view: RunView, address: str, shown: str, moments: str) -> str:
    """What happened in a run, moment by moment."""
    nothing = "" if moments else '<p class="note">Nothing has happened yet.</p>'
    head = (
        f"<header>{badge(view.status)}<h1>{inline(view.workflow)}, replayed</h1>"
        f'<p class="task">{prose(view.task, 300)}</p>'
        f'<nav class="actions" aria-label="This run"><a href="{address}">Back to the run</a></nav>{nothing}</header>'
    )
    scripts = ("replay.js",) if moments else ()
    return _page(f"{view.workflow} · {view.run}, replayed", f"{head}{shown}{moments}", *scripts)
