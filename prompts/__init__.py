"""What we say: Markdown texts, and the loader that fills them in one strict pass.

    prompts/roles/NAME.md    the system prompt of a role
    prompts/moves/NAME.md    what is said at a move of the game: a brief, a review, a repair

A folder of the same shape replaces any of them: `TeamContext(prompts="my-prompts")`, `my-prompts/moves/brief.md`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).parent
_FIELD = re.compile(r"\{\{(\w+)\}\}")


class PromptError(ValueError):
    """A text that is missing, unreadable, or whose fields are not those that are filled in."""


def load(name: str, folder: str | Path | None = None, default: str | None = None) -> str:
    """The text `name` (`roles/qa-engineer`, `moves/brief`), from `folder` if it has one, else `default`, else ours.

    Raises:
        PromptError: there is no such text, or it cannot be read.

    >>> "{{task}}" in load("moves/brief")
    True
    """
    if folder is not None and (text := _replaced(str(folder), name)) is not None:
        if name.startswith("moves/"):
            _same_fields(name, text, folder)
        return text
    if default is not None:
        return default
    if (text := _ours(name)) is None:
        raise PromptError(f"There is no prompt {name!r}. There are: {', '.join(names())}.")
    return text


def check(folder: str | Path | None = None) -> None:
    """Read every text of ours, and of a folder that replaces some, so that nothing is read or found wrong later.

    Raises:
        PromptError: the folder does not exist, or one of its texts is no text of ours or has other fields.
    """
    for name in names():
        load(name)
    if folder is None:
        return
    _replaced.cache_clear()
    root = Path(folder)
    if not root.is_dir():
        raise PromptError(f"There is no folder of prompts at {root}.")
    for path in root.glob("*/*.md"):
        name = f"{path.parent.name}/{path.stem}"
        # Roles may be anybody's.
        if path.parent.name != "roles" and _ours(name) is None:
            raise PromptError(f"{path} replaces no text of ours. There are: {', '.join(names())}.")
        load(name, root)


def names() -> list[str]:
    """The names of all our texts."""
    return sorted(path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.glob("*/*.md"))


@lru_cache(maxsize=512)
def fields(text: str) -> frozenset[str]:
    """The names of the `{{fields}}` in a text."""
    return frozenset(_FIELD.findall(text))


def render(text: str, **values: str) -> str:
    """`text` with its `{{fields}}` filled in, in one pass: a value that looks like a field stays as it is.

    Raises:
        PromptError: a field without a value, or a value without a field.

    >>> render("Dear {{who}}", who="{{me}}")
    'Dear {{me}}'
    """
    if (wanted := fields(text)) != values.keys():
        missing, unused = sorted(wanted - values.keys()), sorted(values.keys() - wanted)
        raise PromptError(f"The prompt's fields do not match: missing values {missing}, unused values {unused}.")
    return _FIELD.sub(lambda match: values[match.group(1)], text)


def _same_fields(name: str, text: str, folder: str | Path) -> None:
    ours = _ours(name)
    if ours is not None and fields(ours) != fields(text):
        raise PromptError(
            f"{Path(folder) / name}.md must use exactly the fields "
            f"{', '.join(sorted(fields(ours))) or 'none'}; it uses {', '.join(sorted(fields(text))) or 'none'}."
        )


@lru_cache(maxsize=256)
def _ours(name: str) -> str | None:
    return _read(str(_FOLDER), name)


@lru_cache(maxsize=256)
def _replaced(folder: str, name: str) -> str | None:
    return _read(folder, name)


def _read(folder: str, name: str) -> str | None:
    path = (Path(folder) / f"{name}.md").resolve()
    if not path.is_relative_to(Path(folder).resolve()):
        raise PromptError(f"{name!r} is not the name of a prompt.")
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"Cannot read the prompt {path}: {error}") from None
