"""The page for runs, served from a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from troupe.cli import output


def serve(
    workflows: Sequence[str],
    host: str,
    port: int,
    token: str | None,
    names: Sequence[str],
    at_once: int,
    db: str | None,
) -> None:
    """Serve until a signal comes; the address is the one line on standard output."""
    from troupe.agents.errors import SettingsError
    from troupe.cli.running import reserved

    with reserved():
        try:
            from troupe.web.server import is_loopback
            from troupe.web.server import serve as served
        except ImportError as error:
            raise SettingsError(f"The page needs an extra: pip install 'agent-troupe[web]' ({error}).") from None

    def tell(address: str, place: str) -> None:
        output.note(f"database   {place}")
        if not is_loopback(host):
            output.note("This address is reached from other machines. Whoever has the whole address can start runs.")
        output.note("Ctrl-C ends it; runs that are under way can be gone on with.")
        output.out(address)

    served(host=host, port=port, db=db, token=token, named=workflows, names=names, at_once=at_once, tell=tell)
