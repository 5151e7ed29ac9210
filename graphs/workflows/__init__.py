"""Workflows that come with Troupe: teams from the idea to the release, each a YAML file in this folder.

Copy one to make it yours: `troupe show fullstack > mine.yaml`, `troupe run mine.yaml "TASK"`.
"""

from __future__ import annotations

from pathlib import Path

from troupe.graphs.team import TeamGraph
from troupe.graphs.workflow import Workflow

TEMPLATES = ("aiml", "enterprise", "fullstack")
"""What they are called."""


def template(name: str) -> Workflow:
    """One of them, as data.

    >>> template("fullstack").phases[0].name
    'initiation'
    """
    return Workflow.read(_path(name))


def source(name: str) -> str:
    """The same as it is written, with its comments."""
    return _path(name).read_text("utf-8").rstrip("\n")


def _path(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.yaml")


def aiml() -> TeamGraph:
    """A machine learning system, from the literature to its operation."""
    return template("aiml").build()


def enterprise() -> TeamGraph:
    """A system for a large organisation: analysed, designed, built, tested, deployed and announced."""
    return template("enterprise").build()


def fullstack() -> TeamGraph:
    """A web application, from requirements to release."""
    return template("fullstack").build()
