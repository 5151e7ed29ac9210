"""What can be started from the page: our patterns and workflows, whatever the command line named, and the YAML
workflows of one folder. A form names one of these; what it names is never imported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from troupe.agents.errors import TroupeError, UnknownName
from troupe.catalogue import CATALOGUE, resolve
from troupe.graphs.drawing import Drawing
from troupe.prompts import PromptError
from troupe.view.picture import graph_of

MOST = 50
"""Workflows of a folder."""
_LARGE = 1_000_000  # bytes: no workflow is


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that can be started: its name, what it is, and what `run` is given for it."""

    name: str
    summary: str
    target: str


class Offers:
    """What can be started.

    Args:
        named: further targets, as `file.py:team`; each is made once: a mistake is told before anything is served.
        folder: whose workflows are offered.

    Raises:
        TroupeError: one of `named` cannot be run.
    """

    def __init__(self, named: Iterable[str] = (), folder: Path | None = None) -> None:
        self._fixed = {one.name: Offer(one.name, one.summary, one.name) for one in CATALOGUE.values()}
        for target in named:
            resolve(target)
            self._fixed[target] = Offer(target, "named when the server was started", target)
        self._folder = folder
        self._drawn: dict[str, Drawing] = {}
        self._read: dict[Path, tuple[float, bool]] = {}

    def all(self) -> dict[str, Offer]:
        """Everything by name, as things are now; looks at the disk."""
        found = {}
        for path, changed in self._files():
            seen, is_workflow = self._read.get(path, (0.0, False))
            if seen != changed:
                is_workflow = _is_workflow(path)
                self._read[path] = changed, is_workflow
            if is_workflow:
                found[path.name] = Offer(path.name, "a workflow of this folder", str(path))
        return self._fixed | found

    def find(self, name: str) -> Offer:
        """The offer of a name.

        Raises:
            UnknownName: it is none.
        """
        every = self.all()
        if name not in every:
            raise UnknownName("workflow", name, every, "The page starts nothing else.")
        return every[name]

    def drawing(self, offer: Offer) -> Drawing | None:
        """Its graph, as it is now; None where it cannot be had, which whoever runs it will be told.

        A file of yours is read for it, as it is to run it.
        """
        if offer.target in self._drawn:
            return self._drawn[offer.target]
        try:
            drawing = graph_of(resolve(offer.target).team)
        except (TroupeError, PromptError, OSError):
            return None
        if offer.target in CATALOGUE:
            self._drawn[offer.target] = drawing
        return drawing

    def _files(self) -> list[tuple[Path, float]]:
        """The files that may be workflows, and when they were changed."""
        found = []
        try:
            for path in sorted(self._folder.iterdir()) if self._folder is not None else ():
                if path.suffix in (".yaml", ".yml") and path.is_file() and path.stat().st_size <= _LARGE:
                    found.append((path, path.stat().st_mtime))
        except OSError:  # somebody is working in the folder
            return found
        return found[:MOST]


def _is_workflow(path: Path) -> bool:
    try:
        resolve(str(path))
    except (TroupeError, PromptError, OSError):
        return False
    return True
