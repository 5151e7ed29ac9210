"""A run alive in a terminal: one row per step, redrawn in place, and a bar with what is under way."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from troupe.agents.events import Event, Notice, RunStarted
from troupe.graphs.drawing.states import State
from troupe.view.lines import begun, judged
from troupe.view.runview import STATES, RunView, StepView
from troupe.view.words import duration, line, money

_STYLES: dict[State, str] = {
    "pending": "dim", "running": "cyan", "accepted": "green", "reworked": "yellow", "partial": "yellow",
    "failed": "red", "skipped": "dim", "superseded": "magenta", "waiting": "magenta",
}  # fmt: skip
_ASCII: dict[State, str] = {
    "pending": ".", "running": "*", "accepted": "+", "reworked": "^", "partial": "~", "failed": "x", "skipped": "-",
    "superseded": "<", "waiting": "?",
}  # fmt: skip
_WIDE, _ROOMY = 64, 84
"""Columns from which states and figures, and who works, have room."""


class Terminal:
    """Shows what it is told on standard error while it is entered; the last picture stays.

    Texts of models and users are shown as they are: nothing in them is read as markup or as a terminal's command.

    Attributes:
        view: the run as it stands.
    """

    def __init__(self, console: Console | None = None, view: RunView | None = None) -> None:
        self._console = console or Console(file=sys.stderr, highlight=False)
        self._ascii = self._console.options.ascii_only
        self._spinner = Spinner("line" if self._ascii else "dots", style="cyan")
        self._open = True
        self.view = view or RunView()
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
        self.view(event)
        match event:
            case RunStarted():
                self.note(line(begun(event)), "yellow" if event.simulated else "bold")
            case Notice():
                self.note(line(f"{event.path}: {event.text}" if event.path else event.text))

    def picture(self) -> RenderableType:
        """The run as it stands."""
        steps = list(self.view.steps.values())
        if not self._open:  # what never came to anything says nothing
            steps = [step for step in steps if step.state != "pending"]
        if not steps:
            return self._spinner_and("starting") if self._open else Text("")
        shown = self._fitting(steps) if self._open else steps
        grid = self._grid(shown)
        if not self._open:
            return grid
        hidden = [Text(f"  … {len(steps) - len(shown)} more", style="dim")] if len(shown) < len(steps) else []
        return Group(*hidden, grid, self._footer())

    def _grid(self, steps: Sequence[StepView]) -> Table:
        """The rows, with as many columns as there is room for."""
        wide = self._console.width
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=1)
        if wide >= _WIDE:
            grid.add_column(no_wrap=True, overflow="ellipsis", max_width=wide // 3)
        else:
            grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        tried = wide >= _WIDE and any(step.round > 1 or _failures(step) for step in steps)
        used = self.view.each_used() if wide >= _WIDE else {}
        paid = any(one["usd"] != 0 for one in used.values())
        teams = {step.outer for step in steps}
        if tried:
            grid.add_column(no_wrap=True, justify="right")
        grid.add_column(no_wrap=True, justify="right")
        if paid:
            grid.add_column(no_wrap=True, justify="right")
        if wide >= _WIDE:
            grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for step in steps:
            name = Text("  " * step.path.count("/") + line(step.name, 40), style="dim" * (step.state == "pending"))
            took = "" if step.started is None else duration(step.seconds(time.time() if self._open else self.view.last))
            cells: list[RenderableType] = [self._mark(step), name]
            cells += [Text(_rounds(step), style="dim")] if tried else []
            cells += [Text(took, style="dim")]
            usd = money(used[step.path]["usd"]) if paid and step.started is not None else ""
            cells += [Text(usd, style="dim")] if paid else []
            cells += [self._said(step, step.path in teams)] if wide >= _WIDE else []
            grid.add_row(*cells)
        return grid

    def _mark(self, step: StepView) -> RenderableType:
        if step.state == "running" and self._open:
            return self._spinner
        return Text((_ASCII if self._ascii else STATES)[step.state], style=_STYLES[step.state])

    def _said(self, step: StepView, team: bool) -> Text:
        """Its state and why, and who works where that is not its name."""
        said: list[str] = [] if step.state in ("pending", "running") else [step.state]
        last = step.verdicts[-1] if step.verdicts else None
        if step.state == "running":
            said = ["at its gate" if step.reviewing else step.note]
        elif last is not None and last.passed:
            said += [f"score {last.score:.2f} by {last.by}"] if last.score is not None else []
        elif last is not None and step.state in ("reworked", "superseded", "waiting"):
            said = [judged(last)]
        elif step.state != "pending":
            said += [judged(last) if last is not None else step.note, "" if last is not None else step.reason]
        text = Text(line(", ".join(filter(None, said))), style="" if step.state == "accepted" else _STYLES[step.state])
        if step.agent and step.agent != step.name and not team and self._console.width >= _ROOMY:
            return Text(line(step.agent), style="dim").append("  " if text else "").append(text)
        return text

    def _footer(self) -> RenderableType:
        done, whole = self.view.progress
        wide = self._console.width >= _WIDE
        used = [f"{done} of {whole}", *([duration(self.view.seconds(time.time()))] if wide else [])]
        if self.view.usd != 0 and wide:
            used.append(money(self.view.usd))
        live = [step for step in self.view.under_way if step.state == "running"]
        now = ", ".join(line(step.name, 30) for step in live)
        said = " " + " · ".join([*used, *([f"now: {now}"] if now else [])])
        grid = Table.grid(expand=True)
        grid.add_column(width=min(20, max(6, self._console.width // 5)))
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        bar: RenderableType = ProgressBar(total=max(whole, 1), completed=done, complete_style="green", style="dim")
        grid.add_row(Text("") if self._ascii else bar, Text(said, style="dim"))
        return grid

    def _spinner_and(self, text: str) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(self._spinner, Text(text, style="dim"))
        return grid

    def _fitting(self, steps: list[StepView]) -> list[StepView]:
        """As many rows as the screen has lines for: those under way first, then the newest, then what comes next."""
        room = max(self._console.height - 4, 3)
        if len(steps) <= room:
            return steps
        pending = [at for at, step in enumerate(steps) if step.state == "pending"]
        ranked = sorted(
            range(len(steps)),
            key=lambda at: (steps[at].state != "running", at in pending, at if at in pending else -at),
        )
        return [steps[at] for at in sorted(ranked[:room])]


def _failures(step: StepView) -> int:
    return sum(bool(one.failure) for one in step.attempts)


def _rounds(step: StepView) -> str:
    """How often it was done, and tried."""
    tries = sum(one.round == step.round for one in step.attempts)
    said = [f"round {step.round}"] if step.round > 1 else []
    return ", ".join([*said, *([f"{tries} tries"] if tries > 1 else [])])
