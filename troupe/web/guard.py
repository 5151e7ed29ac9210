"""Who may ask the page what: looked at before anything else is, and every answer carries the page's policy.

A page on this machine can be reached by every page that the same browser shows. So the name that it is asked by must
be one of its own (a foreign name that leads here is DNS rebinding), and what changes something must come from the page
itself. Any other address than this machine's needs a token besides.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from troupe.web.pages import told

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MOST = 2_000_000
"""Bytes of what is sent to the page."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with less, browsers would not say where a form comes from
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_READS = ("GET", "HEAD", "OPTIONS")


class Guard:
    """An application that is only reached by whom it may.

    Args:
        app: what is guarded.
        names: the names of this server; requests by another are refused.
        token: what must be shown; None where nothing must be.
        anywhere: whether the server listens on every address, and so may be asked by any number of them.
        port: that it listens on; browsers keep one cookie for all ports of a host.
        most: bytes of a request that are read.
    """

    def __init__(
        self,
        app: ASGIApp,
        names: Iterable[str] = LOOPBACK,
        token: str | None = None,
        anywhere: bool = False,
        port: int = 0,
        most: int = MOST,
    ) -> None:
        self.app, self.names, self.token = app, frozenset(one.lower() for one in names), token
        self.anywhere, self.cookie, self.most = anywhere, f"troupe_{port}", most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    given.setdefault(name, value)
                given.setdefault("Cache-Control", "no-store")
            await send(message)

        # An id may have a slash in it: ways are found before they are decoded.
        scope = {**scope, "path": scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]}
        refused = self._refused(scope, headers)
        if refused is not None:
            await refused(scope, receive, answer)
            return
        await self.app(scope, self._bounded(receive), answer)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return _no(scope, 421, f"This server is not {host or 'nobody'}. Open it by the address that it printed.")
        if scope["method"] not in _READS and not _from_here(headers, host):
            return _no(scope, 403, "What changes something is only taken from this server's own page.")
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced[:20]) > self.most:
            return _no(scope, 413, self._too_long)
        return None if self.token is None else self._stranger(scope, headers, self.token)

    @property
    def _too_long(self) -> str:
        return f"At most {self.most:,} bytes are read."

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return name in self.names or (self.anywhere and _is_number(name))

    def _stranger(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        """What whoever has not shown the token is told; whoever shows it in an address gets a cookie in its place."""
        kept = hashlib.sha256(token.encode()).hexdigest()
        cookies = cookie_parser(headers.get("cookie", ""))
        kind, _, given = headers.get("authorization", "").partition(" ")
        if _same(cookies.get(self.cookie, ""), kept) or (kind.lower() == "bearer" and _same(given.strip(), token)):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        shown = query.pop("token", [""])[-1]
        if scope["method"] == "GET" and _same(shown, token):
            rest = f"?{urlencode(query, doseq=True)}" if query else ""
            # A cookie of this kind does not go along with a redirect that another page began.
            welcome = HTMLResponse(told("Welcome", "One moment.", f"{scope['path']}{rest}"))
            secure = scope["scheme"] == "https"
            welcome.set_cookie(self.cookie, kept, httponly=True, samesite="strict", secure=secure, path="/")
            return welcome
        return _no(scope, 401, "This page needs its token: open the whole address that `troupe serve` printed.")

    def _bounded(self, receive: Receive) -> Receive:
        left = self.most

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, self._too_long)
            return message

        return bounded


def _from_here(headers: Headers, host: str) -> bool:
    """Whether a request comes from a page of this server, or from no browser at all."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:  # a browser says it with every form; none sends JSON elsewhere without having asked first
        return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
    return origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _no(scope: Scope, status: int, why: str) -> Response:
    """A refusal, as a page or as data."""
    if scope["path"].startswith("/api/"):
        return JSONResponse({"error": why}, status)
    return HTMLResponse(told("No", why), status)
