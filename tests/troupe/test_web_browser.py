"""The page in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright.sync_api", reason="the browser's driver is not installed: playwright")

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Locator, expect

from tests.support import shows
from tests.support.browser import browser as browser
from tests.support.serving import Served, serving
from troupe import run
from troupe.sqlite import SqliteStore

expect.set_options(timeout=20_000)
SHOW = "tests.support.shows:"


@pytest.fixture
def served(store: SqliteStore) -> Iterator[Served]:
    shows.GO.clear()
    with serving(store) as page:
        yield page
        shows.GO.set()


class Window:
    """A window of the browser, and what it did that it should not: errors, dialogs, requests to elsewhere."""

    def __init__(self, browser: Browser, served: Served, **options: Any) -> None:
        self.context = browser.new_context(base_url=served.address, **options)
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(f"error {error}"))
        self.page.on("console", self._said)
        self.page.on("dialog", self._opened)
        self.page.on("request", lambda asked: self._asked(asked.url, served.address))

    def _said(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            self.wrong.append(said.text)

    def _opened(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _asked(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:")):
            self.wrong.append(f"request {url}")

    def start(self, name: str, task: str) -> None:
        self.page.goto("/")
        self.page.get_by_label("Task", exact=True).fill(task)
        self.page.get_by_label("Workflow").select_option(SHOW + name)
        self.page.get_by_role("button", name="Start").click()
        self.page.wait_for_url("**/runs/*")

    def card(self, name: str) -> Locator:
        return self.page.locator(f'svg.troupe g[data-id="{name}"]')


@pytest.fixture
def window(browser: Browser, served: Served) -> Iterator[Window]:
    made = Window(browser, served)
    yield made
    made.context.close()
    assert made.wrong == []


def test_a_run_is_started_and_its_steps_light_up_one_after_the_other(window: Window) -> None:
    window.start("still", "Watch this")
    page = window.page
    expect(window.card("first")).to_have_class("accepted")
    expect(window.card("held")).to_have_class("running")
    expect(window.card("last")).to_have_class("pending")
    expect(page.get_by_role("status").filter(has_text="now: held")).to_be_visible()
    shows.GO.set()
    expect(window.card("last")).to_have_class("accepted")
    expect(page.locator(".badge")).to_have_text("✓ completed")
    expect(page.locator(".answer")).to_contain_text("held no more")


def test_what_somebody_opened_typed_and_scrolled_stays_while_the_page_changes(window: Window, served: Served) -> None:
    window.page.set_viewport_size({"width": 500, "height": 400})
    window.start("still", "Watch this")
    page = window.page
    first = page.locator("details[data-key=first]")
    first.locator("summary").click()
    expect(first.locator("h4")).to_have_text("The first")
    first.locator("summary").focus()
    page.evaluate("window.kept = document.querySelector('details')")
    place = page.evaluate("scrollY")
    shows.GO.set()
    expect(page.locator(".answer")).to_be_attached()
    expect(first).to_have_attribute("open", "")
    assert page.evaluate("document.activeElement === window.kept.querySelector('summary')")
    assert place > 0 and page.evaluate("scrollY") >= place


def test_a_question_is_answered_with_the_form_and_the_deliverable_is_read(window: Window, served: Served) -> None:
    shows.GO.set()
    window.start("team", "Two steps, and a word of yours")
    page = window.page
    ask = page.locator("section.ask")
    expect(ask).to_contain_text("'draft' did not pass its gate")
    expect(ask.locator("li")).to_have_text("it says nothing")
    expect(page.get_by_label("Your text")).to_be_hidden()
    ask.get_by_label("Edit").check()
    expect(page.get_by_label("Your text")).to_have_value("# A draft\n\n- it says nothing")
    ask.get_by_label("Respond").check()
    page.get_by_label("What to change, or why").fill("**say** something")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Send the answer").click()
    expect(page.locator(".answer strong")).to_have_text("say")
    expect(page.locator("table", has_text="by Ada")).to_be_visible()
    page.locator("summary", has_text="draft").click()
    expect(page.locator("details[open] strong")).to_have_text("say")


def test_a_second_viewer_and_the_list_see_it_live(window: Window, served: Served, browser: Browser) -> None:
    window.start("still", "Watch this together")
    other, third = Window(browser, served), Window(browser, served)
    other.page.goto(window.page.url)
    third.page.goto("/")
    expect(other.card("held")).to_have_class("running")
    expect(third.page.locator("td", has_text="running")).to_be_visible()
    shows.GO.set()
    expect(other.card("last")).to_have_class("accepted")
    expect(third.page.locator("td", has_text="completed")).to_be_visible()
    for one in (other, third):
        assert one.wrong == []
        one.context.close()


def test_a_run_of_another_process_is_seen_as_it_goes(window: Window, served: Served, db: Path) -> None:
    window.page.goto("/")
    expect(window.page.locator("#part-runs")).to_contain_text("no runs yet")
    run(shows.quick, "Elsewhere", db=db)
    expect(window.page.get_by_role("link", name="Elsewhere")).to_be_visible()


def test_a_run_is_replayed(window: Window, served: Served) -> None:
    shows.GO.set()
    done = served.start("still")
    served.becomes(done, "completed")
    page = window.page
    page.goto(f"/runs/{done}")
    page.get_by_role("link", name="Replay").click()
    slider = page.get_by_role("slider")
    expect(window.card("last")).to_have_class("accepted")
    slider.focus()
    page.keyboard.press("Home")
    expect(window.card("first")).to_have_class("pending")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
        if window.card("held").get_attribute("class") == "running":
            break
    assert window.card("first").get_attribute("class") == "accepted"
    expect(page.locator("output")).to_contain_text("held")
    page.get_by_role("button", name="Play").click()
    expect(window.card("last")).to_have_class("accepted")


def test_what_models_and_users_wrote_runs_nothing_and_asks_for_nothing(window: Window, served: Served) -> None:
    window.start("attack", shows.ATTACK)
    page = window.page
    expect(page.locator("section.ask")).to_be_visible()
    for one in page.locator("details").all():
        one.evaluate("one => one.open = true")
    for one in page.locator("main a").all():
        one.hover(force=True)
    page.get_by_role("link", name="Replay").click()
    page.get_by_role("slider").press("Home")
    page.goto("/")
    expect(page.locator("td", has_text="waiting")).to_be_visible()
    assert page.evaluate("document.querySelectorAll('main script, main img, iframe, [onerror], [onload]').length") == 0
    assert window.wrong == []


def test_everything_can_be_done_with_the_keyboard(window: Window, served: Served) -> None:
    shows.GO.set()
    page = window.page
    page.goto("/")
    keys = page.keyboard
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    keys.press("Enter")
    keys.press("Tab")
    expect(page.get_by_label("Task", exact=True)).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    keys.type("By hand")
    keys.press("Tab")
    keys.type(f"{SHOW}team")
    keys.press("Tab")
    keys.press("Tab")
    expect(page.get_by_role("button", name="Start")).to_be_focused()
    keys.press("Enter")
    page.wait_for_url("**/runs/*")
    expect(page.locator("section.ask")).to_be_visible()
    for _ in range(20):
        keys.press("Tab")
        if page.evaluate("document.activeElement.type") == "radio":
            break
    keys.press("Space")
    expect(page.get_by_label("Approve")).to_be_checked()
    keys.press("Tab")  # what is not asked for is not in the way
    expect(page.get_by_label("Your name")).to_be_focused()
    keys.type("Ada")
    keys.press("Enter")
    expect(page.locator(".badge")).to_have_text("✓ completed")


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_its_window_and_every_text_can_be_read(
    width: int, scheme: str, browser: Browser, served: Served
) -> None:
    shows.GO.set()
    asked = served.start("team", "A task with aVeryLongWordThatGoesOnAndOnAndOn" * 3)
    served.becomes(asked, "waiting")
    window = Window(browser, served, viewport={"width": width, "height": 900}, color_scheme=scheme)
    for path in ("/", f"/runs/{asked}", f"/runs/{asked}/replay", "/nothing"):
        window.page.goto(path)
        assert window.page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert window.page.evaluate(FAINT) == [], path
    window.context.close()


FAINT = """() => {
  const bright = (rgb) => {
    const [r, g, b] = rgb.map((one) => (one /= 255) <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(one).backgroundColor);
      if (a > 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const one of document.querySelectorAll("body *:not(svg *)")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !one.checkVisibility() || one.disabled) continue;
    const [a, b] = [bright(parts(getComputedStyle(one).color)), bright(ground(one))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push(`${one.nodeName} ${one.className} ${one.textContent.slice(0, 40)}`);
  }
  return found;
}"""


def test_who_wants_less_motion_sees_none(browser: Browser, served: Served) -> None:
    started = served.start("still")
    for wish, name in (("reduce", "none"), ("no-preference", "glow")):
        window = Window(browser, served, reduced_motion=wish)
        window.page.goto(f"/runs/{started}")
        expect(window.card("held")).to_have_class("running")
        moves = "getComputedStyle(document.querySelector('.troupe .running > .card')).animationName"
        assert window.page.evaluate(moves) == name
        window.context.close()
