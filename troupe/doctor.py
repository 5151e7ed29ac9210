"""How things stand here: versions, settings, database, models, keys, and model servers on this machine.

The one place that looks for servers by itself; everything else calls only what it was told to.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from troupe.agents.errors import TroupeError
from troupe.agents.settings import Settings, project_file
from troupe.agents.text import redact

PACKAGES = ("agent-troupe", "langgraph", "langchain", "langchain-openai", "langgraph-checkpoint-sqlite", "pydantic")
KEYS = (
    "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY", "GROQ_API_KEY",
    "DEEPSEEK_API_KEY", "OPENROUTER_API_KEY", "AZURE_OPENAI_API_KEY", "XAI_API_KEY",
)  # fmt: skip
SERVERS: dict[str, str] = {
    "ollama": "http://127.0.0.1:11434/v1",
    "lmstudio": "http://127.0.0.1:1234/v1",
    "vllm": "http://127.0.0.1:8000/v1",
    "llamacpp": "http://127.0.0.1:8080/v1",
}
PATIENCE = 1.0  # seconds for a server on this machine to answer


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: fine, not fine, or (None) only to be known."""

    name: str
    ok: bool | None
    said: str
    data: Any = None

    def to_json(self) -> dict[str, Any]:
        """The check as plain data."""
        return asdict(self)


def examination(db: str | Path | None = None, servers: Mapping[str, str] = SERVERS) -> list[Check]:
    """Look at everything; a check that fails says what to do.

    Args:
        db: the database that is meant, if not the usual one.
        servers: OpenAI-compatible base URLs by name.
    """
    return [*_versions(), *_settings(db), _keys(), *_servers(servers)]


def _versions() -> Iterator[Check]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", sys.version_info >= (3, 11), f"{python}  {sys.executable}", python)
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    said = "\n".join(f"{name} {number or 'MISSING: pip install agent-troupe'}" for name, number in found.items())
    yield Check("packages", None not in found.values(), said, found)


def _settings(db: str | Path | None) -> Iterator[Check]:
    file = project_file()
    where = f"from {file}" if file else "no troupe.toml here or above, so the environment and the defaults"
    try:
        settings = Settings.load()
    except TroupeError as error:
        yield Check("settings", False, redact(str(error)), file and str(file))
        if db is not None:
            yield _database(db)
        return
    yield Check("settings", True, where, file and str(file))
    from troupe.checkpoints import default_place

    yield _database(db or default_place())
    yield _models(settings)
    yield _roles(settings)


def _database(place: str | Path) -> Check:
    from troupe.checkpoints import is_url, shown, store_at

    if is_url(place) or Path(place).exists():
        try:
            store_at(place).close()
        except TroupeError as error:
            return Check("database", False, redact(str(error)), shown(place))
        if is_url(place):
            return Check("database", True, shown(place), shown(place))
    path = Path(place)
    if path.exists():
        ok = os.access(path, os.W_OK)
        return Check("database", ok, f"{path}" if ok else f"{path} cannot be written. Choose another: --db.", str(path))
    folder = next(one for one in path.absolute().parents if one.exists())
    ok = folder.is_dir() and os.access(folder, os.W_OK)
    said = f"{path} (made by the first run)" if ok else f"{path} cannot be made: {folder} is not writable. Use --db."
    return Check("database", ok, said, str(path))


def _models(settings: Settings) -> Check:
    from troupe.agents.models import Models, is_simulated

    try:
        models = Models(None, settings)
        said = {
            str(tier): f"{one}{' (no model is called)' if is_simulated(one) else ''}"
            for tier, one in models.chosen.items()
        }
        asyncio.run(_made(models))
    except TroupeError as error:
        return Check("models", False, redact(str(error)))
    lines = [f"{tier:<9}{one}" for tier, one in said.items()]
    if models.simulated:
        lines.append('with a real one: --model openai:gpt-5-mini, or in troupe.toml: model = "openai:gpt-5-mini"')
    return Check("models", True, "\n".join(lines), {str(tier): one for tier, one in models.chosen.items()})


async def _made(models: Any) -> None:
    for tier in models.chosen:
        await models.get(tier)


def _roles(settings: Settings) -> Check:
    from troupe.agents.roster import ROSTER, known_roles

    try:
        own = sorted(known_roles(settings.roles).keys() - ROSTER.keys())
    except TroupeError as error:
        return Check("roles", False, str(error))
    return Check("roles", True, f"{len(ROSTER)} of ours{', and ' + ', '.join(own) if own else ''}", own)


def _keys() -> Check:
    """Names alone; no value of a key is ever shown."""
    try:
        named = {one.key_env for one in Settings.load().providers.values() if one.key_env}
    except TroupeError:
        named = set()
    found = [name for name in (*KEYS, *sorted(named - set(KEYS))) if os.environ.get(name)]
    said = ", ".join(found) if found else "none set"
    return Check("keys", None, f"{said}{' (not used unless a model is chosen)' if found else ''}", found)


def _servers(servers: Mapping[str, str]) -> Iterator[Check]:
    with ThreadPoolExecutor(max(len(servers), 1)) as pool:
        answers = list(pool.map(_ask, servers.values()))
    found = {name: models for name, models in zip(servers, answers, strict=True) if models is not None}
    if not found:
        ports = ", ".join(f"{name} {url.rpartition(':')[2].partition('/')[0]}" for name, url in servers.items())
        yield Check("servers", None, f"none on this machine ({ports})", {})
    for name, models in found.items():
        listed = ", ".join(models[:8]) + (f" and {len(models) - 8} more" if len(models) > 8 else "")
        spec = f"{name}:{models[0] if models else 'MODEL'}"
        lines = [
            f"{name} at {servers[name]}: {listed or 'no models loaded'}",
            "use it by this in troupe.toml:",
            f'  model = "{spec}"',
            f"  [providers.{name}]",
            f'  base_url = "{servers[name]}"',
        ]
        yield Check("server", None, "\n".join(lines), {"name": name, "base_url": servers[name], "models": models})


def _ask(url: str) -> list[str] | None:
    """The models of a server, None where none answers as one."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/models", timeout=PATIENCE) as reply:
            listed = json.loads(reply.read(1_000_000))["data"]
            return [str(one["id"]) for one in listed]
    except (OSError, ValueError, LookupError, TypeError):
        return None
