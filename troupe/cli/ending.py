"""How a run ended: its exit code, its files, and what a person can do next."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from troupe.cli import output
from troupe.view.words import counted, duration, line, money

if TYPE_CHECKING:
    from troupe.result import Question, Result

REAL = "openai:gpt-5-mini"
"""The model that examples name."""


def exit_code(result: Result, signal: int | None = None) -> int:
    """0 completed, 1 failed, 3 partial, 4 partial by a limit, 5 waiting, 128 and the signal's number stopped."""
    if result.status == "stopped":
        return 128 + signal if signal is not None else 1
    if result.status == "partial" and result.reason is not None and result.reason.kind == "limit":
        return 4
    return {"completed": 0, "partial": 3, "waiting": 5}.get(result.status, 1)


@dataclass(frozen=True, slots=True)
class Ending:
    """Prints a result: the answer on standard output, the rest on standard error; or one object with `--json`.

    `workflow` is what a new run was started with; people are then told what they can do next. With `asks`, open
    questions are asked right after it, and it does not say how else to answer them.
    """

    db: str | None = None
    folder: Path | None = None
    json: bool = False
    workflow: str | None = None
    asks: bool = False

    def show(self, result: Result, signal: int | None = None, seconds: float | None = None) -> int:
        """Print it, write its files, and give its exit code; `seconds` is how long it took."""
        if self.json:
            output.as_json(result.to_json())
        else:
            if result.answer and result.status not in ("waiting", "stopped"):
                output.note("")
                output.out(result.answer)
                output.note("")
            status, *account = self.account(result, seconds)
            output.note(status, output.STYLES.get(result.status, ""))
            for text in account:
                output.note(text)
            if not (self.asks and result.waiting):
                self.show_ways(result)
        code = exit_code(result, signal)
        if self.folder is not None:
            try:
                write(result, self.folder)
            except OSError as error:
                output.error(f"the files could not be written: {error}")
                return code or 1
        return code

    def show_ways(self, result: Result) -> None:
        """Print what can be done now."""
        for text in [*self.next(result), *self.leads(result)]:
            output.note(text)

    def account(self, result: Result, seconds: float | None = None) -> list[str]:
        """How it ended, what it cost, and what is missing."""
        used = result.usage
        parts = [counted(len(result.deliverables), "step"), counted(used.calls, "call")]
        parts += [f"{used.cached:,} cached"] if used.cached else []
        parts += [duration(seconds)] if seconds is not None else []
        parts += ["simulated" if result.simulated else money(used.usd)]
        lines = [f"{result.status}: {', '.join(parts)}"]
        lacks = {name: result.deliverables.get(name) for name in result.missing}
        whys = {name: one.reason.message if one and one.reason else "not reached" for name, one in lacks.items()}
        if result.reason is not None and result.status != "stopped" and result.reason.message not in whys.values():
            lines.append(f"why        {line(result.reason.message)}")
        return [*lines, *(f"missing    {name}: {line(why, 300)}" for name, why in whys.items())]

    def next(self, result: Result) -> list[str]:
        """The commands that take the run on."""
        lines = [line for one in result.waiting for line in self.answers(result, one)]
        if result.status == "stopped":
            lines.append(f"go on      {self.command('resume', result.run)}")
        if result.redo is not None:
            lines.append(f"try again  {self.command('rollback', result.run, more=f'--to {shlex.quote(result.redo)}')}")
        return lines

    def leads(self, result: Result) -> list[str]:
        """Where everything is, and what a new user may do next."""
        lines = [f"files      {self.folder / 'result.json'}"] if self.folder is not None else []
        if result.status != "stopped":
            lines.append(f"the run    {self.command('runs', result.run)}")
        if self.workflow is not None and result.simulated and result.status == "completed":
            own = [] if ":" in self.workflow else [f"your own   {shlex.join([program(), 'new', 'my-team'])}"]
            lines += [*own, f"a model    {_invitation(self.workflow, result.task)}"]
        return lines

    def answers(self, result: Result, asked: Question) -> list[str]:
        """A question, what it is about, and the commands that answer it."""
        shown = ["", *asked.content.splitlines()] if asked.content else []
        lines = [*shown, "", f"question   {line(asked.question)}"]
        if asked.expires is not None:
            until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(asked.expires))
            lines.append(f"until      {until}; after that it is asked again by: {self.command('resume', result.run)}")
        name = [asked.id] if len(result.waiting) > 1 else []
        ways = {
            "approve": self.command("approve", result.run, *name),
            "edit": self.command("approve", result.run, *name, more="--edit FILE"),
            "respond": self.command("answer", result.run, *name, "what to change"),
            "reject": self.command("reject", result.run, *name, more="-m 'why'"),
        }
        ours = [way for way in ways if way in asked.options]
        if not ours:
            listed = f"  ({', '.join(map(line, asked.options))})" if asked.options else ""
            return [*lines, f"answer     {self.command('answer', result.run, *name, 'TEXT')}{listed}"]
        return [*lines, *(f"{way:<10} {ways[way]}" for way in ours)]

    def command(self, verb: str, *words: str, more: str = "") -> str:
        """A command as a shell takes it, on the same database; `more` is options, already quoted."""
        options = ["--db", _shown(self.db)] if self.db is not None else []
        called = shlex.join([program(), verb])
        if any(one.startswith("-") for one in words):  # which would be read as options
            return " ".join(filter(None, [called, more, shlex.join([*options, "--", *words])]))
        return " ".join(filter(None, [called, shlex.join([*words, *options]), more]))


def _shown(db: str) -> str:
    from troupe.checkpoints import shown

    return shown(db)


def _invitation(workflow: str, task: str) -> str:
    if os.environ.get("OPENAI_API_KEY"):
        return f"simulated; a key is set: add --model {REAL}"
    task = task if len(task) <= 60 and task.isprintable() else "TASK"
    return f"OPENAI_API_KEY=... {shlex.join([program(), 'run', workflow, task, '--model', REAL])}"


def program() -> str:
    """How a shell finds us: as it just did, where the path has no `troupe`, or another one."""
    found, own = shutil.which("troupe"), sys.argv[0]
    called = os.sep in own and Path(own).name == "troupe"
    return own if called and (found is None or Path(found).resolve() != Path(own).resolve()) else "troupe"


def write(result: Result, folder: Path) -> None:
    """`STEP.md` for every deliverable that has content, in folders where graphs are nested, and `result.json`."""
    from troupe.result import flat

    for path, done in flat(result.deliverables).items():
        if done.content:
            *outer, name = (_safe(part) for part in path.split("/"))
            file = folder.joinpath(*outer, f"{name}.md")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{done.content.rstrip()}\n", "utf-8")
    text = json.dumps(result.to_json(), ensure_ascii=False, indent=2, default=str)
    (folder / "result.json").write_text(f"{text}\n", "utf-8")


def _safe(name: str) -> str:
    r"""A step's name as a file's, on every system.

    >>> _safe("plan"), _safe("a\\b?"), _safe("..")
    ('plan', 'a_b_', '_.')
    """
    return re.sub(r'^\.|[\\/:*?"<>|\x00-\x1f]', "_", name)
