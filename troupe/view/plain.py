"""A run as lines on standard error, and a run of which only warnings are told."""

from __future__ import annotations

import contextlib
import sys
from types import TracebackType
from typing import Self

from troupe.agents.events import Event, Notice, RunFinished, Waiting
from troupe.view.lines import line_of


class Lines:
    """Writes a line per event; how the run ended is left to who has its result."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to give back."""

    def note(self, text: str) -> None:
        """A line."""
        # Nobody reads any more: the run goes on, for its result is kept.
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        if not isinstance(event, RunFinished | Waiting) and (said := line_of(event)) is not None:
            self.note(said)


class Warnings(Lines):
    """Writes what the caller should know, and nothing else."""

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, Notice):
            super().__call__(event)
