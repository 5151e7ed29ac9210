"""A run in a terminal, in a notebook and as a picture: what is seen of it while it works, and at its end."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from rich.console import Console

from tests.graphs.test_drawing import SVG, faults, parse
from tests.support.teams import priced
from tests.troupe.test_runview import CASES, reworked, seen
from troupe import (
    RunView,
    SettingsError,
    Step,
    UnknownName,
    agent,
    contains,
    gate,
    hierarchical,
    mesh,
    parallel,
    review,
    run,
    scripted,
    sequential,
)
from troupe.agents.events import Event, RunFinished
from troupe.catalogue import resolve
from troupe.graphs.drawing import Drawing, png, svg
from troupe.graphs.drawing.layout import layout
from troupe.view.notebook import Notebook, bundle
from troupe.view.picture import drawn, graph_of, picture
from troupe.view.terminal import Terminal

# --- pictures of runs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_nothing_lies_on_anything_in_the_picture_of_a_run(case: str, db: Path) -> None:
    team, options = CASES[case]()
    view, _ = seen(team, db, **options)
    graph = graph_of(resolve(team).team)
    for drawing in (drawn(view, graph), drawn(view), drawn(view, graph, fold="all")):
        plan = layout(drawing)
        assert faults(drawing, plan) == []
        root = parse(svg(drawing))
        assert {g.get("data-id") for g in root.iter(f"{SVG}g") if g.get("data-id")} == {one.id for one in drawing.cards}


def test_a_card_tells_state_figures_and_rounds_and_its_gate_what_it_said(db: Path) -> None:
    team, options = reworked()
    view, _ = seen(team, db, **options)
    cards = {card.id: card for card in drawn(view, team).cards}
    assert (cards["triage"].state, cards["triage"].said) == ("accepted", "accepted, round 2")
    assert cards["triage"].facts.startswith("0.90 · ")
    assert (cards["triage.gate"].state, cards["triage.gate"].said) == ("accepted", "passed, 0.90")
    assert cards["finish"].state == ""
    text = picture(view, team)
    assert "accepted, round 2" in text and 'class="accepted"' in text
    assert not re.search(r"<script|href|url\(|https?:(?!//www.w3.org/2000/svg)|\son\w+=", text)


def test_items_that_were_made_on_the_way_are_on_the_card_of_what_they_were_made_of(db: Path) -> None:
    view, _ = seen("hierarchical", db)
    cards = {card.id: card for card in drawn(view, hierarchical()).cards}
    made = [card for card in cards.values() if card.said == "2 of 2 done"]
    assert {card.label for card in made} == {"specialist-engineer", "qa-engineer"}
    built = drawn(view)
    assert {"specialist-engineer.1", "qa-engineer.2", "report"} <= {card.id for card in built.cards}
    assert ("security-engineer", "qa-engineer.2") in {(one.source, one.target) for one in built.arrows}


def test_a_picture_is_told_which_frames_it_folds(db: Path) -> None:
    inner = sequential(agent("a", "Work."), name="inner")
    team = sequential(inner, agent("b", "Work."))
    view, _ = seen(team, db, model=scripted({"a": "one", "b": "two"}))
    folded = {card.id: card for card in drawn(view, team, fold=["inner"]).cards}
    assert (folded["inner"].kind, folded["inner"].state) == ("frame", "accepted")
    assert "inner:a" not in folded
    with pytest.raises(UnknownName, match="iner"):
        drawn(view, team, fold=["iner"])


def test_a_picture_in_pixels_needs_a_renderer_and_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = graph_of(sequential(agent("a", "Work.")))
    pytest.importorskip("resvg_py")
    assert png(drawing).startswith(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(SettingsError, match=r"agent-troupe\[png\]"):
        png(drawing)


# --- the terminal ---------------------------------------------------------------------------------------------------


def watched(team: Any, width: int, height: int = 30, **options: Any) -> tuple[list[str], str]:
    """What a terminal of that size showed after each event, and at the end."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    terminal = Terminal(console)
    pictures: list[str] = []

    def shown() -> str:
        plain = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
        with plain.capture() as caught:
            plain.print(terminal.picture())
        return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", caught.get())

    def look(event: Event) -> None:
        terminal(event)
        pictures.append(shown())

    run(team, "a shop", db=":memory:", listeners=[look], **options)
    terminal.close()
    return pictures, shown()


def test_the_terminal_shows_what_is_done_under_way_and_to_come(db: Path) -> None:
    inner = sequential(agent("a", "Work."), name="inner", gate=gate(review(by="qa-engineer")))
    team = sequential(inner, Step(agent("c", "End."), name="end"))
    pictures, last = watched(
        team, 100, model=priced({"a": "one", "c": "two", "qa-engineer": {"passed": True, "score": 1}})
    )
    assert any("○ end" in one and "now: a" in one and "0 of 2" in one for one in pictures)
    assert any("at its gate" in one for one in pictures)
    assert re.search(r"✓ {3}a +[\d.]+ s +\$0\.0120 accepted, score 1.00 by qa-engineer", last)
    assert re.search(r"✓ end +[\d.]+ s +\$0\.0060 c +accepted", last)
    assert "now:" not in last


@pytest.mark.parametrize("width", [20, 40, 64, 100])
def test_a_terminal_of_any_width_shows_whole_rows(width: int) -> None:
    team, options = reworked()
    pictures, last = watched(team, width, **options)
    for one in [*pictures, last]:
        assert all(len(row) <= width for row in one.splitlines())
    rows = last.splitlines()
    assert len(rows) == 2 and all(row.startswith("✓ ") and " s" in row for row in rows)
    assert ("round 2" in last) == (width >= 64)


def test_more_steps_than_lines_leave_room_for_those_under_way() -> None:
    names = [f"step-{number}" for number in range(40)]
    team = sequential(*(agent(name, "Work.") for name in names))
    pictures, last = watched(team, 80, height=12, model=scripted(dict.fromkeys(names, "text")))
    assert max(len(one.splitlines()) for one in pictures) <= 12
    late = next(one for one in pictures if "now: step-30" in one)
    assert "step-30 " in late and "step-29 " in late and "more" in late
    assert len(last.splitlines()) == 40


# --- notebooks ------------------------------------------------------------------------------------------------------


class Screen:
    """What a notebook was given to show."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []
        self.displays = 0

    def __call__(self, first: dict[str, str]) -> Callable[[dict[str, str]], Any]:
        self.displays += 1
        self.shown.append(first)
        return self.shown.append


def test_a_notebook_updates_one_picture_four_times_a_second_and_always_at_the_end() -> None:
    now, screen = [0.0], Screen()
    watching = Notebook(clock=lambda: now[0], show=screen)
    at: list[float] = []

    def look(event: Event) -> None:
        now[0] += 0.1
        before = len(screen.shown)
        watching(event)
        if len(screen.shown) > before and not isinstance(event, RunFinished):
            at.append(now[0])

    team, options = reworked()
    run(team, "a shop", db=":memory:", listeners=[look], **options)
    assert screen.displays == 1
    assert len(at) > 2 and all(after - before >= 0.25 for before, after in pairwise(at))
    last = screen.shown[-1]
    assert "completed · 2 of 2" in last["text/plain"] and "✓ reply: accepted" in last["text/plain"]
    parse(last["image/svg+xml"])
    assert "<script" not in last["image/svg+xml"]


def test_a_screen_that_breaks_breaks_no_run(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: dict[str, str]) -> Any:
        raise RuntimeError("no front end")

    done = run(
        sequential(agent("a", "Work."), agent("b", "Work.")),
        "x",
        model=scripted({"a": "one", "b": "two"}),
        db=":memory:",
        listeners=[Notebook(show=broken)],
    )
    assert done.status == "completed"
    assert caplog.text.count("cannot be shown here") == 1


def test_a_run_in_a_kernel_shows_itself_and_leaves_its_last_state(tmp_path: Path) -> None:
    cells = [
        "from troupe import SimulatedChatModel, agent, arun, run, sequential\n"
        "team = sequential(agent('a', 'Work.'), agent('b', 'Work.'))\n"
        "slow = SimulatedChatModel(latency=0.3)\n"
        "result = run(team, 'x', model=slow, db=':memory:')",
        "result = await arun(team, 'x', model=slow, db=':memory:')",
        "quiet = run(team, 'x', model=slow, db=':memory:', progress=False)",
        "result",
        "team",
    ]
    book: Any = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
    book.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]  # type: ignore[no-untyped-call]
    NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [[one for one in cell.outputs if one.output_type != "stream"] for cell in book.cells]
    assert [len(one) for one in outputs] == [1, 1, 0, 1, 1]
    for live in (outputs[0][0], outputs[1][0]):
        assert live.output_type == "display_data" and "completed · 2 of 2" in live.data["text/plain"]
        assert "<svg" in live.data["image/svg+xml"]
    assert "completed" in outputs[3][0].data["text/plain"] and "<svg" in outputs[3][0].data["image/svg+xml"]
    assert not any("widget" in kind for each in outputs for one in each for kind in one.data)


def test_a_result_draws_what_was_built_on_what() -> None:
    team = sequential(agent("a", "Work."), Step(agent("b", "Work."), gate=gate(contains("zzz"), rework=0)))
    done = run(team, "<b>x</b>", model=scripted({"a": "one", "b": "two"}), db=":memory:")
    shown = done._repr_mimebundle_()
    root = parse(shown["image/svg+xml"])
    groups = {one.get("data-id"): one.get("class") for one in root.iter(f"{SVG}g")}
    assert groups == {"a": "accepted", "b": "partial"}
    assert shown["text/plain"].splitlines()[0].startswith(f"sequential {done.run} partial (simulated): ")
    assert shown["text/plain"].splitlines()[1:] == ["a: accepted", "b: partial"]


def test_progress_can_be_asked_for_outside_of_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    team, model = sequential(agent("a", "Work.")), scripted({"a": "one"})
    run(team, "x", model=model, db=":memory:", progress=True)
    assert "a: started (1 of 1)" in capsys.readouterr().err


def test_a_view_that_has_seen_nothing_is_shown_as_nothing() -> None:
    parse(bundle(RunView())["image/svg+xml"])
    parse(picture(RunView()))
    assert drawn(RunView()) == Drawing(())


@pytest.mark.parametrize("team", [sequential, parallel, hierarchical, mesh])
def test_a_team_whose_run_has_not_begun_is_pending(team: Callable[[], Any]) -> None:
    graph = team()
    view = RunView()
    assert all(not card.state for card in drawn(view, graph).cards)
    Terminal(Console(file=io.StringIO()), view).picture()
