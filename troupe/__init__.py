"""Troupe: teams of LLM agents as LangGraph graphs, with quality gates, recovery and budgets.

    from troupe import agent, gate, review, run, sequential

Names are imported on first use, so that `import troupe` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path as _Path
from typing import TYPE_CHECKING, Any

_here = _Path(__file__).parent
if not (_here / "agents" / "__init__.py").exists():  # the links arrived as text files (Windows, zip downloads)
    __path__.append(str(_here.parent))

__version__ = "0.1.0"

if TYPE_CHECKING:
    from troupe.agents.agent import Agent as Agent
    from troupe.agents.call import current_call as current_call
    from troupe.agents.chat import agent as agent
    from troupe.agents.context import TeamContext as TeamContext
    from troupe.agents.contracts import Brief as Brief
    from troupe.agents.contracts import Deliverable as Deliverable
    from troupe.agents.contracts import Reason as Reason
    from troupe.agents.contracts import Usage as Usage
    from troupe.agents.contracts import Verdict as Verdict
    from troupe.agents.errors import BuildError as BuildError
    from troupe.agents.errors import GraphChanged as GraphChanged
    from troupe.agents.errors import InputError as InputError
    from troupe.agents.errors import NotCompleted as NotCompleted
    from troupe.agents.errors import SettingsError as SettingsError
    from troupe.agents.errors import StoreError as StoreError
    from troupe.agents.errors import TroupeError as TroupeError
    from troupe.agents.errors import UnknownName as UnknownName
    from troupe.agents.executor import Executor as Executor
    from troupe.agents.limits import Limits as Limits
    from troupe.agents.models.scripted import scripted as scripted
    from troupe.agents.models.simulated import SimulatedChatModel as SimulatedChatModel
    from troupe.agents.notes import Notes as Notes
    from troupe.agents.roles import Role as Role
    from troupe.agents.roles import read_role as read_role
    from troupe.agents.roles import read_roles as read_roles
    from troupe.doors import aresume as aresume
    from troupe.doors import arollback as arollback
    from troupe.doors import arun as arun
    from troupe.doors import resume as resume
    from troupe.doors import rollback as rollback
    from troupe.doors import run as run
    from troupe.evaluation.cases import EvaluationCase as EvaluationCase
    from troupe.evaluation.cases import Variant as Variant
    from troupe.evaluation.evaluating import aevaluate as aevaluate
    from troupe.evaluation.evaluating import as_target as as_target
    from troupe.evaluation.evaluating import evaluate as evaluate
    from troupe.evaluation.report import Evaluation as Evaluation
    from troupe.explaining import aexplain as aexplain
    from troupe.explaining import explain as explain
    from troupe.faults import Fault as Fault
    from troupe.faults import aerror_log as aerror_log
    from troupe.faults import error_log as error_log
    from troupe.graphs.adaptive import adaptive as adaptive
    from troupe.graphs.checks import check as check
    from troupe.graphs.checks import conclusion as conclusion
    from troupe.graphs.checks import contains as contains
    from troupe.graphs.checks import matches as matches
    from troupe.graphs.checks import non_empty as non_empty
    from troupe.graphs.checks import review as review
    from troupe.graphs.choosing.bounds import Bounds as Bounds
    from troupe.graphs.choosing.explaining import Explanation as Explanation
    from troupe.graphs.forking.conflicts import Conflict as Conflict
    from troupe.graphs.forking.fanout import each as each
    from troupe.graphs.forking.joins import first as first
    from troupe.graphs.forking.joins import quorum as quorum
    from troupe.graphs.forking.joins import within as within
    from troupe.graphs.forking.merging import merge as merge
    from troupe.graphs.gates import Gate as Gate
    from troupe.graphs.gates import gate as gate
    from troupe.graphs.hierarchical import hierarchical as hierarchical
    from troupe.graphs.history import History as History
    from troupe.graphs.mesh import mesh as mesh
    from troupe.graphs.meshing.guards import Guards as Guards
    from troupe.graphs.optimize import Optimization as Optimization
    from troupe.graphs.optimize import optimize as optimize
    from troupe.graphs.parallel import parallel as parallel
    from troupe.graphs.recovery import Recovery as Recovery
    from troupe.graphs.rehearsing.forecast import Rehearsal as Rehearsal
    from troupe.graphs.sequential import sequential as sequential
    from troupe.graphs.state import TeamState as TeamState
    from troupe.graphs.step import Step as Step
    from troupe.graphs.team import Team as Team
    from troupe.graphs.team import TeamGraph as TeamGraph
    from troupe.graphs.workflow import Workflow as Workflow
    from troupe.looking import areport as areport
    from troupe.looking import aview as aview
    from troupe.looking import report as report
    from troupe.looking import view_of as view_of
    from troupe.records import ahistory as ahistory
    from troupe.records import history as history
    from troupe.rehearsal import arehearse as arehearse
    from troupe.rehearsal import rehearse as rehearse
    from troupe.replaying import replay as replay
    from troupe.result import Result as Result
    from troupe.retention import adelete as adelete
    from troupe.retention import aprune as aprune
    from troupe.retention import delete as delete
    from troupe.retention import prune as prune
    from troupe.streaming import astream as astream
    from troupe.streaming import stream as stream
    from troupe.view.runview import RunView as RunView

_MODULES = {
    "agents.agent": ["Agent"],
    "agents.call": ["current_call"],
    "agents.chat": ["agent"],
    "agents.context": ["TeamContext"],
    "agents.contracts": ["Brief", "Deliverable", "Reason", "Usage", "Verdict"],
    "agents.errors": [
        "BuildError", "GraphChanged", "InputError", "NotCompleted", "SettingsError", "StoreError", "TroupeError",
        "UnknownName",
    ],
    "agents.executor": ["Executor"],
    "agents.limits": ["Limits"],
    "agents.models.scripted": ["scripted"],
    "agents.models.simulated": ["SimulatedChatModel"],
    "agents.notes": ["Notes"],
    "agents.roles": ["Role", "read_role", "read_roles"],
    "graphs.adaptive": ["adaptive"],
    "graphs.checks": ["check", "conclusion", "contains", "matches", "non_empty", "review"],
    "graphs.choosing.bounds": ["Bounds"],
    "graphs.choosing.explaining": ["Explanation"],
    "graphs.forking.conflicts": ["Conflict"],
    "graphs.forking.fanout": ["each"],
    "graphs.gates": ["Gate", "gate"],
    "graphs.meshing.guards": ["Guards"],
    "graphs.recovery": ["Recovery"],
    "graphs.hierarchical": ["hierarchical"],
    "graphs.history": ["History"],
    "graphs.forking.joins": ["first", "quorum", "within"],
    "graphs.forking.merging": ["merge"],
    "graphs.mesh": ["mesh"],
    "graphs.optimize": ["Optimization", "optimize"],
    "graphs.parallel": ["parallel"],
    "graphs.rehearsing.forecast": ["Rehearsal"],
    "graphs.sequential": ["sequential"],
    "graphs.state": ["TeamState"],
    "graphs.step": ["Step"],
    "graphs.team": ["Team", "TeamGraph"],
    "graphs.workflow": ["Workflow"],
    "doors": ["aresume", "arollback", "arun", "resume", "rollback", "run"],
    "evaluation.cases": ["EvaluationCase", "Variant"],
    "evaluation.evaluating": ["aevaluate", "as_target", "evaluate"],
    "evaluation.report": ["Evaluation"],
    "result": ["Result"],
    "streaming": ["astream", "stream"],
    "looking": ["areport", "aview", "report", "view_of"],
    "view.runview": ["RunView"],
    "replaying": ["replay"],
    "explaining": ["aexplain", "explain"],
    "faults": ["Fault", "aerror_log", "error_log"],
    "rehearsal": ["arehearse", "rehearse"],
    "records": ["ahistory", "history"],
    "retention": ["adelete", "aprune", "delete", "prune"],
}  # fmt: skip
_WHERE = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name == "checkpoints":  # a module, which `from troupe import checkpoints` finds by itself and `troupe.` does not
        return import_module("troupe.checkpoints")
    if name not in _WHERE:
        raise AttributeError(f"module 'troupe' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"troupe.{_WHERE[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
