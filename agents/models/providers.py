"""From a spec to a chat model. OpenAI's protocol is spoken through langchain-openai, the rest by init_chat_model."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from troupe.agents.errors import SettingsError, complaints
from troupe.agents.models import SIMULATED
from troupe.agents.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

_LOOPBACK = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104 - compared with, never bound

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, Any]] = WeakKeyDictionary()


def make(wanted: Any, settings: Settings, loop: asyncio.AbstractEventLoop) -> Any:
    """The chat model of a spec, or a chat model made safe for this event loop.

    Raises:
        SettingsError: an unknown provider, a missing package or a missing key; the message says what to do.
    """
    if not isinstance(wanted, str):
        return _adopted(wanted, loop, settings.limits.payload)
    provider, _, name = wanted.partition(":")
    if provider == SIMULATED:
        from troupe.agents.models.simulated import SimulatedChatModel

        return SimulatedChatModel(seed=_seed(name))
    if provider in settings.providers:
        served = settings.providers[provider]
        return _openai(name, served.base_url, served.key_env, settings, provider, loop)
    if provider == "openai":
        url = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")
        return _openai(name, url, "OPENAI_API_KEY", settings, provider, loop)
    return _other(wanted, provider, settings)


def _openai(
    name: str, url: str | None, key_env: str | None, settings: Settings, provider: str, loop: asyncio.AbstractEventLoop
) -> BaseChatModel:
    key = os.environ.get(key_env, "") if key_env else ""
    if not key:
        here = url is not None and (urlsplit(url).hostname or "") in _LOOPBACK
        if key_env and not (provider == "openai" and here):
            raise SettingsError(
                f"{provider}:{name} needs a key: set the environment variable {key_env}"
                + (f" (or remove key_env from [providers.{provider}])." if provider != "openai" else ".")
                + " To run without a model, use --model simulated."
            )
        key = "not-needed"  # servers of one's own ask for none, the client insists on one
    # One client for each event loop: langchain-openai shares its connection pool over all of them, and a connection of
    # a loop that is closed breaks the call that gets it.
    cache = _clients.setdefault(loop, {})
    kind = name, url, key, settings.timeout, settings.limits.payload
    if (made := cache.get(kind)) is not None:
        return made  # type: ignore[no-any-return]
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    from troupe.agents.money.prices import known

    known(name, "openai")  # reads the price table now, in this thread

    made = cache[kind] = ChatOpenAI(
        model=name,
        base_url=url,
        api_key=SecretStr(key),
        timeout=settings.timeout,
        # The Executor owns the only retry loop.
        max_retries=0,
        # With a base_url, streams come without usage unless it is asked for.
        stream_usage=True,
        use_responses_api=False,
        http_async_client=_connections(settings.timeout, settings.limits.payload),
    )
    return made


def _connections(timeout: Any, most: int) -> Any:
    """An HTTP client of its own, that reads no reply much longer than `most` bytes."""
    import openai

    from troupe.agents.models.reading import bounded

    return openai.DefaultAsyncHttpxClient(timeout=timeout, event_hooks={"response": [bounded(most)]})


def _adopted(model: Any, loop: asyncio.AbstractEventLoop, most: int) -> Any:
    """A chat model that the caller made, as one that is safe here: OpenAI's gets its own connections on this event
    loop, leaves retries to the Executor, and reports usage also when it streams.
    """
    if not hasattr(model, "root_async_client") or getattr(model, "http_async_client", None) is not None:
        return model
    import openai

    client = model.root_async_client
    if not isinstance(client, openai.AsyncOpenAI):
        return model
    cache = _clients.setdefault(loop, {})
    if (made := cache.get(id(model))) is None or made[0] is not model:
        client = client.with_options(max_retries=0, http_client=_connections(client.timeout, most))
        own: dict[str, Any] = {"root_async_client": client, "async_client": client.chat.completions, "max_retries": 0}
        if model.stream_usage is None:
            own["stream_usage"] = True
        made = cache[id(model)] = (model, model.model_copy(update=own))
    return made[1]


def _other(spec: str, provider: str, settings: Settings) -> BaseChatModel:
    from langchain.chat_models import init_chat_model

    options: dict[str, Any] = {"timeout": settings.timeout, "max_retries": 0}
    try:
        model = init_chat_model(spec, **options)
    except ImportError as error:
        raise SettingsError(f"{spec} needs another package: {error}") from None
    except ValidationError as error:  # of a model's own fields, such as its key
        raise SettingsError(f"{spec} cannot be used: {complaints(error)}") from None
    except ValueError as error:
        listed = " ".join(str(error).partition("\n")[2].split()) or str(error)
        known = ", ".join(sorted({"openai", SIMULATED, *settings.providers}))
        raise SettingsError(
            f"Unknown provider {provider!r}. Here: {known}, or a server of your own as [providers.{provider}] in "
            f"troupe.toml with its base_url. LangChain: {listed[:600]}"
        ) from None
    except Exception as error:  # noqa: BLE001 - providers raise their own classes for a missing key
        raise SettingsError(f"{spec} cannot be used: {str(error)[:300]}") from None
    return model  # type: ignore[no-any-return]


def _seed(text: str) -> int:
    try:
        return int(text or 0)
    except ValueError:
        raise SettingsError(f"simulated:{text} is not a model: the part after the colon is a seed, a number.") from None
