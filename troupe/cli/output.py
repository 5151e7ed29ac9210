"""Where words go: results to standard output, all that is about them to standard error; both safe for a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any

from troupe.agents.text import printable_json, redact
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
    _write(sys.stdout, printable_json(json.dumps(value, ensure_ascii=plain, indent=2, default=str)))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], spare: Sequence[str] = ()) -> None:
    """Rows on standard output. In a terminal they fit its width: `spare` columns go first, then the last one is cut."""
    from rich.cells import cell_len, set_cell_size
    from rich.console import Console
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    lines = [list(header), *([line(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    shown = list(range(len(header)))
    if console.is_terminal:
        for name in spare:
            if sum(widths[index] + 2 for index in shown[:-1]) + _LEAST > console.width:
                shown.remove(header.index(name))
        left = console.width - sum(widths[index] + 2 for index in shown[:-1])
        widths[-1] = max(left, _LEAST)
    with console.capture() as caught:
        for number, cells in enumerate(lines):
            text = Text(style="" if number else "dim")
            for index in shown[:-1]:
                text.append(set_cell_size(cells[index], widths[index]), STYLES.get(cells[index], "")).append("  ")
            last = Text(cells[-1])
            last.truncate(widths[-1], overflow="ellipsis")
            console.print(text + last)
    _write(sys.stdout, "\n".join(one.rstrip() for one in caught.get().splitlines()))


_LEAST = 24
"""Columns of a terminal that a table's last column should have."""

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
