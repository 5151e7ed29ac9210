"""What the site has besides the pages in this folder: a reference, with a page for each module of the public API.

It is written while the site is built. Signatures and docstrings are read by mkdocstrings; here it is said which.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import troupe

MODULES = {**troupe._MODULES, "checkpoints": ["sqlite", "postgres", "memory"]}
FLOORS = {"agents": "Agents", "graphs": "Graphs", "": "Runs"}
DOCTEST = re.compile(r"(?m)^>>> .*(?:\n.+)*")
OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")
DRAWING = re.compile(r"```mermaid\n.*?```\n?", re.DOTALL)

PAGE = """# troupe.{module}

```python
from {where} import {names}
```

::: troupe.{module}
    options:
      members: [{names}]
"""


class Docstrings(griffe.Extension):
    """Doctests become code blocks; drawings, which the patterns' own pages show as pictures, are left out."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of whatever was found."""
        if obj.docstring is not None:
            text = DRAWING.sub("", inspect.cleandoc(obj.docstring.value))
            obj.docstring.value = DOCTEST.sub(lambda found: f"```pycon\n{found[0]}\n```", text)


def on_config(config: MkDocsConfig) -> None:
    """Add the pages to the navigation, floor by floor."""
    floors: list[Any] = ["reference/index.md"]
    for floor, title in FLOORS.items():
        pages = [{module: _path(module)} for module in _on(floor)]
        floors.append({title: pages})
    config.nav = [*(config.nav or []), {"Reference": floors}]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages themselves."""
    files.append(File.generated(config, "reference/index.md", content=_contents()))
    for module, names in MODULES.items():
        where = "troupe.checkpoints" if module == "checkpoints" else "troupe"
        page = PAGE.format(module=module, where=where, names=", ".join(names))
        files.append(File.generated(config, _path(module), content=page))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name the files of the repository that a page links to: on the site there are none."""
    return OUTSIDE.sub(r"\1", markdown)


def _contents() -> str:
    """Every public name with its first sentence."""
    parts = ["# Reference\n\nEverything that `from troupe import ...` gives."]
    for floor, title in FLOORS.items():
        parts.append(f"## {title}\n\n| | |\n|---|---|")
        for module in _on(floor):
            for name in MODULES[module]:
                value = getattr(troupe.checkpoints if module == "checkpoints" else troupe, name)
                said = (inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
                shown = f"checkpoints.{name}" if module == "checkpoints" else name
                parts[-1] += f"\n| [`{shown}`]({module}.md#troupe.{module}.{name}) | {said} |"
    return "\n\n".join(parts)


def _on(floor: str) -> list[str]:
    return sorted(one for one in MODULES if (home if (home := one.partition(".")[0]) in FLOORS else "") == floor)


def _path(module: str) -> str:
    return f"reference/{module}.md"
