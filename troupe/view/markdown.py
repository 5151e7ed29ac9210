"""What models and users wrote, as HTML that can do nothing: no tags of theirs, no foreign picture, no strange link."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt

from troupe.agents.text import redact

MOST = 40_000
"""Characters of one text that are shown."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def tidy(text: str) -> str:
    r"""A text without terminal colours, control characters, marks that turn lines around, and credentials.

    >>> tidy("a\x1b[31m red\x1b[0m\x00 \u202eword\r\n")
    'a red word\n'
    """
    return redact(_CONTROL.sub("", _ANSI.sub("", text.replace("\r\n", "\n"))))


def cut(text: str, most: int = MOST) -> tuple[str, int]:
    """As much of a text as is shown, and how many characters were left out."""
    return (text, 0) if len(text) <= most else (text[:most], len(text) - most)


def html(text: str, most: int = MOST) -> str:
    """Markdown as HTML, cut after `most` characters with a word about it.

    >>> html("**so** <script>x</script>").strip()
    '<p><strong>so</strong> &lt;script&gt;x&lt;/script&gt;</p>'
    """
    shown, left = cut(text, most)
    made = _made(shown)
    if left:
        made += f'<p class="cut">Cut here: {left:,} of {len(text):,} characters are not shown.</p>'
    return made


@lru_cache(maxsize=256)  # a page that changes shows the same texts again and again
def _made(text: str) -> str:
    return str(_markdown().render(tidy(text)))


@cache
def _markdown() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    made.validateLink = _allowed  # type: ignore[method-assign]
    made.add_render_rule("link_open", _link)
    made.add_render_rule("heading_open", _heading)
    made.add_render_rule("heading_close", _heading)
    return made


def _allowed(url: str) -> bool:
    try:
        return urlsplit(url.strip()).scheme.lower() in ("http", "https", "mailto")
    except ValueError:
        return False


def _link(renderer: Any, tokens: Any, at: int, options: Any, env: Any) -> str:
    """Links lead out of the page, and tell nobody where they were followed from."""
    tokens[at].attrSet("rel", "noopener noreferrer nofollow")
    tokens[at].attrSet("target", "_blank")
    made: str = renderer.renderToken(tokens, at, options, env)
    return made


def _heading(renderer: Any, tokens: Any, at: int, options: Any, env: Any) -> str:
    """Headings lie below those of the page."""
    tokens[at].tag = f"h{min(6, int(tokens[at].tag[1]) + 3)}" if not env.get(id(tokens[at])) else tokens[at].tag
    env[id(tokens[at])] = True
    made: str = renderer.renderToken(tokens, at, options, env)
    return made
