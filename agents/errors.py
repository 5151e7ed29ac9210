"""Every error that Troupe raises, and how any exception of a call is read as a failure.

    TroupeError
    ├── BuildError (ValueError)       a team, step or gate that cannot work; raised when it is built
    │   └── UnknownName               a role, workflow, tier or step that does not exist; lists those that do
    ├── SettingsError (ValueError)    a setting, file or key that is missing or malformed
    ├── InputError (ValueError)       an input or answer that a team cannot take
    ├── StoreError                    the database of runs
    │   ├── UnknownRun                no such run or thread
    │   ├── Held                      another process runs this thread now
    │   └── Blocked                   a stored value of a type that may not be loaded
    ├── CallError                     inside a call; the Executor turns it into a Failed outcome
    │   ├── LimitReached              budget or deadline
    │   └── InvalidOutput             a model's answer does not fit what was asked for
    └── NotCompleted                  raise_unless_completed() on a run that did not complete

Each message says what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

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


class InputError(TroupeError, ValueError):
    """An input or answer that a team cannot take."""


class StoreError(TroupeError):
    """The database of runs cannot do what was asked."""


class UnknownRun(StoreError):
    """No such run or thread."""


class Held(StoreError):
    """Another process runs this thread now."""


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


class InvalidOutput(CallError):
    """A model's answer does not fit what was asked for, after every rung of the ladder."""

    kind: FailureKind = "invalid_output"


class EmptyAnswer(InvalidOutput):
    """A model answered with nothing; worth another try."""

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
    ("TimeoutError", "timeout", True),
    ("ConnectionError", "connection", True),
)

_ADVICE: dict[FailureKind, str] = {
    "auth": "Check the key and what it may use (the environment variable that the provider's settings name).",
    "not_found": "Check the model's name and the base URL.",
    "connection": "Check that the server runs and that the base URL is right.",
    "context_length": "Give less text, or lower TROUPE_BRIEF_TOKENS.",
    "rate_limit": "Wait, or ask the provider for a higher limit.",
}


def describe(error: BaseException) -> str:
    """One line for people: class and message, secrets out, bounded."""
    message = " ".join(clean(redact(str(error))).split())
    name = type(error).__name__
    return f"{name}: {message[:600]}" if message else name


def failure(error: BaseException, usage: Usage = NO_USAGE, attempts: int = 1) -> Failed:
    """Any exception of a call as a `Failed`: what kind it is, and whether another try may help.

    >>> failure(ConnectionError("refused")).kind, failure(KeyError("x")).retryable
    ('connection', False)
    """
    if isinstance(error, CallError):
        return Failed(error.kind, clean(redact(str(error))), error.retryable, usage + error.usage, attempts)
    kind, retryable = _read(error)
    advice = _ADVICE.get(kind)
    cause = describe(error) + (f" {advice}" if advice else "")
    return Failed(kind, cause, retryable, usage, attempts)


def _read(error: BaseException) -> tuple[FailureKind, bool]:
    # A provider's code says more than its status: a used-up quota is a 429 that no waiting mends.
    if (known := _BY_CODE.get(str(getattr(error, "code", None)))) is not None:
        return known
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        known = _BY_STATUS.get(status) or (("server", True) if status >= 500 else None)
        if known and not any(base.__name__ == "ContextOverflowError" for base in type(error).__mro__):
            return known
    names = {base.__name__ for base in type(error).__mro__}
    for name, kind, retryable in _BY_NAME:
        if name in names:
            return kind, retryable
    if getattr(error, "is_retryable", False):
        return "server", True
    if getattr(error, "status", None) is None and type(error).__module__.partition(".")[0] == "openai":
        return "server", True
    return "code", False


def retry_after(error: BaseException) -> float | None:
    """The seconds that a server asked to wait, if it did."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError, TypeError):
        return None
