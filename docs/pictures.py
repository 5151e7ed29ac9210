"""Makes the pictures of README and docs again: `make pictures`.

`run.svg` and `seeing.svg` are a real run as the terminal and its graph show it, on the simulated model; only its
seconds differ from time to time.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from troupe import (
    Deliverable,
    Recovery,
    RunView,
    SimulatedChatModel,
    Step,
    TeamGraph,
    agent,
    gate,
    hierarchical,
    mesh,
    parallel,
    review,
    run,
    sequential,
)
from troupe.agents.events import Event
from troupe.graphs.drawing import Drawing, svg
from troupe.view.picture import graph_of, picture
from troupe.view.terminal import Terminal

HERE = Path(__file__).parent
COLOURS = TerminalTheme(
    (23, 27, 36),
    (222, 226, 234),
    [
        (60, 66, 80),
        (240, 113, 120),
        (126, 200, 130),
        (230, 190, 110),
        (110, 170, 240),
        (190, 140, 230),
        (100, 200, 200),
        (222, 226, 234),
    ],
)
# Rich's format asks for a web font; the picture must need nothing from outside.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"
)


def names_the_error_codes(work: Deliverable) -> str:
    """Passes the second version, so that the picture shows a rework."""
    return "" if work.rounds > 1 else "The usage text must name the exit codes."


def team() -> TeamGraph:
    """The classic line under a reviewing gate."""
    reviewed = gate(review(by="security-engineer", at_least=0.8))
    return sequential(
        Step("ai-researcher", "Plan the approach."),
        Step("specialist-engineer", "Implement it.", gate=gate(names_the_error_codes)),
        Step("qa-engineer", "Test it."),
        Step("technical-writer", "Write its user guide."),
        gate=reviewed,
        name="word-count",
    )


def picture_of_a_run() -> str:
    """The terminal's last picture of a run, as SVG."""
    console = Console(record=True, width=96, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text('$ troupe run teams.py:word_count "a command that counts words"', style="bold"))
    with Terminal(Console(file=io.StringIO(), width=96)) as terminal:
        result = run(
            team(),
            "a command that counts words",
            model=SimulatedChatModel(latency=0.4),
            listeners=[terminal],
            db=":memory:",
        )
    console.print(Text("simulated: no model is called", style="yellow"))
    console.print(terminal.picture())
    console.print()
    console.print(
        Text(f"{result.status}: {len(result.deliverables)} steps, {result.usage.calls} calls, simulated", style="bold")
    )
    return console.export_svg(title="troupe", theme=COLOURS, code_format=FORMAT, unique_id="run")


def picture_on_a_graph() -> str:
    """The same team's run on its graph, as it stood when its second step had been sent back."""
    view, graph = RunView(), graph_of(team())
    shown: list[str] = []

    def look(event: Event) -> None:
        view(event)
        if event.kind == "step_started" and event.path == "qa-engineer":
            shown.append(picture(view, graph, title="A run on its graph"))

    model = SimulatedChatModel(latency=0.4)
    run(team(), "a command that counts words", model=model, listeners=[look], db=":memory:")
    return shown[0]


def patterns() -> dict[str, TeamGraph]:
    """One picture for the page of each pattern."""
    reviewed = gate(review(by="qa-engineer"), then="ask")
    asked = sequential(Step(agent("deploy", "Deploy."), recovery=Recovery(ask=True)), agent("announce", "Write."))
    return {
        "recovery": asked,
        "sequential": sequential(agent("draft", "Write."), agent("check", "Check."), gate=reviewed),
        "parallel": parallel(),
        "hierarchical": hierarchical(),
        "mesh": mesh(["python-engineer", "database-engineer", "security-engineer", "technical-writer"]),
    }


def main() -> None:
    """Write them."""
    (HERE / "run.svg").write_text(picture_of_a_run(), "utf-8")
    (HERE / "seeing.svg").write_text(picture_on_a_graph(), "utf-8")
    for name, team in patterns().items():
        (HERE / f"{name}.svg").write_text(svg(Drawing.of(team.compile().get_graph()), title=name), "utf-8")


if __name__ == "__main__":
    main()
