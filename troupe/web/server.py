"""The page served: an address that is free, a database that opens, and runs that end in good order with it."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from troupe.agents.errors import SettingsError
from troupe.checkpoints import default_place, shown, store_at
from troupe.web.app import application
from troupe.web.guard import LOOPBACK, Guard
from troupe.web.offers import Offers
from troupe.web.runs import AT_ONCE

PORT = 8421
_LEAST = 12  # characters of a token
_EVERY = ("0.0.0.0", "::", "")  # noqa: S104 - compared with


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    db: str | Path | None = None,
    token: str | None = None,
    named: Iterable[str] = (),
    names: Iterable[str] = (),
    at_once: int = AT_ONCE,
    tell: Callable[[str, str], Any] = lambda address, place: None,
) -> None:
    """Serve the page of a database's runs until a signal comes.

    Args:
        host: the address to listen on; another than this machine's own needs a token, and gets one.
        port: 0 is any that is free.
        db: see `arun`.
        token: what a browser must show once.
        named: further workflows that can be started, as `file.py:team`.
        names: further names that the server is reached by, as behind a proxy.
        at_once: runs that are under way here at once; more wait.
        tell: called with the page's address and the database's place, when both can be used.

    Raises:
        SettingsError: the address cannot be used, or the token is too short.
        StoreError: the database cannot be.
    """
    local = is_loopback(host)
    if token is not None and len(token) < _LEAST:
        raise SettingsError(f"The token has {len(token)} characters, and needs {_LEAST}. Without --token one is made.")
    if token is None and not local:
        token = secrets.token_urlsafe(24)
    offers = Offers(named, Path.cwd())
    listener = _listener(host, port)
    with listener:
        place = db or default_place()
        with store_at(place) as store:
            port = listener.getsockname()[1]
            own = {*LOOPBACK, host.lower(), *names} if not local else {*LOOPBACK, host, *names}
            anywhere = host in _EVERY
            app = application(store, offers, at_once)
            guarded = Guard(app, own | {socket.gethostname()} if anywhere else own, token, anywhere, port)
            tell(_address(host, port, token), shown(place))
            config = uvicorn.Config(
                guarded,
                log_level="warning",
                access_log=False,
                server_header=False,
                lifespan="on",
                timeout_graceful_shutdown=5,
                proxy_headers=False,
                ws="none",
            )
            Server(config, app).run(sockets=[listener])


class Server(uvicorn.Server):
    """Lets viewers go at the first signal: their streams would never end by themselves."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server`."""
        runs = getattr(self._app.state, "runs", None)
        if runs is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(runs.let_go)
        super().handle_exit(sig, frame)


def is_loopback(host: str) -> bool:
    """Whether an address is only reached from this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens there, taken before anything else is made."""
    try:
        kind, *_, address = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)[0]  # noqa: S104
        listener = socket.socket(kind, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"{host}:{port} cannot be served: {error}. Choose another address (--port, --host; --port 0 is any that is "
            "free)."
        ) from None
    return listener


def _address(host: str, port: int, token: str | None) -> str:
    name = "127.0.0.1" if host in _EVERY else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={token}" if token is not None else "")
