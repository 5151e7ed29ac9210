"""Encryption of what is stored: AES with a key that never lies beside it.

The key is that of the environment variable `TROUPE_DB_KEY`, or `key=` of `checkpoints.sqlite` and `.postgres`. Tasks,
inputs, messages, outputs and reasons are sealed; what the database works with is not: threads, names of steps and
agents, digests, statuses, times and what was used.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

from troupe.agents.errors import Blocked, SettingsError

KEY = "TROUPE_DB_KEY"
LENGTHS = (16, 24, 32)
_MARK = "aes:"


def key_of(given: str | bytes | None) -> bytes | None:
    """The key that was given, else that of the environment, else None.

    Args:
        given: 16, 24 or 32 bytes; as text in hex, in base64, or just as many characters, tried in this order.

    Raises:
        SettingsError: it is no key.

    >>> key_of("00" * 16) == bytes(16)
    True
    """
    given = given if given is not None else os.environ.get(KEY) or None
    if given is None:
        return None
    for key in [given] if isinstance(given, bytes) else _readings(given):
        if len(key) in LENGTHS:
            return key
    raise SettingsError(
        f"The key of the database ({KEY}, or key=) must have 16, 24 or 32 bytes, in hex or base64. Make one with: "
        "python -c 'import secrets; print(secrets.token_hex(32))'"
    )


def _readings(given: str) -> Iterator[bytes]:
    for read in (bytes.fromhex, _base64, str.encode):
        with suppress(ValueError, binascii.Error):
            yield read(given)


def _base64(given: str) -> bytes:
    return base64.b64decode(given, validate=True)


class Seal:
    """Seals texts and bytes under a key, and breaks no seal but its own.

    Args:
        key: of 16, 24 or 32 bytes.

    Raises:
        SettingsError: the extra `encryption` is not installed.
    """

    def __init__(self, key: bytes) -> None:
        self.cipher = _cipher(key)

    def seal(self, text: str, place: str) -> str:
        """A text as it is stored at `place`; it cannot be read at any other."""
        _, sealed = self.cipher.encrypt(f"{place}\0{text}".encode())
        return _MARK + base64.b64encode(sealed).decode()

    def unseal(self, stored: str, place: str) -> str:
        """The text again.

        Raises:
            Blocked: it is not encrypted, under another key, changed, or of another place.
        """
        if not stored.startswith(_MARK):
            raise Blocked(f"{place} is not encrypted, as all that this database holds is. The row is not ours.")
        try:
            sealed = base64.b64decode(stored[len(_MARK) :], validate=True)
            where, _, text = self.cipher.decrypt("aes", sealed).decode().partition("\0")
        except (ValueError, binascii.Error, KeyError):
            raise Blocked(f"{place} cannot be decrypted: it was changed, or encrypted with another key.") from None
        if where != place:
            raise Blocked(f"{place} holds what was stored at another place: {where}. Somebody moved it.")
        return str(text)


@lru_cache(maxsize=8)
def _cipher(key: bytes) -> Any:
    from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

    try:
        return EncryptedSerializer.from_pycryptodome_aes(key=key).cipher
    except ImportError as error:
        raise SettingsError(f"Encryption needs an extra: pip install 'agent-troupe[encryption]' ({error}).") from None
