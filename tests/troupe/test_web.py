"""The page and its API over HTTP: who may ask, what is started, what is shown, and how runs end with the server."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import statistics
import sys
import threading
from collections.abc import Iterator
from contextlib import aclosing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.support import shows
from tests.support.command import Shell, eventually
from tests.support.serving import Served, serving
from troupe import RunView, SettingsError, run
from troupe.catalogue import CATALOGUE
from troupe.cli.serving import serve
from troupe.sqlite import SqliteStore
from troupe.view.picture import graph_of
from troupe.web.guard import LOOPBACK, POLICY, Guard
from troupe.web.live import PAUSE, Feed, Frame, delta
from troupe.web.offers import Offers
from troupe.web.parts import of_run
from troupe.web.runs import Watched

TOKEN = "a-token-that-is-long"  # noqa: S105 - it opens nothing


@pytest.fixture
def served(store: SqliteStore) -> Iterator[Served]:
    shows.GO.clear()
    with serving(store) as page:
        yield page
        shows.GO.set()  # whatever still waits may end


# --- who may ask ----------------------------------------------------------------------------------------------------


async def _echo(request: Request) -> Response:
    return PlainTextResponse(f"{request.url.path} {len(await request.body())}")


def guarded(**options: Any) -> TestClient:
    app = Starlette(routes=[Route("/{path:path}", _echo, methods=["GET", "POST"])])
    return TestClient(Guard(app, **options), base_url="http://localhost:8421", follow_redirects=False)


@pytest.mark.parametrize("host", ["evil.test", "evil.test:8421", "localhost.evil.test", "", "[", "192.168.0.9"])
def test_a_name_that_is_not_this_servers_is_refused(host: str) -> None:
    assert guarded().get("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8421", "[::1]:8421", "LOCALHOST:1", "localhost."])
def test_this_machines_names_are_taken(host: str) -> None:
    assert guarded().get("/", headers={"Host": host}).status_code == 200


def test_a_server_on_every_address_is_asked_by_numbers_and_by_no_foreign_name() -> None:
    client = guarded(anywhere=True, names=LOOPBACK | {"box"}, token=TOKEN)
    mine = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/", headers={"Host": "192.168.0.9:8421", **mine}).status_code == 200
    assert client.get("/", headers={"Host": "box:8421", **mine}).status_code == 200
    assert client.get("/", headers={"Host": "evil.test", **mine}).status_code == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost:8421"}, 200),
        ({"Origin": "http://localhost:8421", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Content-Type": "application/json"}, 200),  # no browser: those say where they come from
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:9999"}, 403),  # another server on this machine
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "http://localhost:8421.evil.test"}, 403),
        ({"Origin": "http://[", "Content-Type": "application/json"}, 403),
        ({"Origin": "http://evil.test", "Content-Type": "application/json"}, 403),
        ({"Origin": "http://localhost:8421", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_what_changes_something_is_only_taken_from_the_page_itself(headers: dict[str, str], status: int) -> None:
    assert guarded().post("/runs", headers=headers, content=b"x").status_code == status


def test_whoever_has_not_shown_the_token_sees_nothing() -> None:
    client = guarded(token=TOKEN, port=8421)
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Cookie": f"troupe_8421={TOKEN}"},
        {"Cookie": "troupe_8421="},
    ):
        assert client.get("/", headers=headers).status_code == 401
        assert client.get("/api/runs", headers=headers).json()["error"].startswith("This page needs its token")
    assert client.get("/?token=wrong").status_code == client.get("/?token=").status_code == 401


def test_a_token_in_the_address_becomes_a_cookie_that_no_script_and_no_other_page_can_use() -> None:
    client = guarded(token=TOKEN, port=8421)
    welcome = client.get(f"/runs/a%2Fb?turn=2&token={TOKEN}")
    cookie = welcome.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert "url=/runs/a%2Fb?turn=2" in welcome.text and TOKEN not in welcome.text
    assert client.get("/runs/x").status_code == 200  # the client kept the cookie
    assert client.post("/runs", headers={"Origin": "http://evil.test"}).status_code == 403


def test_more_than_is_read_is_refused_announced_or_not() -> None:
    client = guarded(most=1000)
    mine = {"Origin": "http://localhost:8421"}
    assert client.post("/runs", headers=mine, content=b"x" * 1000).text == "/runs 1000"
    assert client.post("/runs", headers=mine, content=b"x" * 1001).status_code == 413
    assert client.post("/runs", headers=mine, content=iter([b"x" * 600] * 2)).status_code == 413


def test_every_answer_carries_the_policy_and_no_page_is_kept(served: Served) -> None:
    done = served.start("quick")
    served.becomes(done, "completed")
    for path in (
        "/",
        f"/runs/{done}",
        f"/runs/{done}/replay",
        f"/runs/{done}/report.html",
        "/api/runs",
        "/nothing",
        "/runs/x",
    ):
        answer = served.http.get(path)
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    assert "'unsafe-inline'" not in POLICY.partition("style-src")[0] and "default-src 'none'" in POLICY


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "tests.support.people:line",
        "trap.py:team",
        "trap:team",
        "/etc/passwd",
        "../flow.yaml",
        "",
        "sequential\0",
    ],
)
def test_nothing_but_what_is_offered_can_be_started(name: str, served: Served) -> None:
    Path("trap.py").write_text("from pathlib import Path\nPath('sprung').touch()\n")
    for answer in (
        served.http.post("/runs", data={"workflow": name, "task": "x"}),
        served.http.post("/api/runs", json={"workflow": name, "task": "x"}),
    ):
        assert answer.status_code == 400 and "The page starts nothing else" in answer.text
    assert served.http.get("/api/runs").json()["runs"] == [] and not Path("sprung").exists()


def test_what_is_no_workflow_in_the_folder_is_not_offered(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("kind: Pod\n")
    (tmp_path / "broken.yml").write_text("{")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "team.py").write_text("raise RuntimeError('imported')\n")
    assert set(Offers(folder=tmp_path).all()) == set(CATALOGUE)


def test_a_workflow_of_the_folder_and_one_of_ours_are_offered_and_started(served: Served) -> None:
    Path("note.yaml").write_text("name: note\nphases: [ai-researcher, technical-writer]\n")
    for name, steps in (("note.yaml", 2), ("fullstack", 13)):
        run = served.http.post("/api/runs", json={"workflow": name, "task": "x"}).json()["run"]
        assert len(served.becomes(run, "completed")["steps"]) == steps


# --- what is shown --------------------------------------------------------------------------------------------------


class Harm(HTMLParser):
    """What of a page could do something: scripts, handlers, links and pictures that lead elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "script" and not (
            given.get("src", "").startswith("/static/") or given.get("type") == "application/json"
        ):
            self.found.append(f"script {given}")
        if tag in ("iframe", "object", "embed", "base", "foreignobject") or (
            tag == "img" and "/static/" not in given["src"]
        ):
            self.found.append(f"{tag} {given}")
        self.found += [f"{tag} {name}" for name in given if name.startswith("on") or name == "autofocus"]
        for name in ("href", "src", "action", "xlink:href"):
            where = given.get(name, "").strip().lower()
            if (where and not where.startswith(("/", "#", "http://evil.test"))) or where.startswith("//"):
                self.found.append(f"{tag} {name}={where}")


def test_what_models_and_users_wrote_is_text_and_does_nothing(served: Served) -> None:
    attacked = served.start("attack", shows.ATTACK)
    whole = served.becomes(attacked, "waiting")
    assert "<img src=x onerror=alert(6)>" in [one["path"] for one in whole["steps"]]
    _, first = next(served.events(f"/runs/{attacked}/events"))
    _, listed = next(served.events("/events"))
    pushed = ["".join(change["all"]) for one in (first, listed) for change in one["parts"].values()]
    pages = [served.http.get(path).text for path in ("/", f"/runs/{attacked}", f"/runs/{attacked}/replay")]
    wrong = served.http.post("/runs", data={"workflow": shows.ATTACK, "task": shows.ATTACK, "budget": shows.ATTACK})
    missing = served.http.get("/runs/" + httpx.URL(f"http://x/{shows.ATTACKS[1]}").raw_path.decode()[1:])
    assert wrong.status_code == 400 and missing.status_code == 404
    for html in (*pages, *pushed, wrong.text, missing.text):
        assert Harm(html).found == []
    assert any("&lt;script&gt;alert(" in html for html in pages), "it is shown as it was written"


def test_a_key_is_shown_nowhere(served: Served) -> None:
    failed = served.start("broken")
    served.becomes(failed, "failed")
    for path in (
        f"/runs/{failed}",
        f"/api/runs/{failed}",
        f"/runs/{failed}/report.html",
        f"/runs/{failed}/replay",
        "/",
    ):
        assert shows.SECRET not in served.http.get(path).text
    assert "[redacted]" in served.http.get(f"/runs/{failed}").text


def test_a_viewer_is_sent_the_whole_once_and_then_what_has_changed(served: Served) -> None:
    started = served.start("still")
    events = served.events(f"/runs/{started}/events")
    _, first = next(events)
    assert {"head", "happened", "deliverables", "log"} <= set(first["parts"])
    parts = {name: list(change["all"]) for name, change in first["parts"].items()}
    shows.GO.set()
    for _, change in events:
        apply(parts, change)
        if "completed" in "".join(parts["say"]):
            break
    shown = served.http.get(f"/runs/{started}").text
    assert all("".join(pieces) in shown for pieces in parts.values())


async def test_what_is_sent_for_an_event_is_a_small_part_of_the_whole() -> None:
    events: list[Any] = []
    run(shows.many, "Twelve things", db=":memory:", listeners=[events.append])
    view = RunView()
    view.drawing = graph_of(shows.many)
    watched = Watched(view, of_run, lambda: None)
    before: Frame | None = None
    sizes = []
    for event in events:
        watched.view(event)
        after = Frame.of(event.at, of_run(watched), before)
        sizes.append(len(json.dumps(delta(before, after))))
        before = after
    whole = len(json.dumps(delta(None, before))) if before else 0
    assert statistics.median(sizes) < whole / 6


def apply(parts: dict[str, list[str]], change: Any) -> None:
    """What the page's script does."""
    for name, one in change["parts"].items():
        if "all" in one:
            parts[name] = list(one["all"])
        elif "splice" in one:
            at, count, fresh = one["splice"]
            parts[name][at : at + count] = fresh
        else:
            for at, piece in one["set"]:
                parts[name][at] = piece


_html = st.dictionaries(
    st.sampled_from("ab"), st.lists(st.sampled_from(["<li>x", "<li>y", "<tr>z\n"])).map("".join), min_size=2
)


@given(frames=st.lists(_html, min_size=1, max_size=6))
def test_whoever_takes_in_every_change_has_what_is_shown(frames: list[dict[str, str]]) -> None:
    parts: dict[str, list[str]] = {}
    before: Frame | None = None
    for number, html in enumerate(frames):
        after = Frame.of(number, html, before)
        apply(parts, json.loads(json.dumps(delta(before, after))))
        before = after
        assert {name: "".join(pieces) for name, pieces in parts.items()} == html


async def test_a_viewer_is_shown_the_first_change_at_once_and_at_most_five_a_second() -> None:
    number = 0
    feed = Feed(lambda: (float(number), {"a": str(number)}))
    seen: list[float] = []
    loop = asyncio.get_running_loop()

    async def look() -> None:
        async with aclosing(feed.frames()) as frames:
            async for frame in frames:
                assert frame is not None
                seen.append(loop.time())
                if frame.at == 100:
                    return

    viewer = asyncio.create_task(look())
    await asyncio.sleep(0)
    began = loop.time()
    for number in range(1, 101):  # noqa: B007 - it is read by the feed
        feed.touch()
        await asyncio.sleep(0.005)
    await viewer
    assert len(seen) <= 2 + (loop.time() - began) / PAUSE
    assert feed.viewers == 0


def test_a_closed_browser_is_let_go_and_the_run_goes_on(served: Served) -> None:
    started = served.start("still")
    events = served.events(f"/runs/{started}/events")
    next(events)
    assert served.runs.viewers == 1
    events.close()  # type: ignore[attr-defined]
    eventually(lambda: served.runs.viewers == 0)
    shows.GO.set()
    assert served.becomes(started, "completed")["answer"]


# --- starting, answering, stopping ----------------------------------------------------------------------------------


def test_a_run_is_started_followed_and_read(served: Served) -> None:
    answer = served.http.post(
        "/runs", data={"workflow": "tests.support.shows:many", "task": "Twelve things", "budget": "0.5"}
    )
    assert answer.status_code == 303
    started = answer.headers["location"].removeprefix("/runs/")
    told = list(served.events(f"/api/runs/{started}/events"))
    moments = [data for name, data in told if name == "moment"]
    assert moments[0]["text"].startswith("many started") and moments == sorted(moments, key=lambda one: one["at"])
    assert {one["step"] for one in moments} >= {f"step-{number}" for number in range(12)}
    assert told[-1][0] == "end" and told[-1][1]["status"] == "completed"
    page = served.http.get(answer.headers["location"]).text
    assert "<strong>done</strong>" in page and "Twelve things" in page and 'data-id="step-11"' in page
    (listed,) = served.http.get("/api/runs").json()["runs"]
    assert (listed["run"], listed["status"], listed["task"]) == (started, "completed", "Twelve things")


def test_a_reader_of_events_that_comes_again_goes_on_where_it_was(served: Served) -> None:
    started = served.start("quick")
    whole = list(served.events(f"/api/runs/{started}/events"))
    rest = list(served.events(f"/api/runs/{started}/events", **{"Last-Event-ID": "1"}))
    assert len(whole) > 3 and rest == whole[2:]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"task": " "}, "The task is empty"),
        ({"task": 7}, "task must be a text"),
        ({"task": "x" * 100_001}, "may have 100,000"),
        ({"budget": -1}, "number from 0 up"),
        ({"budget": "much"}, "must be a number"),
        ({"deadline": "inf"}, "number from 0 up"),
        ({"model": "nonsense"}, "provider"),
        ({"modell": "x"}, "'modell' is none of"),
    ],
)
def test_what_cannot_be_started_is_refused_with_a_word_about_it(given: Any, says: str, served: Served) -> None:
    wish = {"workflow": "tests.support.shows:quick", "task": "x", **given}
    answer = served.http.post("/api/runs", json=wish)
    assert answer.status_code == 400 and says in answer.json()["error"]
    if not isinstance(given.get("task"), int):  # all that a form holds is text
        form = served.http.post("/runs", data=wish)
        assert form.status_code == 400 and 'role="alert"' in form.text
    assert served.http.get("/api/runs").json()["runs"] == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(body: bytes, served: Served) -> None:
    answer = served.http.post("/api/runs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and "no JSON" in answer.json()["error"]


def test_a_run_that_is_not_there_is_not_found(served: Served) -> None:
    for path in ("/runs/x", "/runs/a%2Fb", "/runs/x/replay", "/runs/x/events"):
        assert served.http.get(path).status_code == 404
    for path in ("/api/runs/x", "/api/runs/x/events"):
        assert "There is no run 'x'" in served.http.get(path).json()["error"]
    assert served.http.post("/api/runs/x/answers", json={"type": "approve"}).status_code == 404


def test_a_run_whose_id_has_a_slash_and_a_tag_in_it_is_shown(served: Served, store: SqliteStore) -> None:
    run(shows.quick, "x", db=store, thread="team/<b>7&")
    page = served.http.get("/").text
    assert 'href="/runs/team%2F%3Cb%3E7%26"' in page
    assert "team/&lt;b&gt;7&amp;" in served.http.get("/runs/team%2F%3Cb%3E7%26").text


def test_a_question_is_answered_with_the_form_and_by_whom_is_kept(served: Served) -> None:
    shows.GO.set()
    asked = served.start("team")
    served.becomes(asked, "waiting")
    page = served.http.get(f"/runs/{asked}").text
    (word,) = served.run(asked)["approvals"]
    assert f'value="{word["id"]}"' in page and "<li>it says nothing</li>" in page
    path = f"/runs/{asked}/answers"
    assert "needs its text" in served.http.post(path, data={"id": word["id"], "type": "respond", "message": " "}).text
    given = {"id": word["id"], "type": "respond", "message": "in two words", "by": "Ada"}
    assert served.http.post(path, data=given).status_code == 303
    done = served.becomes(asked, "completed")
    assert done["answer"] == "Good, as wished: in two words" and done["approvals"][0]["by"] == "Ada"
    late = served.http.post(path, data={"id": word["id"], "type": "reject"})
    assert late.status_code == 400 and "An answer is used once" in late.text


def test_an_edit_takes_the_persons_own_text(served: Served) -> None:
    shows.GO.set()
    asked = served.start("team")
    served.becomes(asked, "waiting")
    (word,) = served.run(asked)["approvals"]
    given = {"id": word["id"], "type": "edit", "edited": "mine,\r\nin two lines", "message": "no part of it"}
    served.http.post(f"/runs/{asked}/answers", data=given)
    assert served.becomes(asked, "completed")["answer"] == "mine,\nin two lines"


def test_a_work_of_megabytes_is_shown_in_part_and_approved(served: Served) -> None:
    asked = served.start("large")
    served.becomes(asked, "waiting")
    page = served.http.get(f"/runs/{asked}").text
    assert len(page) < 500_000 and "characters are not shown" in page and "--edit FILE" in page
    (word,) = served.run(asked)["approvals"]
    served.http.post(f"/runs/{asked}/answers", data={"id": word["id"], "type": "approve", "message": ""})
    assert len(served.becomes(asked, "completed")["answer"]) > 2_000_000


def test_the_api_takes_answers_by_id(served: Served) -> None:
    shows.GO.set()
    asked = served.start("team")
    served.becomes(asked, "waiting")
    path = f"/api/runs/{asked}/answers"
    assert served.http.post(path, json={}).status_code == 400
    assert "was not understood" in served.http.post(path, json={"type": "perhaps"}).json()["error"]
    (word,) = served.run(asked)["approvals"]
    assert served.http.post(path, json={"answers": {word["id"]: "approve"}}).status_code == 202
    assert served.becomes(asked, "completed")["answer"].startswith("# A draft")


def test_a_stopped_run_is_gone_on_with_and_nothing_is_done_twice(served: Served) -> None:
    started = served.start("still")
    eventually(lambda: "held" in served.run(started)["running"])
    assert served.http.post(f"/runs/{started}/stop").status_code == 303
    shows.GO.set()
    served.becomes(started, "stopped")
    assert "Go on" in served.http.get(f"/runs/{started}").text
    refused = served.http.post(f"/api/runs/{started}/stop")
    assert refused.status_code == 400 and "not under way here" in refused.json()["error"]
    assert served.http.post(f"/runs/{started}/resume").status_code == 303
    served.becomes(started, "completed")
    assert Path("calls.txt").read_text().split().count("first#1") == 1


def test_runs_beyond_the_bound_wait_for_their_turn_and_can_be_called_off(store: SqliteStore) -> None:
    shows.GO.clear()
    with serving(store, at_once=1) as served:
        first, second, third = (served.start("still") for _ in range(3))
        assert [served.run(one)["status"] for one in (first, second, third)] == ["running", "queued", "queued"]
        assert {one["status"] for one in served.http.get("/api/runs").json()["runs"]} == {"running", "queued"}
        served.http.post(f"/api/runs/{third}/stop")
        shows.GO.set()
        served.becomes(first, "completed")
        served.becomes(second, "completed")
        assert "before its turn came" in served.run(third)["problem"]
        assert [one["run"] for one in served.http.get("/api/runs").json()["runs"]] == [second, first]


def test_a_run_of_somebody_else_is_listed_and_shown_as_it_goes(served: Served, db: Path) -> None:
    ended = threading.Thread(target=run, args=(shows.still, "Theirs."), kwargs={"db": db, "thread": "theirs"})
    ended.start()
    eventually(lambda: any(one["status"] == "running" for one in served.http.get("/api/runs").json()["runs"]))
    page = served.http.get("/runs/theirs").text
    assert "works on it" in page and "/runs/theirs/stop" not in page
    events = served.events("/runs/theirs/events")
    next(events)
    shows.GO.set()
    said = (change["parts"].get("say") for _, change in events)
    assert any("completed" in json.dumps(one) for one in said), "the stream goes on until then"
    ended.join(30)


# --- the command ----------------------------------------------------------------------------------------------------


def test_a_signal_ends_the_server_and_its_runs_can_be_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import asyncio\nfrom troupe import Step, sequential\n"
        "async def one(brief): return 'one'\n"
        "async def two(brief):\n    await asyncio.sleep(0.5)\n    return 'two'\n"
        "async def three(brief): return 'three'\n"
        "team = sequential(*(Step(one, gate=None) for one in (one, two, three)), name='slow')\n"
    )
    shell = Shell(tmp_path)
    process = shell.start("serve", "slow.py:team", "--port", "0", "--db", "runs.db")
    eventually(lambda: b"http://" in process._read[process._out])
    address = process._read[process._out].decode().split()[-1].rstrip("/")
    client = httpx.Client(base_url=address, timeout=30)
    eventually(lambda: answers(client))
    started = client.post("/api/runs", json={"workflow": "slow.py:team", "task": "Go."}).json()["run"]
    with client.stream("GET", f"/runs/{started}/events") as viewer:  # one that looks on holds nothing up
        lines = viewer.iter_lines()
        while "two" not in next(lines):
            pass
        process.signal(signal.SIGTERM)
        done = process.end()
    assert done.code == 143
    stood = shell("runs", started, "--db", "runs.db", "--json").json
    assert stood["status"] == "stopped"
    resumed = shell("resume", started, "--db", "runs.db", "--json").json
    assert resumed["status"] == "completed" and resumed["answer"] == "three"


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/runs").status_code == 200
    except httpx.TransportError:
        return False


def test_a_port_in_use_a_bad_database_and_a_short_token_are_said_in_a_word(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = shell("serve", "--port", str(port), "--db", "runs.db")
        assert done.code == 2 and f"127.0.0.1:{port} cannot be served" in done.err and "--port 0" in done.err
    (tmp_path / "no.db").write_text("this is no database, and never was one" * 40)
    done = shell("serve", "--port", "0", "--db", "no.db")
    assert done.code == 2 and "no.db" in done.err and "Traceback" not in done.err
    done = shell("serve", "--port", "0", "--token", "short")
    assert done.code == 2 and "needs 12" in done.err
    done = shell("serve", "nothing.py:team", "--port", "0")
    assert done.code == 2 and "There is no file" in done.err


def test_another_address_than_this_machines_gets_a_token_and_says_so(tmp_path: Path) -> None:
    command = ["serve", "--host", "0.0.0.0", "--port", "0", "--db", "runs.db"]  # noqa: S104 - that is what is tried
    process = Shell(tmp_path).start(*command)
    eventually(lambda: b"token=" in process._read[process._out])
    address = process._read[process._out].decode().split()[-1]
    bare = address.partition("?")[0]
    with httpx.Client(timeout=30) as client:
        eventually(lambda: reached(client, bare))
        assert client.get(bare).status_code == 401
        assert client.get(address).status_code == 200 and client.get(bare).status_code == 200
    process.signal(signal.SIGINT)
    done = process.end()
    assert done.code == 130 and "reached from other machines" in done.err


def reached(client: httpx.Client, address: str) -> bool:
    try:
        return client.get(address).status_code > 0
    except httpx.TransportError:
        return False


def test_without_the_extra_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "troupe.web.server", None)
    with pytest.raises(SettingsError, match=r"agent-troupe\[web\]"):
        serve([], "127.0.0.1", 0, None, [], 1, None)
