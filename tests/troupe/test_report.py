"""A run as one HTML file: it needs nothing else, holds what happened, and nothing in it can act."""

from __future__ import annotations

import asyncio
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Shell
from tests.support.teams import patient
from troupe import (
    Brief,
    InputError,
    RunView,
    SettingsError,
    SimulatedChatModel,
    Step,
    TeamContext,
    Verdict,
    agent,
    arun,
    aview,
    contains,
    gate,
    merge,
    parallel,
    report,
    resume,
    review,
    run,
    scripted,
    sequential,
    view_of,
)
from troupe.agents.errors import UnknownRun
from troupe.view.markdown import html, tidy
from troupe.view.report import page

PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><a href='javascript:alert(1)'>x</a></svg>",
    "<iframe src=https://evil.example></iframe>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](java\tscript:alert(1))",
    "[click](data:text/html;base64,PHNjcmlwdD4=)",
    "[click](vbscript:x)",
    "[click](file:///etc/passwd)",
    "![pixel](https://evil.example/p.png)",
    "<https://ok.example> <javascript:alert(1)>",
    '[x](https://ok.example "a\\" onmouseover=\\"alert(1)")',
    "```html\n</code></pre><script>alert(1)</script>\n```",
    "`</code><script>alert(1)</script>`",
    "]]></script><script>alert(1)</script>",
    "</style></svg></main><script>alert(1)</script>",
    '"><b onclick=alert(1)>',
    "| a | <b onclick=x> |\n|---|---|\n| <script>y</script> | ![](x) |",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J \x00 \u202eturned\u202c \ud800",
    "&lt;script&gt; &#x6A;avascript:",
]


class Reader(HTMLParser):
    """What is in a page: its tags with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def harmless(text: str) -> Reader:
    """The page, read; nothing in it acts, and nothing comes from elsewhere."""
    read = Reader(text)
    for tag, attributes in read.tags:
        assert tag not in (
            "img",
            "iframe",
            "object",
            "embed",
            "link",
            "base",
            "form",
            "video",
            "audio",
            "foreignobject",
        )
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert not attributes.keys() & {"src", "srcset", "action", "formaction", "xlink:href", "ping"}
        if "href" in attributes:
            assert tag == "a" and re.match(r"(https?|mailto):", attributes["href"] or "")
            assert attributes["target"] == "_blank" and "noopener" in (attributes["rel"] or "")
    scripts = [attributes for tag, attributes in read.tags if tag == "script"]
    assert len(scripts) <= 2 and all(one in ({}, {"type": "application/json", "id": "replay-data"}) for one in scripts)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert not re.search(r"url\(|@import|@font-face", text)
    text.encode()
    return read


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_models_and_users_write_cannot_act(payload: str) -> None:
    made = html(payload)
    read = harmless(made)
    assert {tag for tag, _ in read.tags} <= {
        "p", "a", "code", "pre", "em", "strong", "table", "thead", "tbody", "tr", "th", "td", "br", "hr", "s",
    }  # fmt: skip


def test_every_place_of_a_report_is_safe(db: Path, tmp_path: Path) -> None:
    nasty = "\n\n".join(PAYLOADS)
    bad = Verdict(passed=False, score=0.2, feedback=nasty, findings=(nasty, nasty))
    lines = {
        "<b onclick=alert(1)>": [nasty, nasty],
        "qa-engineer": [bad, Verdict(passed=True)],
        "second": [RuntimeError(nasty)] * 9,
    }

    def strange(brief: Brief) -> str:
        raise ValueError(nasty)

    author = agent("author", nasty, title="t")
    team = sequential(
        Step(author, nasty, name="<b onclick=alert(1)>", gate=gate(review(by="qa-engineer"))),
        Step(strange, nasty, name="strange", optional=True),
        Step(agent("ask", "Ask."), gate=gate(contains("zzz"), rework=0, then="ask")),
        name="</title><script>x</script>",
    )
    model = scripted({**lines, "ask": nasty})
    done = run(team, nasty.replace("\x00", ""), model=model, db=db, thread="t")
    assert done.waiting
    resume("t", {"type": "edit", "message": nasty, "by": "</td><script>"}, target=team, model=model, db=db)
    view = view_of("t", db=db, target=team)
    for text in (page(view), page(view, team)):
        read = harmless(text)
        assert "alert(1)" in read.text
    (tmp_path / "r.html").write_text(page(view))


def test_a_report_says_all_that_happened(db: Path, tmp_path: Path) -> None:
    two = "```text path=api.txt\n{}\n```".format
    backends = parallel(
        agent("left", "Work."), agent("right", "Work."), merge=merge(by=agent("lead", "Merge."), conflicts="priority"),
        name="backends",
    )  # fmt: skip
    lines: dict[str, Any] = {
        "build": [ConnectionError("nobody answers"), "draft", "better"],
        "qa-engineer": [
            Verdict(passed=False, score=0.4, feedback="Name the codes.", findings=("no codes",)),
            Verdict(passed=True, score=0.9),
        ],
        "left": two("1"),
        "right": two("2"),
        "lead": "merged",
        "end": "the **end**",
    }
    team = sequential(
        Step(agent("build", "Build."), gate=gate(review(by="qa-engineer"))),
        backends,
        Step(agent("end", "End."), gate=gate(contains("zzz"), rework=0, then="ask")),
        name="shop",
    )
    context = TeamContext(models=scripted(lines), executor=patient())
    view = RunView()
    run(team, "a shop", context=context, db=db, thread="t", listeners=[view])
    resume("t", {"type": "approve", "by": "ada"}, target=team, context=context, db=db, listeners=[view])
    file = report("t", tmp_path / "run.html", db=db, target=team)
    read = harmless(file.read_text("utf-8"))
    for said in (
        "completed", "a shop", "Name the codes.", "no codes", "sent back", "0.40", "0.90", "nobody answers",
        "recovered by build", "approve", "ada", "Timeline", "Cost" if not view.simulated else "Use", "merged",
        "critical path", "By tier", "By agent", "By step",
    ):  # fmt: skip
        assert said in read.text, said
    assert ("strong", {}) in read.tags
    bars = [one["class"] for tag, one in read.tags if tag == "i" and str(one.get("class", "")).startswith("bar")]
    assert {"bar work", "bar failed", "bar wait", "bar review", "bar person"} <= set(bars)
    data = json.loads(re.findall(r'id="replay-data">(.*?)</script>', file.read_text("utf-8"), re.DOTALL)[0])
    states = [frame["cards"]["build"][0] for frame in data["frames"] if "build" in frame["cards"]]
    assert states[0] == "pending" and "reworked" in states and states[-1] == "accepted"
    assert [frame["at"] for frame in data["frames"]] == sorted(frame["at"] for frame in data["frames"])


def test_conflicts_and_who_ruled_are_in_the_report(db: Path, tmp_path: Path) -> None:
    two = "```text path=api.txt\n{}\n```".format
    team = parallel(
        agent("left", "Work."), agent("right", "Work."), merge=merge(by=agent("lead", "Merge."), conflicts="priority")
    )
    model = scripted({"left": two("1"), "right": two("2"), "lead": "merged"})
    done = run(team, "x", model=model, db=db)
    assert done.conflicts
    read = harmless(report(done, tmp_path / "run.html", db=db, target=team).read_text("utf-8"))
    assert "Conflicts and rulings" in read.text and "api.txt" in read.text
    assert f"by {done.conflicts[0].by}" in read.text


def test_escalations_are_in_the_report(tmp_path: Path) -> None:
    from troupe.graphs.delegating.guidance import Escalated
    from troupe.result import Result

    one = Escalated(
        id="P1/E1", package="P1", question="Which database?", asked=("lead",), answered_by="lead", guidance="SQLite"
    )
    view = RunView()
    view.settle(Result("t", "w", "x", "completed", record={"escalations": {"P1/E1": one}}))
    read = harmless(page(view))
    assert all(said in read.text for said in ("Escalations", "Which database?", "lead", "SQLite"))


def test_a_run_of_fifteen_steps_is_under_300_kilobytes(db: Path, tmp_path: Path) -> None:
    text = "\n\n".join(["# Title", *["A paragraph of some length, with **words** and `code` in it." * 6] * 14])
    names = [f"step-{number}" for number in range(15)]
    team = sequential(*(agent(name, "Work.") for name in names), gate=gate(review(by="qa-engineer")))
    lines: dict[str, Any] = {name: [text, text] for name in names}
    good, bad = Verdict(passed=True, score=0.9), Verdict(passed=False, score=0.3, feedback="More.", findings=("a", "b"))
    lines["qa-engineer"] = [bad, good] * 15
    file = report(run(team, "x", model=scripted(lines), db=db), tmp_path / "run.html", db=db, target=team)
    assert file.stat().st_size < 300_000
    assert file.read_text("utf-8").count("A paragraph of some length") > 1000


def test_what_is_too_long_is_cut_with_a_word_about_it(db: Path, tmp_path: Path) -> None:
    view = RunView()
    team = sequential(agent("a", "Work."))
    done = run(team, "x", model=scripted({"a": "word " * 100_000}), db=db, listeners=[view])
    view.steps["a"].content = "word " * 1_000_000  # five megabytes
    text = page(view)
    assert len(text) < 200_000 and "of 5,000,000 characters are not shown" in text
    assert report(done, tmp_path / "r.html", db=db).stat().st_size < 200_000


async def test_a_report_of_a_run_in_progress_says_so(db: Path, tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(brief: Brief) -> str:
        begun.set()
        await go_on.wait()
        return "done"

    team = sequential(agent("a", "Work."), Step(slow, name="slow"))
    work = asyncio.ensure_future(arun(team, "x", model=scripted({"a": "text"}), db=db, thread="t"))
    await begun.wait()
    view = await aview("t", db=db, target=team)
    assert view.status == "running" and view.steps["a"].state == "accepted"
    assert "This run is in progress" in harmless(page(view)).text
    go_on.set()
    await work
    assert "in progress" not in page(await aview("t", db=db, target=team))


def test_a_run_that_was_kept_nowhere_is_reported_from_its_result(tmp_path: Path, db: Path) -> None:
    done = run(sequential(agent("a", "Work.")), "x", model=scripted({"a": "text"}), db=":memory:")
    assert "text" in harmless(report(done, tmp_path / "r.html", db=db).read_text("utf-8")).text
    with pytest.raises(UnknownRun, match="nobody"):
        report("nobody", tmp_path / "r.html", db=db)


def test_what_cannot_be_reported_is_said(db: Path, tmp_path: Path) -> None:
    done = run(sequential(agent("a", "Work.")), "x", model=scripted({"a": "text"}), db=db)
    with pytest.raises(SettingsError, match="cannot be written"):
        report(done, tmp_path / "nowhere" / "r.html", db=db)
    with pytest.raises(InputError, match="1 turn and no turn 7"):
        report(done.run, tmp_path / "r.html", db=db, turn=7)


def test_a_view_of_a_run_that_cannot_be_imported_is_what_the_journal_holds(db: Path) -> None:
    team = sequential(agent("a", "Work."), agent("b", "Work."))
    done = run(team, "x", model=scripted({"a": "one", "b": "two"}), db=db)
    view = view_of(done.run, db=db)
    assert view.drawing is None and view.steps["b"].content == "two" and view.status == "completed"
    assert "What happened" in page(view)


def test_three_hundred_steps_are_reported(db: Path, tmp_path: Path) -> None:
    view = RunView()
    names = [f"step-{number}" for number in range(300)]
    team = sequential(*(Step(lambda brief: "text", name=name) for name in names))
    run(team, "x", model=SimulatedChatModel(), db=":memory:", listeners=[view])
    text = page(view, team)
    assert len(text) < 2_000_000 and "step-299" in text


def test_tidy_text_keeps_what_is_readable() -> None:
    assert tidy("naïve 編集 ✓\n\tx") == "naïve 編集 ✓\n\tx"
    assert tidy("key sk-canary-1234567890") == "key [redacted]"


TEAMS = """
from troupe import agent, scripted, sequential
team = sequential(agent("a", "Work."), agent("b", "Work."))
"""


def test_the_command_writes_a_report(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    (shell.folder / "teams.py").write_text(TEAMS)
    assert shell("run", "teams.py:team", "a shop", "--thread", "t").code == 0
    done = shell("report", "t", "-o", "run.html")
    assert (done.code, done.out) == (0, "") and "run.html" in done.err
    assert "a shop" in harmless((shell.folder / "run.html").read_text("utf-8")).text
    assert shell("report", "t", "-o", "run.html", "--json").json["status"] == "completed"
    missing = shell("report", "nobody", "-o", "run.html")
    assert missing.code == 2 and "nobody" in missing.err
    wrong = shell("report", "t", "-o", "run.pdf")
    assert wrong.code == 2 and "no .html file" in wrong.err
