"""Settings: an argument, else `TROUPE_*` in the environment, else the project's file, else the default.

The project's file is `troupe.toml`, or the table `[tool.troupe]` of `pyproject.toml`, in the current folder or the
nearest one above it:

    model = "openai:gpt-5-mini"          # every tier; TROUPE_MODEL
    timeout = 120                        # seconds per attempt of a call; TROUPE_TIMEOUT

    [tiers]                              # TROUPE_TIER_PREMIUM, ...
    premium = "openai:gpt-5"

    [limits]                             # TROUPE_LIMITS__CALLS, ...
    calls = 500

    [providers.local]                    # then: model = "local:llama-3"
    base_url = "http://127.0.0.1:8000/v1"
    key_env = "LOCAL_API_KEY"            # the NAME of the variable that holds the key
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from troupe.agents.contracts import TIERS, Tier
from troupe.agents.errors import SettingsError
from troupe.agents.limits import Limits

_cached: dict[str, Any] = {}


class Provider(BaseModel):
    """A server that speaks the OpenAI protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    key_env: str | None = None


class Settings(BaseSettings):
    """What can be set outside the code. `Settings.load()` reads it and says clearly what is wrong.

    >>> Settings(timeout=5).timeout
    5.0
    """

    model_config = SettingsConfigDict(
        env_prefix="TROUPE_", frozen=True, extra="forbid", env_ignore_empty=True, env_nested_delimiter="__"
    )

    model: str | None = None
    tier_economy: str | None = None
    tier_standard: str | None = None
    tier_premium: str | None = None
    providers: dict[str, Provider] = {}
    timeout: float = Field(120.0, gt=0)
    """Seconds per attempt of a call."""
    retries: int = Field(3, ge=0, le=20)
    """Further attempts after a failure that may pass."""
    max_concurrency: int = Field(32, ge=1)
    """Calls at work at once, over the whole process."""
    max_requests: int = Field(40, ge=1)
    """Model requests that an agent with tools may make in one call."""
    answer_within: float | None = Field(None, gt=0)
    """Seconds in which a person's answer counts; by default for ever."""
    brief_tokens: int = Field(24_000, ge=500)
    """The longest brief, in tokens (about four bytes each)."""
    cache: bool = False
    """Whether replies of models are kept over runs, and not asked for again."""
    cache_ttl: float = Field(604_800.0, gt=0)
    """Seconds for which a kept reply counts; a week."""
    limits: Limits = Limits()
    """Bounds that no honest run meets; the table [limits], or TROUPE_LIMITS__CALLS, ..."""
    trace_content: bool = False
    """Whether traces hold what agents read and write."""
    prompts: Path | None = None
    """A folder whose texts replace ours."""
    roles: Path | None = None
    """A folder of Markdown roles to add."""
    db: str | Path | None = None
    """The database of runs: a file, or a postgresql:// URL; by default a file in the user's state directory."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Argument, environment, project file."""
        return init_settings, env_settings, _ProjectFile(settings_cls)

    @classmethod
    def load(cls, **values: Any) -> Settings:
        """Read the settings.

        Raises:
            SettingsError: a malformed file or value; the message names it.
        """
        try:
            return cls(**values)
        except UnreadableSetting as error:
            raise SettingsError(f"Bad settings in the environment's TROUPE_*: {error}: {error.__cause__}.") from None
        except ValidationError as error:
            where = project_file()
            lines = [f"  {'.'.join(map(str, one['loc'])) or 'settings'}: {one['msg']}" for one in error.errors()]
            known = ", ".join(sorted(cls.model_fields))
            raise SettingsError(
                "Bad settings (from the environment's TROUPE_* or "
                f"{where or 'a project file'}):\n" + "\n".join(lines) + f"\nKnown settings: {known}."
            ) from None

    @classmethod
    def current(cls) -> Settings:
        """The settings as last read; looks at no file, so that it may be called inside an event loop."""
        return _cached.get("settings") or cls.refresh()

    @classmethod
    def refresh(cls) -> Settings:
        """The settings as they are now; read again only when the environment, the folder or the file changed.

        Building a team and the doors do this.

        Raises:
            SettingsError: see `load`.
        """
        file = project_file()
        ours = tuple((name, value) for name, value in os.environ.items() if name.startswith("TROUPE_"))
        key = (str(Path.cwd()), ours, file and (str(file), file.stat().st_mtime_ns))
        if _cached.get("key") != key:
            _cached.update(key=key, settings=cls.load())
        return _cached["settings"]  # type: ignore[no-any-return]

    def tiers(self) -> dict[Tier, str]:
        """The model specs by tier, as far as they are set."""
        chosen = {tier: getattr(self, f"tier_{tier}") or self.model for tier in TIERS}
        return {tier: spec for tier, spec in chosen.items() if spec}


class _ProjectFile(PydanticBaseSettingsSource):
    """The nearest project file as a source of settings."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        path = project_file()
        if path is None:
            return {}
        values = _table(path)
        tiers = values.pop("tiers", {})
        if not isinstance(tiers, dict):
            raise SettingsError(f"{path}: [tiers] must be a table such as premium = 'openai:gpt-5'.")
        for tier, spec in tiers.items():
            if tier not in TIERS:
                raise SettingsError(f"{path}: unknown tier {tier!r}. There are: {', '.join(TIERS)}.")
            values[f"tier_{tier}"] = spec
        # Paths in a file are meant from where the file lies.
        for name in ("prompts", "roles", "db"):
            if isinstance(values.get(name), str) and "://" not in values[name]:
                values[name] = path.parent / values[name]
        return values


def project_file() -> Path | None:
    """The nearest `troupe.toml`, or `pyproject.toml` with a `[tool.troupe]` table, from here upwards."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        own, shared = folder / "troupe.toml", folder / "pyproject.toml"
        if own.is_file():
            return own
        if shared.is_file() and _mentions_us(shared):
            return shared
    return None


def _mentions_us(path: Path) -> bool:
    try:
        return "[tool.troupe" in path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _table(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
    table = values if path.name == "troupe.toml" else values.get("tool", {}).get("troupe", {})
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: [tool.troupe] must be a table.")
    return dict(table)
