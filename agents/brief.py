"""A brief as text: bounded, what others wrote fenced as data, and every shortening said."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from troupe.agents.contracts import Brief, Deliverable
from troupe.agents.text import fit, shorten, summary, tokens
from troupe.prompts import load, render

DEFAULT_LIMIT = 24_000


def text(
    brief: Brief,
    limit: int = DEFAULT_LIMIT,
    prompts: str | Path | None = None,
    can_read: bool = False,
    reader: str = "",
) -> str:
    """The brief as one Markdown text of about `limit` tokens at most.

    Small parts are kept whole and large ones share what is left; `can_read` names the tool that gives the rest. A
    `reader` who is not the author of the last version is told whose work is taken over.

    >>> print(text(Brief(task="Sort the ticket.")))
    # Task
    Sort the ticket.
    """
    full = [brief.deliverables[name] for name in brief.needs if name in brief.deliverables]
    older = [done for name, done in brief.deliverables.items() if name not in brief.needs]
    talk = "\n".join(f"{message.role}: {message.text}" for message in brief.conversation)
    previous = brief.previous.content if brief.previous else ""
    missing = "\n".join(f"- {step}: {why}" for step, why in brief.missing.items())  # a cause may quote anybody
    # One list of (text, hint), so that all parts share one bound.
    parts = [
        (brief.task, ""),
        (brief.objective, ""),
        (brief.item, ""),
        (talk, ""),
        (brief.feedback, ""),
        (previous, ""),
        ("\n".join(one for one in (*brief.guidance, brief.limits) if one), ""),
        *((done.content, _hint(done, can_read)) for done in full),
        *((done.summary or summary(done.content), _hint(done, can_read)) for done in older),
    ]
    sizes = [tokens(part) for part, _ in parts]
    if sum(sizes) <= limit:
        kept = [part for part, _ in parts]
    else:
        kept = [shorten(part, room, hint) for (part, hint), room in zip(parts, fit(sizes, limit), strict=True)]
    task, objective, item, talk, feedback, previous, guidance = kept[:7]
    contents, summaries = kept[7 : 7 + len(full)], kept[7 + len(full) :]
    return render(
        load("moves/brief", prompts),
        task=task,
        objective=_section("Your part", objective) + _section("Your item", brief.item and fence(item, "items")),
        conversation=_section("Earlier in this conversation", talk and fence(talk, "conversation")),
        missing=_section("Missing", missing and fence(missing, "what is missing")),
        earlier=_section("Earlier results, summarised", _fenced(older, summaries)),
        needs=_section("Results you build on", _fenced(full, contents)),
        previous=_section(_whose(brief, reader), previous and fence(previous, brief.step)),
        feedback=_section("What must change", feedback and fence(feedback, "findings")),
        guidance=_section("Guidance", guidance),
    ).strip()


def fence(content: str, name: str, by: str = "") -> str:
    """`content` between marks that it cannot forge: the closing mark carries a digest of the content itself.

    >>> fence("hello", "greeting")
    '<data 2cf24dba5fb0a30e from="greeting">\\nhello\\n</data 2cf24dba5fb0a30e>'
    """
    seal = hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:16]
    source = re.sub(r'[\s"<>]+', " ", f"{name}, by {by}" if by else name)
    return f'<data {seal} from="{source}">\n{content}\n</data {seal}>'


def _fenced(done: list[Deliverable], contents: list[str]) -> str:
    return "\n\n".join(fence(content, one.step, one.agent) for one, content in zip(done, contents, strict=True))


def _whose(brief: Brief, reader: str) -> str:
    author = brief.previous.agent if brief.previous else ""
    if not reader or author in ("", reader):
        return "Your last version"
    return f"The last version, by {author}, whose work you take over"


def _section(title: str, body: str) -> str:
    return f"\n\n# {title}\n{body}" if body else ""


def _hint(done: Deliverable, can_read: bool) -> str:
    return f'; the tool read("{done.step}") gives all of it' if can_read else ""
