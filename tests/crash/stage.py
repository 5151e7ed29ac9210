"""Where a campaign takes place: a folder, a recorder of calls, a PostgreSQL server, and runs that nobody disturbs."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.lives import Door, Kind, Life, Place, live, watched
from tests.crash.recorder import Truth, recording
from tests.support.postgres import Server
from troupe.underway import Durability

Combo = tuple[str, Kind, Door, Durability]
"""Who plays, where it is kept, through which door, how durable."""


@dataclass(frozen=True)
class Whole:
    """A run that nobody killed: what all others must come to."""

    seen: Mapping[str, Any]
    who: frozenset[str]
    writes: Mapping[str, int]


@dataclass(frozen=True)
class Stage:
    """Where the campaign takes place."""

    folder: Path
    truth: Truth
    server: Server | None = None

    def life(self, name: str, play: str, store: Kind, door: Door, durability: Durability) -> Life:
        """A life with a place to be kept in."""
        at = self.server.url if store == "postgres" and self.server is not None else str(self.folder / f"{name}.db")
        place = Place(store, at)
        return Life(name, play, place, door, durability, self.truth.socket)

    def whole(self, play: str, store: Kind, door: Door, durability: Durability) -> Whole:
        """A run that nobody kills."""
        name = f"whole-{play}-{store}-{door}-{durability}"
        life = self.life(name, play, store, door, durability)

        def act() -> Any:
            writes = watched()
            return life.live(), writes

        ended = live(act, self.folder)
        assert not ended.error, ended.error
        seen, writes = ended.value
        paid = self.truth.calls(name)
        assert seen["status"] == "completed", f"{play} ends {seen['status']} even if it is left alone"
        assert len({one.who for one in paid}) == len(paid), f"{play}: two calls look alike, so repeats would not show"
        return Whole(seen, frozenset(one.who for one in paid if not lost(life, one.who)), Counter(writes))

    def clear(self, name: str) -> None:
        """Remove what a run leaves behind in the folder."""
        for left in self.folder.glob(f"{name}.db*"):
            left.unlink()


def lost(life: Life, who: str) -> bool:
    """Whether this is the call of a branch that nobody waits for."""
    return any(f"{step}#" in who for step in life.plot.loses)


@contextmanager
def staged(stores: Sequence[Kind]) -> Iterator[Stage]:
    """A stage for runs that are kept in such stores."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="troupe-crash-")))
        truth = stack.enter_context(recording(folder))
        server = stack.enter_context(served(folder)) if "postgres" in stores else None
        yield Stage(folder, truth, server)


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """A PostgreSQL server of our own."""
    server = Server(folder / "postgres")
    try:
        yield server
    finally:
        server.stop()
