"""A report in a real browser: it opens without a complaint, fits, replays by hand and by key, and lets nothing act."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import browser as browser
from tests.troupe.test_report import PAYLOADS
from troupe import Step, Verdict, agent, gate, report, review, run, scripted, sequential


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with a rework, whose words would like to act."""
    os.environ.setdefault("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    folder = tmp_path_factory.mktemp("report")
    nasty = "\n\n".join(PAYLOADS)
    lines = {
        "triage": ["draft", nasty],
        "reply": "**sent**",
        "qa-engineer": [
            Verdict(passed=False, score=0.4, feedback=nasty, findings=(nasty,)),
            Verdict(passed=True, score=0.9),
            Verdict(passed=True, score=0.8),
        ],
    }
    steps = (Step(agent("triage", "Sort."), nasty), agent("reply", "Answer."))
    team = sequential(*steps, gate=gate(review(by="qa-engineer")))
    done = run(team, nasty, model=scripted(lines), db=folder / "runs.db")
    return report(done, folder / "run.html", db=folder / "runs.db", target=team)


@pytest.mark.parametrize(("width", "mode"), [(400, "light"), (400, "dark"), (1600, "light"), (1600, "dark")])
def test_the_report_opens_without_a_complaint_and_fits(browser: Any, file: Path, width: int, mode: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=mode)
    told: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", lambda dialog: told.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert told == [] and asked == [file.as_uri()], "nothing complains, pops up or is fetched"
    wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide[0] <= wide[1], "the page itself never scrolls sideways"
    ground, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert (_light(ground) > _light(ink)) == (mode == "light")
    page.close()


def _light(colour: str) -> int:
    return sum(int(part) for part in colour.strip("rgb()").split(",")[:3])


def test_the_replay_goes_back_to_the_beginning_and_on_by_key(browser: Any, file: Path) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(file.as_uri())

    def state() -> tuple[str, str]:
        card = page.locator('svg.troupe g[data-id="triage"]').first
        return str(card.get_attribute("class")), str(card.locator(".said").text_content())

    assert state() == ("accepted", "accepted, round 2")
    slider = page.locator("#replay input")
    slider.focus()
    page.keyboard.press("Home")
    assert state() == ("pending", "pending")
    seen = {state()[0]}
    for _ in range(int(slider.get_attribute("max") or 0)):
        page.keyboard.press("ArrowRight")
        seen.add(state()[0])
    assert seen == {"pending", "running", "reworked", "accepted"}
    assert state() == ("accepted", "accepted, round 2")
    page.close()


def test_without_scripts_the_report_says_the_same(browser: Any, file: Path) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(file.as_uri())
    assert page.locator("#replay").is_hidden() and page.locator("svg.troupe").first.is_visible()
    page.locator("summary", has_text="triage").first.click()
    assert page.get_by_text("alert(1)").first.is_visible()
    page.close()
