"""The page and its API as a Starlette application: what is asked of it, and what it answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any
from urllib.parse import parse_qsl, unquote

from pydantic_core import to_jsonable_python
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from troupe.agents.errors import InputError, StoreError, TroupeError, UnknownRun
from troupe.agents.text import clean, redact
from troupe.prompts import PromptError
from troupe.store.base import Store
from troupe.view import report
from troupe.web import pages, parts
from troupe.web.live import VIEWERS, Feed, event, parts_of
from troupe.web.offers import Offers
from troupe.web.runs import AT_ONCE, LISTED, Runs, Watched

LONGEST = 100_000
"""Characters of a task."""
_SAID = 4_000  # characters: what is longer is work, and looking through megabytes would hold up everybody
_FIELDS = ("workflow", "task", "model", "budget", "deadline")
_LAST = 30.0  # seconds until a reader of events of whom nothing is heard is sent a sign of life

Endpoint = Callable[[Request], Awaitable[Response]]


def application(store: Store, offers: Offers, at_once: int = AT_ONCE) -> Starlette:
    """The page of a store's runs, without its guard.

    Args:
        store: open; whoever opened it closes it.
        offers: what can be started.
        at_once: runs that are under way here at once.
    """

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        runs = app.state.runs = Runs(store, offers, parts.of_run, parts.of_list, at_once)
        runs.open()
        try:
            yield
        finally:
            await runs.close()

    routes = [
        Route("/", _index),
        Route("/runs", _start, methods=["POST"]),
        Route("/events", _list_events),
        Route("/runs/{run}", _run),
        Route("/runs/{run}/events", _run_events),
        Route("/runs/{run}/replay", _replay),
        Route("/runs/{run}/report.html", _report),
        Route("/runs/{run}/answers", _answers, methods=["POST"]),
        Route("/runs/{run}/stop", _stop, methods=["POST"]),
        Route("/runs/{run}/resume", _resume, methods=["POST"]),
        Route("/static/{name}", _asset),
        Route("/api/runs", _api_runs, methods=["GET"]),
        Route("/api/runs", _api_start, methods=["POST"]),
        Route("/api/runs/{run}", _api_run),
        Route("/api/runs/{run}/events", _api_events),
        Route("/api/runs/{run}/answers", _api_answers, methods=["POST"]),
        Route("/api/runs/{run}/stop", _api_stop, methods=["POST"]),
        Route("/api/runs/{run}/resume", _api_resume, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=life, exception_handlers={404: _missing, 405: _missing, 413: _missing})


def _runs(request: Request) -> Runs:
    runs: Runs = request.app.state.runs
    return runs


def _id(request: Request) -> str:
    return unquote(request.path_params["run"])


async def _watched(request: Request) -> Watched:
    return await _runs(request).watched(_id(request))


async def _missing(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    said = {404: "There is nothing here.", 405: f"{request.method} is not for this address."}
    why = said.get(status) or str(getattr(error, "detail", ""))
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": why}, status)
    return HTMLResponse(pages.told("No", why), status)


def _status(error: Exception) -> int:
    return 404 if isinstance(error, UnknownRun) else 503 if isinstance(error, StoreError) else 400


def _said(act: Endpoint) -> Endpoint:
    """A page; what goes wrong is a page, too, that says it."""

    @wraps(act)
    async def acted(request: Request) -> Response:
        try:
            return await act(request)
        except (TroupeError, PromptError) as error:
            run = request.path_params.get("run")
            back = f"/runs/{run}" if run and not isinstance(error, UnknownRun) else "/"
            return HTMLResponse(pages.told("That did not work", redact(str(error)), back=back), _status(error))

    return acted


def _data(act: Endpoint) -> Endpoint:
    """The same for an API, as data."""

    @wraps(act)
    async def acted(request: Request) -> Response:
        try:
            return await act(request)
        except (TroupeError, PromptError) as error:
            return JSONResponse({"error": redact(str(error))}, _status(error))

    return acted


# --- what is sent ---------------------------------------------------------------------------------------------------


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; the last of each name."""
    body = await _body(request)
    try:
        return {
            name: clean(value) for name, value in parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20)
        }
    except ValueError as error:
        raise InputError(f"What was sent is no form: {error}.") from None


async def _json(request: Request) -> Mapping[str, Any]:
    try:
        found = json.loads(await _body(request) or b"{}")
    except (ValueError, RecursionError) as error:
        raise InputError(f"What was sent is no JSON: {error}.") from None
    if not isinstance(found, Mapping):
        raise InputError("What was sent is no JSON object.")
    return found


async def _body(request: Request) -> bytes:
    try:
        return await request.body()
    except ClientDisconnect:
        raise InputError("What was sent broke off.") from None


def _wish(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be started, from a form or from JSON.

    Raises:
        InputError: it cannot be.
    """
    if unknown := [name for name in given if name not in _FIELDS]:
        raise InputError(f"{unknown[0]!r} is none of: {', '.join(_FIELDS)}.")
    texts = {name: given.get(name) or "" for name in ("workflow", "task", "model")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise InputError(f"{name} must be a text.")
        if len(text) > LONGEST:
            raise InputError(f"{name} has {len(text):,} characters, and may have {LONGEST:,}.")
    limits = {name: _number(name, given.get(name)) for name in ("budget", "deadline")}
    return {"workflow": texts["workflow"], "task": texts["task"], "model": texts["model"].strip() or None, **limits}


def _number(name: str, given: Any) -> float | None:
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    try:
        if isinstance(given, bool):
            raise TypeError
        number = float(given)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} must be a number, and is {given!r:.100}.") from None
    if not 0 <= number < float("inf"):
        raise InputError(f"{name} must be a number from 0 up, and is {given!r:.100}.")
    return number


def _answer(form: Mapping[str, str]) -> dict[str, Any]:
    """A person's answer from the page's form."""
    kind = form.get("type", "")
    text = form.get("edited", "").replace("\r\n", "\n") if kind == "edit" else form.get("message", "")
    said = {"type": kind, "message": text} if kind else {"answer": text}
    if not kind and not text.strip():
        raise InputError("The answer is empty.")
    by = form.get("by", "").strip()
    return {"id": form.get("id", ""), **said, **({"by": by} if by else {})}


def _to(run: str) -> Response:
    return RedirectResponse(parts.address(run), 303)


# --- pages ----------------------------------------------------------------------------------------------------------


@_said
async def _index(request: Request) -> Response:
    return await _listed(request, {})


async def _listed(request: Request, given: Mapping[str, str], problem: str = "", status: int = 200) -> Response:
    runs = _runs(request)
    await runs.relist()
    offers = await asyncio.to_thread(runs.offers.all)
    return HTMLResponse(pages.index(runs, offers, given, problem), status)


@_said
async def _start(request: Request) -> Response:
    form = await _form(request)
    try:
        watched = await _runs(request).start(**_wish(form))
    except (TroupeError, PromptError) as error:
        return await _listed(request, form, redact(str(error)), _status(error))
    return _to(watched.id)


@_said
async def _run(request: Request) -> Response:
    watched = await _watched(request)
    return HTMLResponse(pages.run(watched, parts.address(watched.id)))


@_said
async def _answers(request: Request) -> Response:
    form = await _form(request)
    return _to((await _runs(request).resume(_id(request), _answer(form))).id)


@_said
async def _stop(request: Request) -> Response:
    return _to((await _runs(request).stop(_id(request))).id)


@_said
async def _resume(request: Request) -> Response:
    return _to((await _runs(request).resume(_id(request))).id)


@_said
async def _replay(request: Request) -> Response:
    view = (await _watched(request)).view
    drawing, built = report.pictures(view)
    moments = report.moments(view, drawing, built)
    shown = report.happened(view, drawing, built, bool(moments))
    return HTMLResponse(pages.replay(view, parts.address(view.run), shown, moments))


@_said
async def _report(request: Request) -> Response:
    view = (await _watched(request)).view
    name = "".join(one if (one.isalnum() and one.isascii()) or one in "-_" else "-" for one in view.run)[:80]
    headers = {"Content-Disposition": f'attachment; filename="{name}.html"'}
    return HTMLResponse(report.page(view), headers=headers)


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in pages.ASSETS:
        return await _missing(request, KeyError(name))
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}  # a new version has another address
    return Response(pages.asset(name), media_type=pages.ASSETS[name][2], headers=headers)


# --- events ---------------------------------------------------------------------------------------------------------


@_said
async def _list_events(request: Request) -> Response:
    runs = _runs(request)
    await runs.relist()
    return _stream(runs, parts_of(runs.feed))


@_said
async def _run_events(request: Request) -> Response:
    watched = await _watched(request)
    return _stream(_runs(request), parts_of(watched.feed))


def _stream(runs: Runs, events: AsyncIterator[bytes]) -> Response:
    if runs.closing or runs.viewers >= VIEWERS:
        return Response("Too many look on.", 503, headers={"Retry-After": "10"})
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _without_keys(plain: Any) -> Any:
    """Plain data without credentials in what is said about the work; the work itself is given as it is."""
    if isinstance(plain, str):
        return redact(plain) if len(plain) <= _SAID else plain
    if isinstance(plain, dict):
        return {name: _without_keys(value) for name, value in plain.items()}
    return [_without_keys(one) for one in plain] if isinstance(plain, list) else plain


# --- API ------------------------------------------------------------------------------------------------------------


def _short(watched: Watched) -> dict[str, Any]:
    view = watched.view
    done, whole = view.progress
    return {
        "run": view.run,
        "workflow": view.workflow,
        "task": view.task,
        "turn": view.turn,
        "status": watched.status,
        "simulated": view.simulated,
        "started": view.started,
        "finished": view.ended,
        "usd": view.usd,
        "progress": {"done": done, "total": whole},
        "running": [step.path for step in view.under_way],
        "waiting": [one.id for one in view.words.values() if one.answered is None and view.status == "waiting"],
        "here": watched.here,
    }


@_data
async def _api_runs(request: Request) -> Response:
    runs = _runs(request)
    await runs.relist()
    listed = []
    for known, turn, status in runs.listed():
        if known is not None or turn is None:
            assert known is not None  # noqa: S101 - one of both is there
            listed.append(_short(known))
            continue
        listed.append(
            {
                "run": turn.thread,
                "workflow": turn.workflow,
                "task": turn.task,
                "turn": turn.turn,
                "status": status,
                "simulated": turn.simulated,
                "started": turn.started,
                "finished": turn.finished,
                "usd": turn.usage.usd,
                "here": False,
            }
        )
    return JSONResponse({"runs": listed[:LISTED], "workflows": list(await asyncio.to_thread(runs.offers.all))})


@_data
async def _api_start(request: Request) -> Response:
    watched = await _runs(request).start(**_wish(await _json(request)))
    return JSONResponse(_short(watched), 201, headers={"Location": f"/api{parts.address(watched.id)}"})


@_data
async def _api_run(request: Request) -> Response:
    watched = await _watched(request)
    whole = {**watched.view.to_json(), "status": watched.status, "here": watched.here, "problem": watched.problem}
    return JSONResponse(_without_keys(to_jsonable_python(whole, fallback=str)))


@_data
async def _api_answers(request: Request) -> Response:
    given = await _json(request)
    answers = given.get("answers", given)
    if not answers:
        raise InputError("There is no answer: send {id: answer}, or {'id', 'type', 'message', 'by'}.")
    return JSONResponse(_short(await _runs(request).resume(_id(request), answers)), 202)


@_data
async def _api_stop(request: Request) -> Response:
    return JSONResponse(_short(await _runs(request).stop(_id(request))), 202)


@_data
async def _api_resume(request: Request) -> Response:
    return JSONResponse(_short(await _runs(request).resume(_id(request))), 202)


@_data
async def _api_events(request: Request) -> Response:
    runs, watched = _runs(request), await _watched(request)
    after = request.headers.get("last-event-id", "")
    return _stream(runs, _moments(watched, watched.feed, int(after) + 1 if after.isdecimal() else 0))


async def _moments(watched: Watched, feed: Feed, number: int) -> AsyncIterator[bytes]:
    """What happens in a run, as it does; at last how it stands. A reader that comes again goes on where it was."""
    feed.viewers += 1
    try:
        while not feed.closed:
            for one in watched.view.history[number:]:
                states = {path: state for path, (state, _) in one.states.items()}
                told = {"at": one.at, "step": one.path, "text": one.text, "states": states}
                yield event(_without_keys(told), "moment", str(number))
                number += 1
            if not watched.here and watched.view.status != "running":
                yield event(_short(watched), "end")
                return
            if number >= len(watched.view.history) and not await watched.changed(_LAST):
                yield b": still here\n\n"
    finally:
        feed.viewers -= 1
