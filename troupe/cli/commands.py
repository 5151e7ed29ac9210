"""The commands and their options; what they do stands in the modules beside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from troupe.cli import output
from troupe.cli.options import (
    Budget,
    Db,
    Deadline,
    Json,
    Model,
    Named,
    Quality,
    Question,
    RunId,
    Timeline,
    Wishes,
    Yes,
    wishing,
)

HELP = (
    "Teams of LLM agents on LangGraph: run them, watch them, and go on where they stopped.\n\n"
    "Results go to standard output, everything about them to standard error. With --json a command prints one object "
    "and nothing else. Without a model of yours all words are simulated, and say so."
)
EXITS = (
    "Exit codes: 0 completed, 1 failed, 2 usage (also unknown names, an empty task, bad settings), 3 partial, "
    "4 partial because of a limit, 5 waiting for a person, 130 or 143 stopped by a signal (go on with: troupe resume)."
)
WORK, DECIDE, LOOK, KEEP, BEGIN = "Run", "Answer a run that waits", "Look", "Delete", "Set up"

app = typer.Typer(
    name="troupe",
    help=HELP,
    epilog=EXITS,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from troupe import __version__

        output.out(f"troupe {__version__}")
        raise typer.Exit


@app.callback()
def _all(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


# --- run ------------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=WORK)
@wishing("accept_changes", "by", "target")
def run(
    workflow: Annotated[
        str,
        typer.Argument(
            metavar="WORKFLOW",
            help="A name of `troupe list`, file.yaml, file.py:team or module:team.",
            show_default=False,
        ),
    ],
    task: Annotated[
        str,
        typer.Argument(metavar="TASK", help="What is to be done; - reads it from standard input.", show_default=False),
    ],
    wishes: Wishes,
    thread: Annotated[
        str | None, typer.Option(metavar="ID", help="The run's id; one that exists gets its next turn.")
    ] = None,
    quality: Quality = None,
    timeline: Timeline = None,
) -> None:
    """Run a team to its end. Progress goes to standard error, the answer to standard output.

    An adaptive team chooses its way of working by --quality and --timeline, too.
    """
    from troupe.cli.running import perform

    task = sys.stdin.read().strip() if task == "-" else task
    stated = {"quality": quality, "timeline": timeline}
    perform("arun", workflow, task, wishes=wishes, workflow=workflow, thread=thread, stated=stated)


@app.command(rich_help_panel=WORK)
@wishing()
def resume(run: RunId, wishes: Wishes) -> None:
    """Go on with a run that was stopped or crashed, with its own models unless told otherwise.

    Where it waits for a person, and somebody sits at the terminal, its questions are asked here.
    """
    _go_on(run, wishes)


@app.command(rich_help_panel=WORK)
@wishing("by")
def rollback(
    run: RunId,
    to: Annotated[str, typer.Option(metavar="STEP", help="The first step that is done again.", show_default=False)],
    wishes: Wishes,
) -> None:
    """Redo a step and everything after it; what came before is kept."""
    from troupe.cli.books import must_exist
    from troupe.cli.running import perform

    must_exist(wishes.db, run)
    perform("arollback", run, to, wishes=wishes)


# --- answer ---------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=DECIDE)
@wishing()
def approve(
    run: RunId,
    wishes: Wishes,
    question: Question = None,
    edit: Annotated[
        typer.FileText | None,
        typer.Option(metavar="FILE", encoding="utf-8", help="Accept this text in place of the work; - reads it."),
    ] = None,
) -> None:
    """Accept the work that the run asks about, and go on."""
    answer: Any = {"type": "approve"} if edit is None else {"type": "edit", "message": _text_of(edit)}
    _go_on(run, wishes, question, answer)


@app.command(rich_help_panel=DECIDE)
@wishing()
def reject(
    run: RunId,
    wishes: Wishes,
    question: Question = None,
    message: Annotated[
        str, typer.Option("--message", "-m", metavar="WHY", help="Why; goes into the run's reason.")
    ] = "",
) -> None:
    """Refuse the work that the run asks about, and go on to the run's end."""
    _go_on(run, wishes, question, {"type": "reject", "message": message})


@app.command(rich_help_panel=DECIDE)
@wishing()
def answer(
    run: RunId,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[ID] TEXT", help="The question, if there are several, and what to say.", show_default=False
        ),
    ],
    wishes: Wishes,
) -> None:
    """Answer the question that the run asks (about work: what to change), and go on."""
    if len(words) > 2:
        raise typer.BadParameter("Put the text into quotes: troupe answer RUN [ID] 'TEXT'.", param_hint="TEXT")
    *ids, text = words
    if not text.strip():
        raise typer.BadParameter("The text is empty.", param_hint="TEXT")
    _go_on(run, wishes, ids[0] if ids else None, {"answer": text})


def _go_on(run: str, wishes: Wishes, question: str | None = None, answer: Any = None) -> None:
    from troupe.cli.books import must_exist
    from troupe.cli.running import perform

    must_exist(wishes.db, run)
    if answer is not None:
        answer |= {"id": question} if question is not None else {}
        answer |= {"by": wishes.by} if wishes.by else {}
    perform("aresume", run, answer, wishes=wishes, interactive=answer is None and not wishes.json)


def _text_of(file: typer.FileText) -> str:
    try:
        return file.read()
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file.name} is not text in UTF-8: {error}", param_hint="--edit") from None


# --- predict --------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=LOOK)
def rehearse(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="As for `troupe run`.", show_default=False)],
    task: Annotated[
        str,
        typer.Argument(metavar="TASK", help="What is to be done; - reads it from standard input.", show_default=False),
    ],
    trials: Annotated[int, typer.Option(metavar="N", help="How often it is played.")] = 200,
    faults: Annotated[
        str,
        typer.Option(metavar="FAULTS", help="What goes wrong: rate_limit=0.1,timeout=0.02,down:python-engineer."),
    ] = "",
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed predicts the same.")] = 0,
    slots: Annotated[
        int | None, typer.Option(metavar="N", help="Calls at work at once; by default TROUPE_MAX_CONCURRENCY.")
    ] = None,
    answers_after: Annotated[
        float, typer.Option(metavar="SECONDS", help="Until a person answers, and approves.")
    ] = 600.0,
    model: Model = None,
    budget: Budget = None,
    deadline: Deadline = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Predict by simulation how long a run takes, what it costs, and where the time goes. Nothing real is called.

    Replies, verdicts and failures are drawn from the runs that are kept, and from stated defaults where there are none.
    """
    from troupe.cli.rehearsing import show_rehearsal

    task = sys.stdin.read().strip() if task == "-" else task
    bounds = {"budget": budget, "deadline": deadline}
    drawn = {"trials": trials, "faults": faults, "seed": seed, "slots": slots, "answers_after": answers_after}
    show_rehearsal(workflow, task, as_json, model=model, db=db, **bounds, **drawn)


# --- look -----------------------------------------------------------------------------------------------------------


@app.command("list", rich_help_panel=LOOK)
def list_(as_json: Json = False) -> None:
    """What there is: patterns, workflows and agents."""
    from troupe.cli.offers import show_all

    show_all(as_json)


@app.command(rich_help_panel=LOOK)
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ROLE|RUN|WORKFLOW",
            help="A role; a run, also with one of its steps; or a workflow of `troupe list`.",
            show_default=False,
        ),
    ],
    step: Annotated[
        str | None,
        typer.Argument(
            metavar="STEP", help="What was sent and received for it; outer/inner when nested.", show_default=False
        ),
    ] = None,
    turn: Annotated[int | None, typer.Option(metavar="N", help="Of the run; the last one by default.", min=1)] = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """A role's prompt; a workflow's YAML; a run; or exactly what a run's step sent and received, attempt by attempt."""
    if step is not None:
        from troupe.cli.exchanges import show_step

        show_step(name, step, turn, db, as_json)
        return
    from troupe.agents.errors import UnknownName
    from troupe.agents.roster import known_roles
    from troupe.catalogue import WORKFLOWS
    from troupe.cli import books, offers

    if name in (roles := known_roles()):
        offers.show_role(name, as_json)
    elif name in WORKFLOWS:
        offers.show_workflow(name, as_json)
    elif books.is_kept(name, db):
        books.show_run(name, db, as_json)
    else:
        choices = [*roles, *WORKFLOWS]
        raise UnknownName("role, workflow or run", name, choices, "The runs are listed by: troupe runs.")


@app.command(rich_help_panel=LOOK)
def explain(
    task: Annotated[
        str,
        typer.Argument(metavar="TASK", help="What is to be done; - reads it from standard input.", show_default=False),
    ],
    model: Model = None,
    learn: Annotated[
        bool, typer.Option("--learn", help="Let published evidence and recorded runs overrule the table.")
    ] = False,
    quality: Quality = None,
    timeline: Timeline = None,
    complexity: Annotated[
        str | None, typer.Option(metavar="simple|moderate|complex|enterprise", help="How large it is.")
    ] = None,
    budget: Budget = None,
    deadline: Deadline = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Which way of working `troupe run adaptive` would choose for a task, and why. Nothing is run."""
    from troupe.cli.offers import explain_task

    task = sys.stdin.read().strip() if task == "-" else task
    stated = {"quality": quality, "timeline": timeline, "complexity": complexity}
    explain_task(task, as_json, model=model, learn=learn, budget=budget, deadline=deadline, db=db, **stated)


@app.command(rich_help_panel=LOOK)
def draw(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="As for `troupe run`.", show_default=False)],
    output_file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="An .svg, .png, .mmd or .json file; without it Mermaid is printed.",
            dir_okay=False,
        ),
    ] = None,
    fold: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A graph inside that is shown as one card; all for every one. Repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """A team as a picture: one self-contained SVG, pixels, Mermaid, or data with its places."""
    from troupe.cli.offers import draw_team

    draw_team(workflow, output_file, fold or [], as_json)


@app.command(rich_help_panel=LOOK)
def report(
    run: RunId,
    output_file: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The .html file.", dir_okay=False)
    ] = Path("report.html"),
    turn: Annotated[int | None, typer.Option(metavar="N", help="Of the run; the last one by default.", min=1)] = None,
    target: Named = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """A run as one HTML file that needs nothing else: graph, timeline, costs, verdicts, errors, deliverables."""
    from troupe.cli.reports import write

    write(run, output_file, turn, target, db, as_json)


@app.command(rich_help_panel=LOOK)
def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A workflow in YAML.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Whether a workflow can work, and who works when in it; what is wrong is said with its line. Nothing is run."""
    from troupe.cli.workflows import validate

    validate(file, as_json)


@app.command(rich_help_panel=LOOK)
def optimize(
    workflow: Annotated[
        str,
        typer.Argument(metavar="WORKFLOW", help="A workflow's file, or one of `troupe list`.", show_default=False),
    ],
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the workflow as it may be there.", dir_okay=False)
    ] = None,
    slots: Annotated[
        int, typer.Option(metavar="N", help="How many steps work at once, for the prediction.", min=1)
    ] = 4,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Which steps of a workflow need not wait for each other, as its recorded runs show, and what that saves."""
    from troupe.cli.optimizing import optimize_workflow

    optimize_workflow(workflow, db, slots, write, as_json)


@app.command(rich_help_panel=LOOK)
def serve(
    workflows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORKFLOW]...",
            help="What can be started there besides the patterns and this folder's YAML workflows: file.py:team.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 is any that is free.")] = 8421,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Another than this machine's own needs a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", envvar="TROUPE_WEB_TOKEN", help="What a browser must show once.", show_default=False
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further name that it is reached by, as behind a proxy. Repeatable."),
    ] = None,
    at_once: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Runs at once; more wait.")] = 4,
    db: Db = None,
) -> None:
    """A page for runs: start them, watch them, answer their questions. Needs the extra web."""
    from troupe.cli.serving import serve

    serve(workflows or [], host, port, token, name or [], at_once, db)


@app.command(rich_help_panel=LOOK)
def runs(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="One run, as its last turn stands.", show_default=False)
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="All turns of the run.")] = False,
    errors: Annotated[
        bool, typer.Option("--errors", help="What failed in the run; without RUN, who fails and on what, over all.")
    ] = False,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """The runs that are kept; or one of them."""
    from troupe.cli import books

    if errors:
        from troupe.cli import faults

        faults.show(run, db, as_json)
    elif run is None:
        if history:
            raise typer.BadParameter("Name the run: troupe runs RUN --history.", param_hint="--history")
        books.show_runs(db, as_json)
    elif history:
        books.show_history(run, db, as_json)
    else:
        books.show_run(run, db, as_json)


@app.command("eval", rich_help_panel=LOOK)
def evaluate(
    cases: Annotated[
        Path,
        typer.Argument(metavar="CASES.yaml", help="Tasks, what is expected, and checks.", show_default=False),
    ],
    variants: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VARIANT",
            help="What is compared, again and again: a name of the file's variants, or TEAM [model=SPEC] "
            "[prompts=DIR]; by default all of the file's.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the evaluation; under the same one it goes on.")
    ] = None,
    model: Model = None,
    judge: Annotated[
        str | None, typer.Option(metavar="SPEC", help="The model that reviews, alike for all variants.")
    ] = None,
    budget: Annotated[float | None, typer.Option(metavar="USD", min=0, help="The most that each run may cost.")] = None,
    deadline: Annotated[float | None, typer.Option(metavar="SECONDS", help="The longest that each may take.")] = None,
    at_once: Annotated[int, typer.Option(metavar="N", min=1, help="How many runs are under way at once.")] = 4,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Run teams on cases, score their answers, and compare them. Interrupted, the same command goes on.

    Exits with 0 where every run completed and was judged, whatever its score, and else with 3.
    """
    from troupe.cli import evaluating

    bounds = {"budget": budget, "deadline": deadline, "at_once": at_once}
    evaluating.show(cases, variants or [], name, {"model": model, "judge": judge, "db": db, **bounds}, as_json)


@app.command(rich_help_panel=KEEP)
def delete(run: RunId, yes: Yes = False, db: Db = None, as_json: Json = False) -> None:
    """Delete a run, and all that was recorded of it. One that is being worked on stays."""
    from troupe.cli.removal import delete_run

    delete_run(run, db, yes, as_json)


@app.command(rich_help_panel=KEEP)
def prune(
    older_than: Annotated[
        str,
        typer.Option(metavar="TIME", help="Since they were last worked on: 30d, 12h, 45m, 1d12h.", show_default=False),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    yes: Yes = False,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Delete the runs that nobody has worked on for a while; those that wait for a person, too."""
    from troupe.cli.removal import prune_runs

    prune_runs(older_than, db, dry_run, yes, as_json)


# --- set up ---------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=BEGIN)
def new(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that is empty or not there yet.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Begin a project of your own: a workflow, a role, a team in Python, a test, a notebook and settings."""
    from troupe.cli.offers import begin

    begin(folder, as_json)


@app.command(rich_help_panel=BEGIN)
def schema(
    output_file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.", dir_okay=False)
    ] = None,
) -> None:
    """The JSON Schema of workflows, for editors: they then complete and check your YAML."""
    from troupe.cli.workflows import write_schema

    write_schema(output_file)


@app.command(rich_help_panel=BEGIN)
def doctor(db: Db = None, as_json: Json = False) -> None:
    """What is installed, set and reachable here; the only command that looks for model servers on this machine."""
    from troupe.cli.offers import examine

    examine(db, as_json)
