"""A run alive in a terminal: one row per step, redrawn in place."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from troupe.agents.events import (
    Attempt,
    Event,
    Judged,
    Notice,
    Progress,
    Rerouted,
    RunStarted,
    StepFinished,
    StepStarted,
)
from troupe.view.lines import begun, finished, judged
from troupe.view.words import duration, line, money

_MARKS = {"accepted": ("✓", "green"), "partial": ("~", "yellow"), "failed": ("✗", "red"), "skipped": ("-", "dim")}


@dataclass(slots=True)
class _Row:
    """A step as it is shown; it is under way as long as it has no mark."""

    agent: str
    began: float
    mark: str = ""
    seconds: float | None = None
    said: str = ""
    round: int = 1


class Terminal:
    """Shows what it is told on standard error while it is entered; the last picture stays.

    Texts of models and users are shown as they are: nothing in them is read as markup or as a terminal's command.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr, highlight=False)
        self._spinner = Spinner("line" if self._console.options.ascii_only else "dots", style="cyan")
        self._rows: dict[str, _Row] = {}
        self._seen: dict[str, int] = {}
        self._progress: Progress | None = None
        self._began = time.time()
        self._open = True
        self._live = Live(console=self._console, get_renderable=self.picture, refresh_per_second=10)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the last picture and give the terminal back."""
        if self._open:
            self._open = False
            self._live.stop()

    def note(self, text: str, style: str = "yellow") -> None:
        """A line above the picture."""
        self._console.print(Text(text, style=style))

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        match event:
            case RunStarted():
                self._began = event.at
                self.note(line(begun(event)), "yellow" if event.simulated else "bold")
            case Notice():
                self.note(line(f"{event.path}: {event.text}" if event.path else event.text))
            case Progress() if not event.path:
                self._progress = event
            case StepStarted():
                self._rows[event.path] = _Row(event.agent, event.at, round=event.round)
                for prefix in _prefixes(event.path):
                    self._seen.setdefault(prefix, len(self._seen))
            case _ if (row := self._rows.get(event.path)) is not None:
                _change(row, event)

    def picture(self) -> RenderableType:
        """The run as it stands."""
        if not self._rows:
            return self._spinner_and("starting") if self._open else Text("")
        rows = sorted(self._rows.items(), key=lambda one: [self._seen[prefix] for prefix in _prefixes(one[0])])
        shown = self._fitting(rows) if self._open else rows
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=1)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for path, row in shown:
            grid.add_row(*self._cells(path, row))
        if not self._open:
            return grid
        hidden = [Text(f"  … {len(rows) - len(shown)} more", style="dim")] if len(shown) < len(rows) else []
        return Group(*hidden, grid, self._footer())

    def _cells(self, path: str, row: _Row) -> Sequence[RenderableType]:
        depth = path.count("/")
        name = Text("  " * depth + line(path.rpartition("/")[2], 40))
        took = row.seconds if row.seconds is not None else time.time() - row.began
        rest = Text(line(row.agent), style="dim") if row.agent != path.rpartition("/")[2] else Text()
        if row.said:
            rest.append("  " if rest else "").append(line(row.said), style="red" if row.mark == "failed" else "")
        if row.mark:
            sign, style = _MARKS.get(row.mark, ("·", "dim"))
            mark: RenderableType = Text(sign if not self._console.options.ascii_only else "+", style=style)
        else:
            mark = self._spinner if self._open else Text("·", style="dim")
        return mark, name, Text(duration(took), style="dim"), rest

    def _footer(self) -> RenderableType:
        parts = [duration(time.time() - self._began)]
        if self._progress is not None:
            done = self._progress
            parts = [f"{done.done} of {done.total}", *parts, money(done.usd)]
        return Text(f"  {' · '.join(parts)}", style="dim")

    def _spinner_and(self, text: str) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(self._spinner, Text(text, style="dim"))
        return grid

    def _fitting(self, rows: list[tuple[str, _Row]]) -> list[tuple[str, _Row]]:
        """As many rows as the screen has lines for: those under way first, then the newest."""
        room = max(self._console.height - 4, 3)
        if len(rows) <= room:
            return rows
        ranked = sorted(range(len(rows)), key=lambda index: (not rows[index][1].mark, index))
        return [rows[index] for index in sorted(ranked[-room:])]


def _change(row: _Row, event: Event) -> None:
    """What an event of a step that is shown changes in its row."""
    match event:
        case Attempt():
            again = "" if event.wait is None else f", again in {duration(event.wait)}"
            row.said = f"attempt {event.number} failed ({event.failure}){again}"
        case Rerouted():
            row.said = f"{event.agent} gave up, {event.to} takes over"
        case StepFinished():
            under_review = event.status == "submitted"
            row.mark = "" if under_review else event.status
            row.seconds = None if under_review else event.at - row.began
            row.said = "at the gate" if under_review else _unless_plain(event)
        case Judged():
            back = event.decision in ("rework", "rollback", "ask")
            row.mark = {"pass": "accepted", "partial": "partial", "fail": "failed"}.get(event.decision, "sent back")
            row.seconds = event.at - row.began
            row.said = judged(event) if back or not event.passed or event.score is not None else ""
            if row.round > 1:
                row.said = f"round {row.round}{', ' if row.said else ''}{row.said}"


def _unless_plain(event: StepFinished) -> str:
    """Words only for what is not plain success."""
    usual = event.status == "accepted" and event.attempts <= 1 and not event.cause
    plain = usual and not (event.recalled or event.cached)
    return "" if plain else finished(event)


def _prefixes(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
