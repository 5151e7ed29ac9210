"""What a turn records of where its team can be imported from, signed: whoever can write to a database of runs must not
be able to say which code is imported when a run is gone on with.

The key is a file of the user's state directory, made on first use, or comes from `TROUPE_DB_KEY`, so that several
machines that share a database can vouch for one another.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from troupe.agents.errors import Unsigned
from troupe.agents.text import printable
from troupe.sealing import KEY, key_of

_SIZE = 32
_VERSION = "1"


def state_folder() -> Path:
    """The user's state directory, for what is ours."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "troupe"


def key_file() -> Path:
    """Where the key is kept that no environment gives."""
    return state_folder() / "signing.key"


def signature(thread: str, turn: int, reference: str | None, workflow: str) -> str | None:
    """The signature of what a turn records; None where there is nothing to sign, or no key can be had or made."""
    if reference is None:
        return None
    try:
        key = _from_environment() or _from_file() or _made()
    except OSError:
        return None  # a home that cannot be written to: going on with the run asks for its target
    return _sign(key, thread, turn, reference, workflow)


def must_vouch(turn: Any) -> None:
    """Refuse a recorded reference that this user did not record.

    Raises:
        Unsigned: it has no signature, or another one; nothing was imported.
    """
    named = printable(str(turn.reference))
    how = f"If you know what ran, say so: --target file.py:name, or resume({turn.thread!r}, target=...)."
    if not turn.signature:
        raise Unsigned(
            f"What run {turn.thread} names ({named}) is not signed, and is not imported: an older version recorded it, "
            f"or somebody else did. {how}"
        )
    keys = [key for key in (_from_environment(), _from_file()) if key is not None]
    if not keys:
        raise Unsigned(
            f"The key that signed what run {turn.thread} names ({named}) is gone: there is no {key_file()}, and no "
            f"{KEY}. Nothing was imported. {how}"
        )
    given = str(turn.signature)
    if not any(
        hmac.compare_digest(_sign(key, turn.thread, turn.turn, turn.reference, turn.workflow).encode(), given.encode())
        for key in keys
    ):
        raise Unsigned(
            f"The signature of what run {turn.thread} names ({named}) does not fit, and nothing was imported: it was "
            f"changed, or recorded by another user or on another machine (which needs the same {KEY}). {how}"
        )


def _sign(key: bytes, *parts: Any) -> str:
    said = json.dumps([_VERSION, *parts], ensure_ascii=True).encode()
    return hmac.new(key, said, hashlib.sha256).hexdigest()


def _from_environment() -> bytes | None:
    key = key_of(None)
    # A key of its own, so that signatures say nothing about how things are encrypted.
    return None if key is None else hmac.new(key, b"troupe: references", hashlib.sha256).digest()


def _from_file() -> bytes | None:
    try:
        path = key_file()
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        key = path.read_bytes()
    except OSError:
        return None
    return key if len(key) == _SIZE else None


def _made() -> bytes:
    """A new key; where another process was first, its key."""
    path = key_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(file, secrets.token_bytes(_SIZE))
        os.fsync(file)
    finally:
        os.close(file)
    try:
        with suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all
    finally:
        draft.unlink()
    key = _from_file()
    if key is None:
        raise OSError(f"{path} holds no key")
    return key
