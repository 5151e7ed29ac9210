"""The command line: `troupe`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from types import FrameType


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    _mend_streams()
    from troupe.cli import output
    from troupe.cli.commands import app

    try:
        app()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said and has an exit code
        if _is_usage(error):
            output.error(str(error))
            sys.exit(2)
        # A bug, here or in the user's own file: told whole, without secrets.
        output.error(traceback.format_exc().rstrip())
        sys.exit(1)


def _mend_streams() -> None:
    """Streams that can be used whatever the shell did: closed ones go nowhere, and no character breaks them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the free number, which a database must not get
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _is_usage(error: Exception) -> bool:
    """Whether what was asked for is wrong, and not the program."""
    from troupe.agents.errors import TroupeError
    from troupe.prompts import PromptError

    return isinstance(error, TroupeError | PromptError)


def _leave(number: int, frame: FrameType | None) -> None:
    """Before a run is under way there is nothing to finish."""
    sys.exit(128 + number)
