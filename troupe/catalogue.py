"""What can be run: our patterns and workflows by name, and anything of yours by reference.

    "sequential"            a pattern with its own line-up
    "fullstack"             a workflow that comes with us
    "release.yaml"          a workflow of yours
    "my_package.teams:team" a graph, team, workflow, agent or function, or a function without arguments that makes one
    "teams.py:team"         the same in a file

The table itself is light: LangGraph is imported when something of it is made.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Literal

from troupe.agents.errors import BuildError, SettingsError, UnknownName

if TYPE_CHECKING:
    from troupe.graphs.team import Team, TeamGraph

SUFFIXES = (".yaml", ".yml")
"""Of files that hold a workflow."""
_loading: ContextVar[Path | None] = ContextVar("troupe_loading", default=None)


@dataclass(frozen=True, slots=True)
class Entry:
    """A pattern or workflow of ours.

    Attributes:
        builder: where it is built, under `troupe.`.
        uses: what it is good for, by name; the pattern's page in docs/ has an example of each.
    """

    name: str
    summary: str
    builder: str
    kind: Literal["pattern", "workflow"] = "pattern"
    uses: Mapping[str, str] = field(default_factory=dict)

    def make(self) -> TeamGraph:
        """The graph, with the line-up of its own."""
        module, _, name = self.builder.partition(":")
        graph: TeamGraph = getattr(importlib.import_module(f"troupe.{module}"), name)()
        return graph


PATTERNS: dict[str, Entry] = {
    one.name: one
    for one in (
        Entry(
            "adaptive",
            "chooses for each task one of the others, or a single agent; changes it where it does not do",
            "graphs.adaptive:adaptive",
        ),
        Entry(
            "sequential",
            "each step builds on the last: research, build, validate, document, release",
            "graphs.sequential:sequential",
            uses={
                "Complex development workflow": "each step has its gate, and the tests send the design back",
                "Quality-assurance pipeline": "what costs nothing is checked first, and by code",
                "Research to implementation": "a decision is handed on as data, and what is built on it is run",
            },
        ),
        Entry(
            "parallel",
            "branches work at once: interface, backend, data and security, then integrated and validated",
            "graphs.parallel:parallel",
            uses={
                "Multi-component development": "built by teams of their own, then tested together",
                "Comprehensive analysis": "one branch for each side of a question, weighed with what there is",
                "Simultaneous validation": "several judge the same thing at once, and the quickest two are enough",
            },
        ),
        Entry(
            "hierarchical",
            "levels: architects decide and delegate, engineers build, ask above, and are judged by what was decided",
            "graphs.hierarchical:hierarchical",
            uses={
                "Complex architectural decision": "alternatives are worked out under the same directives",
                "Enterprise system design": "whole teams implement what is decided above them",
                "Multi-domain integration": "each domain delivers its package as soon as those it needs are there",
            },
        ),
        Entry(
            "mesh",
            "a hub gives work to a pool of fifteen, round by round; peers hand on and share a board",
            "graphs.mesh:mesh",
            uses={
                "Adaptive problem solving": "what is done next depends on what was found",
                "Exploratory development": "nobody knows the way; guards bound how far the search goes",
                "Multi-domain challenge": "every part goes to whoever knows most about it",
            },
        ),
    )
}

WORKFLOWS: dict[str, Entry] = {
    name: Entry(name, summary, f"graphs.workflows:{name}", "workflow")
    for name, summary in (
        ("aiml", "a model, from research to operation: data, training and serving, tuned, validated, documented"),
        ("enterprise", "a system among others: analysed, designed, built by three at once, tested, rolled out"),
        ("fullstack", "a web application: interface and backend at once, integrated, tested, documented, released"),
    )
}

CATALOGUE = PATTERNS | WORKFLOWS
"""All of ours."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that can be run, its name, and where it can be imported from (None if nowhere)."""

    team: Team
    name: str
    reference: str | None


def resolve(given: Any, caller: FrameType | None = None) -> Target:
    """A team from whatever was given; objects look for their importable name in the caller's module.

    Raises:
        UnknownName: no such name.
        SettingsError: a reference that cannot be imported.
        BuildError: an object that cannot be run.
    """
    if isinstance(given, Target):
        return given
    if isinstance(given, str):
        return _named(given)
    team = as_team(given)
    return Target(team, str(team.get_name()), _reference(given, caller))


def as_team(given: Any) -> Team:
    """A compiled team from a graph, team, workflow, agent, step or function; what is no team becomes its one step."""
    from troupe.graphs.sequential import sequential
    from troupe.graphs.step import Step
    from troupe.graphs.team import Team, TeamGraph
    from troupe.graphs.workflow import Workflow

    if isinstance(given, Team):
        return given
    if isinstance(given, Workflow):
        given = given.build()
    if isinstance(given, TeamGraph):
        return given.compile()
    if isinstance(given, type) or given is None:
        raise BuildError(f"{given!r} cannot be run. Give a graph, an agent, or a name: {', '.join(CATALOGUE)}.")
    step = given if isinstance(given, Step) else Step(given)
    return sequential(step, name=step.name).compile()


def _named(name: str) -> Target:
    if name in CATALOGUE:
        return Target(CATALOGUE[name].make().compile(), name, name)
    if name.endswith(SUFFIXES):
        from troupe.graphs.workflow import Workflow

        team = as_team(Workflow.read(name))
        return Target(team, str(team.get_name()), str(Path(name).resolve()))
    if ":" not in name:
        hint = "Your own is file.yaml, file.py:name or package.module:name."
        raise UnknownName("workflow", name, CATALOGUE, hint)
    from langgraph.graph import StateGraph

    from troupe.agents.agent import Agent
    from troupe.graphs.team import Team, TeamGraph
    from troupe.graphs.workflow import Workflow

    where, _, attribute = name.rpartition(":")
    module = _loaded(where)
    try:
        found = getattr(module, attribute)
    except AttributeError:
        choices = [
            one
            for one, value in vars(module).items()
            if isinstance(value, TeamGraph | Team | Workflow | Agent | StateGraph)
        ]
        raise UnknownName(f"name in {where}", attribute, choices) from None
    found = _meant(found, module, name)
    reference = f"{Path(where).resolve()}:{attribute}" if where.endswith(".py") else name
    return Target(as_team(found), attribute, reference)


def function_at(name: str) -> Callable[..., Any]:
    """A user's function by reference, as it is.

    Raises:
        UnknownName: there is none of that name; one that a module has imported counts where it is defined.
        SettingsError: the module cannot be imported.
    """
    where, colon, attribute = name.rpartition(":")
    if not colon:
        raise SettingsError(f"{name!r} names no function: write file.py:name or package.module:name.")
    module = _loaded(where)
    own = {one: value for one, value in vars(module).items() if inspect.isfunction(inspect.unwrap(value))}
    own = {one: value for one, value in own.items() if value.__module__ == module.__name__}
    if attribute not in own:
        raise UnknownName(f"function in {where}", attribute, own)
    found: Callable[..., Any] = own[attribute]
    return found


def _loaded(where: str) -> ModuleType:
    return _file(Path(where)) if where.endswith(".py") else _module(where)


def _meant(found: Any, module: ModuleType, name: str) -> Any:
    """What a reference stands for: the object it names, or what the function it names makes.

    Raises:
        SettingsError: it is neither something that works nor a function of that very module: whatever can be imported
            has a name, and must not be called because of that.
    """
    from langchain_core.runnables import Runnable
    from langgraph.graph import StateGraph

    from troupe.agents.roles import Role
    from troupe.graphs.step import Step
    from troupe.graphs.workflow import Workflow

    if isinstance(found, Runnable | Step | StateGraph | Role | Workflow):
        return found
    function = inspect.unwrap(found) if callable(found) else found
    if not inspect.isfunction(function):
        raise SettingsError(
            f"{name} is {_kind(found)}. A target is a graph, team, workflow, agent or step, or a function of that "
            "module which makes one or takes the Brief."
        )
    if function.__module__ != module.__name__:
        raise SettingsError(f"{name} is a function of {function.__module__}. Name it where it is defined.")
    return found if _takes_brief(function) else found()


def _kind(found: Any) -> str:
    if isinstance(found, type):
        return f"the class {found.__name__}"
    if inspect.isbuiltin(found):
        return "a builtin function"
    return f"a {type(found).__name__}"


def refuse_while_loading() -> None:
    """Refuse to run anything while a user's file is only being read for the team in it.

    Raises:
        SettingsError: a file is being loaded.
    """
    if (path := _loading.get()) is not None:
        raise SettingsError(
            f'{path} runs a team as soon as it is imported. Put its run(...) under: if __name__ == "__main__":'
        )


def _takes_brief(function: Any) -> bool:
    return any(
        one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL)
        for one in inspect.signature(function).parameters.values()
    )


def _file(path: Path) -> ModuleType:
    path = path.resolve()
    main = sys.modules["__main__"]
    if (started := getattr(main, "__file__", None)) and Path(started).resolve() == path:
        return main  # the script that runs now must not be run again
    if not path.is_file():
        raise SettingsError(f"There is no file {path}.")
    name = f"troupe_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Fresh(name, str(path)))
    assert spec is not None  # noqa: S101 - a .py file always has a spec and a loader
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # The file may import its neighbours, as it could if it were run.
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    loading = _loading.set(path)
    try:
        spec.loader.exec_module(module)
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        _loading.reset(loading)
    return module


class _Fresh(SourceFileLoader):
    """Reads the file itself: what Python has compiled of it may be older, where it was changed within a second."""

    def get_code(self, fullname: str) -> CodeType:
        """The code as it stands there."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _module(name: str) -> ModuleType:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a console script does not see the folder it is started in
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SettingsError(f"The module {name!r} cannot be imported: {error}") from None


def _reference(given: Any, caller: FrameType | None) -> str | None:
    if caller is None:
        return None
    names = caller.f_globals
    name = next((one for one, value in names.items() if value is given and not one.startswith("_")), None)
    if name is None:
        return None
    if inspect.isfunction(given) and given.__module__ != names.get("__name__"):
        # It is named where it is defined, as nowhere else it would be taken.
        function: Any = given
        home, called = function.__module__, function.__name__
        return f"{home}:{called}" if getattr(sys.modules.get(home), called, None) is given else None
    module, file = names.get("__name__"), names.get("__file__")
    if module != "__main__" and module in sys.modules:
        return f"{module}:{name}"
    return f"{Path(file).resolve()}:{name}" if isinstance(file, str) and file.endswith(".py") else None
