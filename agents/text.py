"""Text at the border: cleaned, counted, shortened with a word about it, and stripped of secrets."""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SECRETS = re.compile(
    r"(?P<before>(?i:(?<![A-Za-z0-9])(?:api[_-]?key|access[_-]?key(?:[_-]id)?|secret[_-]?key|client[_-]?secret"
    r"|(?:auth|access|refresh|session)[_-]?token|authorization|password|passwd)(?:=|[\"']\s{0,9}[:,]\s{0,9})[\"']?"
    r"(?:bearer |basic )?|x-api-key:\s{0,9}))[^\s&\"',;}]{3,}"
    r"|\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{8,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\b(?:gh[pousr]|hf|gsk)_[A-Za-z0-9]{20,}"
    r"|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\bAIza[A-Za-z0-9_-]{30,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+)?"
    r"|(?i:(?<=bearer )[A-Za-z0-9._~+/-]{8,}=*)"
    r"|(?i:(?<=basic )[A-Za-z0-9+/]{12,}={0,2})"
    r"|(?<=://)[^/\s@:]{0,256}:[^/\s]{0,256}(?=@)"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]{0,8192}(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
)


def clean(text: str) -> str:
    """`text` without what no database stores: NUL characters and lone surrogates become U+FFFD.

    >>> clean("a\\x00b")
    'a\\ufffdb'
    """
    if text.isascii() and "\0" not in text:  # most texts, told at once
        return text
    return _UNSTORABLE.sub("\ufffd", text)


def printable(text: str) -> str:
    """`text` for a terminal: control characters other than newline and tab, and those that turn lines around, are made
    visible.

    >>> printable("\\x1b[31mred")
    '\\\\x1b[31mred'
    """
    return _CONTROL.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def printable_json(text: str) -> str:
    """JSON for a terminal: what is left of such characters in its texts becomes an escape of JSON's own.

    >>> printable_json('["\x9b31m"]')
    '["\\\\u009b31m"]'
    """
    return _CONTROL.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def redact(text: str) -> str:
    """`text` with what looks like a credential replaced.

    >>> redact("key sk-abcdefgh1234 failed")
    'key [redacted] failed'
    """
    return _SECRETS.sub(lambda match: f"{match['before'] or ''}[redacted]", text)


_CREDENTIAL = re.compile(
    r"(?i)(?:^|[^a-z0-9])(?:api_?key|access_?key(?:_id)?|secret|secret_?key|client_?secret|password|passwd|passphrase"
    r"|credentials?|authorization|private_?key|(?:auth|access|refresh|session|bearer|api)_?token|token)$"
)


def is_credential(name: str, value: object = None) -> bool:
    """Whether a field of this name, or with this value, is likely to hold a credential.

    >>> is_credential("openai_api_key"), is_credential("max_tokens"), is_credential("x", "sk-abcdefgh1234")
    (True, False, True)
    """
    return bool(_CREDENTIAL.search(name.replace("-", "_"))) or (isinstance(value, str) and redact(value) != value)


def tokens(text: str) -> int:
    """About how many tokens `text` has: four bytes each, as most tokenizers come near to.

    >>> tokens("four" * 10)
    10
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return (size + 3) // 4


def shorten(text: str, limit: int, hint: str = "") -> str:
    """`text` cut to about `limit` tokens, with a line that says so; head and tail are kept, three to one.

    >>> shorten("word " * 1000, 40).count("[shortened")
    1
    """
    if (size := tokens(text)) <= limit:
        return text
    keep = max(16, 4 * (limit - 24))
    # Cut in bytes, as tokens are counted: a page of Chinese is three times as long as it has characters.
    stored = text.encode("utf-8", "replace")
    head, tail = (
        part.decode("utf-8", "ignore") for part in (stored[: keep * 3 // 4], stored[len(stored) - keep // 4 :])
    )
    return f"{head.rstrip()}\n[shortened: about {size - limit} of {size} tokens left out{hint}]\n{tail.lstrip()}"


def fit(sizes: Sequence[int], limit: int) -> list[int]:
    """How much of each part is kept when all must fit into `limit`: small parts whole, large ones an equal share.

    >>> fit([10, 100, 100], 110)
    [10, 50, 50]
    """
    granted = [0] * len(sizes)
    left = max(limit, 0)
    for rank, index in enumerate(sorted(range(len(sizes)), key=lambda i: sizes[i])):
        granted[index] = min(sizes[index], left // (len(sizes) - rank))
        left -= granted[index]
    return granted


def summary(text: str, limit: int = 120) -> str:
    """The first paragraphs of `text`, up to about `limit` tokens: an extract, made without a model.

    >>> summary("First point.\\n\\n" + "x" * 4000).startswith("First point.")
    True
    """
    if tokens(text) <= limit:
        return text
    head = text.encode("utf-8", "replace")[: limit * 4].decode("utf-8", "ignore")
    stop = max(head.rfind("\n\n"), head.rfind(". ") + 1)
    return f"{head[: stop if stop > len(head) // 4 else len(head)].rstrip()} …"
