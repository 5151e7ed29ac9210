"""A process that has imported everything and forks a command whenever it is asked: 20 ms in place of 2 s each.

    python -m tests.support.forge FD

Over the socket FD comes one message per command: its arguments, folder and environment, and four files: its standard
streams, and a pipe that gets its process id and then its exit code.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import threading
from typing import Any


def main() -> None:
    """Fork commands until the socket is closed."""
    import langchain_openai  # noqa: F401
    import openai  # noqa: F401
    import rich.live  # noqa: F401

    import troupe.cli.commands
    import troupe.doors
    import troupe.graphs.sequential  # noqa: F401

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the test run is not for us
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    server = socket.socket(fileno=int(sys.argv[1]))
    while True:
        message, files, _, _ = socket.recv_fds(server, 1 << 20, 4)
        if not message:
            return
        if os.fork() == 0:
            server.close()
            _mind(json.loads(message), files)
            return
        for file in files:
            os.close(file)


def _mind(order: dict[str, Any], files: list[int]) -> None:
    """Fork the command and tell what becomes of it; in the command itself, be it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, report = files
    gate, opened = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(opened)
        os.read(gate, 1)  # whoever started us must know our number before we do anything
        os.close(report)
        _become(order, streams)
        return
    for file in streams:
        os.close(file)
    os.write(report, f"{child}\n".encode())
    os.close(opened)
    _, status = os.waitpid(child, 0)
    os.write(report, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(order: dict[str, Any], streams: list[int]) -> None:
    if order["terminal"]:
        os.setsid()
    for number, file in enumerate(streams):
        os.dup2(file, number)
        if file > 2:
            os.close(file)
    sys.stdin = os.fdopen(0, "r", encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", closefd=False)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["troupe", *order["args"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)

    from troupe.cli import main

    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    # As Python ends, threads awaited and streams flushed, but without taking apart all that was imported.
    threading._shutdown()  # type: ignore[attr-defined]
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    main()
