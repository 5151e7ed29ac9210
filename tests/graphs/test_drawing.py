"""The picture of a graph: cards, lines and words keep out of each other's way, and nothing escapes its place."""

import json
import random
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, TypedDict
from xml.etree import ElementTree

import pytest
from langgraph.graph import END, START, StateGraph

from troupe.agents.errors import UnknownName
from troupe.graphs.drawing import (
    PALETTE,
    Arrow,
    Card,
    Drawing,
    Kind,
    Look,
    dressed,
    folded,
    mermaid,
    plain,
    svg,
    to_json,
)
from troupe.graphs.drawing.layout import layout
from troupe.graphs.drawing.measure import shorten, width
from troupe.graphs.drawing.places import Box, Direction, Layout
from troupe.graphs.drawing.states import COLOURS as STATES

SVG = "{http://www.w3.org/2000/svg}"


def parse(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 -- our own text


class State(TypedDict):
    x: int


def idle(state: State) -> State:
    return state


def graph(
    nodes: Mapping[str, Any] | Sequence[str],
    edges: Sequence[tuple[str, str]],
    branches: Mapping[str, Mapping[str, str] | Sequence[str]] | None = None,
) -> Any:
    """Nodes (with metadata, or a subgraph), plain edges, and conditional ones."""
    built: StateGraph[State] = StateGraph(State)
    for name in nodes:
        said = nodes[name] if isinstance(nodes, Mapping) else None
        if isinstance(said, dict):
            built.add_node(name, idle, metadata=said)
        else:
            built.add_node(name, said or idle)
    for source, target in edges:
        built.add_edge(source, target)
    for source, ways in (branches or {}).items():
        words: dict[Hashable, str] | list[str] = dict(ways.items()) if isinstance(ways, Mapping) else [*ways]
        built.add_conditional_edges(source, lambda state: "pass", words)
    return built.compile()


def line(*names: str) -> list[tuple[str, str]]:
    return list(pairwise([START, *names, END]))


def gated(*steps: str) -> Any:
    """The typical team: after each step a gate, which may ask a person, send back, or give up."""
    nodes: dict[str, Any] = {}
    edges, branches = [(START, steps[0]), ("finish", END)], dict[str, dict[str, str]]()
    for i, step in enumerate(steps):
        following = [*steps, "finish"][i + 1]
        gate, ask = f"{step}.gate", f"{step}.ask"
        ways = {"pass": following, "rework": step, "ask": ask, "fail": "finish"}
        ways |= {f"rollback:{earlier}": earlier for earlier in steps[:i]}
        nodes[step] = {"troupe_note": "engineer"}
        nodes[gate] = {"troupe_kind": "gate", "troupe_label": "tests pass", "troupe_branches": ways}
        nodes[ask] = {"troupe_kind": "ask", "troupe_label": "ask a person"}
        edges.append((step, gate))
        branches[gate], branches[ask] = ways, {"approve": following, "redo": step, "stop": "finish"}
    return graph({**nodes, "finish": None}, edges, branches)


def branch(name: str) -> Any:
    return graph([name, "check"], [(START, name), (name, "check")], {"check": {"pass": END, "rework": name}})


def thirty() -> Any:
    dice = random.Random(3)  # noqa: S311 -- no secret
    names = [f"task {i}" for i in range(30)]
    edges = {
        (names[dice.randrange(max(0, i - 6), i)], names[i]) for i in range(1, 30) for _ in range(dice.choice([1, 2]))
    }
    ends = [(name, END) for name in names if name not in {source for source, _ in edges}]
    return graph(names, [(START, names[0]), *sorted(edges), *ends])


PEERS = ["researcher", "analyst", "writer", "critic", "coder", "tester", "designer", "librarian"]
STEPS = ["plan", "design", "implement", "test", "release"]
AREAS = ["frontend", "backend", "database", "documents"]


def book() -> Any:
    draft = graph({"draft": branch("write"), "edit": None}, line("draft", "edit"))
    return graph(
        {"plan": None, "book": draft, "check": {"troupe_kind": "gate"}},
        [(START, "plan"), ("plan", "book"), ("book", "check")],
        {"check": {"pass": END, "rework": "book", "rollback": "plan"}},
    )


GRAPHS = {
    "gated": gated(*STEPS),
    "short": gated(*STEPS[:2]),
    "chain": graph(STEPS, line(*STEPS)),
    "diamond": graph(
        ["split", *AREAS, "join"],
        [(START, "split"), *(("split", a) for a in AREAS), *((a, "join") for a in AREAS), ("join", END)],
    ),
    "branches": graph(
        {"split": None, **{a: branch(a) for a in AREAS}, "join": None},
        [(START, "split"), *(("split", a) for a in AREAS), *((a, "join") for a in AREAS), ("join", END)],
    ),
    "nested": book(),
    "hub": graph(
        ["lead", *PEERS, "finish"],
        [(START, "lead"), *((peer, "lead") for peer in PEERS), ("finish", END)],
        {"lead": [*PEERS, "finish"]},
    ),
    "mesh": graph(PEERS[:4], [(START, PEERS[0])], {p: [*(q for q in PEERS[:4] if q != p), END] for p in PEERS[:4]}),
    "single": graph(["answer"], line("answer")),
    "self": graph(["think", "act"], [(START, "think"), ("act", END)], {"think": {"again": "think", "done": "act"}}),
    "thirty": thirty(),
}


def dice_drawing(seed: int) -> Drawing:
    """Any cards and arrows at all: circles, frames in frames, arrows through borders, what nobody would draw."""
    dice = random.Random(seed)  # noqa: S311 -- no secret
    names = ["f", "g", "f:h"][: dice.choice([0, 0, 1, 2, 3])]
    homes = ["", "", *(f"{name}:" for name in names)]
    ids = [f"{dice.choice(homes)}n{i}" for i in range(dice.randint(1, 18))]
    kinds: list[Kind] = ["step", "step", "gate", "ask", "frame"]
    stated = dice.random() < 0.5  # a run's picture, or a graph's
    cards = [
        Card("s", "start", "start"),
        *(
            Card(
                i,
                i * dice.choice([1, 1, 5]),
                dice.choice(kinds),
                dice.choice(["", "a note"]),
                dice.choice(["", *STATES]) if stated else "",
                dice.choice(["", "0.91 · 12.3 s · $0.0123 · 3 attempts"]) if stated else "",
                dice.choice(["", "accepted, round 12"]) if stated else "",
            )
            for i in ids
        ),
        Card("e", "end", "end"),
    ]
    words = ["", "", "pass", "rework", "rollback", "a rather long word"]
    arrows = [
        Arrow(dice.choice(cards[:-1]).id, dice.choice(cards[1:]).id, dice.choice(words), dice.random() < 0.5)
        for _ in range(dice.randint(0, 2 * len(ids)))
    ]
    return Drawing(tuple(cards), tuple(dict.fromkeys(arrows)), tuple(Card(name, name, "frame") for name in names))


def stated(drawing: Drawing) -> Drawing:
    """The picture of a run: cards in all states, one after the other."""
    looks = [Look(state, "0.91 · 12.3 s · $0.0123", "") for state in STATES]
    return dressed(drawing, {card.id: looks[at % len(looks)] for at, card in enumerate(drawing.cards)})


def read(name: str) -> Drawing:
    return Drawing.of(GRAPHS[name].get_graph(xray=True))


def sides(points: Sequence[tuple[float, float]]) -> Iterator[Box]:
    for (x, y), (p, q) in pairwise(points):
        assert x == p or y == q, "a line runs at right angles"
        yield Box(min(x, p), min(y, q), abs(x - p), abs(y - q))


def inner(box: Box, by: float = 1.0) -> Box:
    return Box(box.x + by, box.y + by, box.width - 2 * by, box.height - 2 * by)


def overlap(one: Box, other: Box) -> bool:
    return one.x < other.right and other.x < one.right and one.y < other.bottom and other.y < one.bottom


def holds(around: Box, box: Box) -> bool:
    return around.x <= box.x and box.right <= around.right and around.y <= box.y and box.bottom <= around.bottom


def on_border(point: tuple[float, float], box: Box) -> bool:
    spot = Box(point[0] - 0.3, point[1] - 0.3, 0.6, 0.6)
    return overlap(box, spot) and not holds(inner(box, 0.3), spot)


def faults(drawing: Drawing, plan: Layout) -> list[str]:
    """All that lies where it should not."""
    found: list[str] = []
    page = Box(0, 0, plan.width, plan.height)
    boxes, frames = list(plan.boxes.items()), list(plan.frames.items())
    found += [f"{a} on {b}" for (a, p), (b, q) in combinations(boxes, 2) if overlap(p, q)]
    found += [f"{word.text} on {key}" for word in plan.words for key, box in boxes if overlap(word.box, box)]
    found += [f"{a.text} on {b.text}" for a, b in combinations(plan.words, 2) if overlap(a.box, b.box)]
    for frame, around in frames:
        for key, box in [*boxes, *frames]:
            if key.startswith(f"{frame}:"):
                found += [] if holds(around, box) else [f"{key} out of {frame}"]
            elif not frame.startswith(f"{key}:") and key != frame and overlap(around, box):
                found.append(f"{key} on frame {frame}")
    for route in plan.routes:
        name = f"{route.arrow.source} -> {route.arrow.target}"
        found += [] if on_border(route.points[0], plan.boxes[route.arrow.source]) else [f"{name} begins nowhere"]
        found += [] if on_border(route.points[-1], plan.boxes[route.arrow.target]) else [f"{name} ends nowhere"]
        for side in sides(route.points):
            found += [] if holds(page, side) else [f"{name} leaves the page"]
            found += [f"{name} through {key}" for key, box in boxes if overlap(side, inner(box))]
            found += [f"{name} through the title of {key}" for key, box in plan.titles.items() if overlap(side, box)]
    found += [f"{key} leaves the page" for key, box in [*boxes, *frames] if not holds(page, box)]
    assert [route.arrow for route in plan.routes] == list(drawing.arrows)
    return found


@pytest.mark.parametrize("direction", ["down", "right"])
@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_lies_on_anything(name: str, direction: Direction) -> None:
    drawing = read(name)
    assert faults(drawing, layout(drawing, direction)) == []


@pytest.mark.parametrize("direction", ["down", "right"])
@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_lies_on_anything_in_the_picture_of_a_run(name: str, direction: Direction) -> None:
    drawing = stated(read(name))
    assert faults(drawing, layout(drawing, direction)) == []


@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_lies_on_anything_when_frames_are_folded(name: str) -> None:
    whole = stated(read(name))
    for fold in ["all", *((frame.id,) for frame in whole.frames)]:
        drawing = folded(whole, fold)
        assert faults(drawing, layout(drawing)) == []
        assert len(drawing.frames) < len(whole.frames) or not whole.frames
        kept = {card.id for card in drawing.cards}
        assert all(arrow.source in kept and arrow.target in kept for arrow in drawing.arrows)


@pytest.mark.parametrize("direction", ["down", "right"])
def test_nothing_lies_on_anything_in_drawings_that_nobody_would_make(direction: Direction) -> None:
    for seed in range(60):
        drawing = dice_drawing(seed)
        assert faults(drawing, layout(drawing, direction)) == [], f"seed {seed}"


@pytest.mark.parametrize("name", GRAPHS)
def test_every_word_is_shown(name: str) -> None:
    drawing = read(name)
    shown = {word for said in layout(drawing).words for word in said.text.split(" · ")}
    assert shown == {arrow.label for arrow in drawing.arrows if arrow.label}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_svg_is_well_formed_and_says_what_it_shows(name: str) -> None:
    drawing = read(name)
    root = parse(svg(drawing, title="My team"))
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    assert root.findtext(f"{SVG}title") == "My team"
    assert root.findtext(f"{SVG}desc")
    assert {g.get("data-id") for g in root.iter(f"{SVG}g")} == {card.id for card in drawing.cards}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_svg_needs_nothing_else(name: str) -> None:
    text = svg(read(name)).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"<script|href|url\(|@import|@font-face|https?:|\son\w+=", text)


def test_the_same_graph_gives_the_same_picture() -> None:
    assert svg(Drawing.of(gated(*STEPS).get_graph(xray=True))) == svg(Drawing.of(gated(*STEPS).get_graph(xray=True)))


def test_thirty_nodes_are_under_forty_kilobytes() -> None:
    assert len(svg(read("thirty")).encode()) < 40_000


def test_thirty_nodes_of_a_run_are_under_forty_kilobytes() -> None:
    assert len(svg(stated(read("thirty"))).encode()) < 40_000


def test_three_hundred_nodes_are_drawn() -> None:
    dice = random.Random(5)  # noqa: S311 -- no secret
    cards = tuple(Card(f"n{i}", f"task {i}", state="accepted", facts="1.2 s") for i in range(300))
    arrows = {Arrow(f"n{dice.randrange(max(0, i - 6), i)}", f"n{i}") for i in range(1, 300) for _ in (0, 1)}
    text = svg(Drawing(cards, tuple(sorted(arrows, key=lambda arrow: (arrow.source, arrow.target)))))
    assert len(parse(text).findall(f"{SVG}g")) == 300 and len(text.encode()) < 400_000


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_told_by_colour_sign_and_word(state: str) -> None:
    root = parse(svg(Drawing((Card("a", "write", state=state, facts="0.91"), Card("b", "check", "gate", state=state)))))
    style = root.findtext(f"{SVG}style") or ""
    assert all(f".troupe .{state}>.card" in part for part in style.split("@media(prefers-color-scheme:dark)")[-2:])
    for group in root.iter(f"{SVG}g"):
        assert group.get("class") == state
        texts = {text.get("class"): text.text for text in group.iter(f"{SVG}text")}
        assert texts["said"] == state
        assert [path for path in group.iter(f"{SVG}path") if path.get("class") == "mark"]


def test_a_drawing_without_states_carries_no_style_of_them() -> None:
    assert ".accepted" not in svg(read("gated"))


def test_a_folded_frame_says_how_much_it_hides_and_how_it_stands() -> None:
    drawing = folded(stated(read("nested")), "book")
    (book,) = [card for card in drawing.cards if card.kind == "frame"]
    assert book.label == "book" and re.fullmatch(r"\d+ cards?", book.note) and book.state in STATES
    with pytest.raises(UnknownName, match="bok"):
        folded(read("nested"), ["bok"])


def test_a_drawing_as_data_has_its_places() -> None:
    drawing = stated(read("nested"))
    data = json.loads(json.dumps(to_json(drawing)))
    plan = layout(drawing)
    assert {card["id"]: card["box"]["x"] for card in data["cards"]} == {id: box.x for id, box in plan.boxes.items()}
    assert [arrow["points"] for arrow in data["arrows"]] == [[list(at) for at in one.points] for one in plan.routes]
    assert {frame["id"] for frame in data["frames"]} == set(plan.frames)


def test_a_caption_stands_below_the_picture() -> None:
    drawing = read("single")
    plain_, more = parse(svg(drawing)), parse(svg(drawing, caption="<b>running</b> · 1 of 2"))
    assert float(more.get("height") or 0) > float(plain_.get("height") or 0)
    assert "<b>running</b> · 1 of 2" in [text.text for text in more.iter(f"{SVG}text")]


def test_names_cannot_leave_their_place() -> None:
    nasty = "<script>alert('x')</script>"
    noisy = 'a "quoted" & \x1b[31mred\x1b[0m\x00 name'
    compiled = graph(
        {nasty: {"troupe_kind": "gate", "troupe_note": "</text><b>"}, noisy: {"troupe_label": "\x07"}},
        [(START, nasty), (noisy, END)],
        {nasty: {"]]><!--": noisy}},
    )
    drawing = Drawing.of(compiled.get_graph())
    text = svg(drawing, title="</title><script>")
    root = parse(text)
    assert not [element for element in root.iter() if element.tag in (f"{SVG}script", f"{SVG}b")]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
    assert "]]><!--" in [element.text for element in root.iter(f"{SVG}text")]
    assert 'a "quoted" & red name' in [card.label for card in drawing.cards]
    assert "<script" not in mermaid(drawing)
    text.encode()


def test_cards_made_by_hand_are_made_safe_too() -> None:
    drawing = Drawing((Card("a\x00", "<b>\x1b[1m\x00\ud800"), Card("b", "b")), (Arrow("a\x00", "b", "\x00<i>"),))
    assert [text.text for text in parse(svg(drawing)).iter(f"{SVG}text")] == ["<b>", "b", "<i>"]


def test_a_long_label_is_shortened_and_keeps_the_whole_for_those_who_point_at_it() -> None:
    name = "a name of a step that nobody can read at one glance"
    texts = list(parse(svg(Drawing((Card("a", name),)))).iter(f"{SVG}text"))
    assert [(text.text or "")[-1] for text in texts] == ["…"]
    assert texts[0].findtext(f"{SVG}title") == name
    assert shorten("specialist-engineer.gate", 13, 130).endswith("….gate")
    assert width(shorten("編集者" * 20, 13, 100), 13) <= 100


def test_metadata_says_how_a_node_is_shown() -> None:
    drawing = read("short")
    cards = {card.id: card for card in drawing.cards}
    assert cards["plan"] == Card("plan", "plan", "step", "engineer")
    assert cards["plan.gate"] == Card("plan.gate", "tests pass", "gate")
    assert cards["plan.ask"] == Card("plan.ask", "ask a person", "ask")
    assert (cards["__start__"].kind, cards["__end__"].kind) == ("start", "end")


def test_a_graph_that_is_not_opened_is_a_card_of_its_own_kind() -> None:
    drawing = Drawing.of(GRAPHS["nested"].get_graph())
    assert [card.kind for card in drawing.cards if card.id == "book"] == ["frame"]
    assert drawing.frames == ()


def test_an_opened_graph_is_a_frame() -> None:
    frames = {frame.id: frame.label for frame in read("nested").frames}
    assert frames == {"book": "book", "book:draft": "draft"}


def test_words_that_langgraph_drops_come_back() -> None:
    words = [a.label for a in read("short").arrows if (a.source, a.target) == ("design.gate", "finish")]
    assert words == ["pass", "fail"]


def test_a_word_leaves_out_the_name_that_its_arrow_points_at() -> None:
    drawing = read("short")
    assert Arrow("design.gate", "plan", "rollback", True) in drawing.arrows


def test_but_no_word_loses_the_name_of_an_end_that_is_only_a_dot() -> None:
    asking = graph(["work", "ask"], [(START, "work"), ("work", "ask")], {"ask": {"again": "work", "go on or end": END}})
    inside = graph({"inner": asking}, line("inner"))
    for built in (asking, inside):
        assert "go on or end" in [arrow.label for arrow in Drawing.of(built.get_graph(xray=True)).arrows]


def test_all_rollbacks_share_one_lane_and_one_word() -> None:
    plan = layout(read("gated"))
    words = [word.text for word in plan.words]
    assert words.count("rollback") == 1
    lanes = {min(x for x, _ in r.points) for r in plan.routes if r.arrow.label == "rollback"}
    assert len(lanes) == 1


def test_a_shared_lane_says_nothing_untrue() -> None:
    cards = tuple(Card(name, name) for name in "abcd")
    forward = tuple(Arrow(x, y) for x, y in pairwise("abcd"))
    apart = layout(Drawing(cards, (*forward, Arrow("c", "a", "back", True), Arrow("d", "b", "back", True))), "down")
    assert len({min(x for x, _ in route.points) for route in apart.routes if route.role == "back"}) == 2
    whole = (Arrow("c", "a", "back", True), Arrow("d", "b", "back", True), Arrow("d", "a", "back", True))
    shared = layout(Drawing(cards, (*forward, *whole)), "down")
    assert len({min(x for x, _ in route.points) for route in shared.routes if route.role == "back"}) == 2, "c to b"


def test_all_failures_share_one_lane_and_one_word() -> None:
    plan = layout(read("gated"))
    fails = [route for route in plan.routes if route.role == "bypass" and route.arrow.label == "fail"]
    assert len(fails) == 4
    assert len({route.points[-2:] for route in fails}) == 1
    assert [word.text for word in plan.words].count("fail") == 1


def test_the_steps_of_a_line_stand_in_a_line() -> None:
    plan = layout(read("gated"))
    assert plan.direction == "down"
    middles = {plan.boxes[key].x + plan.boxes[key].width / 2 for step in STEPS for key in (step, f"{step}.gate")}
    assert len(middles) == 1
    assert layout(read("chain")).direction == "right"


def test_an_answer_returns_along_the_line_of_its_question() -> None:
    plan = layout(read("hub"))
    ways = {(route.arrow.source, route.arrow.target): route for route in plan.routes}
    for peer in PEERS:
        assert ways[peer, "lead"].role == "return"
        assert ways[peer, "lead"].points == ways["lead", peer].points[::-1]


def test_a_line_that_arrows_share_is_painted_once() -> None:
    text = svg(read("diamond"))
    assert text.count('class="forward"') == 10
    assert len(re.findall(r"M[\d.]+ [\d.]+L", re.findall(r'class="forwardtip" d="([^"]*)"', text)[0])) == 7


def test_an_empty_drawing_and_loose_ends_are_no_error() -> None:
    parse(svg(Drawing(())))
    parse(svg(Drawing((Card("a", "a"),), (Arrow("a", "nobody"),), (Card("f", "f", "frame"),))))


def test_a_circle_without_a_beginning_is_drawn() -> None:
    drawing = Drawing((Card("a", "a"), Card("b", "b")), (Arrow("a", "b"), Arrow("b", "a", "again", True)))
    assert [route.role for route in layout(drawing).routes] == ["forward", "back"]


def test_a_long_chain_needs_no_recursion() -> None:
    cards = tuple(Card(str(i), str(i)) for i in range(1500))
    drawing = Drawing(cards, tuple(Arrow(a.id, b.id) for a, b in pairwise(cards)))
    assert len(layout(drawing).routes) == 1499


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_lines_are_readable(mode: str) -> None:
    colours = {
        (name, what): (day if mode == "light" else night)
        for name, rules in PALETTE.items()
        for what, day, night in rules
    }
    for text in ("text", "note"):
        for ground in ("page", "step", "gate", "ask"):
            assert contrast(colours[text, "fill"], colours[ground, "fill"]) >= 4.5, (text, ground)
    for state, (day, night) in STATES.items():
        for ground in ("step", "gate", "ask"):
            assert contrast(day if mode == "light" else night, colours[ground, "fill"]) >= 4.5, (state, ground)
    for word in ("word", "backword"):
        assert contrast(colours[word, "fill"], colours["page", "fill"]) >= 4.5, word
    for name in ("forward", "bypass", "back", "gate", "ask", "frame", "step"):
        assert contrast(colours[name, "stroke"], colours["page", "fill"]) >= 3, name


def test_the_mermaid_text() -> None:
    drawing = Drawing.of(
        graph(
            {"draft": {"troupe_note": "a poet"}, "draft.gate": {"troupe_kind": "gate"}, "end": branch("polish")},
            [(START, "draft"), ("draft", "draft.gate"), ("end", END)],
            {"draft.gate": {"pass": "end", "rework": "draft", 'give "up"': END}},
        ).get_graph(xray=True)
    )
    assert (
        mermaid(drawing)
        == """\
flowchart LR
    start(("start"))
    draft("draft<br/>a poet")
    draft_gate{{"draft.gate"}}
    end_((("end")))
    subgraph end__["end"]
        end_start(("start"))
        end_polish("polish")
        end_check("check")
        end_end((("end")))
    end
    start --> draft
    draft --> draft_gate
    draft_gate -.->|rework| draft
    draft_gate -.->|"give #34;up#34;"| end_
    draft_gate -.->|pass| end_start
    end_start --> end_polish
    end_polish --> end_check
    end_check -.->|rework| end_polish
    end_check -.->|pass| end_end
    end_end --> end_
"""
    )


def test_plain_text_is_one_clean_line() -> None:
    assert plain("a\n\tb \x1b[1;31mc\x1b[0m\x9f\u202e") == "a b c"
