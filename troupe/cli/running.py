"""Working on a run: start it or go on with it, show it, print how it ended, and exit with its code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from troupe.cli import output
from troupe.cli.asking import ask, can_ask
from troupe.cli.ending import Ending
from troupe.cli.options import Wishes
from troupe.cli.signals import Signals

if TYPE_CHECKING:
    from troupe.agents.events import RunStarted
    from troupe.result import Result
    from troupe.view.plain import Lines
    from troupe.view.terminal import Terminal

_STEPS = "troupe-steps"
"""What the threads of function steps are called."""


def perform(
    door: str,
    *args: Any,
    wishes: Wishes,
    workflow: str | None = None,
    interactive: bool = False,
    stated: Mapping[str, str | None] | None = None,
    **options: Any,
) -> NoReturn:
    """Go through one of the async doors and end the process with the run's exit code.

    Args:
        door: `arun`, `aresume` or `arollback`.
        args: for it.
        wishes: for it and for what is shown.
        workflow: what a new run is started with.
        interactive: whether a run that waits is answered here, where there is a terminal.
        stated: fields of the context that have no argument of the door's own.
        options: more for the door.

    Raises:
        TroupeError: before anything was begun.
    """
    if wishes.out is not None:
        _usable(wishes.out)
    asks = interactive and can_ask()
    ending = Ending(wishes.db, wishes.out, wishes.json, workflow, asks)
    said: dict[str, Any] = {name: one for name, one in (stated or {}).items() if one is not None}
    if said:
        from troupe.agents.context import TeamContext

        options["context"] = TeamContext.model_construct(**said)  # the door checks it
    if door != "arun":
        options = {**options, "accept_changes": wishes.accept_changes}
    result, code = _once(door, args, wishes, ending, options)
    put_off: set[str] = set()
    while asks and result.waiting:
        if not (answers := ask(result, wishes.by, put_off)):
            ending.show_ways(result)
            break
        result, code = _once(door, (result.run, answers), wishes, ending, options)
    sys.exit(code)


def _once(door: str, args: Any, wishes: Wishes, ending: Ending, options: Any) -> tuple[Result, int]:
    with _view(wishes) as view, Signals(view.note, ending.command) as signals:
        pool = ThreadPoolExecutor(thread_name_prefix=_STEPS)
        runner = asyncio.Runner()
        runner.get_loop().set_default_executor(pool)
        try:
            result = _result(runner, signals, view, door, args, wishes.options | options)
        except asyncio.CancelledError:
            view.close()
            output.note("Stopped before the run began.")
            _exit(128 + (signals.number or 2))
        view.close()
        began = signals.started.at if signals.started is not None else None
        code = ending.show(result, signals.number, time.time() - began if began else None)
        pool.shutdown(wait=False, cancel_futures=True)
        if _stuck():
            _exit(code)
        runner.close()
    return result, code


def _result(
    runner: asyncio.Runner, signals: Signals, view: Terminal | Lines, door: str, args: Any, options: Any
) -> Result:
    with reserved():
        from troupe import doors
        from troupe.agents.errors import InputError, TroupeError

        work = getattr(doors, door)(*args, **options, listeners=[signals.see, view], stop=signals.stop)
        try:
            result: Result = runner.run(signals.watch(work))
            return result
        except Exception as error:
            if signals.started is None or isinstance(error, InputError):
                raise
            view.close()
            told = str(error) if isinstance(error, TroupeError) else traceback.format_exc().rstrip()
            output.error(told)
            return _broken(signals.started, error)


def _broken(started: RunStarted, error: Exception) -> Result:
    """What is known of a run that something outside of its calls broke off: a graph's own node, or the database."""
    from troupe.agents.contracts import Reason
    from troupe.agents.errors import describe
    from troupe.result import Result

    return Result(
        run=started.run,
        workflow=started.workflow,
        task="",
        turn=started.turn,
        status="failed",
        reason=Reason(kind="error", message=describe(error)),
        simulated=started.simulated,
    )


def _view(wishes: Wishes) -> Terminal | Lines:
    """A picture in a terminal, lines elsewhere, warnings alone beside `--json`."""
    from troupe.view.plain import Lines, Warnings

    if wishes.json:
        return Warnings()
    if wishes.plain or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return Lines()
    from troupe.view.terminal import Terminal

    return Terminal()


@contextmanager
def reserved() -> Iterator[None]:
    """Keep standard output for the result: what users' code prints meanwhile goes to standard error."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
    except (OSError, AttributeError):  # a closed stream
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _usable(folder: Path) -> None:
    """Make the folder of `--out` before anything is spent."""
    from troupe.agents.errors import SettingsError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} is not writable")
    except OSError as error:
        raise SettingsError(f"--out {folder} cannot be used: {error}.") from None


def _stuck() -> bool:
    """Whether a function step is still at it in a thread, after a stop or a deadline: no thread can be cancelled."""
    ends = time.monotonic() + 1
    threads = [one for one in threading.enumerate() if one.name.startswith(_STEPS)]
    for one in threads:
        one.join(max(0.0, ends - time.monotonic()))
    return any(one.is_alive() for one in threads)


def _exit(code: int) -> NoReturn:
    """End without waiting for threads."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
