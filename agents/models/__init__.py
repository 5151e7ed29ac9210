"""Which chat model serves a tier: from a spec in a word, a mapping of tiers, or chat models themselves.

"simulated"                 the built-in model, seeded and free
"openai:gpt-5-mini"         OpenAI, or whatever OPENAI_BASE_URL points to
"local:llama-3"             a server of [providers.local] in the project's file
"anthropic:claude-..."      any provider of langchain's init_chat_model
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import ref

from troupe.agents.contracts import TIERS, Tier
from troupe.agents.errors import SettingsError, UnknownName
from troupe.agents.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

SIMULATED = "simulated"
# Where a tier takes its model from when it has none of its own: the nearest, the better one first.
_NEAREST: dict[Tier, tuple[Tier, ...]] = {
    "economy": ("standard", "premium"),
    "standard": ("premium", "economy"),
    "premium": ("standard", "economy"),
}


class Models:
    """The chat models of one run, made when they are first asked for.

    Args:
        given: what the caller asked for: a spec, a chat model, or either by tier; None leaves it to the settings.
        settings: where specs come from when nothing was given.

    Raises:
        SettingsError: a spec that is no spec.
        UnknownName: a tier that does not exist.
    """

    def __init__(self, given: Any, settings: Settings) -> None:
        self._settings = settings
        chosen: dict[Tier, Any] = {}
        if given is None:
            chosen = dict(settings.tiers())
        elif isinstance(given, Mapping):
            for tier, one in given.items():
                if tier not in TIERS:
                    raise UnknownName("tier", tier, TIERS)
                chosen[tier] = one
        else:
            chosen = dict.fromkeys(TIERS, given)
        if not chosen:
            chosen = dict.fromkeys(TIERS, SIMULATED)
        for tier in TIERS:
            if tier not in chosen:
                chosen[tier] = next(chosen[near] for near in _NEAREST[tier] if near in chosen)
        for one in chosen.values():
            must_be_model(one)
        self.chosen = chosen
        self.simulated = all(is_simulated(one) for one in chosen.values())
        """Whether no real model is called."""
        self._made: dict[Any, BaseChatModel] = {}

    @property
    def specs(self) -> dict[str, str] | None:
        """The specs by tier, to run again later; None if a model was given as an object."""
        specs = {str(tier): one for tier, one in self.chosen.items() if isinstance(one, str)}
        return specs if len(specs) == len(TIERS) else None

    async def get(self, tier: Tier, own: Any = None) -> BaseChatModel:
        """The model of a tier, or an agent's own; in a simulated run none is real.

        Making one imports its provider and reads certificates, which a thread does while the event loop goes on.

        Raises:
            SettingsError: the provider's package or key is missing; the message says what to do.
        """
        if own is None or (self.simulated and not is_simulated(own)):
            own = self.chosen[tier]
        return await self.safe(own)

    async def safe(self, wanted: Any) -> BaseChatModel:
        """The chat model of a spec, or the caller's own, to be used on this event loop."""
        key = wanted if isinstance(wanted, str) else id(wanted)
        if (model := self._made.get(key)) is None:
            from troupe.agents.models.providers import make

            loop = asyncio.get_running_loop()
            # What has no connections needs no thread; `providers` knows those by this attribute, too.
            if is_simulated(wanted) or not (isinstance(wanted, str) or hasattr(wanted, "root_async_client")):
                model = self._made[key] = make(wanted, self._settings, loop)
            else:
                model = self._made[key] = await asyncio.to_thread(make, wanted, self._settings, loop)
        return model


def served_by(model: Any) -> tuple[str, str]:
    """Who serves a chat model, and which model of theirs it is; what has no server is told from others of its kind.

    >>> from types import SimpleNamespace
    >>> served_by(SimpleNamespace(model_name="gpt-5-mini", openai_api_base="http://127.0.0.1:8000/v1"))
    ('127.0.0.1:8000', 'gpt-5-mini at 127.0.0.1:8000')
    """
    known = _served.get(id(model))
    if known is None or known[0]() is not model:
        address = id(model)
        # An address is given again, so that it is forgotten with whatever had it.
        try:
            forgotten = ref(model, lambda _: _served.pop(address, None))
        except TypeError:  # an object that cannot be told from the next one at its place
            return _looked_up(model)
        known = _served[address] = forgotten, _looked_up(model)
    return known[1]


_served: dict[int, tuple[Any, tuple[str, str]]] = {}
_counter = count(1)


def _looked_up(model: Any) -> tuple[str, str]:
    urls = (getattr(model, one, None) for one in ("openai_api_base", "azure_endpoint", "base_url", "endpoint"))
    url = next((str(one) for one in urls if one), "")
    name = getattr(model, "model_name", None) or getattr(model, "model", None)
    provider = urlsplit(url).netloc.rpartition("@")[2] or type(model).__name__
    if is_simulated(model) or not name:
        return (own := f"{provider} {next(_counter)}"), own
    return provider, f"{name} at {provider}"


def is_simulated(model: Any) -> bool:
    """Whether a spec or chat model is one of ours that calls nothing."""
    if isinstance(model, str):
        return model.partition(":")[0] == SIMULATED
    return bool(getattr(model, "is_simulated", False))


def must_be_model(one: Any) -> None:
    """Refuse what is neither a spec nor a chat model.

    Raises:
        SettingsError: it is none; the message shows how one is written.
    """
    if isinstance(one, str):
        provider, colon, name = one.partition(":")
        if provider != SIMULATED and not (provider and colon and name):
            raise SettingsError(
                f"{one!r} is not a model: write provider:name, for example openai:gpt-5-mini, or simulated."
            )
    elif not callable(getattr(one, "ainvoke", None)):
        raise SettingsError(
            f"A model is a spec such as 'openai:gpt-5-mini' or a LangChain chat model, not {type(one).__name__}."
        )
