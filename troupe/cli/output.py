"""Where words go: results to standard output, all that is about them to standard error; both safe for a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any

from troupe.agents.text import redact
from troupe.view.words import line, visible


def out(text: str) -> None:
    """A result, on standard output."""
    _write(sys.stdout, visible(text))


def note(text: str, style: str = "") -> None:
    """Something about a result, on standard error; `style` is for a terminal that has colours."""
    if style and sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        Console(file=sys.stderr, highlight=False, soft_wrap=True).print(Text(visible(text), style=style))
        return
    _write(sys.stderr, visible(text))


def error(text: str) -> None:
    """What went wrong, on standard error."""
    note(f"troupe: {redact(text)}")


def as_json(value: Any) -> None:
    """The one object of `--json`."""
    # Elsewhere than in UTF-8, only escapes are sure to arrive.
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    _write(sys.stdout, json.dumps(value, ensure_ascii=plain, indent=2, default=str))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows on standard output: the last column is cut to a terminal's width, and never elsewhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    wide = None if sys.stdout.isatty() else 100_000
    console = Console(file=sys.stdout, width=wide, highlight=False)
    grid = Table(box=None, pad_edge=False, header_style="dim")
    for index, name in enumerate(header):
        last = index == len(header) - 1
        grid.add_column(name, no_wrap=True, overflow="ellipsis" if last else "ignore", min_width=None if last else 1)
    for row in rows:
        grid.add_row(*(Text(line(cell), style=STYLES.get(cell, "")) for cell in row))
    with console.capture() as caught:
        console.print(grid)
    _write(sys.stdout, "\n".join(one.rstrip() for one in caught.get().splitlines()))


STYLES = {
    "completed": "green", "accepted": "green", "partial": "yellow", "waiting": "yellow", "stopped": "yellow",
    "running": "cyan", "failed": "red", "skipped": "dim", "superseded": "dim",
}  # fmt: skip


def _write(stream: IO[str] | None, text: str) -> None:
    """Write a line; whoever reads may have left (`| head`), or never have been there, which is no error of ours."""
    if stream is None:
        return
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
