"""What makes two chat models the same: who serves it, which model it is, and every parameter that changes its words.

Never a key, a password or a header: whoever has another key gets the same answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from langchain_core.runnables import RunnableBinding
from pydantic import BaseModel, SecretStr

from troupe.agents.text import redact

_SECRET = re.compile(r"(?i)(api_?key|secret|passw|credential|authoriz|headers?$|cookie|(^|_)(token|key|auth)$)")
# What changes neither which model it is nor what it says.
_IDLE = {
    "cache", "callbacks", "callback_manager", "verbose", "tags", "metadata", "name", "rate_limiter",
    "custom_get_token_ids", "disable_streaming", "streaming", "stream_usage", "stream_chunk_timeout", "max_retries",
    "timeout", "request_timeout", "client", "async_client", "root_client", "root_async_client", "http_client",
    "http_async_client", "http_socket_options", "tiktoken_model_name", "profile", "output_version", "latency",
    "asked", "organization", "openai_organization", "openai_proxy", "include_response_headers", "is_simulated",
    "lines", "faults",
}  # fmt: skip
_NAMES = ("model_name", "model", "model_id", "deployment_name", "azure_deployment")


@dataclass(frozen=True, slots=True)
class Identity:
    """A model's identity as a text; `offline` when nothing is called and nothing is paid for."""

    text: str
    offline: bool = False


def identity(model: Any) -> Identity | None:
    """What makes the model what it is; None if that cannot be told.

    >>> from types import SimpleNamespace
    >>> identity(SimpleNamespace()) is None
    True
    """
    bound: list[Any] = []
    while isinstance(model, RunnableBinding):
        bound.append(_plain(dict(model.kwargs)))
        model = model.bound
    offline = bool(getattr(model, "is_simulated", False))
    own = getattr(model, "identity", None)
    if not isinstance(own, str) and not any(isinstance(getattr(model, one, None), str) for one in _NAMES):
        return None
    if not isinstance(model, BaseModel):
        return None
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    text = json.dumps([kind, own, _fields(model), bound], sort_keys=True, default=repr)
    return Identity(text, offline)


def _fields(model: BaseModel) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name, None)
        if value is None or name in _IDLE or name.startswith("_") or _SECRET.search(name):
            continue
        value = _plain(value)
        if value is not None:
            found[name] = value
    return found


def _plain(value: Any) -> Any:
    """Plain data without credentials; None for what is none, such as a client."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _address(value) if "://" in value else redact(value)
    if isinstance(value, SecretStr):
        return None
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items() if not _SECRET.search(str(name))}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return None


def _address(url: str) -> str:
    """A URL without user and password; what follows a question mark may be a key."""
    parts = urlsplit(url)
    return redact(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
