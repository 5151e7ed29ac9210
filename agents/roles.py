"""A role is data: who someone is in a team. Roles come from our roster, from code, or from a folder of Markdown files.

A Markdown role follows the convention of coding agents: YAML front matter, then the prompt.

    ---
    name: triage
    description: Sorts incoming tickets
    tools: lookup_order
    model: haiku
    ---
    Sort the ticket into one of ...
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from troupe.agents.contracts import TIERS, Tier, Value
from troupe.agents.errors import BuildError, SettingsError, UnknownName, complaints
from troupe.agents.notes import Text
from troupe.prompts import load

Level = Literal["strategic", "tactical", "implementation", "coordination"]

# What `model:` of a coding agent's role means here.
_FAMILIES: dict[str, Tier] = {"haiku": "economy", "sonnet": "standard", "opus": "premium"}


class Role(Value):
    """Who someone is: a name, what they can do, which class of model serves them, and their prompt.

    >>> Role(name="triage", prompt="Sort the ticket.", tier="economy").tier
    'economy'
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}$")
    title: Text = ""
    prompt: Text = ""
    """The system prompt; for a role of the roster the text `prompts/roles/NAME.md`."""
    skills: tuple[str, ...] = ()
    tier: Tier = "standard"
    level: Level = "implementation"
    backups: tuple[str, ...] = ()
    """Roles that can stand in."""
    tools: tuple[str, ...] = ()
    """Names of tools; the tools themselves are given when the agent is made."""
    model: str | None = None
    """A model of its own, in place of its tier's."""

    @field_validator("tier", mode="before")
    @classmethod
    def _known_tier(cls, tier: Any) -> Any:
        if tier not in TIERS:
            raise UnknownName("tier", tier, TIERS)
        return tier

    def text(self, prompts: str | Path | None = None) -> str:
        """The prompt, from the folder `prompts` if that has `roles/NAME.md`."""
        return load(f"roles/{self.name}", prompts, self.prompt or None)


def read_role(path: str | Path) -> Role:
    """The role in a Markdown file.

    Raises:
        SettingsError: the file cannot be read or is no role; names the file and what is wrong.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"Cannot read the role {path}: {error}") from None
    front, prompt = _split(path, text)
    try:
        tier, model = _tier(front.pop("tier", None), front.pop("model", None))
        role = Role(
            name=front.pop("name", None) or path.stem,
            title=front.pop("description", None) or front.pop("title", None) or "",
            prompt=prompt,
            tools=_listed(front.pop("tools", None)),
            tier=tier,
            model=model,
            skills=_listed(front.pop("skills", None)),
            backups=_listed(front.pop("backups", None)),
            **({"level": front.pop("level")} if "level" in front else {}),
        )
    except (ValidationError, BuildError, TypeError) as error:
        raise SettingsError(
            f"{path} is not a role: {complaints(error) if isinstance(error, ValidationError) else error}"
        ) from None
    if not role.prompt:
        raise SettingsError(f"{path} has no prompt: write it below the front matter.")
    return role  # fields of other tools' conventions (color, permissions, ...) are left alone


def read_roles(folder: str | Path) -> dict[str, Role]:
    """The roles of every Markdown file in a folder, by name.

    Raises:
        SettingsError: no such folder, a malformed file, or two roles of one name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SettingsError(f"There is no folder of roles at {folder}.")
    roles: dict[str, Role] = {}
    for path in sorted(folder.glob("*.md")):
        if path.stem.lower() == "readme":
            continue
        role = read_role(path)
        if role.name in roles:
            raise SettingsError(f"{path}: there is already a role named {role.name!r} in this folder.")
        roles[role.name] = role
    return roles


def _split(path: Path, text: str) -> tuple[dict[str, Any], str]:
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---":
        return {}, text.strip()
    try:
        end = next(number for number, line in enumerate(lines[1:], 1) if line.strip() == "---")
    except StopIteration:
        raise SettingsError(f"{path}: the front matter is not closed; end it with a line of three dashes.") from None
    try:
        front = yaml.safe_load("\n".join(lines[1:end])) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # PyYAML lets a bad date through as a ValueError
        raise SettingsError(f"{path}: the front matter is not valid YAML: {error}") from None
    if not isinstance(front, Mapping):
        raise SettingsError(f"{path}: the front matter must be keys and values, such as name: triage.")
    return dict(front), "\n".join(lines[end + 1 :]).strip()


def _listed(given: Any) -> Any:
    """A list, or a text with commas, as coding agents have both."""
    if isinstance(given, str):
        return tuple(one.strip() for one in given.split(",") if one.strip())
    return tuple(given) if isinstance(given, list) else given or ()


def _tier(tier: Any, model: Any) -> tuple[Any, str | None]:
    if isinstance(model, str) and ":" in model:
        return tier or "standard", model
    family = _FAMILIES.get(model, model) if isinstance(model, str) and model != "inherit" else None
    return tier or (family if family in TIERS else "standard"), None
