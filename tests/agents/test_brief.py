"""A brief as text: bounded, fenced, and honest about what was left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troupe import Brief, Deliverable
from troupe.agents.brief import fence, text
from troupe.agents.contracts import Message
from troupe.agents.text import clean, fit, shorten, summary, tokens

WORDS = st.lists(
    st.text(max_size=40)
    | st.builds(lambda part, times: part * times, st.text(min_size=1, max_size=9), st.integers(1, 9000)),
    max_size=3,
).map("".join)
DONE = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.builds(lambda content: Deliverable(step="s", content=content, status="accepted"), WORDS),
)
OVERHEAD = 900  # headings, fences and the lines that say what was left out; none of it grows with the work


@given(
    task=WORDS, objective=WORDS, done=DONE, feedback=WORDS, guidance=st.lists(WORDS, max_size=2),
    talk=st.lists(WORDS, max_size=3), previous=WORDS, limit=st.integers(500, 4000),
)  # fmt: skip
def test_a_brief_is_hardly_longer_than_its_limit_and_says_what_was_shortened(
    task: str, objective: str, done: dict[str, Deliverable], feedback: str, guidance: list[str],
    talk: list[str], previous: str, limit: int,
) -> None:  # fmt: skip
    brief = Brief(
        task=task,
        objective=objective,
        deliverables=done,
        needs=tuple(list(done)[:1]),
        feedback=feedback,
        guidance=tuple(guidance),
        conversation=tuple(Message(role="user", text=one) for one in talk),
        previous=Deliverable(step="s", content=previous),
    )
    rendered = text(brief, limit)
    assert tokens(rendered) <= limit + OVERHEAD
    parts = [brief.task, brief.objective, brief.feedback, *brief.guidance, *(one.text for one in brief.conversation)]
    parts += [brief.previous.content if brief.previous else "", *(done[name].content for name in brief.needs)]
    lost = [part for part in parts if part.strip() and part.strip() not in rendered]
    assert not lost or "[shortened" in rendered


@given(st.lists(st.integers(0, 10_000), max_size=12), st.integers(-5, 20_000))
def test_room_is_shared_fairly(sizes: list[int], limit: int) -> None:
    granted = fit(sizes, limit)
    assert all(0 <= got <= size for got, size in zip(granted, sizes, strict=True))
    assert sum(granted) <= max(limit, 0)
    if sum(sizes) <= limit:
        assert granted == sizes, "what fits is kept whole"
    elif sizes:
        assert sum(granted) > max(limit, 0) - len(sizes), "no room is left unused"
        cut = [got for got, size in zip(granted, sizes, strict=True) if got < size]
        if not cut:  # less than nothing is left for parts of no size
            return
        assert max(cut) - min(cut) <= 1, "large parts get an equal share"
        assert all(got <= min(cut) + 1 for got in granted), "nobody gets more than those who are cut"


@given(WORDS, st.integers(0, 3000))
def test_a_shortened_text_keeps_head_and_tail_and_says_so(content: str, limit: int) -> None:
    short = shorten(content, limit)
    if tokens(content) <= limit:
        assert short == content
    else:
        assert short.count("[shortened: about ") == 1 and f"of {tokens(content)} tokens" in short
        assert tokens(short) <= max(limit, 40) + 40


@given(WORDS)
def test_a_summary_is_short_and_made_of_the_text(content: str) -> None:
    made = summary(content)
    assert tokens(made) <= 122
    assert content.startswith(made.removesuffix(" …").rstrip()) or made == content


@given(st.text(alphabet=st.characters(codec=None), max_size=50) | WORDS)
def test_cleaned_text_can_be_stored_anywhere(content: str) -> None:
    cleaned = clean(content)
    assert "\0" not in cleaned and len(cleaned) == len(content)
    cleaned.encode("utf-8")
    assert clean(cleaned) == cleaned
    assert Deliverable(step="s", content=content).content == cleaned


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_fence_cannot_be_closed_from_inside(inside: str, other: str) -> None:
    fenced = fence(inside + fence(other, "x") + inside, "work")
    closing = fenced.splitlines()[-1]
    assert fenced.count(closing) == 1 or closing == fence(other, "x").splitlines()[-1]


@pytest.mark.parametrize("limit", [500, 24_000])
def test_a_brief_of_five_megabytes_is_bounded_quickly(limit: int) -> None:
    brief = Brief(
        task="Sort.",
        deliverables={"a": Deliverable(step="a", content="word " * 1_000_000, status="accepted")},
        needs=("a",),
    )
    rendered = text(brief, limit)
    assert tokens(rendered) <= limit + OVERHEAD
    assert "of 1250000 tokens left out" in rendered
