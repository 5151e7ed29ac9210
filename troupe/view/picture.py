"""A run as a picture: the team's graph with how every step stands; or, without its graph, what was built on what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from troupe.graphs.drawing import Built, Drawing, Look, dressed, folded, svg
from troupe.graphs.drawing import flow as built_on
from troupe.graphs.drawing.states import State, summed
from troupe.graphs.team import Team, TeamGraph
from troupe.view.runview import RunView, StepView
from troupe.view.words import duration, line, money

GATES: dict[str, tuple[State, str]] = {
    "pass": ("accepted", "passed"),
    "rework": ("reworked", "sent back"),
    "rollback": ("superseded", "rolled back"),
    "ask": ("waiting", "a person is asked"),
    "partial": ("partial", "not passed"),
    "fail": ("failed", "not passed"),
    "again": ("reworked", "again"),
    "adapt": ("reworked", "in another way"),
}


def graph_of(team: Team | TeamGraph) -> Drawing:
    """A team's graph, opened as far as it goes."""
    app = team if isinstance(team, Team) else team.compile()
    return Drawing.of(app.get_graph(xray=True))


def flow(view: RunView) -> Drawing:
    """What was built on what: the steps as they came, those that were planned on the way included."""
    given = {one.step: one.by for one in view.record.get("packages", {}).values()}  # what managers gave out
    inside = {step.outer.partition("/")[0] for step in view.steps.values() if step.outer}
    used = view.each_used()
    return built_on(
        Built(
            step.path,
            note="" if step.agent == step.name else line(step.agent, 60),
            sources=(*step.sources, *filter(None, [given.get(step.path)])),
            look=look(step, view, used),
            whole=step.path in inside,
        )
        for step in view.steps.values()
        if not step.outer
    )


def on_graph(view: RunView, drawing: Drawing) -> Drawing:
    """The graph with how every card of it stands.

    A step that was made at run time, as `worker.2`, is shown on the card of what it was made of, with the others.
    """
    steps = view.steps
    by_template: dict[str, list[StepView]] = {}
    for path, step in steps.items():
        template, _, number = path.rpartition(".")
        if number.isdecimal():
            by_template.setdefault(template, []).append(step)
    looks: dict[str, Look] = {}
    used = view.each_used()
    for card in (*drawing.cards, *drawing.frames):
        path = path_of(card.id)
        if card.kind == "gate" and not path.endswith((".gate", ".align")):
            continue
        if card.kind in ("gate", "ask"):
            found = [*filter(None, [steps.get(path.rpartition(".")[0])]), *by_template.get(path.rpartition(".")[0], ())]
            given = _gate(found) if card.kind == "gate" else _person(found)
        elif path in steps:
            given = look(steps[path], view, used)
        elif path in by_template:
            given = _several(by_template[path], used)
        else:
            given = None
        if given is not None:
            looks[card.id] = given
    return dressed(drawing, looks)


def picture(
    view: RunView,
    team: Team | TeamGraph | Drawing | None = None,
    *,
    title: str = "",
    fold: Iterable[str] | str = (),
) -> str:
    """A run as one self-contained SVG without a script.

    Args:
        view: the run.
        team: what ran, or its drawing, where the view does not know it; where nobody does, the picture shows what was
            built on what.
        title: of the picture; the run's own by default.
        fold: frames that are shown as one card, or `"all"`.
    """
    drawing = drawn(view, team, fold)
    return svg(drawing, title=title or f"{view.workflow} {view.run}: {view.status}")


def drawn(view: RunView, team: Team | TeamGraph | Drawing | None = None, fold: Iterable[str] | str = ()) -> Drawing:
    """The drawing that `picture` paints."""
    graph = graph_of(team) if isinstance(team, Team | TeamGraph) else team or view.drawing
    drawing = flow(view) if graph is None else on_graph(view, graph)
    return folded(drawing, fold) if fold else drawing


Used = Mapping[str, Mapping[str, Any]]


def look(step: StepView, view: RunView, used: Used | None = None) -> Look:
    """How a step stands, in a word and figures; `used` is what `view.each_used()` gave."""
    word = "at its gate" if step.reviewing else step.state
    again = f", round {step.round}" if step.round > 1 else ""
    tries = sum(one.round == step.round for one in step.attempts)
    facts = [f"{tries} attempts"] if tries > 1 else []
    facts += [f"{step.score:.2f}"] if step.score is not None else []
    facts += [duration(step.seconds(view.last))] if step.started is not None else []
    usd = (used or view.each_used())[step.path]["usd"]
    facts += [money(usd)] if usd != 0 else []
    return Look(step.state, " · ".join(facts), word + again)


def _several(steps: list[StepView], used: Used) -> Look:
    state = summed(step.state for step in steps)
    done = sum(step.settled for step in steps)
    usd: float | None = 0.0
    for step in steps:
        own = used[step.path]["usd"]
        usd = None if usd is None or own is None else usd + own
    return Look(state, money(usd) if usd != 0 else "", f"{done} of {len(steps)} done")


def _gate(steps: list[StepView]) -> Look | None:
    if any(step.reviewing for step in steps):
        return Look("running", word="judging")
    said = [step.verdicts[-1] for step in steps if step.verdicts]
    if not said:
        return None
    last = said[-1]
    state, word = GATES[last.decision]
    return Look(state, word=word if last.score is None else f"{word}, {last.score:.2f}")


def _person(steps: list[StepView]) -> Look | None:
    return Look("waiting", word="is asked") if any(step.state == "waiting" for step in steps) else None


def path_of(card: str) -> str:
    """The path of the step that a card stands for: what a loop of its own lies around has its name twice."""
    parts: list[str] = []
    for part in card.split(":"):
        if not parts or parts[-1] != part:
            parts.append(part)
    if len(parts) > 1 and parts[-1].startswith(f"{parts[-2]}."):  # the gate in a step's own loop
        parts.pop(-2)
    return "/".join(parts)
