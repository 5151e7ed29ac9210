"""A run in a notebook: one picture that is drawn again in place, and what it came to as the last of it.

No widgets and no server: the picture is an SVG without a script, so that a static export shows the last state, too.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from troupe.agents.events import Event, RunFinished
from troupe.graphs.drawing import Drawing, svg
from troupe.view.picture import drawn
from troupe.view.runview import STATES, RunView
from troupe.view.words import duration, line, money

PAUSE = 0.25
"""Seconds from one picture to the next, at least."""

_log = logging.getLogger("troupe")


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel; nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class Notebook:
    """A listener that draws the run in place of the picture before.

    Args:
        drawing: the team's graph.
        clock: monotonic seconds.
        show: shows a bundle of mime types and gives what it can be updated by; IPython's by default.

    Attributes:
        view: the run as it stands.
    """

    def __init__(
        self,
        drawing: Drawing | None = None,
        clock: Callable[[], float] = time.monotonic,
        show: Callable[[dict[str, str]], Callable[[dict[str, str]], Any]] | None = None,
    ) -> None:
        self.view = RunView()
        self.view.drawing = drawing
        self._clock = clock
        self._show = show or _display
        self._update: Callable[[dict[str, str]], Any] | None = None
        self._next = 0.0
        self._broken = False

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        self.view(event)
        last = isinstance(event, RunFinished)
        if self._broken or (self._clock() < self._next and not last):
            return
        try:
            if self._update is None:
                self._update = self._show(bundle(self.view))
            else:
                self._update(bundle(self.view))
        except Exception:  # noqa: BLE001 - whoever looks on must not end a run that is paid for
            self._broken = True
            _log.warning("The run cannot be shown here; it goes on.", exc_info=True)
        self._next = self._clock() + PAUSE


def bundle(view: RunView) -> dict[str, str]:
    """A run as mime types: its picture, and the same in words."""
    title = f"{view.workflow} {view.run}: {view.status}"
    picture = svg(drawn(view), title=title, caption=caption(view))
    return {"image/svg+xml": picture, "text/plain": told(view)}


def caption(view: RunView) -> str:
    """How far a run is, in a line."""
    done, whole = view.progress
    parts = [view.status, f"{done} of {whole}", duration(view.seconds())]
    parts += ["simulated"] if view.simulated else [money(view.usd)]
    now = ", ".join(step.name for step in view.under_way[:4])
    parts += [f"now: {now}"] if now and view.status == "running" else []
    return " · ".join([*parts, view.run])


def told(view: RunView) -> str:
    """A run in lines, for whoever sees no pictures."""
    steps = (
        f"{STATES[step.state]} {line(step.path, 60)}: {'at its gate' if step.reviewing else step.state}"
        for step in view.steps.values()
    )
    return "\n".join([caption(view), *steps])


def _display(shown: dict[str, str]) -> Callable[[dict[str, str]], Any]:
    from IPython.display import display

    handle: Any = display(shown, raw=True, display_id=True)  # type: ignore[no-untyped-call]
    return lambda again: handle.update(again, raw=True)
