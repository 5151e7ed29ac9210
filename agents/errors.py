"""Every error that Troupe raises, and how any exception of a call is read as a failure.

    TroupeError
    ├── BuildError (ValueError)       a team, step or gate that cannot work; raised when it is built
    │   └── UnknownName               a role, workflow, tier or step that does not exist; lists those that do
    ├── SettingsError (ValueError)    a setting, file or key that is missing or malformed
    │   └── Unsigned                  a run names code that this user did not record; it is not imported
    ├── InputError (ValueError)       an input or answer that a team cannot take
    ├── StoreError                    the database of runs
    │   ├── UnknownRun                no such run or thread
    │   ├── Held                      another process runs this thread now
    │   ├── GraphChanged              a run would go on with another graph than it began with
    │   └── Blocked                   a stored value of a type that may not be loaded
    ├── CallError                     inside a call; the Executor turns it into a Failed outcome
    │   ├── LimitReached              budget or deadline
    │   ├── CircuitOpen               an agent or provider that failed again and again is left alone for a while
    │   ├── InvalidOutput             a model's answer does not fit what was asked for
    │   ├── Refused                   a model declines to answer
    │   └── Unreadable                a server's answer is no answer of a model
    └── NotCompleted                  raise_unless_completed() on a run that did not complete

Each message says what to do next.
"""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

from pydantic import ValidationError

from troupe.agents.contracts import NO_USAGE, Failed, FailureKind, Usage
from troupe.agents.text import clean, redact


class TroupeError(Exception):
    """The root of the tree above."""


class BuildError(TroupeError, ValueError):
    """A team, step or gate that cannot work as it was put together."""


class UnknownName(BuildError):
    """A name that does not exist; the message suggests the nearest and lists the choices.

    >>> str(UnknownName("role", "codr", ["coder", "tester"]))
    "Unknown role 'codr'. Did you mean 'coder'? There are: coder, tester."
    """

    def __init__(self, what: str, name: object, choices: Iterable[str], hint: str = "") -> None:
        choices = sorted(choices)
        near = difflib.get_close_matches(str(name), choices, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        listed = f" There are: {', '.join(choices)}." if choices else ""
        super().__init__(f"Unknown {what} {str(name)!r}.{guess}{listed}{hint and ' ' + hint}")


class SettingsError(TroupeError, ValueError):
    """A setting, file or key that is missing or malformed."""


class Unsigned(SettingsError):
    """A run names code that this user did not record; it is not imported."""


class InputError(TroupeError, ValueError):
    """An input or answer that a team cannot take."""


class StoreError(TroupeError):
    """The database of runs cannot do what was asked."""


class UnknownRun(StoreError):
    """No such run or thread."""


class Held(StoreError):
    """Another process runs this thread now."""


class GraphChanged(StoreError):
    """A run would go on with another graph than it began with."""


class Blocked(StoreError):
    """A stored value of a type that may not be loaded."""


class CallError(TroupeError):
    """Something went wrong inside a call; carries what the call had used by then."""

    kind: FailureKind = "code"
    retryable = False

    def __init__(self, message: str, usage: Usage = NO_USAGE) -> None:
        super().__init__(message)
        self.usage = usage


class LimitReached(CallError):
    """A budget or a deadline is used up."""

    kind: FailureKind = "limit"


class CircuitOpen(CallError):
    """An agent or provider failed so often in a row that it is left alone for `wait` seconds, 0 while it is probed."""

    kind: FailureKind = "server"
    retryable = True

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.wait = wait


class InvalidOutput(CallError):
    """A model's answer does not fit what was asked for, after every rung of the ladder."""

    kind: FailureKind = "invalid_output"


class EmptyAnswer(InvalidOutput):
    """A model answered with nothing; worth another try."""

    retryable = True


class Refused(CallError):
    """A model declines to answer; asking again would bring the same."""

    kind: FailureKind = "content_filter"


class Unreadable(CallError):
    """A server's answer is not what its client expects, such as a web page with status 200."""

    kind: FailureKind = "server"
    retryable = True


class NotCompleted(TroupeError):
    """A run that was required to complete did not."""


_BY_STATUS: dict[int, tuple[FailureKind, bool]] = {
    400: ("bad_request", False),
    401: ("auth", False),
    403: ("auth", False),
    404: ("not_found", False),
    408: ("timeout", True),
    409: ("server", True),
    413: ("context_length", False),
    422: ("bad_request", False),
    429: ("rate_limit", True),
}

_BY_CODE: dict[str, tuple[FailureKind, bool]] = {
    "insufficient_quota": ("auth", False),
    "context_length_exceeded": ("context_length", False),
    "content_filter": ("content_filter", False),
}

_BY_NAME: tuple[tuple[str, FailureKind, bool], ...] = (
    # Class names, so that no provider's package is imported to know its errors; the first match in the MRO wins.
    ("ContextOverflowError", "context_length", False),
    ("ModelAuthenticationError", "auth", False),
    ("ModelPermissionDeniedError", "auth", False),
    ("ModelNotFoundError", "not_found", False),
    ("ModelRateLimitError", "rate_limit", True),
    ("ModelTimeoutError", "timeout", True),
    ("ModelConnectionError", "connection", True),
    ("ModelInvalidRequestError", "bad_request", False),
    ("ModelAPIError", "server", True),
    ("ContentFilterFinishReasonError", "content_filter", False),
    ("OpenAIRefusalError", "content_filter", False),
    ("LengthFinishReasonError", "invalid_output", False),
    ("TimeoutException", "timeout", True),
    ("TransportError", "connection", True),
    ("JSONDecodeError", "server", True),
    ("APIResponseValidationError", "server", True),
    ("APITimeoutError", "timeout", True),
    ("APIConnectionError", "connection", True),
    ("APIError", "server", True),
    ("OpenAIError", "auth", False),  # by itself, it is the client that was made without a key
    ("TimeoutError", "timeout", True),
    ("ConnectionError", "connection", True),
    ("gaierror", "connection", True),
)

_ADVICE: dict[FailureKind, str] = {
    "auth": "Check the key (for OpenAI: OPENAI_API_KEY) and what it may use.",
    "not_found": "Check the model's name and the base URL.",
    "connection": "Check that the server runs and that the base URL is right.",
    "context_length": "Give less text, or lower TROUPE_BRIEF_TOKENS.",
    "rate_limit": "Wait, or ask the provider for a higher limit.",
}


_LONGEST = 8_000
"""Characters of an error's own words that are looked at; a server may send a whole book."""


def describe(error: BaseException) -> str:
    """One line for people: class and message, secrets out, bounded."""
    try:
        message = " ".join(clean(redact(str(error)[:_LONGEST])).split())
    except Exception:  # noqa: BLE001 - an exception whose own words fail is still to be told of
        message = ""
    name = type(error).__name__
    return f"{name}: {message[:600]}" if message else name


def complaints(error: ValidationError, most: int = 8) -> str:
    """What is wrong with a value, field by field, in one line."""
    wrong = (f"{'.'.join(map(str, one['loc'])) or 'value'}: {one['msg']}" for one in error.errors()[:most])
    return "; ".join(wrong)


def failure(error: BaseException, usage: Usage = NO_USAGE, attempts: int = 1) -> Failed:
    """Any exception of a call as a `Failed`: what kind it is, and whether another try may help.

    >>> failure(ConnectionError("refused")).kind, failure(KeyError("x")).retryable
    ('connection', False)
    """
    if isinstance(error, CallError):
        return Failed(error.kind, clean(redact(str(error)[:_LONGEST])), error.retryable, usage + error.usage, attempts)
    kind, retryable = _read(error)
    advice = _ADVICE.get(kind)
    cause = describe(error) + (f" {advice}" if advice else "")
    return Failed(kind, cause, retryable, usage, attempts)


def _read(error: BaseException) -> tuple[FailureKind, bool]:
    # A provider's code says more than its status: a used-up quota is a 429 that no waiting mends.
    if (known := _BY_CODE.get(str(getattr(error, "code", None)))) is not None:
        return known
    status = getattr(error, "status_code", getattr(getattr(error, "response", None), "status_code", None))
    if isinstance(status, int):
        known = _BY_STATUS.get(status) or (("server", True) if status >= 500 else None)
        if known and not any(base.__name__ == "ContextOverflowError" for base in type(error).__mro__):
            return known
    names = {base.__name__ for base in type(error).__mro__}
    for name, kind, retryable in _BY_NAME:
        if name in names:
            return kind, retryable
    return ("server", True) if getattr(error, "is_retryable", False) else ("code", False)


def retry_after(error: BaseException) -> float | None:
    """The seconds that a server asked to wait, if it did, or that a circuit is open."""
    if isinstance(error, CircuitOpen):
        return error.wait
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            seconds = float(milliseconds) / 1000
        elif (asked := str(headers["retry-after"])).endswith("GMT"):
            seconds = parsedate_to_datetime(asked).timestamp() - time.time()
        else:
            seconds = float(asked)
    except (KeyError, ValueError, TypeError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
